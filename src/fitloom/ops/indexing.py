# SPDX-License-Identifier: Apache-2.0
"""Elements by position: slices, gather, scatter."""

from __future__ import annotations

import builtins
import functools

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
    return x[_key(x, spec, positions)]


def _key(x, spec, positions):
    """The index of spec; each 'at' in spec takes the next of `positions`, scalars that are inputs of the program."""
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
    return tuple(key)


@op(name="strided_slice", host=lambda x, *, spec: np.asarray(_index(x, spec, ())))
def _slice_static(x, *, spec):
    return _index(x, spec, ())


@op(name="strided_slice")
def _slice_dynamic(x, *positions, spec):
    return _index(x, spec, positions)


@op(name="strided_slice")
def _block(x, *starts, axes, sizes, shape):
    places = dict(zip(axes, starts))
    starts = [places.get(axis, np.int32(0)) for axis in builtins.range(x.ndim)]
    return lax.dynamic_slice(x, starts, sizes).reshape(shape)


def _bound(value):
    return value if value is None or value.__class__ is int else static_int(value)


def _is_mask(key):
    kind = getattr(key, "dtype", None)
    return kind is not None and dtypes.as_dtype(kind) is dtypes.bool_ and len(getattr(key, "shape", ())) > 0


def getitem(x, key):
    """Return x[key] with TensorFlow's rules: numbers, slices, Ellipsis, tf.newaxis, scalar tensors, boolean masks."""
    if _is_mask(key):
        return boolean_mask(x, key)
    spec, positions = read_key(key)
    if spec is None:
        return gather(x, positions)
    if getattr(x, "_value", None).__class__ is np.ndarray and x._value.dtype == object:
        return engine.Tensor(np.asarray(_index(x._value, spec, [
            host_value(p, "a position in a string tensor") for p in positions]), object))
    if positions:
        return _slice_dynamic(x, *positions, spec=spec)
    if not _is_host_integer(x) and engine.varies(spec) and (block := _as_block(tuple(x.shape), spec)) is not None:
        return _block(x, *block[0], **block[1])
    return _slice_static(x, spec=spec)


def _is_host_integer(x):
    known = getattr(x, "_value", None)
    return known.__class__ is np.ndarray and known.dtype.kind in "iu"


@functools.lru_cache(maxsize=4096)
def _as_block(shape, spec):
    """Return the starts and the attributes of `_block` for a static index; None where it is no block.

    The starts of a block are inputs of the program: the place of an action or of a batch changes from step to step.
    """
    if None in spec or None in shape:
        return None
    if "..." in spec:
        at = spec.index("...")
        spec = (*spec[:at], *[(None, None, None)] * (len(shape) - len(spec) + 1), *spec[at + 1:])
    starts, sizes, result = {}, list(shape), []
    if len(spec) > len(sizes):
        return None
    for axis, (part, size) in enumerate(zip(spec, shape)):
        if part.__class__ is int:
            if not -size <= part < size:
                return None
            starts[axis], sizes[axis] = part % size, 1
        else:
            start, stop, step = builtins.slice(*part).indices(size)
            if step != 1:
                return None
            if part[0] is not None:
                starts[axis] = start
            sizes[axis] = max(stop - start, 0)
            result.append(sizes[axis])
    return [np.int32(start) for start in starts.values()], {
        "axes": tuple(starts), "sizes": tuple(sizes), "shape": (*result, *shape[len(spec):])}


def read_key(key):
    """Return an index as (static description, scalar tensors in it); (None, tensor) where it selects rows."""
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
                return None, part
            raise TypeError(
                "Only whole numbers, slices, Ellipsis, tf.newaxis, scalar tensors and boolean masks are valid tensor "
                f"indices, but received {type(part).__name__}. To select by a list, use tf.gather(x, indices).")
        else:
            raise TypeError(f"A tensor index must be a whole number, a slice, Ellipsis, tf.newaxis or a scalar "
                            f"tensor, but received {part!r}.")
    return tuple(spec), positions


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
    if input_.dtype is dtypes.string:
        return input_[tuple(builtins.slice(first, last) for first, last, _ in spec)]
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
    if hasattr(indices, "with_flat_values"):
        return indices.with_flat_values(gather(params, indices.flat_values, axis=axis))
    if hasattr(params, "with_flat_values") and not axis and not batch_dims:
        return params.take(np.ravel(host_value(indices)))
    params, batch_dims = tensor(params), int(batch_dims)
    indices, ndim = as_index(indices), len(params.shape)
    batch_dims = batch_dims + len(indices.shape) if batch_dims < 0 else batch_dims
    axis = batch_dims if axis is None else static_int(axis)
    axis = axis + ndim if axis < 0 else axis
    _check_positions("gather", indices, params.shape[axis] if ndim else 0)
    if getattr(params, "_value", None).__class__ is np.ndarray and params._value.dtype == object:
        places = host_value(indices, "gather's indices into a string tensor")
        return engine.Tensor(_text_rows(params._value, places, batch_dims,
                                        lambda p, i: np.take(p, i, axis - batch_dims)))
    return _gather(params, indices, axis=axis, batch_dims=batch_dims)


