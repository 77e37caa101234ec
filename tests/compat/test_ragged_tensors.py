# SPDX-License-Identifier: Apache-2.0
"""Ragged tensors as TensorFlow's guide uses them."""
import pytest

import fitloom as tf


def test_from_sparse():
    sparse = tf.SparseTensor([[0, 0], [2, 0], [2, 1]], ["a", "b", "c"], [3, 3])
    assert tf.RaggedTensor.from_sparse(sparse).to_list() == [[b"a"], [], [b"b", b"c"]]
    with pytest.raises(ValueError, match="not right-ragged"):
        tf.RaggedTensor.from_sparse(tf.SparseTensor([[0, 1]], [1], [1, 2]))


def test_lengths_of_nested_rows():
    ragged = tf.ragged.constant([[[3, 1], []], [], [[2]]])
    assert ragged.row_lengths(axis=2).to_list() == [[2, 0], [], [1]]
    assert [lengths.numpy().tolist() for lengths in ragged.nested_row_lengths()] == [[2, 0, 1], [2, 0, 1]]
    assert [rows.numpy().tolist() for rows in ragged.nested_value_rowids()] == [[0, 0, 2], [0, 0, 2]]


def test_dense_form_of_another_size():
    ragged = tf.ragged.constant([[9, 8, 7], [], [6]])
    assert ragged.to_tensor(shape=[5, 2]).numpy().tolist() == [[9, 8], [0, 0], [6, 0], [0, 0], [0, 0]]
    assert ragged.to_tensor(shape=[1, None]).numpy().tolist() == [[9, 8, 7]]


@pytest.mark.parametrize("values", [[["one"], [3]], ["A", ["B", "C"]]])
def test_mixed_values_are_refused(values):
    with pytest.raises(ValueError, match="ragged.constant"):
        tf.ragged.constant(values)


def test_tile_and_reverse():
    ragged = tf.ragged.constant([[3, 1], [], [2]])
    assert tf.tile(ragged, [1, 2]).to_list() == [[3, 1, 3, 1], [], [2, 2]]
    assert tf.tile(ragged, [2, 1]).to_list() == [[3, 1], [], [2], [3, 1], [], [2]]
    assert tf.reverse(ragged, [1]).to_list() == [[1, 3], [], [2]]
    assert tf.concat([ragged, tf.reverse(ragged, [0])], 0).to_list() == [[3, 1], [], [2], [2], [], [3, 1]]


def test_as_argument_of_a_function():
    @tf.function
    def palindrome(x):
        return tf.concat([x, tf.reverse(x, [1])], 1)

    assert palindrome(tf.ragged.constant([[1, 2], [3]])).to_list() == [[1, 2, 2, 1], [3, 3]]
    assert palindrome(tf.constant([[1, 2]])).numpy().tolist() == [[1, 2, 2, 1]]


def test_ragged_from_nested_parts():
    ragged = tf.RaggedTensor
    assert ragged.from_nested_row_splits([3, 1, 4, 1], [[0, 2, 2], [0, 3, 4]]).to_list() == [[[3, 1, 4], [1]], []]
    assert ragged.from_nested_row_lengths([1, 2, 3], [[1, 2], [1, 0, 2]]).to_list() == [[[1]], [[], [2, 3]]]
    assert ragged.from_nested_value_rowids([1, 2, 3], [[0, 0, 1], [0, 2, 2]], [3, 3]).to_list() == [
        [[1], []], [[2, 3]], []]
    dense = [[[5, 6], [7, 8]], [[0, 0], [0, 0]], [[6, 0], [1, 2]]]
    assert ragged.from_tensor(dense, lengths=([2, 0, 2], [1, 1, 2, 0])).to_list() == [[[5], [7]], [], [[6, 0], []]]


def test_row_splits_and_segment_ids():
    assert tf.ragged.row_splits_to_segment_ids([0, 3, 3, 5]).numpy().tolist() == [0, 0, 0, 2, 2]
    assert tf.ragged.segment_ids_to_row_splits([0, 0, 0, 2, 2], 4).numpy().tolist() == [0, 3, 3, 5, 5]


def test_partitions_become_rows():
    made = tf.ragged.stack_dynamic_partitions(["a", "b", "c", "d", "e"], [3, 0, 2, 2, 3], 5)
    assert made.to_list() == [[b"b"], [], [b"c", b"d"], [b"a", b"e"], []]
    rows = tf.ragged.constant([[1, 2], [3], [4, 5]])
    assert tf.ragged.stack_dynamic_partitions(rows, [1, 0, 1], 3).to_list() == [[[3]], [[1, 2], [4, 5]], []]
    assert tf.ragged.stack_dynamic_partitions([[1, 2], [3, 4]], [[1, 0], [1, 2]], 3).to_list() == [[2], [1, 3], [4]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="partitions in"):
        tf.ragged.stack_dynamic_partitions([1, 2], [0, 2], 2)


def test_crossed_features_are_those_of_tensorflow():
    inputs = [tf.ragged.constant([["a"], ["b", "c"]]), tf.ragged.constant([["d"], ["e"]]), [["f"], ["g"]]]
    assert tf.ragged.cross(inputs).to_list() == [[b"a_X_d_X_f"], [b"b_X_e_X_g", b"c_X_e_X_g"]]
    assert tf.ragged.cross_hashed(inputs, num_buckets=100).to_list() == [[78], [66, 74]]
    numbers = [tf.ragged.constant([[1, 2], [3]]), [[4], [5]]]
    assert tf.ragged.cross_hashed(numbers, num_buckets=1000, hash_key=5).to_list() == [[817, 972], [27]]
    assert tf.ragged.cross_hashed(inputs).to_list()[0] == [5684865645872741371]


def test_reductions_over_columns_and_over_all_axes():
    rows = tf.ragged.constant([[3.0, 1.0, 4.0], [1.0, 5.0, 9.0, 2.0], [6.0]])
    assert tf.reduce_sum(rows, axis=0).numpy().tolist() == [10, 6, 13, 2]
    assert tf.reduce_mean(rows, axis=0).numpy().tolist() == pytest.approx([10 / 3, 3, 6.5, 2])
    assert tf.reduce_max(rows, axis=[0]).numpy().tolist() == [6, 5, 9, 2]
    assert float(tf.reduce_sum(rows, axis=[0, 1])) == 31
    truths = tf.ragged.constant([[True, False], [], [True], [False, False]])
    assert tf.reduce_any(truths, axis=0).numpy().tolist() == [True, False]
