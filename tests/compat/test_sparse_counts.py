# SPDX-License-Identifier: Apache-2.0
"""Counts and crossed features as sparse tensors, sums of chosen rows, dropout with the caller's numbers."""
import numpy as np
import pytest

import fitloom as tf

VALUES = np.array([[10, 20, 30, 20], [11, 101, 11, 10001]], np.int64)


def parts(sparse):
    return sparse.indices.numpy().tolist(), sparse.values.numpy().tolist(), sparse.dense_shape.numpy().tolist()


def test_counts():
    places = [[0, 10], [0, 20], [0, 30], [1, 11], [1, 101]]
    assert parts(tf.sparse.bincount(VALUES, axis=-1, maxlength=500)) == (places, [1, 2, 1, 2, 1], [2, 500])
    assert parts(tf.sparse.bincount(VALUES, axis=-1, maxlength=500, binary_output=True))[1] == [1, 1, 1, 1, 1]
    weighed = tf.sparse.bincount(VALUES, weights=np.float32([[2, 0.25, 0.5, 3], [1, 2, 3, 4]]), axis=-1, maxlength=500)
    assert parts(weighed)[1] == [2, 3.25, 0.5, 4, 2] and weighed.dtype == tf.float32
    assert parts(tf.sparse.bincount([1, 1, 3])) == ([[1], [3]], [2, 1], [4])
    assert parts(tf.sparse.bincount(tf.ragged.constant([[1], [], [2, 2]]), axis=-1)) == ([[0, 1], [2, 2]], [1, 2], [3, 3])
    with pytest.raises(ValueError, match="not both"):
        tf.sparse.bincount(VALUES, weights=VALUES, binary_output=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 0"):
        tf.sparse.bincount([-1])


def test_crossed_features_put_sparse_inputs_first_as_tensorflow_does():
    a, b = tf.constant([["a"], ["b"]]), tf.sparse.from_dense([["c", "d"], ["e", ""]])
    assert parts(tf.sparse.cross([a, b], separator="_Y_")) == (
        [[0, 0], [0, 1], [1, 0]], [b"c_Y_a", b"d_Y_a", b"e_Y_b"], [2, 2])
    assert parts(tf.sparse.cross_hashed([a, b], num_buckets=50))[1] == [44, 41, 34]


def test_sums_of_chosen_rows():
    data = tf.constant([[1.0, 2, 3, 4], [-1, -2, -3, -4], [5, 6, 7, 8]])
    assert tf.sparse.segment_sum(data, [0, 1, 2], [0, 0, 1]).numpy().tolist() == [[0] * 4, [5, 6, 7, 8]]
    assert tf.sparse.segment_mean(data, [0, 2], [1, 1], num_segments=3).numpy().tolist() == [[0] * 4, [3, 4, 5, 6], [0] * 4]
    np.testing.assert_allclose(tf.sparse.segment_sqrt_n(data, [0, 2], [0, 0])[0], np.array([6, 8, 10, 12]) / 2 ** 0.5)


def test_dropout_with_the_callers_numbers():
    x = tf.ones([3, 5])
    dropped = tf.nn.experimental.stateless_dropout(x, rate=0.5, seed=[1, 0])
    assert set(dropped.numpy().ravel().tolist()) == {0, 2}
    columns = tf.nn.experimental.stateless_dropout(x, rate=0.5, seed=[1, 0], noise_shape=[1, None]).numpy()
    assert (columns == columns[0]).all()
    chosen = tf.nn.experimental.general_dropout(x, 0.5, lambda shape, dtype: tf.fill(shape, tf.cast(0.7, dtype)))
    assert (chosen.numpy() == 2).all()
    with pytest.raises(ValueError, match="floating"):
        tf.nn.experimental.general_dropout(tf.constant([1]), 0.5, None)


def test_nearest_candidates():
    x = tf.constant([[1.0, 5.0, 3.0, 2.0]])
    values, places = tf.nn.approx_max_k(x, 2)
    assert values.numpy().tolist() == [[5, 3]] and places.numpy().tolist() == [[1, 2]]
    assert tf.math.approx_min_k(x, 2)[1].numpy().tolist() == [[0, 3]]
