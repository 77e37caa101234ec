# SPDX-License-Identifier: Apache-2.0
"""What text scripts do with strings and with rows of different lengths."""
import warnings

import numpy as np
import pytest

import fitloom as tf


def rows():
    return tf.strings.split(tf.constant(["So long", "thanks for all the fish"]))


def test_text_functions_go_over_rows():
    words = rows()
    assert tf.strings.upper(words).to_list() == [[b"SO", b"LONG"], [b"THANKS", b"FOR", b"ALL", b"THE", b"FISH"]]
    assert tf.strings.length(words).to_list() == [[2, 4], [6, 3, 3, 3, 4]]
    assert tf.strings.substr(words, 0, 1).to_list() == [[b"S", b"l"], [b"t", b"f", b"a", b"t", b"f"]]
    assert tf.strings.reduce_join(words, axis=-1, separator=" ").numpy().tolist() == [b"So long", b"thanks for all the fish"]
    assert tf.strings.join([words, words], "+").to_list()[0] == [b"So+So", b"long+long"]
    assert tf.strings.bytes_split(words).to_list()[0][0] == [b"S", b"o"]


def test_bigrams_with_marks():
    words = rows()
    mark = tf.fill([words.nrows(), 1], "#")
    padded = tf.concat([mark, words, mark], axis=1)
    pairs = tf.strings.join([padded[:, :-1], padded[:, 1:]], separator="+")
    assert pairs.to_list()[0] == [b"#+So", b"So+long", b"long+#"]
    table = tf.Variable(tf.ones([16, 4]))
    vectors = tf.nn.embedding_lookup(table, tf.strings.to_hash_bucket_fast(pairs, 16))
    assert tf.reduce_mean(vectors, axis=1).shape == (2, 4)


def test_ragged_forms():
    nested = tf.ragged.constant([[[1, 2], [3]], [[4]]])
    assert nested.merge_dims(-2, -1).to_list() == [[1, 2, 3], [4]]
    assert nested.merge_dims(0, 1).to_list() == [[1, 2], [3], [4]]
    flat = tf.ragged.constant([[1, 2], [3]])
    assert tf.expand_dims(flat, 1).to_list() == [[[1, 2]], [[3]]]
    assert tf.expand_dims(flat, 0).to_list() == [[[1, 2], [3]]]
    assert tf.gather(flat, [1, 0]).to_list() == [[3], [1, 2]]
    assert tf.ones_like(flat).to_list() == [[1, 1], [1]]
    assert tf.ragged.boolean_mask(flat, tf.ragged.constant([[True, False], [True]])).to_list() == [[1], [3]]
    assert tf.RaggedTensor.from_uniform_row_length([1, 2, 3, 4], 2).to_list() == [[1, 2], [3, 4]]
    assert tf.map_fn(tf.math.square, flat).to_list() == [[1, 4], [9]]
    assert tf.concat([flat, [[5, 6, 7]]], axis=0).to_list() == [[1, 2], [3], [5, 6, 7]]


def test_map_fn_over_text_and_growing_rows():
    assert tf.map_fn(tf.strings.length, tf.constant(["a", "bcd"]), fn_output_signature=tf.int32).numpy().tolist() == [1, 3]
    assert tf.map_fn(lambda n: tf.range(n, n + 2), tf.constant([1, 5])).numpy().tolist() == [[1, 2], [5, 6]]


def test_function_of_text_runs_on_the_host():
    calls = []

    @tf.function
    def shout(x):
        calls.append(1)
        return x + tf.constant("!")
    assert shout(tf.constant("a")).numpy() == b"a!" and shout(tf.constant("b")).numpy() == b"b!"
    concrete = shout.get_concrete_function(tf.TensorSpec([], tf.string))
    assert concrete(tf.constant("c")).numpy() == b"c!"


