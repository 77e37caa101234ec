# SPDX-License-Identifier: Apache-2.0
"""Elements by position: slices, gather, scatter, sort, search, segments, partitions."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, as_index, host_value, static_int, static_ints, tensor

# ---- slices


def _index(x, spec, positions):
    """x[spec]; each ('at',) in spec takes the next of `positions`, scalars that are inputs of the program."""
    key, positions, axis = [], iter(positions), 0
    shown = builtins.sum(1 for part in spec if part not in (None, "..."))
    if shown > x.ndim:
        raise InvalidArgumentError(f"Too many indices: {shown} for a tensor of shape {tuple(x.shape)}.")
    for part in spec:
        if part is None:
            key.append(None)
        elif part == "...":
            key.append(Ellipsis)
            axis += x.ndim - shown
        elif part == "at":
            key.append(next(positions))
            axis += 1
        elif isinstance(part, int):
            if not -x.shape[axis] <= part < x.shape[axis]:
                raise InvalidArgumentError(
                    f"slice index {part} of dimension {axis} out of bounds: its size is {x.shape[axis]}.")
            key.append(part)
            axis += 1
        else:
            key.append(builtins.slice(*part))
            axis += 1
    return x[tuple(key)]


@op(name="strided_slice", host=lambda x, *, spec: np.asarray(_index(x, spec, ())))
def _slice_static(x, *, spec):
    return _index(x, spec, ())


@op(name="strided_slice")
def _slice_dynamic(x, *positions, spec):
    return _index(x, spec, positions)


def _bound(value):
    return value if value is None or value.__class__ is int else static_int(value)


def _is_mask(key):
    kind = getattr(key, "dtype", None)
    return kind is not None and dtypes.as_dtype(kind) is dtypes.bool_ and len(getattr(key, "shape", ())) > 0


def getitem(x, key):
    """Return x[key] with TensorFlow's rules: numbers, slices, Ellipsis, tf.newaxis, scalar tensors, boolean masks."""
    if _is_mask(key):
        return boolean_mask(x, key)
    parts, spec, positions = key if isinstance(key, tuple) else (key,), [], []
    for part in parts:
        if part is None or part.__class__ is int:
            spec.append(part)
        elif part is Ellipsis:
            spec.append("...")
        elif isinstance(part, builtins.slice):
            spec.append((_bound(part.start), _bound(part.stop), _bound(part.step)))
        elif isinstance(part, (bool, np.bool_)):
            raise TypeError("A tensor index cannot be a bool. Use tf.boolean_mask(x, mask) to select by a mask.")
        elif isinstance(part, np.integer) or (isinstance(part, np.ndarray) and part.shape == ()):
            spec.append(int(part))
        elif engine.is_tensor(part) and len(part.shape) == 0:
            known = getattr(part, "_value", None)
            if known.__class__ is np.ndarray:
                spec.append(int(known))
            else:
                spec.append("at")
                positions.append(part)
        elif engine.is_tensor(part) or isinstance(part, (list, np.ndarray)):
            if len(parts) == 1 and (engine.is_tensor(part) or isinstance(part, np.ndarray)):
                return gather(x, part)
            raise TypeError(
                "Only whole numbers, slices, Ellipsis, tf.newaxis, scalar tensors and boolean masks are valid tensor "
                f"indices, but received {type(part).__name__}. To select by a list, use tf.gather(x, indices).")
        else:
            raise TypeError(f"A tensor index must be a whole number, a slice, Ellipsis, tf.newaxis or a scalar "
                            f"tensor, but received {part!r}.")
    if getattr(x, "_value", None).__class__ is np.ndarray and x._value.dtype == object:
        return engine.Tensor(np.asarray(_index(x._value, spec, [np.asarray(p) for p in positions]), object))
    if positions:
        return _slice_dynamic(x, *positions, spec=tuple(spec))
    return _slice_static(x, spec=tuple(spec))


@op(name="slice")
def _slice_from(x, begin, *, size):
    whole = tuple(x.shape[i] - int(begin[i]) if s == -1 else s for i, s in enumerate(size))
    return lax.dynamic_slice(x, [begin[i] for i in builtins.range(x.ndim)], whole)


