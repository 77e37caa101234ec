# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of numbers, categories and texts; expected values are those of Keras' documentation and of TensorFlow."""
import json

import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


def rows(x):
    """Values as nested lists."""
    return np.asarray(x).tolist()


def round_trip(layer):
    """The layer made again from its configuration, through JSON."""
    return type(layer).from_config(json.loads(json.dumps(layer.get_config())))


def test_category_encoding():
    x = np.array([[0, 1], [0, 0], [1, 2], [3, 1]])
    assert rows(layers.CategoryEncoding(4)(x)) == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert rows(layers.CategoryEncoding(4, output_mode="one_hot")([3, 2])) == [[0, 0, 0, 1], [0, 0, 1, 0]]
    weights = np.array([[0.1, 0.2], [0.1, 0.1], [0.2, 0.3], [0.4, 0.2]])
    counted = layers.CategoryEncoding(4, output_mode="count")(x, count_weights=weights)
    np.testing.assert_allclose(counted.numpy()[:2], [[0.1, 0.2, 0, 0], [0.2, 0, 0, 0]], rtol=1e-6)
    assert rows(tf.sparse.to_dense(layers.CategoryEncoding(3, sparse=True)([[1]]))) == [[0, 1, 0]]
    with pytest.raises(ValueError, match="num_tokens"):
        layers.CategoryEncoding()
    with pytest.raises(ValueError, match="output_mode"):
        layers.CategoryEncoding(3, output_mode="int")


def test_discretization():
    x = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]])
    assert rows(layers.Discretization([0.0, 1.0, 2.0])(x)) == [[0, 2, 3, 1], [1, 3, 2, 1]]
    layer = layers.Discretization(num_bins=4, epsilon=0.01)
    layer.adapt(x)
    assert rows(layer(x)) == [[0, 2, 3, 2], [1, 3, 3, 1]]
    assert round_trip(layer).bin_boundaries == layer.bin_boundaries
    counted = layers.Discretization([0.0, 1.0, 2.0], output_mode="count")(x)
    assert rows(counted) == [[1, 1, 1, 1], [0, 2, 1, 1]]
    with pytest.raises(ValueError, match="not both"):
        layers.Discretization([0.0], num_bins=3)


def test_discretization_bins_hold_equal_counts(rng):
    values = rng.normal(size=5000)
    layer = layers.Discretization(num_bins=5)
    layer.adapt(tf.data.Dataset.from_tensor_slices(values).batch(500))
    counts = np.bincount(layer(values).numpy().ravel(), minlength=5)
    assert counts.min() > 900 and counts.max() < 1100


def test_hashing_gives_tensorflows_bins():
    letters = [["A"], ["B"], ["C"], ["D"], ["E"]]
    assert rows(layers.Hashing(3)(letters)) == [[1], [0], [1], [1], [2]]
    assert rows(layers.Hashing(3, mask_value="")([["A"], ["B"], [""], ["C"], ["D"]])) == [[1], [1], [0], [2], [2]]
    assert rows(layers.Hashing(3, salt=[133, 137])(letters)) == [[1], [2], [1], [0], [2]]
    assert rows(layers.Hashing(3, salt=133)(letters)) == [[0], [0], [2], [1], [0]]
    assert rows(tf.strings.to_hash_bucket_fast(["Hello", "TensorFlow", "2.x"], 3)) == [0, 2, 2]
    assert layers.Hashing(3, output_mode="one_hot")(letters).shape == (5, 3)
    with pytest.raises(ValueError, match="num_bins"):
        layers.Hashing(0)


def test_hashed_crossing_gives_tensorflows_bins():
    features = (np.array(["A", "B", "A", "B", "A"]), np.array([101, 101, 101, 102, 102]))
    assert rows(layers.HashedCrossing(5)(features)) == [1, 4, 1, 1, 3]
    assert layers.HashedCrossing(5, output_mode="one_hot")(features).shape == (5, 5)
    with pytest.raises(ValueError, match="at least two"):
        layers.HashedCrossing(5)(features[:1])


DATA = [["a", "c", "d"], ["d", "z", "b"]]


def test_string_lookup():
    layer = layers.StringLookup(vocabulary=["a", "b", "c", "d"])
    assert rows(layer(DATA)) == [[1, 3, 4], [4, 0, 2]]
    assert layer.get_vocabulary() == ["[UNK]", "a", "b", "c", "d"] and layer.vocabulary_size() == 5
    assert rows(round_trip(layer)(DATA)) == [[1, 3, 4], [4, 0, 2]]
    back = layers.StringLookup(vocabulary=["a", "b", "c", "d"], invert=True)
    assert rows(back(layer(DATA))) == [[b"a", b"c", b"d"], [b"d", b"[UNK]", b"b"]]
    buckets = layers.StringLookup(vocabulary=["a", "b", "c", "d"], num_oov_indices=2)
    assert rows(buckets([["a", "c", "d"], ["m", "z", "b"]])) == [[2, 4, 5], [0, 1, 3]]
    masked = layers.StringLookup(vocabulary=["a", "b"], mask_token="")
    assert rows(masked([["", "a", "q"]])) == [[0, 2, 1]]


def test_string_lookup_learns_frequencies():
    layer = layers.StringLookup()
    layer.adapt(DATA)
    assert layer.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]
    few = layers.StringLookup(max_tokens=3)
    few.adapt(tf.data.Dataset.from_tensor_slices(["x", "y", "x", "z", "y", "x"]).batch(2))
    assert few.get_vocabulary() == ["[UNK]", "x", "y"]
    assert rows(round_trip(few)(["y", "z"])) == [2, 0]


