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