def slice(input_, begin, size, name=None):
    """Return the block of `size` that starts at `begin`; a size of -1 means "to the end".

    Raises:
        InvalidArgumentError: the block does not lie inside the tensor.
    """
    input_, size = tensor(input_), static_ints(size)
    try:
        begin = static_ints(begin)
    except InvalidArgumentError:
        if -1 in size:
            raise
        return _slice_from(input_, as_index(begin), size=size)
    shape = tuple(input_.shape)
    for axis, (b, s, length) in enumerate(zip(begin, size, shape, strict=True)):
        if length is not None and (b < 0 or (s != -1 and b + s > length)):
            raise InvalidArgumentError(f"slice expected begin + size within axis {axis} of size {length}, "
                                       f"but received begin {b} and size {s}.")
    spec = tuple((b, None if s == -1 else b + s, None) for b, s in zip(begin, size, strict=True))
    return _slice_static(input_, spec=spec)


def strided_slice(input_, begin, end, strides=None, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0,
                  shrink_axis_mask=0, var=None, name=None):
    """Return input_[begin[0]:end[0]:strides[0], ...]; bit i of a mask changes how entry i is read."""
    begin, end = static_ints(begin), static_ints(end)
    strides = (1,) * len(begin) if strides is None else static_ints(strides)
    key = []
    for i, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << i
        if ellipsis_mask & bit:
            key.append(Ellipsis)
        elif new_axis_mask & bit:
            key.append(None)
        elif shrink_axis_mask & bit:
            key.append(b)
        else:
            key.append(builtins.slice(None if begin_mask & bit else b, None if end_mask & bit else e, s))
    return getitem(tensor(input_), tuple(key))


# ---- gather


@op(name="gather")
def _gather(params, indices, *, axis, batch_dims):
    function = lambda p, i: jnp.take(p, i, axis=axis - batch_dims, mode="clip")
    for _ in builtins.range(batch_dims):
        function = jax.vmap(function)
    return function(params, indices)


def gather(params, indices, validate_indices=None, axis=None, batch_dims=0, name=None):
    """Return the slices of `params` along `axis` at `indices`.

    Args:
        axis: `batch_dims` if None.
        batch_dims: leading axes that params and indices share.

    An index out of range is an error when both are known on the host; in a compiled function the nearest valid
    index is used (TensorFlow: an error on the CPU, 0 on the GPU).
    """
    params, batch_dims = tensor(params), int(batch_dims)
    indices, ndim = as_index(indices), len(params.shape)
    batch_dims = batch_dims + len(indices.shape) if batch_dims < 0 else batch_dims
    axis = batch_dims if axis is None else static_int(axis)
    axis = axis + ndim if axis < 0 else axis
    _check_positions("gather", indices, params.shape[axis] if ndim else 0)
    if getattr(params, "_value", None).__class__ is np.ndarray and params._value.dtype == object:
        return engine.Tensor(np.asarray(np.take(params._value, np.asarray(indices), axis), object))
    return _gather(params, indices, axis=axis, batch_dims=batch_dims)


def _check_positions(name, indices, length):
    """Raise for positions that are known on the host and out of range."""
    known = getattr(indices, "_value", None)
    if known.__class__ is np.ndarray and known.size and length is not None and known.dtype.kind in "iu":
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= length:
            raise InvalidArgumentError(f"{name} expected indices in [0, {length}), but received "
                                       f"{low if low < 0 else high}.")


@op(name="gather_nd")
def _gather_nd(params, indices, *, batch_dims):
    def function(p, i):
        return p[tuple(jnp.moveaxis(i, -1, 0))]
    for _ in builtins.range(batch_dims):
        function = jax.vmap(function)
    return function(params, indices)


def gather_nd(params, indices, batch_dims=0, name=None, bad_indices_policy=""):
    """Return params[tuple(indices[..., :])]: the last axis of `indices` holds coordinates."""
    return _gather_nd(tensor(params), as_index(indices), batch_dims=int(batch_dims))


def boolean_mask(tensor, mask, axis=None, name="boolean_mask"):
    """Return the slices of `tensor` where `mask` is true, flattened over the mask's axes.

    The number of results depends on the mask's values, so they must be known: not inside a compiled function.
    """
    axis = 0 if axis is None else static_int(axis)
    mask = host_value(mask, "boolean_mask's mask").astype(bool)
    tensor = engine.convert_to_tensor(tensor)
    shape = tuple(tensor.shape)
    if mask.ndim == 0:
        raise ValueError("boolean_mask expected a mask with at least one axis, but received a scalar.")
    if shape[axis:axis + mask.ndim] != mask.shape:
        raise ValueError(f"boolean_mask expected a mask of shape {shape[axis:axis + mask.ndim]} (axes {axis} to "
                         f"{axis + mask.ndim - 1} of the tensor), but received {mask.shape}.")
    if tensor.dtype is dtypes.string:
        return engine.Tensor(np.asarray(tensor)[(builtins.slice(None),) * axis + (mask,)])
    positions = engine.Tensor(np.flatnonzero(mask).astype(np.int32))
    return _masked(tensor, positions, axis=axis, ndim=mask.ndim)