def test_function_whose_shapes_depend_on_values():
    @tf.function
    def positive(x):
        return tf.boolean_mask(x, x > 0)
    with pytest.warns(UserWarning, match="runs uncompiled"):
        assert positive(tf.constant([1.0, -1.0, 2.0])).numpy().tolist() == [1.0, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert positive(tf.constant([-1.0, 2.0])).numpy().tolist() == [2.0]

    @tf.function
    def sinh(x):
        return tf.numpy_function(np.sinh, [x], tf.float32)
    with pytest.warns(UserWarning, match="runs uncompiled"):
        assert float(sinh(tf.constant(1.0))) == pytest.approx(np.sinh(1))


def test_callbacks_as_decorators():
    @tf.py_function(Tout=tf.float32)
    def twice(x):
        return x * 2 if x > 0 else x
    assert float(twice(tf.constant(3.0))) == 6


def test_lookups_keep_rows():
    characters = tf.strings.unicode_split(["abc"], "UTF-8")
    lookup = tf.keras.layers.StringLookup(vocabulary=["a", "b", "c"], mask_token=None)
    back = tf.keras.layers.StringLookup(vocabulary=lookup.get_vocabulary(), invert=True, mask_token=None)
    numbers = lookup(characters)
    assert numbers.to_tensor().numpy().tolist() == [[1, 2, 3]]
    assert tf.strings.reduce_join(back(numbers), axis=-1).numpy().tolist() == [b"abc"]


def test_buckets_of_the_first_hash_are_those_of_tensorflow():
    texts = ["Hello", "TensorFlow", "2.x", "", "abcdefghijklm", "12345678"]
    assert tf.strings.to_hash_bucket(texts[:3], 3).numpy().tolist() == [2, 0, 1]
    assert tf.strings.to_hash_bucket(texts, 1000).numpy().tolist() == [941, 232, 300, 899, 810, 287]


def test_characters_with_their_places():
    texts = ["G\xf6\xf6d".encode(), "\U0001f60a!".encode()]
    points, begins = tf.strings.unicode_decode_with_offsets(texts, "UTF-8")
    assert points.to_list() == [[71, 246, 246, 100], [128522, 33]]
    assert begins.to_list() == [[0, 1, 3, 5], [0, 4]]
    pieces, begins = tf.strings.unicode_split_with_offsets(texts[1], "UTF-8")
    assert pieces.numpy().tolist() == ["\U0001f60a".encode(), b"!"] and begins.numpy().tolist() == [0, 4]


def test_texts_joined_by_segment():
    made = tf.strings.unsorted_segment_join(["this", "is", "a", "test"], [0, 1, 0, -2], 3, ":")
    assert made.numpy().tolist() == [b"this:a", b"is", b""]
    made = tf.strings.unsorted_segment_join([["Y", "p"], ["q", "G"]], [1, 1], 2, ":")
    assert made.numpy().tolist() == [[b"", b""], [b"Y:q", b"p:G"]]


def test_rows_of_text_by_batch():
    texts = [[["a0", "b0"], ["c0", "d0"]], [["a1", "b1"], ["c1", "d1"]]]
    assert tf.gather_nd(texts, [[1], [0]], batch_dims=1).numpy().tolist() == [[b"c0", b"d0"], [b"a1", b"b1"]]
    assert tf.gather_nd(texts, [[[1, 0]], [[0, 1]]], batch_dims=1).numpy().tolist() == [[b"c0"], [b"b1"]]
    rows = tf.gather([["a", "b"], ["c", "d"]], [[1, 0], [0, 0]], batch_dims=1)
    assert rows.numpy().tolist() == [[b"b", b"a"], [b"c", b"c"]]


def test_names_of_classes_inside_a_function():
    @tf.function
    def name(scores):
        return tf.gather(["cat", "dog"], tf.argmax(scores, -1))
    with pytest.warns(UserWarning, match="indices into a string tensor"):
        assert name(tf.constant([[0.1, 0.9], [1.0, 0.0]])).numpy().tolist() == [b"dog", b"cat"]


def test_a_rewrite_with_a_group_that_does_not_exist_changes_nothing():
    got = tf.strings.regex_replace(["a.", "b"], r"[.,]$", r" \0 \1")
    assert got.numpy().tolist() == [b"a.", b"b"]
    assert tf.strings.regex_replace("a.", r"([.,])$", r" \0 \1").numpy() == b"a . ."
