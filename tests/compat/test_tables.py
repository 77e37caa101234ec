# SPDX-License-Identifier: Apache-2.0
"""Lookup tables and values that may be missing, as TensorFlow's documentation uses them."""
import numpy as np
import pytest

import fitloom as tf


def pairs():
    return tf.data.Dataset.range(5).map(lambda x: (x, tf.strings.as_string(x * 2)))


def test_table_from_a_dataset():
    table = tf.lookup.StaticHashTable(tf.data.experimental.DatasetInitializer(pairs()), "")
    assert table.lookup(tf.constant([0, 4, 9], tf.int64)).numpy().tolist() == [b"0", b"8", b""]
    table = tf.data.experimental.table_from_dataset(pairs(), default_value="n/a", key_dtype=tf.int64)
    assert table.lookup(tf.constant([1, 9], tf.int64)).numpy().tolist() == [b"2", b"n/a"]
    with pytest.raises(TypeError, match="key_dtype"):
        tf.data.experimental.table_from_dataset(pairs())


def test_index_table_from_a_dataset():
    words = tf.data.Dataset.from_tensor_slices(["a", "b", "c"])
    table = tf.data.experimental.index_table_from_dataset(words, num_oov_buckets=3)
    assert table.lookup(tf.constant(["b", "zz", "c"])).numpy().tolist() == [1, 4, 2] and int(table.size()) == 6
    table = tf.data.experimental.index_table_from_dataset(words, vocab_size=2)
    assert table.lookup(tf.constant(["b", "c"])).numpy().tolist() == [1, -1]


def test_tables_that_change():
    table = tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, -1, empty_key="", deleted_key="$")
    table.insert(["a", "b", "c"], [0, 1, 2])
    table.remove(tf.constant(["c"]))
    assert table.lookup(tf.constant(["a", "b", "c"])).numpy().tolist() == [0, 1, -1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty_key"):
        table.insert(["$"], [3])
    rows = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, [0.0, 0.0])
    rows.insert(tf.constant([1, 2], tf.int64), [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(rows.lookup(tf.constant([[1, 5]], tf.int64)), [[[1, 2], [0, 0]]])
    keys, values = rows.export()
    assert keys.numpy().tolist() == [1, 2] and values.shape == (2, 2)


def test_optional():
    held = tf.experimental.Optional.from_value(42)
    assert held.has_value() and int(held.get_value()) == 42
    assert held.element_spec == tf.TensorSpec((), tf.int32)
    assert not tf.experimental.Optional.empty(tf.TensorSpec((), tf.int32)).has_value()


def test_types_of_values():
    ragged = tf.ragged.constant([[1, 2], [3]])
    assert tf.type_spec_from_value(ragged) == tf.RaggedTensorSpec([2, None], tf.int32)
    assert tf.type_spec_from_value(tf.constant([1, 2])) == tf.TensorSpec([2], tf.int32)
    assert tf.type_spec_from_value(np.zeros(2)) == tf.TensorSpec([2], tf.float64)
    sparse = tf.SparseTensor([[0, 1]], [1], [3, 4])
    assert tf.type_spec_from_value(sparse) == tf.SparseTensorSpec([3, 4], tf.int32)
    sparse.set_shape([3, None])
    with pytest.raises(ValueError, match="set_shape"):
        sparse.set_shape([3, 5])
    assert int(tf.RaggedTensor.from_uniform_row_length([1, 2, 3, 4], 2).uniform_row_length) == 2
    assert ragged.uniform_row_length is None
    with tf.GradientTape() as tape:
        ragged = tf.cast(ragged, tf.float32)
        tape.watch(ragged)
        square = ragged * ragged
    assert tape.gradient(square, ragged).to_list() == [[2, 4], [6]]


def test_slices_keep_their_parts():
    slices = tf.IndexedSlices(tf.ones([2, 3]), [1, 3], [4, 3])
    assert slices.indices == [1, 3] and slices.values.shape == (2, 3)
    np.testing.assert_array_equal(tf.convert_to_tensor(2 * slices), [[0] * 3, [2] * 3, [0] * 3, [2] * 3])


def test_the_older_choice_goes_on_without_datasets_that_ended():
    sources = [tf.data.Dataset.from_tensor_slices(part) for part in ([1, 2], [10, 20, 30])]
    choice = tf.data.Dataset.from_tensor_slices(tf.constant([0, 0, 0, 1, 1], tf.int64))
    assert list(tf.data.experimental.choose_from_datasets(sources, choice).as_numpy_iterator()) == [1, 2, 10, 20]
    assert list(tf.data.Dataset.choose_from_datasets(sources, choice).as_numpy_iterator()) == [1, 2]
