# SPDX-License-Identifier: Apache-2.0
"""`tf.SparseTensor` and the operations of `tf.sparse` that training scripts use."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.shapes import TensorShape
from fitloom.ops import indexing, reductions, segments as grouped
from fitloom.ops.calling import host_value, static_ints, tensor
from fitloom.ops.casting import bytes_array, cast
from fitloom.ops.linear_algebra import matmul
from fitloom.ops.ragged import RaggedTensor


class SparseTensor:
    """Values at some places of a tensor that is zero elsewhere.

    Args:
        indices: (count, ndim) coordinates; values: (count,); dense_shape: (ndim,).

    Example:
        >>> import fitloom as tf
        >>> tf.sparse.to_dense(tf.SparseTensor([[0, 1]], [5.0], [1, 2])).numpy().tolist()
        [[0.0, 5.0]]
    """

    def __init__(self, indices, values, dense_shape):
        shape = static_ints(dense_shape)
        places = np.asarray(host_value(indices, "a sparse tensor's indices"), np.int64).reshape(-1, len(shape))
        self.indices, self.values = engine.Tensor(places), tensor(values)
        self._shape = shape
        if self.values.shape[0] != len(places):
            raise ValueError(f"SparseTensor expected as many values as indices, but received {self.values.shape[0]} "
                             f"values and {len(places)} indices.")

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: TensorShape(self._shape))
    dense_shape = property(lambda self: engine.Tensor(np.asarray(self._shape, np.int64)))

    def get_shape(self):
        """Return the shape."""
        return self.shape

    def numpy(self):
        """Return the dense array."""
        return to_dense(self).numpy()

    def with_values(self, new_values):
        """Return the same places with other values."""
        return SparseTensor(self.indices, new_values, self._shape)

    def __repr__(self):
        return f"SparseTensor(shape={self._shape}, dtype={self.dtype.name}, count={len(self.indices)})"

    def __mul__(self, other):
        dense = tensor(other)
        if len(dense.shape):
            dense = indexing.gather_nd(dense + 0 * to_dense(self) if tuple(dense.shape) != self._shape else dense,
                                       self.indices)
        return self.with_values(self.values * dense)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self * (1 / tensor(other))


def _from_ragged(ragged, name=None):
    """Return the SparseTensor of the values at (row, position)."""
    rows = np.asarray(ragged.value_rowids())
    columns = np.arange(len(rows)) - np.asarray(ragged.row_starts())[rows]
    return SparseTensor(np.stack([rows, columns], 1), ragged.flat_values, np.asarray(ragged.bounding_shape()))


RaggedTensor.to_sparse = _from_ragged  # type: ignore[attr-defined]  # here, because a sparse tensor is made of more than a ragged one


class IndexedSlices:
    """Some slices of a large tensor along axis 0: what the gradient of a gather can look like.

    Args:
        values: (count, ...); indices: (count,); dense_shape: the whole shape.
    """

    def __init__(self, values, indices, dense_shape=None):
        self.values, self.indices, self.dense_shape = values, indices, dense_shape

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: TensorShape(None if self.dense_shape is None else static_ints(self.dense_shape)))
    name = "IndexedSlices"

    def __tf_tensor__(self, dtype=None):
        return grouped.unsorted_segment_sum(self.values, self.indices, static_ints(self.dense_shape)[0])

    def __neg__(self):
        return IndexedSlices(-self.values, self.indices, self.dense_shape)

    def __mul__(self, other):
        return IndexedSlices(self.values * other, self.indices, self.dense_shape)

    __rmul__ = __mul__


class SparseTensorSpec:
    """The type of a SparseTensor: shape and dtype."""

    def __init__(self, shape=None, dtype=dtypes.float32):
        self.shape, self.dtype = TensorShape(shape), dtypes.as_dtype(dtype)

    value_type = property(lambda self: SparseTensor)

    def __repr__(self):
        return f"SparseTensorSpec({self.shape!r}, {self.dtype!r})"

    def __eq__(self, other):
        return isinstance(other, SparseTensorSpec) and repr(self) == repr(other)

    def __hash__(self):
        return hash(repr(self))


def from_dense(tensor, name=None):
    """Return the SparseTensor of the elements that are not zero."""
    array = host_value(engine.convert_to_tensor(tensor), "from_dense's input")
    places = np.argwhere(array != (b"" if array.dtype == object else 0))
    return SparseTensor(places, engine.Tensor(array[tuple(places.T)]), array.shape)


def to_dense(sp_input, default_value=None, validate_indices=True, name=None):
    """Return the dense tensor, `default_value` (0) where there is no value."""
    places, shape = np.asarray(sp_input.indices), tuple(sp_input.shape)
    if sp_input.dtype is dtypes.string:
        whole = bytes_array([b"" if default_value is None else default_value] * int(np.prod(shape)), shape)
        whole[tuple(places.T)] = np.asarray(sp_input.values)
        return engine.Tensor(whole)
    from fitloom.ops.creating import fill

    base = fill(shape, engine.convert_to_tensor(0 if default_value is None else default_value, dtype=sp_input.dtype))
    return indexing.tensor_scatter_nd_update(base, sp_input.indices, sp_input.values)


def sparse_dense_matmul(sp_a, b, adjoint_a=False, adjoint_b=False, name=None):
    """Return the product of a sparse and a dense matrix (either may be the sparse one)."""
    dense = [to_dense(m) if isinstance(m, SparseTensor) else m for m in (sp_a, b)]
    return matmul(*dense, adjoint_a=adjoint_a, adjoint_b=adjoint_b)


def sparse_reduce_sum(sp_input, axis=None, keepdims=None, output_is_sparse=False, name=None):
    """Return the sum over `axis`, dense unless asked otherwise."""
    total = reductions.reduce_sum(to_dense(sp_input), axis, bool(keepdims))
    return from_dense(total) if output_is_sparse else total


def sparse_reduce_max(sp_input, axis=None, keepdims=None, output_is_sparse=False, name=None):
    """Return the maximum of the values present over `axis`."""
    low = sp_input.dtype.min
    best = reductions.reduce_max(to_dense(sp_input, low), axis, bool(keepdims))
    return from_dense(best) if output_is_sparse else best


def sparse_transpose(sp_input, perm=None, name=None):
    """Return the sparse tensor with its axes permuted."""
    perm = list(range(len(sp_input.shape)))[::-1] if perm is None else list(static_ints(perm))
    made = SparseTensor(np.asarray(sp_input.indices)[:, perm], sp_input.values, [sp_input.shape[p] for p in perm])
    return sparse_reorder(made)


def sparse_reorder(sp_input, name=None):
    """Return the values in row-major order of their places."""
    places = np.asarray(sp_input.indices)
    order = np.lexsort(places.T[::-1])
    return SparseTensor(places[order], indexing.gather(sp_input.values, order), sp_input.shape)


def sparse_reshape(sp_input, shape, name=None):
    """Return the sparse tensor with another shape."""
    shape, old = list(static_ints(shape)), tuple(sp_input.shape)
    if -1 in shape:
        shape[shape.index(-1)] = int(np.prod(old)) // -int(np.prod(shape))
    flat = np.ravel_multi_index(tuple(np.asarray(sp_input.indices).T), old)
    return SparseTensor(np.stack(np.unravel_index(flat, shape), 1), sp_input.values, shape)


def sparse_add(a, b, threshold=0):
    """Return the sum; sparse if both are."""
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        return from_dense(to_dense(a) + to_dense(b))
    return (to_dense(a) if isinstance(a, SparseTensor) else a) + (to_dense(b) if isinstance(b, SparseTensor) else b)


def sparse_slice(sp_input, start, size, name=None):
    """Return the block of `size` that begins at `start`."""
    start, size = np.asarray(static_ints(start)), np.asarray(static_ints(size))
    places = np.asarray(sp_input.indices)
    end = np.minimum(start + size, np.asarray(tuple(sp_input.shape)))
    keep = np.flatnonzero(((places >= start) & (places < end)).all(1))
    return SparseTensor(places[keep] - start, indexing.gather(sp_input.values, keep), end - start)


def sparse_concat(axis, sp_inputs, expand_nonconcat_dims=False, name=None):
    """Return sparse tensors joined along `axis`."""
    from fitloom.ops.shaping import concat

    return from_dense(concat([to_dense(s) for s in sp_inputs], axis))


def sparse_retain(sp_input, to_retain):
    """Return the values where `to_retain` is true."""
    keep = np.flatnonzero(host_value(to_retain))
    return SparseTensor(np.asarray(sp_input.indices)[keep], indexing.gather(sp_input.values, keep), sp_input.shape)


def sparse_softmax(sp_input, name=None):
    """Return softmax over the values present in each row."""
    from fitloom.ops.activations import softmax

    dense = to_dense(sp_input, sp_input.dtype.min)
    return sp_input.with_values(indexing.gather_nd(softmax(dense), sp_input.indices))


def sparse_to_indicator(sp_input, vocab_size, name=None):
    """Return a dense boolean tensor, true at the values of the last axis."""
    places = np.asarray(sp_input.indices)[:, :-1]
    shape = (*tuple(sp_input.shape)[:-1], int(vocab_size))
    whole = np.zeros(shape, bool)
    whole[(*places.T, np.asarray(sp_input.values))] = True
    return engine.Tensor(whole)


def sparse_eye(num_rows, num_columns=None, dtype=dtypes.float32, name=None):
    """Return the sparse identity matrix."""
    return from_dense(np.eye(num_rows, num_columns, dtype=dtypes.numpy_dtype(dtype)))


def sparse_cast(x, dtype):
    """Return the same places with values of another dtype."""
    return x.with_values(cast(x.values, dtype))


def embedding_lookup_sparse(params, sp_ids, sp_weights=None, combiner="mean", max_norm=None, name=None,
                            allow_fast_lookup=False):
    """Return the rows of `params` at the ids of each row, combined by 'sum', 'mean' or 'sqrtn'."""
    from fitloom.ops.normalizing import embedding_lookup

    rows = embedding_lookup(params, sp_ids.values, max_norm)
    segments, count = np.asarray(sp_ids.indices)[:, 0], int(sp_ids.shape[0])
    if sp_weights is None:
        kind = {"sum": grouped.unsorted_segment_sum, "mean": grouped.unsorted_segment_mean,
                "sqrtn": grouped.unsorted_segment_sqrt_n}[combiner]
        return kind(rows, segments, count)
    weights = sp_weights.values[:, None]
    total = grouped.unsorted_segment_sum(rows * weights, segments, count)
    if combiner == "sum":
        return total
    if combiner == "mean":
        return total / grouped.unsorted_segment_sum(weights, segments, count)
    return total / grouped.unsorted_segment_sum(weights * weights, segments, count) ** 0.5


def safe_embedding_lookup_sparse(params, sparse_ids, sparse_weights=None, combiner="mean", default_id=None,
                                 max_norm=None, name=None, allow_fast_lookup=False):
    """Return `embedding_lookup_sparse`, rows without ids giving zeros."""
    return embedding_lookup_sparse(params, sparse_ids, sparse_weights, combiner, max_norm)


def map_values(op, *args, **kwargs):
    """Return `op` applied to the values of sparse arguments, at the places of the first."""
    first = next(a for a in [*args, *kwargs.values()] if isinstance(a, SparseTensor))

    def values(value):
        return value.values if isinstance(value, SparseTensor) else value
    return first.with_values(op(*[values(a) for a in args], **{k: values(v) for k, v in kwargs.items()}))


def sparse_expand_dims(sp_input, axis=None, name=None):
    """Return the sparse tensor with a new axis of size 1 (the last one, if `axis` is None)."""
    shape = list(sp_input.shape)
    axis = len(shape) if axis is None else axis % (len(shape) + 1)
    places = np.insert(np.asarray(sp_input.indices), axis, 0, axis=1)
    return SparseTensor(places, sp_input.values, [*shape[:axis], 1, *shape[axis:]])
