# SPDX-License-Identifier: Apache-2.0
"""Sparse tensors as TensorFlow's guides use them."""
import numpy as np
import pytest

import fitloom as tf


def dense(sparse):
    return tf.sparse.to_dense(sparse).numpy().tolist()


A = tf.SparseTensor([[0, 1], [2, 0]], [5, -1], [3, 2])
B = tf.SparseTensor([[0, 1], [1, 1]], [2, 3], [3, 2])


def test_two_tensors():
    assert dense(tf.sparse.add(A, B)) == [[0, 7], [0, 3], [-1, 0]]
    assert dense(tf.sparse.maximum(A, B)) == [[0, 5], [0, 3], [0, 0]]
    assert dense(tf.sparse.minimum(A, B)) == [[0, 2], [0, 0], [-1, 0]]
    assert tf.sparse.add(A, B, threshold=3).values.numpy().tolist() == [7]
    assert dense(tf.sparse.concat(1, [A, B])) == [[0, 5, 0, 2], [0, 0, 0, 3], [-1, 0, 0, 0]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one size"):
        tf.sparse.concat(0, [A, tf.SparseTensor([[0, 0]], [1], [1, 4])])
    huge = tf.SparseTensor([[0, 0]], [1], [10 ** 6, 10 ** 6])
    assert tf.sparse.add(huge, huge).values.numpy().tolist() == [2]


def test_parts_and_shapes():
    assert [dense(part) for part in tf.sparse.split(A, 2, axis=0)] == [[[0, 5], [0, 0]], [[-1, 0]]]
    filled, empty = tf.sparse.fill_empty_rows(A, 9)
    assert dense(filled) == [[0, 5], [9, 0], [-1, 0]] and empty.numpy().tolist() == [False, True, False]
    assert tuple(tf.sparse.reset_shape(B).shape) == (2, 2)
    assert tuple(tf.sparse.reset_shape(B, [4, 4]).shape) == (4, 4)
    assert tf.sparse.reduce_max(A, 1).numpy().tolist() == [5, 0, -1]


def test_edit_distance_of_different_shapes():
    hypothesis = tf.SparseTensor([[0, 0, 0], [1, 0, 0]], ["a", "b"], (2, 1, 1))
    truth = tf.SparseTensor([[0, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]], ["a", "b", "c", "a"], (2, 2, 2))
    assert tf.edit_distance(hypothesis, truth).numpy().tolist() == [[np.inf, 1.0], [0.5, 1.0]]


def test_raw_bytes_of_a_fixed_length():
    made = tf.io.decode_raw(tf.constant([["1"], ["234567"]]), tf.uint8, fixed_length=4)
    assert made.numpy().tolist() == [[[49, 0, 0, 0]], [[50, 51, 52, 53]]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="fixed_length"):
        tf.io.decode_raw(tf.constant("1234"), tf.uint16, fixed_length=3)


def test_constant_initializer_of_a_list():
    init = tf.constant_initializer([0, 1, 2, 3])
    assert init([2, 2], tf.int32).numpy().tolist() == [[0, 1], [2, 3]]
    with pytest.raises(TypeError, match="4 values"):
        init([3])


def test_round_with_digits():
    assert float(round(tf.Variable(1.2345), 2)) == pytest.approx(1.23)