def _text_rows(params, indices, batch_dims, take):
    """Return `take` of text and positions, row by row of the `batch_dims` axes that they share."""
    if not batch_dims:
        return np.asarray(take(params, indices), object)
    rows = [_text_rows(p, i, batch_dims - 1, take) for p, i in zip(params, indices, strict=True)]
    return np.stack(rows) if rows else np.zeros(indices.shape, object)


def _check_positions(name, indices, length):
    """Raise for positions that are known on the host and out of range."""
    known = getattr(indices, "_value", None)
    if known.__class__ is np.ndarray and known.size and length is not None and known.dtype.kind in "iu":
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= length:
            raise InvalidArgumentError(f"{name} expected indices in [0, {length}), but received "
                                       f"{low if low < 0 else high}.")


def _check_coordinates(name, indices, shape):
    """Raise for coordinates (along the last axis) that are known on the host and outside of `shape`."""
    known = getattr(indices, "_value", None)
    if known.__class__ is np.ndarray and known.size and known.dtype.kind in "iu":
        for axis, (low, high) in enumerate(zip(known.min(tuple(builtins.range(known.ndim - 1))).ravel().tolist(),
                                               known.max(tuple(builtins.range(known.ndim - 1))).ravel().tolist())):
            if axis < len(shape) and shape[axis] is not None and (low < 0 or high >= shape[axis]):
                raise InvalidArgumentError(f"{name} expected indices in [0, {shape[axis]}) on axis {axis}, but "
                                           f"received {low if low < 0 else high}.")


@op(name="gather_nd")
def _gather_nd(params, indices, *, batch_dims):
    def function(p, i):
        return p[tuple(jnp.moveaxis(i, -1, 0))]
    for _ in builtins.range(batch_dims):
        function = jax.vmap(function)
    return function(params, indices)


def gather_nd(params, indices, batch_dims=0, name=None, bad_indices_policy=""):
    """Return params[tuple(indices[..., :])]: the last axis of `indices` holds coordinates."""
    params = tensor(params)
    if params.dtype is dtypes.string:
        places = host_value(indices, "gather_nd's indices into a string tensor")
        return engine.Tensor(_text_rows(np.asarray(params), places, int(batch_dims),
                                        lambda p, i: p[tuple(np.moveaxis(i, -1, 0))]))
    indices = as_index(indices)
    _check_coordinates("gather_nd", indices, tuple(params.shape)[int(batch_dims):])
    return _gather_nd(params, indices, batch_dims=int(batch_dims))


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
    "div": lambda at, updates: at.divide(updates),
}


@op(name="tensor_scatter_nd")
def _scatter_into(x, indices, updates, *, kind):
    return _SCATTERS[kind](x.at[tuple(jnp.moveaxis(indices, -1, 0))], updates)


@op(name="strided_slice_assign")
def _set(x, updates, *positions, spec, kind):
    at = x.at[_key(x, spec, positions)]
    return _SCATTERS[kind](at, jnp.broadcast_to(updates, jax.eval_shape(at.get).shape))


@op(name="scatter_nd")
def _scatter_nd(indices, updates, *, shape):
    return jnp.zeros(shape, updates.dtype).at[tuple(jnp.moveaxis(indices, -1, 0))].add(updates)


def scatter_nd(indices, updates, shape, name=None):
    """Return zeros of `shape` with `updates` added at `indices` (coordinates in the last axis)."""
    indices, shape = as_index(indices), static_ints(shape)
    _check_coordinates("scatter_nd", indices, shape)
    return _scatter_nd(indices, tensor(updates), shape=shape)


def _scattering(kind, summary):
    def public(tensor, indices, updates, name=None):
        tensor, updates = alike(f"tensor_scatter_nd_{kind}", tensor, updates)
        indices = as_index(indices)
        _check_coordinates(f"tensor_scatter_nd_{kind}", indices, tuple(tensor.shape))
        return _scatter_into(tensor, indices, updates, kind=kind)

    public.__name__ = public.__qualname__ = f"tensor_scatter_nd_{kind}"
    public.__doc__ = f"{summary}\n\n    Args:\n        indices: coordinates in the last axis.\n    "
    return public


tensor_scatter_nd_update = _scattering("update", "Return `tensor` with the elements at `indices` replaced.")
tensor_scatter_nd_add = _scattering("add", "Return `tensor` with `updates` added at `indices`.")
tensor_scatter_nd_sub = _scattering("sub", "Return `tensor` with `updates` subtracted at `indices`.")
tensor_scatter_nd_max = _scattering("max", "Return `tensor` with the larger of old and new at `indices`.")
tensor_scatter_nd_min = _scattering("min", "Return `tensor` with the smaller of old and new at `indices`.")