@op(name="boolean_mask")
def _masked(x, positions, *, axis, ndim):
    flat = x.reshape(x.shape[:axis] + (-1,) + x.shape[axis + ndim:])
    return jnp.take(flat, positions, axis=axis, mode="clip")


@op(name="take_along_axis")
def _take_along_axis(x, indices, *, axis):
    if axis is None:
        return jnp.take_along_axis(x.reshape(-1), indices.reshape(-1), axis=0)
    return jnp.take_along_axis(x, indices, axis=axis)


# ---- scatter

_SCATTERS = {
    "add": lambda at, updates: at.add(updates),
    "sub": lambda at, updates: at.add(-updates),
    "update": lambda at, updates: at.set(updates),
    "max": lambda at, updates: at.max(updates),
    "min": lambda at, updates: at.min(updates),
    "mul": lambda at, updates: at.multiply(updates),
}


@op(name="tensor_scatter_nd")
def _scatter_into(x, indices, updates, *, kind):
    return _SCATTERS[kind](x.at[tuple(jnp.moveaxis(indices, -1, 0))], updates)


@op(name="scatter_nd")
def _scatter_nd(indices, updates, *, shape):
    return jnp.zeros(shape, updates.dtype).at[tuple(jnp.moveaxis(indices, -1, 0))].add(updates)


def scatter_nd(indices, updates, shape, name=None):
    """Return zeros of `shape` with `updates` added at `indices` (coordinates in the last axis)."""
    return _scatter_nd(as_index(indices), tensor(updates), shape=static_ints(shape))


def _scattering(kind, summary):
    def public(tensor, indices, updates, name=None):
        tensor, updates = alike(f"tensor_scatter_nd_{kind}", tensor, updates)
        return _scatter_into(tensor, as_index(indices), updates, kind=kind)

    public.__name__ = public.__qualname__ = f"tensor_scatter_nd_{kind}"
    public.__doc__ = f"{summary}\n\n    Args:\n        indices: coordinates in the last axis.\n    "
    return public


tensor_scatter_nd_update = _scattering("update", "Return `tensor` with the elements at `indices` replaced.")
tensor_scatter_nd_add = _scattering("add", "Return `tensor` with `updates` added at `indices`.")
tensor_scatter_nd_sub = _scattering("sub", "Return `tensor` with `updates` subtracted at `indices`.")
tensor_scatter_nd_max = _scattering("max", "Return `tensor` with the larger of old and new at `indices`.")
tensor_scatter_nd_min = _scattering("min", "Return `tensor` with the smaller of old and new at `indices`.")

# ---- order and search


@op(name="sort")
def _sort(x, *, axis, descending):
    if descending and jnp.issubdtype(x.dtype, jnp.floating):
        return -jnp.sort(-x, axis=axis)  # equals stay in order, so their gradients do
    return jnp.sort(x, axis=axis, descending=descending)


@op(name="argsort")
def _argsort(x, *, axis, descending):
    return jnp.argsort(x, axis=axis, descending=descending, stable=True).astype(jnp.int32)


def _descending(direction):
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"direction must be 'ASCENDING' or 'DESCENDING', but received '{direction}'.")
    return direction == "DESCENDING"


def sort(values, axis=-1, direction="ASCENDING", name=None):
    """Return `values` sorted along `axis`."""
    return _sort(tensor(values), axis=static_int(axis), descending=_descending(direction))


def argsort(values, axis=-1, direction="ASCENDING", stable=False, name=None):
    """Return the positions, int32, that sort `values` along `axis` (always stable)."""
    return _argsort(tensor(values), axis=static_int(axis), descending=_descending(direction))


@op(name="top_k")
def _top_k(x, *, k, index_type):
    values, positions = lax.top_k(x, k)
    return values, positions.astype(index_type)


class TopK(tuple):
    """(values, indices), also as attributes."""

    __slots__ = ()
    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])


def top_k(input, k=1, sorted=True, index_type=dtypes.int32, name=None):
    """Return the `k` largest values along the last axis, falling, and their positions."""
    input, k = tensor(input), static_int(k)
    if input.shape[-1] is not None and k > input.shape[-1]:
        raise InvalidArgumentError(f"top_k expected k <= {input.shape[-1]}, the last axis's size, but received {k}.")
    return TopK(_top_k(input, k=k, index_type=dtypes.name_of(index_type)))


