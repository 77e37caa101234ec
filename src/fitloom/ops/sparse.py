# SPDX-License-Identifier: Apache-2.0
"""`tf.SparseTensor` and the operations of `tf.sparse` that training scripts use."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.ops import arithmetic, creating, indexing, reductions, segments as grouped, shaping
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

    _type_spec = property(lambda self: SparseTensorSpec(self.shape, self.dtype))

    def get_shape(self):
        """Return the shape."""
        return self.shape

    def set_shape(self, shape):
        """Check that `shape`, of which parts may be None, is the shape."""
        if not self.shape.is_compatible_with(shape):
            raise ValueError(f"set_shape expected the shape {self._shape}, but received {TensorShape(shape)}.")

    def numpy(self):
        """Return the dense array."""
        return to_dense(self, validate_indices=False).numpy()

    def component_tensors(self):
        """Return the tensors that this one is made of, for `tf.nest` with `expand_composites`."""
        return [self.indices, self.values, self.dense_shape]

    def with_component_tensors(self, tensors):
        """Return a sparse tensor made of `tensors`."""
        return type(self)(*tensors)

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

    def component_tensors(self):
        """Return the tensors that this one is made of, for `tf.nest` with `expand_composites`."""
        return [self.values, self.indices] + ([] if self.dense_shape is None else [self.dense_shape])

    def with_component_tensors(self, tensors):
        """Return slices made of `tensors`."""
        return type(self)(*tensors)

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


def rows_of(sp_input) -> list:
    """Return the SparseTensors of one axis less that `sp_input` consists of."""
    places = np.asarray(sp_input.indices)
    count, *inner = tuple(sp_input.shape)
    order = np.argsort(places[:, 0], kind="stable")
    cuts = np.searchsorted(places[order, 0], np.arange(count + 1))
    return [SparseTensor(places[chosen, 1:], indexing.gather(sp_input.values, chosen), tuple(inner))
            for chosen in (order[a:b] for a, b in zip(cuts[:-1], cuts[1:]))]


def stack_rows(rows) -> SparseTensor:
    """Return the SparseTensor whose rows are `rows`, as wide as the widest."""
    places = [np.asarray(row.indices) for row in rows]
    numbered = [np.concatenate([np.full((len(p), 1), i, np.int64), p], axis=1) for i, p in enumerate(places)]
    widest = np.max([np.asarray(row.dense_shape) for row in rows], axis=0)
    return SparseTensor(np.concatenate(numbered), shaping.concat([row.values for row in rows], 0),
                        (len(rows), *widest.tolist()))


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
    """Return the dense tensor, `default_value` (0) where there is no value.

    Raises:
        tf.errors.InvalidArgumentError: with `validate_indices`, indices are repeated, not sorted or out of bounds.
    """
    places, shape = np.asarray(sp_input.indices), tuple(sp_input.shape)
    if validate_indices and len(places):
        _check_order(places, shape)
    if sp_input.dtype is dtypes.string:
        whole = bytes_array([b"" if default_value is None else default_value] * int(np.prod(shape)), shape)
        whole[tuple(places.T)] = np.asarray(sp_input.values)
        return engine.Tensor(whole)
    from fitloom.ops.creating import fill

    base = fill(shape, engine.convert_to_tensor(0 if default_value is None else default_value, dtype=sp_input.dtype))
    return indexing.tensor_scatter_nd_update(base, sp_input.indices, sp_input.values)


def _check_order(places, shape):
    """Raise unless coordinates lie in `shape` and grow from each to the next."""
    if (places < 0).any() or (places >= np.asarray(shape, np.int64)).any():
        wrong = places[((places < 0) | (places >= np.asarray(shape, np.int64))).any(1)][0]
        raise InvalidArgumentError(f"to_dense expected indices within the shape {shape}, but received "
                                   f"{wrong.tolist()}.")
    flat = np.ravel_multi_index(tuple(places.T), shape) if shape else np.zeros(len(places), np.int64)
    steps = np.diff(flat)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0)) + 1
        what = "is repeated" if steps[at - 1] == 0 else "is out of order: sort them with tf.sparse.reorder"
        raise InvalidArgumentError(f"to_dense expected sorted indices without repetition, but index {at}, "
                                   f"{places[at].tolist()}, {what}.")


def _summed(sp_input):
    """Return the dense tensor, values at the same place added."""
    return indexing.scatter_nd(sp_input.indices, sp_input.values, tuple(sp_input.shape))


def sparse_dense_matmul(sp_a, b, adjoint_a=False, adjoint_b=False, name=None):
    """Return the product of a sparse and a dense matrix (either may be the sparse one)."""
    dense = [_summed(m) if isinstance(m, SparseTensor) else m for m in (sp_a, b)]
    return matmul(*dense, adjoint_a=adjoint_a, adjoint_b=adjoint_b)


def sparse_reduce_sum(sp_input, axis=None, keepdims=None, output_is_sparse=False, name=None):
    """Return the sum over `axis`, dense unless asked otherwise."""
    total = reductions.reduce_sum(_summed(sp_input), axis, bool(keepdims))
    return from_dense(total) if output_is_sparse else total


def sparse_reduce_max(sp_input, axis=None, keepdims=None, output_is_sparse=False, name=None):
    """Return the maximum of the values present over `axis`; 0 where none is."""
    best = reductions.reduce_max(to_dense(sp_input, sp_input.dtype.min, validate_indices=False), axis, bool(keepdims))
    present = to_dense(sp_input.with_values(creating.ones_like(sp_input.values, dtypes.int32)), validate_indices=False)
    best = shaping.where(reductions.reduce_max(present, axis, bool(keepdims)) > 0, best, creating.zeros_like(best))
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


def _united(a, b):
    """Return (places of either, values of a there, values of b there, shape); 0 where one has none."""
    if tuple(a.shape) != tuple(b.shape):
        raise InvalidArgumentError(f"Two sparse tensors of one shape were expected, but their shapes are "
                                   f"{tuple(a.shape)} and {tuple(b.shape)}.")
    ours, theirs = np.asarray(a.indices), np.asarray(b.indices)
    places, where = np.unique(np.concatenate([ours, theirs]), axis=0, return_inverse=True)
    where = where.reshape(-1)
    spread = [grouped.unsorted_segment_sum(x.values, part, len(places))
              for x, part in ((a, where[:len(ours)]), (b, where[len(ours):]))]
    return places, *spread, tuple(a.shape)


def sparse_add(a, b, threshold=0):
    """Return the sum; sparse if both are. Values of at most `threshold` in size are left out of a sparse sum."""
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        places, left, right, shape = _united(a, b)
        total = left + right
        if host_value(threshold):
            keep = np.flatnonzero(np.abs(host_value(total, "a sum with a threshold")) > host_value(threshold))
            places, total = places[keep], indexing.gather(total, keep)
        return SparseTensor(places, total, shape)
    return (_summed(a) if isinstance(a, SparseTensor) else a) + (_summed(b) if isinstance(b, SparseTensor) else b)


def sparse_maximum(sp_a, sp_b, name=None):
    """Return the larger of two sparse tensors at each place that one of them has; a missing value is 0."""
    places, left, right, shape = _united(sp_a, sp_b)
    return SparseTensor(places, arithmetic.maximum(left, right), shape)


def sparse_minimum(sp_a, sp_b, name=None):
    """Return the smaller of two sparse tensors at each place that one of them has; a missing value is 0."""
    places, left, right, shape = _united(sp_a, sp_b)
    return SparseTensor(places, arithmetic.minimum(left, right), shape)


def sparse_split(sp_input=None, num_split=None, axis=None, name=None):
    """Return `num_split` sparse tensors, the parts along `axis`; the first are longer by 1 if it does not divide."""
    axis, size = axis % len(sp_input.shape), tuple(sp_input.shape)
    bounds = np.cumsum([0] + [len(part) for part in np.array_split(np.arange(size[axis]), num_split)])
    return [sparse_slice(sp_input, np.where(np.arange(len(size)) == axis, a, 0),
                         np.where(np.arange(len(size)) == axis, b - a, size))
            for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def sparse_fill_empty_rows(sp_input, default_value, name=None):
    """Return (the tensor with `default_value` in the first column of rows without values, which rows those were)."""
    places, rows = np.asarray(sp_input.indices), tuple(sp_input.shape)[0]
    empty = ~np.isin(np.arange(rows), places[:, 0])
    added = np.stack([np.flatnonzero(empty), np.zeros(empty.sum(), np.int64)], 1)
    values = shaping.concat([sp_input.values, shaping.broadcast_to(
        engine.convert_to_tensor(default_value, dtype=sp_input.dtype), [len(added)])], 0)
    return sparse_reorder(SparseTensor(np.concatenate([places, added]), values, sp_input.shape)), engine.Tensor(empty)


def sparse_reset_shape(sp_input, new_shape=None):
    """Return the values in a tensor of `new_shape`; without it, of the smallest shape that holds them."""
    places = np.asarray(sp_input.indices)
    tight = places.max(0, initial=-1) + 1
    shape = tight if new_shape is None else np.asarray(static_ints(new_shape))
    if len(shape) != len(tight) or (shape < np.asarray(tuple(sp_input.shape))).any() and new_shape is not None:
        raise InvalidArgumentError(f"reset_shape expected a shape of at least {tuple(sp_input.shape)}, but received "
                                   f"{tuple(shape)}.")
    return SparseTensor(places, sp_input.values, shape)


def sparse_slice(sp_input, start, size, name=None):
    """Return the block of `size` that begins at `start`."""
    start, size = np.asarray(static_ints(start)), np.asarray(static_ints(size))
    places = np.asarray(sp_input.indices)
    end = np.minimum(start + size, np.asarray(tuple(sp_input.shape)))
    keep = np.flatnonzero(((places >= start) & (places < end)).all(1))
    return SparseTensor(places[keep] - start, indexing.gather(sp_input.values, keep), end - start)


def sparse_concat(axis, sp_inputs, expand_nonconcat_dims=False, name=None):
    """Return sparse tensors joined along `axis`; with `expand_nonconcat_dims` the other axes may differ in size."""
    shapes = np.asarray([tuple(s.shape) for s in sp_inputs])
    axis = axis % shapes.shape[1]
    whole = shapes.max(0)
    if not expand_nonconcat_dims and (np.delete(shapes, axis, 1) != np.delete(whole, axis)).any():
        raise InvalidArgumentError(f"sparse.concat along axis {axis} expected tensors of one size on the other axes, "
                                   f"but received shapes {[tuple(map(int, shape)) for shape in shapes]}.")
    begins = np.cumsum([0, *shapes[:-1, axis]])
    whole[axis] = shapes[:, axis].sum()
    places = [np.asarray(s.indices) + begin * (np.arange(len(whole)) == axis)
              for s, begin in zip(sp_inputs, begins, strict=True)]
    return sparse_reorder(SparseTensor(np.concatenate(places), shaping.concat([s.values for s in sp_inputs], 0), whole))


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


def safe_embedding_lookup_sparse(embedding_weights, sparse_ids, sparse_weights=None, combiner="mean", default_id=None,
                                 max_norm=None, name=None, allow_fast_lookup=False):
    """Return `embedding_lookup_sparse`, rows without ids giving zeros."""
    return embedding_lookup_sparse(embedding_weights, sparse_ids, sparse_weights, combiner, max_norm)


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
