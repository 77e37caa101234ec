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