@op(name="in_top_k")
def _in_top_k(targets, predictions, *, k):
    target = jnp.take_along_axis(predictions, jnp.clip(targets, 0, predictions.shape[-1] - 1)[..., None], axis=-1)
    above = jnp.sum(predictions > target, axis=-1)
    valid = (targets >= 0) & (targets < predictions.shape[-1]) & jnp.isfinite(target[..., 0])
    return (above < k) & valid


def in_top_k(targets, predictions, k, name=None):
    """Return whether the score of the target class is among the `k` largest; ties at the edge count as in."""
    return _in_top_k(as_index(targets), tensor(predictions), k=static_int(k))


@op(name="nth_element")
def _nth_element(x, *, n, reverse):
    return jnp.sort(x, axis=-1, descending=reverse)[..., n]


def nth_element(input, n, reverse=False, name=None):
    """Return the n-th smallest (largest if `reverse`) value along the last axis, n from 0."""
    return _nth_element(tensor(input), n=static_int(n), reverse=bool(reverse))


@op(name="searchsorted")
def _searchsorted(sorted_sequence, values, *, side, dtype):
    if sorted_sequence.ndim == 1:
        return jnp.searchsorted(sorted_sequence, values, side=side).astype(dtype)
    rows = sorted_sequence.reshape(-1, sorted_sequence.shape[-1])
    wanted = values.reshape(-1, values.shape[-1])
    found = jax.vmap(lambda s, v: jnp.searchsorted(s, v, side=side))(rows, wanted)
    return found.reshape(values.shape).astype(dtype)


def searchsorted(sorted_sequence, values, side="left", out_type=dtypes.int32, name=None):
    """Return where each value would go in the sorted rows, before ('left') or after ('right') its equals."""
    sorted_sequence, values = alike("searchsorted", sorted_sequence, values)
    return _searchsorted(sorted_sequence, values, side=side, dtype=dtypes.name_of(out_type))


lower_bound = searchsorted


def upper_bound(sorted_sequence, values, out_type=dtypes.int32, name=None):
    """Return where each value would go in the sorted rows, after its equals."""
    return searchsorted(sorted_sequence, values, "right", out_type)


@op(name="bucketize")
def _bucketize(x, *, boundaries):
    return jnp.searchsorted(jnp.asarray(boundaries, x.dtype), x, side="right").astype(jnp.int32)


def bucketize(input, boundaries, name=None):
    """Return which interval between `boundaries` each value lies in, from 0."""
    return _bucketize(tensor(input), boundaries=tuple(float(b) for b in boundaries))


@op(name="invert_permutation", host=lambda x: np.argsort(x).astype(x.dtype))
def _invert_permutation(x):
    return jnp.argsort(x).astype(x.dtype)


def invert_permutation(x, name=None):
    """Return y with y[x[i]] = i."""
    return _invert_permutation(as_index(x))


# ---- what depends on values: on the host


def unique(x, out_idx=dtypes.int32, name=None):
    """Return (distinct values in order of appearance, index of each element in them)."""
    values, positions, _ = unique_with_counts(x, out_idx)
    return Unique((values, positions))


class Unique(tuple):
    """(y, idx) or (y, idx, count), also as attributes."""

    __slots__ = ()
    y = property(lambda self: self[0])
    idx = property(lambda self: self[1])
    count = property(lambda self: self[2])


