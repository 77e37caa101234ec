# SPDX-License-Identifier: Apache-2.0
"""`tf.sparse`: counts of values, crossed features, sums of chosen rows by segments."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops import indexing, ragged as ragged_rows, segments
from fitloom.ops.calling import host_value, tensor
from fitloom.ops.ragged import RaggedTensor
from fitloom.ops.sparse import SparseTensor


def _rows(values):
    """Return (row of each value, values, number of rows) of a dense, sparse or ragged vector or matrix."""
    if isinstance(values, SparseTensor):
        places, count = np.asarray(values.indices), tuple(values.shape)[0] if len(values.shape) > 1 else 1
        rows = places[:, 0] if places.shape[1] > 1 else np.zeros(len(places), np.int64)
        return rows, host_value(values.values, "bincount's values"), count
    if isinstance(values, RaggedTensor):
        return np.asarray(values.value_rowids()), host_value(values.flat_values, "bincount's values"), len(values)
    array = host_value(tensor(values), "bincount's values")
    count = array.shape[0] if array.ndim > 1 else 1
    return np.repeat(np.arange(count), array.size // max(count, 1)), array.ravel(), count


def bincount(values, weights=None, axis=0, minlength=None, maxlength=None, binary_output=False, name=None):
    """Return how often each value 0, 1, ... occurs as a SparseTensor, or the sum of its weights.

    Args:
        values: whole numbers: dense, sparse or ragged.
        weights: of the same form; the result has their dtype, else int64.
        axis: 0 counts everything, -1 each row.
        minlength, maxlength: the least and greatest size of the result's last axis; greater values do not count.
        binary_output: 1 where a value occurs at all.

    Example:
        >>> import fitloom as tf
        >>> tf.sparse.to_dense(tf.sparse.bincount([[1, 1, 3], [0, 3, 3]], axis=-1)).numpy().tolist()
        [[0, 2, 0, 1], [1, 0, 0, 2]]
    """
    if axis not in (0, -1):
        raise ValueError(f"sparse.bincount expected axis 0 or -1, but received {axis}.")
    if binary_output and weights is not None:
        raise ValueError("sparse.bincount takes weights or binary_output=True, not both.")
    rows, numbers, count = _rows(values)
    if (numbers < 0).any():
        raise InvalidArgumentError(f"sparse.bincount expected values of at least 0, but received {int(numbers.min())}.")
    whole = axis == 0 or len(getattr(values, "shape", np.shape(values))) < 2
    rows = np.zeros_like(rows) if whole else rows
    added = np.ones(len(numbers), np.int64) if weights is None else _rows(weights)[1]
    width = max(int(numbers.max(initial=-1)) + 1, int(minlength or 0))
    width = width if maxlength is None else min(width, int(maxlength))
    kept = numbers < width
    rows, numbers, added = rows[kept], numbers[kept].astype(np.int64), added[kept]
    places, where = np.unique(np.stack([rows, numbers], 1).reshape(-1, 2), axis=0, return_inverse=True)
    sums = np.zeros(len(places), added.dtype)
    np.add.at(sums, where.reshape(-1), added)
    sums = np.minimum(sums, 1) if binary_output else sums
    if whole:
        return SparseTensor(places[:, 1:], engine.Tensor(sums), (width,))
    return SparseTensor(places, engine.Tensor(sums), (count, width))


def _sparse_first(inputs):
    return sorted(inputs, key=lambda each: not isinstance(each, SparseTensor))


def cross(inputs, name=None, separator=None):
    """Return all combinations of one value of each input, row by row, as texts joined by `separator` ('_X_').

    As in TensorFlow, the values of sparse inputs come before those of dense ones.
    """
    return ragged_rows.cross(_sparse_first(inputs), separator="_X_" if separator is None else separator).to_sparse()


def cross_hashed(inputs, num_buckets=0, hash_key=None, name=None):
    """Return the buckets of all combinations of one value of each input, row by row: TensorFlow's numbers."""
    return ragged_rows.cross_hashed(_sparse_first(inputs), num_buckets, hash_key).to_sparse()


def _by_segments(kind):
    def public(data, indices, segment_ids, num_segments=None, name=None):
        ids = host_value(segment_ids, "segment_ids")
        count = int(ids.max(initial=-1)) + 1 if num_segments is None else int(host_value(num_segments))
        return kind(indexing.gather(tensor(data), indices), ids, count)
    return public


segment_sum = _by_segments(segments.unsorted_segment_sum)
segment_mean = _by_segments(segments.unsorted_segment_mean)
segment_sqrt_n = _by_segments(segments.unsorted_segment_sqrt_n)
for _name, _function in (("sum", segment_sum), ("mean", segment_mean), ("sqrt_n", segment_sqrt_n)):
    _function.__name__ = _function.__qualname__ = f"segment_{_name}"
    _function.__doc__ = f"Return the segment_{_name} of the rows of `data` at `indices`."
