# SPDX-License-Identifier: Apache-2.0
"""Keras 2's preprocessing, as older scripts use it."""
import numpy as np
import pytest

import fitloom as tf
from fitloom.keras.preprocessing.image import ImageDataGenerator
from fitloom.keras.preprocessing.sequence import (
    TimeseriesGenerator,
    make_sampling_table,
    pad_sequences,
    skipgrams,
)
from fitloom.keras.preprocessing.text import Tokenizer, text_to_word_sequence, tokenizer_from_json


def test_tokenizer():
    made = Tokenizer(num_words=6, oov_token="<OOV>")
    made.fit_on_texts(["I love my dog", "I love my cat", "You love my dog!", "really?"])
    assert [made.word_index[w] for w in ("<OOV>", "love", "my", "i", "dog")] == [1, 2, 3, 4, 5]
    sequences = made.texts_to_sequences(["I adore my dog", "cat"])
    assert sequences == [[4, 1, 3, 5], [1]]
    assert made.sequences_to_texts(sequences)[0] == "i <OOV> my dog"
    assert pad_sequences(sequences, maxlen=3, padding="post", truncating="post").tolist() == [[4, 1, 3], [1, 0, 0]]
    assert made.texts_to_matrix(["love love dog"], "count").tolist() == [[0, 0, 2, 0, 0, 1]]
    expected = (1 + np.log(2)) * np.log(1 + 4 / (1 + 3))
    assert made.texts_to_matrix(["love love dog"], "tfidf")[0, 2] == pytest.approx(expected)
    again = tokenizer_from_json(made.to_json())
    assert again.texts_to_sequences(["my dog"]) == [[3, 5]] and again.index_word[2] == "love"
    assert text_to_word_sequence("Hello, big-world") == ["hello", "big", "world"]


def test_skipgrams():
    pairs, labels = skipgrams([1, 2, 3], 4, window_size=1, negative_samples=0)
    assert sorted(map(tuple, pairs)) == [(1, 2), (2, 1), (2, 3), (3, 2)] and labels == [1] * 4
    pairs, labels = skipgrams([1, 2, 3], 4, window_size=1, seed=1)
    assert len(pairs) == 8 and sum(labels) == 4
    assert make_sampling_table(4) == pytest.approx([0.00315225, 0.00315225, 0.00547597, 0.00741556], rel=1e-5)


def test_timeseries():
    data = np.arange(50).reshape(-1, 1)
    made = TimeseriesGenerator(data, data, length=10, sampling_rate=2, batch_size=2)
    assert len(made) == 20
    x, y = made[0]
    assert x[:, :, 0].tolist() == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]] and y.tolist() == [[10], [11]]


def test_image_generator_trains_a_model():
    x, y = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 3)), np.arange(20) % 2
    maker = ImageDataGenerator(rescale=1 / 255, rotation_range=20, width_shift_range=0.2, height_shift_range=0.2,
                               shear_range=5, zoom_range=0.2, horizontal_flip=True, brightness_range=(0.8, 1.2),
                               validation_split=0.2)
    train, valid = maker.flow(x, y, batch_size=6, seed=1, subset="training"), maker.flow(x, y, subset="validation")
    assert len(train) == 3 and len(valid) == 1
    images, labels = next(train)
    assert images.shape == (6, 8, 8, 3) and images.dtype == np.float32 and images.max() <= 1.01 and labels.shape == (6,)
    model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    history = model.fit(train, epochs=2, validation_data=valid, verbose=0).history
    assert len(history["val_loss"]) == 2
    assert model.predict(ImageDataGenerator().flow(x, shuffle=False), verbose=0).shape == (20, 1)


def test_image_generator_leaves_images_alone_and_measures():
    x = np.random.default_rng(0).uniform(0, 255, (4, 5, 5, 3)).astype("float32")
    np.testing.assert_array_equal(next(ImageDataGenerator().flow(x, shuffle=False)), x)
    maker = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    with pytest.raises(ValueError, match="needs `.fit"):
        next(maker.flow(x))
    maker.fit(x)
    assert abs(next(maker.flow(x)).mean()) < 1e-4
    shifted = ImageDataGenerator().apply_transform(x[0], {"ty": 1})
    np.testing.assert_allclose(shifted[:, :-1], x[0][:, 1:], rtol=1e-5)


def test_images_from_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            tf.keras.utils.save_img(tmp_path / name / f"{i}.png", np.full((6, 6, 3), 40 * i))
    made = ImageDataGenerator(rescale=1 / 255).flow_from_directory(tmp_path, target_size=(4, 4), batch_size=4)
    x, y = made[0]
    assert x.shape == (4, 4, 4, 3) and y.shape == (4, 2) and made.class_indices == {"a": 0, "b": 1}
    assert made.samples == 6 and list(made.classes) == [0, 0, 0, 1, 1, 1]


def test_gfile(tmp_path):
    gfile, path = tf.io.gfile, str(tmp_path / "folder" / "x.txt")
    gfile.makedirs(str(tmp_path / "folder"))
    with gfile.GFile(path, "w") as file:
        file.write("one\ntwo\n")
    with gfile.GFile(path) as file:
        assert file.readline() == "one\n" and file.read() == "two\n" and file.size() == 8
    assert gfile.exists(path) and gfile.glob(str(tmp_path / "*" / "*.txt")) == [path]
    assert gfile.listdir(str(tmp_path / "folder")) == ["x.txt"] and gfile.stat(path).length == 8
    gfile.copy(path, path + "2")
    with pytest.raises(tf.errors.AlreadyExistsError):
        gfile.copy(path, path + "2")
    gfile.rename(path + "2", path + "3")
    gfile.remove(path)
    with pytest.raises(tf.errors.NotFoundError):
        gfile.GFile(path).read()
    gfile.rmtree(str(tmp_path / "folder"))
    assert not gfile.isdir(str(tmp_path / "folder"))
    with pytest.raises(tf.errors.UnimplementedError, match="local disk"):
        gfile.exists("gs://bucket/file")


def test_smart_resize_cuts_the_middle():
    x = np.arange(4 * 8, dtype="float32").reshape(4, 8, 1)
    got = tf.keras.preprocessing.image.smart_resize(x, (2, 2), interpolation="nearest")
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got[..., 0], [[11, 13], [27, 29]])
    assert tf.keras.preprocessing.image.smart_resize(tf.ones((2, 6, 5, 3)), (3, 4)).shape == (2, 3, 4, 3)
    with pytest.raises(ValueError, match="incorrect rank"):
        tf.keras.preprocessing.image.smart_resize(x[..., 0], (2, 2))