def unique_with_counts(x, out_idx=dtypes.int32, name=None):
    """Return (distinct values in order of appearance, index of each element in them, how often each occurs)."""
    array, kind = host_value(x, "unique's input").ravel(), dtypes.numpy_dtype(out_idx)
    values, first, inverse, counts = np.unique(array, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    place = np.empty(len(order), kind)
    place[order] = np.arange(len(order))
    return Unique((engine.Tensor(values[order]), engine.Tensor(place[inverse.ravel()].astype(kind)),
                   engine.Tensor(counts[order].astype(kind))))


def setdiff1d(x, y, index_dtype=dtypes.int32, name=None):
    """Return (the values of `x` that are not in `y`, their positions)."""
    x, y = host_value(x, "setdiff1d's input"), host_value(y, "setdiff1d's input")
    places = np.flatnonzero(~np.isin(x, y))
    return engine.Tensor(x[places]), engine.Tensor(places.astype(dtypes.numpy_dtype(index_dtype)))


def dynamic_partition(data, partitions, num_partitions, name=None):
    """Return a list: entry k holds the slices of `data` whose partition is k (values known on the host)."""
    data, groups = tensor(data), host_value(partitions, "dynamic_partition's partitions")
    return [boolean_mask(data, groups == k) for k in builtins.range(static_int(num_partitions))]


@op(name="dynamic_stitch")
def _stitch(*arrays, size):
    half = len(arrays) // 2
    inner = arrays[half].shape[arrays[0].ndim:]
    out = jnp.zeros((size, *inner), arrays[half].dtype)
    for positions, data in zip(arrays[:half], arrays[half:], strict=True):
        out = out.at[positions.reshape(-1)].set(data.reshape((-1, *inner)))
    return out


def dynamic_stitch(indices, data, name=None):
    """Return the tensor whose slice indices[k][i] is data[k][i]; later entries win."""
    size = 1 + builtins.max(int(host_value(i, "dynamic_stitch's indices").max(initial=-1)) for i in indices)
    return _stitch(*[as_index(i) for i in indices], *alike("dynamic_stitch", *data), size=size)


parallel_dynamic_stitch = dynamic_stitch


# ---- counting


@op(name="bincount")
def _bincount(x, weights, *, length, dtype, rows, binary):
    def count(values, w):
        inside = (values >= 0) & (values < length)
        w = jnp.where(inside, w, jnp.zeros((), w.dtype))
        out = jnp.zeros(length, w.dtype).at[jnp.clip(values, 0, length - 1)].add(w)
        return (out > 0).astype(dtype) if binary else out.astype(dtype)
    if rows:
        return jax.vmap(count)(x, weights)
    return count(x.reshape(-1), weights.reshape(-1))


def bincount(arr, weights=None, minlength=None, maxlength=None, dtype=dtypes.int32, name=None, axis=None,
             binary_output=False):
    """Return how often each value 0, 1, ... occurs, or the sum of its weights.

    Args:
        minlength, maxlength: the length of the result; if equal, the values need not be known while compiling.
        axis: None counts everything, -1 each row.
        binary_output: 1 where a value occurs at all.
    """
    if minlength is not None and minlength == maxlength:
        length = static_int(maxlength)
    else:
        known = host_value(arr, "bincount's input (give minlength = maxlength)")
        length = int(known.max(initial=-1)) + 1
        length = builtins.max(length, static_int(minlength or 0))
        length = length if maxlength is None else builtins.min(length, static_int(maxlength))
    arr = as_index(arr)
    from fitloom.ops.creating import ones_like

    if weights is None:
        kind = dtypes.name_of(dtype)
        weights = ones_like(arr, dtype=dtype)
    else:
        weights = tensor(weights)
        kind = dtypes.name_of(weights.dtype)
    return _bincount(arr, weights, length=length, dtype=kind, rows=axis == -1 and len(arr.shape) == 2,
                     binary=bool(binary_output))


@op(name="histogram")
def _histogram_bins(values, low, high, *, nbins, dtype):
    scaled = jnp.floor((values - low) / (high - low) * nbins)
    return jnp.clip(scaled, 0, nbins - 1).astype(dtype)


def histogram_fixed_width_bins(values, value_range, nbins=100, dtype=dtypes.int32, name=None):
    """Return the bin, of `nbins` equal ones over `value_range`, that each value falls into."""
    values = tensor(values)
    low, high = host_value(value_range, "value_range")
    return _histogram_bins(values, *alike("histogram", values, low.item(), high.item())[1:], nbins=static_int(nbins),
                           dtype=dtypes.name_of(dtype))


def histogram_fixed_width(values, value_range, nbins=100, dtype=dtypes.int32, name=None):
    """Return how many values fall into each of `nbins` equal bins over `value_range`."""
    bins = histogram_fixed_width_bins(values, value_range, nbins)
    return bincount(bins, minlength=static_int(nbins), maxlength=static_int(nbins), dtype=dtype)


@op(name="confusion_matrix")
def _confusion_matrix(labels, predictions, weights, *, n):
    return jnp.zeros((n, n), weights.dtype).at[labels, predictions].add(weights)


def confusion_matrix(labels, predictions, num_classes=None, weights=None, dtype=dtypes.int32, name=None):
    """Return the matrix whose entry (i, j) counts examples of class i that were predicted as j."""
    from fitloom.ops.casting import cast
    from fitloom.ops.creating import ones_like

    if num_classes is None:
        num_classes = 1 + int(builtins.max(host_value(labels, "labels").max(initial=-1),
                                           host_value(predictions, "predictions").max(initial=-1)))
    labels, predictions = as_index(labels), as_index(predictions)
    weights = ones_like(labels, dtype=dtype) if weights is None else cast(weights, dtype)
    return _confusion_matrix(labels, predictions, weights, n=static_int(num_classes))


# ---- segments


def _product(rows, ids, count, indices_are_sorted=False):
    """Products of segments, with the gradient product / x where no other element is 0."""
    @jax.custom_jvp
    def product(x, ids):
        return jax.ops.segment_prod(x, ids, count)

    @product.defjvp
    def product_jvp(primals, tangents):
        (x, ids), (dx, _) = primals, tangents
        zero = x == 0
        filled = jnp.where(zero, jnp.ones((), x.dtype), x)
        rest = product(filled, ids)[ids] / filled
        zeros = jax.ops.segment_sum(zero.astype(jnp.int32), ids, count)[ids]
        others = jnp.where(zeros == zero, rest, jnp.zeros((), x.dtype))
        return product(x, ids), jax.ops.segment_sum(dx * others, ids, count)
    return product(rows, ids)


_SEGMENTS = {
    "sum": jax.ops.segment_sum,
    "prod": _product,
    "max": jax.ops.segment_max,
    "min": jax.ops.segment_min,
}


@op(name="segment")
def _segment(data, segment_ids, *, count, kind, is_sorted):
    ids, inner = segment_ids.reshape(-1), data.shape[segment_ids.ndim:]
    rows = data.reshape((-1, *inner))
    if kind in ("mean", "sqrt_n"):
        total = jax.ops.segment_sum(rows, ids, count, indices_are_sorted=is_sorted)
        n = jax.ops.segment_sum(jnp.ones(ids.shape, rows.dtype), ids, count, indices_are_sorted=is_sorted)
        n = jnp.maximum(n, jnp.ones((), n.dtype)).reshape((-1,) + (1,) * len(inner))
        return total / (jnp.sqrt(n) if kind == "sqrt_n" else n)
    out = _SEGMENTS[kind](rows, ids, count, indices_are_sorted=is_sorted)
    if kind in ("max", "min"):
        used = jax.ops.segment_sum(jnp.ones(ids.shape, jnp.int32), ids, count) > 0
        used = used.reshape((-1,) + (1,) * len(inner))
        # An empty segment: 0 when ids are sorted, the lowest (highest) value when they are not, as in TensorFlow.
        own = dtypes.as_dtype(data.dtype)
        empty = 0 if is_sorted else (own.min if kind == "max" else own.max)
        out = jnp.where(used, out, jnp.asarray(empty, data.dtype))
    return out


def _segmenting(kind, is_sorted, summary):
    if is_sorted:
        def public(data, segment_ids, name=None):
            count = 1 + int(host_value(segment_ids, "segment_ids").max(initial=-1))
            return _segment(tensor(data), as_index(segment_ids), count=count, kind=kind, is_sorted=True)
    else:
        def public(data, segment_ids, num_segments, name=None):
            return _segment(tensor(data), as_index(segment_ids), count=static_int(num_segments), kind=kind,
                            is_sorted=False)
    public.__name__ = public.__qualname__ = ("" if is_sorted else "unsorted_") + f"segment_{kind}"
    public.__doc__ = summary
    return public


segment_sum = _segmenting("sum", True, "Return the sum of each run of equal, sorted ids.")
segment_prod = _segmenting("prod", True, "Return the product of each run of equal, sorted ids.")
segment_max = _segmenting("max", True, "Return the maximum of each run of equal, sorted ids.")
segment_min = _segmenting("min", True, "Return the minimum of each run of equal, sorted ids.")
segment_mean = _segmenting("mean", True, "Return the mean of each run of equal, sorted ids.")
unsorted_segment_sum = _segmenting("sum", False, "Return the sum of the slices of each id.")
unsorted_segment_prod = _segmenting("prod", False, "Return the product of the slices of each id.")
unsorted_segment_max = _segmenting("max", False, "Return the maximum of the slices of each id.")
unsorted_segment_min = _segmenting("min", False, "Return the minimum of the slices of each id.")
unsorted_segment_mean = _segmenting("mean", False, "Return the mean of the slices of each id.")
unsorted_segment_sqrt_n = _segmenting("sqrt_n", False, "Return sum / sqrt(count) of the slices of each id.")