def test_lookup_modes():
    vocabulary = ["a", "b", "c", "d"]
    x = np.array([["a", "c", "d", "d"], ["d", "z", "b", "z"]])
    make = lambda mode, **more: layers.StringLookup(vocabulary=vocabulary, output_mode=mode, **more)
    assert rows(make("multi_hot")(x)) == [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]
    assert rows(make("count")(x)) == [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]
    tf_idf = make("tf_idf", idf_weights=[0.25, 0.75, 0.6, 0.4])(x)
    np.testing.assert_allclose(tf_idf.numpy(), [[0, 0.25, 0, 0.6, 0.8], [1.0, 0, 0.75, 0, 0.4]], rtol=1e-6)
    assert make("one_hot")(np.array(["a", "z"])).shape == (2, 5)
    assert make("multi_hot", max_tokens=9, pad_to_max_tokens=True)(x).shape == (2, 9)


def test_integer_lookup_on_host_and_in_a_compiled_function():
    data = np.array([[12, 1138, 42], [37, 1000, 36]])
    layer = layers.IntegerLookup(vocabulary=[12, 36, 1138, 42], num_oov_indices=2)
    assert rows(layer(data)) == [[2, 4, 5], [1, 0, 3]]
    assert rows(tf.function(layer)(tf.constant(data))) == [[2, 4, 5], [1, 0, 3]]
    back = layers.IntegerLookup(vocabulary=[12, 36], invert=True)
    assert rows(back([[2, 0]])) == [[36, -1]]
    learned = layers.IntegerLookup()
    learned.adapt(np.array([[12, 1138, 42], [42, 1000, 36]]))
    assert learned.get_vocabulary() == [-1, 42, 1138, 1000, 36, 12]


def test_lookup_errors(tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_oov_indices=0"):
        layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["b"])
    with pytest.raises(ValueError, match="repeated term"):
        layers.StringLookup(vocabulary=["a", "a"])
    with pytest.raises(ValueError, match="does not exist"):
        layers.StringLookup(vocabulary="no_such_file.txt")
    with pytest.raises(RuntimeError, match="adapt"):
        layers.StringLookup()(["a"])
    with pytest.raises(TypeError, match="IntegerLookup"):
        layers.StringLookup(vocabulary=["a"])([[1]])
    path = tmp_path / "vocabulary.txt"
    path.write_text("x\ny\n")
    assert layers.StringLookup(vocabulary=str(path)).get_vocabulary() == ["[UNK]", "x", "y"]
    config = {**layers.StringLookup(vocabulary=["a"]).get_config(), "vocabulary": str(path)}
    with pytest.raises(ValueError, match="opens no file"):
        layers.StringLookup.from_config(config)


def test_text_vectorization():
    layer = layers.TextVectorization(max_tokens=5000, output_sequence_length=4)
    layer.adapt(["foo bar", "bar baz", "baz bada boom"])
    assert layer.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    assert rows(layer([["foo qux bar"], ["qux baz"]])) == [[4, 1, 3, 0], [1, 2, 0, 0]]
    assert rows(round_trip(layer)(["Foo, BAR!"])) == [[4, 3, 0, 0]]
    ragged = layers.TextVectorization(vocabulary=["a", "b"], ragged=True)
    assert ragged(["a b", "b"]).to_list() == [[2, 3], [3]]
    characters = layers.TextVectorization(vocabulary=["a", "b"], split="character")
    assert rows(characters(["ab"])) == [[2, 3]]
    grams = layers.TextVectorization(vocabulary=["a", "a b"], ngrams=2)
    assert rows(grams(["a b"])) == [[2, 1, 3]]
    counts = layers.TextVectorization(vocabulary=["a", "b"], output_mode="count")
    assert rows(counts(["a a c"])) == [[1, 2, 0]]


def test_text_vectorization_in_a_dataset():
    layer = layers.TextVectorization(vocabulary=["the", "cat"], output_sequence_length=3)
    data = tf.data.Dataset.from_tensor_slices(["the cat", "a dog", "The Cat sat"]).batch(2).map(layer)
    assert [rows(x) for x in data] == [[[2, 3, 0], [1, 1, 0]], [[2, 3, 1]]]


def test_custom_standardize_and_split():
    layer = layers.TextVectorization(
        vocabulary=["a", "b"], standardize=lambda x: tf.strings.lower(x), split=lambda x: tf.strings.split(x, ","))
    assert rows(layer(["A,B"])) == [[2, 3]]


def test_discretization_knows_its_bins_before_it_has_seen_data():
    layer = tf.keras.layers.Discretization(num_bins=4, output_mode="one_hot")
    assert layer.compute_output_shape((None, 3, 2)) == (None, 3, 2, 4)
    with pytest.raises(ValueError, match="adapt"):
        layer(np.array([[1.0]]))


def test_normalization_adapts_to_a_list_of_batches():
    data = np.arange(24.0).reshape(6, 4).astype("float32")
    layer = tf.keras.layers.Normalization()
    layer.adapt([data[:2], data[2:]])
    np.testing.assert_allclose(layer(data), (data - data.mean(0)) / data.std(0), rtol=1e-5)


def test_rescaling_takes_arrays_and_channels_first():
    layer = tf.keras.layers.Rescaling(np.array([1.0, 2.0, 3.0]), offset=np.float32(0.5))
    again = tf.keras.layers.Rescaling.from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_array_equal(layer(np.ones((1, 2, 2, 3))), again(np.ones((1, 2, 2, 3))))
    tf.keras.config.set_image_data_format("channels_first")
    try:
        np.testing.assert_array_equal(layer(np.ones((1, 3, 2, 2)))[0, :, 0, 0], [1.5, 2.5, 3.5])
    finally:
        tf.keras.config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="ngrams"):
        tf.keras.layers.TextVectorization(ngrams="invalid")
