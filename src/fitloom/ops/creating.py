# SPDX-License-Identifier: Apache-2.0
"""Tensors from nothing: filled, counted, identity, one-hot, grids."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import (
    alike,
    as_index,
    dtype_of,
    host_value,
    is_composite,
    is_string,
    over_values,
    static_int,
    static_ints,
    tensor,
)

_HOST_ELEMENTS = 1024  # whole-number constants up to this size stay on the host, where shape arithmetic can see them


def _constant(array):
    return engine.Tensor(array)


@op(name="fill")
def _fill(value, *, shape):
    return jnp.full(shape, value)


def fill(dims, value, name=None):
    """Return a tensor of shape `dims` with `value` everywhere."""
    value = tensor(value)
    if value.dtype is dtypes.string:
        return _constant(np.full(static_ints(dims), np.asarray(value).item(), object))
    return _fill(value, shape=static_ints(dims))


def _filled(shape, dtype, number):
    dtype = dtypes.as_dtype(dtype)
    if dtype is dtypes.string:
        return _constant(np.full(static_ints(shape), b"", object))
    return _constant(np.full(static_ints(shape), number, dtype.numpy_dtype))


def zeros(shape, dtype=dtypes.float32, name=None, layout=None):
    """Return zeros of the given shape.

    Example:
        >>> import fitloom as tf
        >>> tf.zeros([2]).numpy().tolist()
        [0.0, 0.0]
    """
    return _filled(shape, dtype, 0)


def ones(shape, dtype=dtypes.float32, name=None, layout=None):
    """Return ones of the given shape."""
    return _filled(shape, dtype, 1)


@op(name="zeros_like")
def _zeros_like(x, *, dtype):
    return jnp.zeros(x.shape, dtype or x.dtype)


@op(name="ones_like")
def _ones_like(x, *, dtype):
    return jnp.ones(x.shape, dtype or x.dtype)


def zeros_like(input, dtype=None, name=None, layout=None):
    """Return zeros with the shape of `input` (and its dtype, unless given)."""
    if is_composite(input):
        return over_values(lambda values: zeros_like(values, dtype), input)
    if is_string(input) and dtype is None:
        return _filled(tensor(input).shape, dtypes.string, 0)
    return _zeros_like(input, dtype=None if dtype is None else dtypes.name_of(dtype))


def ones_like(input, dtype=None, name=None, layout=None):
    """Return ones with the shape of `input` (and its dtype, unless given)."""
    if is_composite(input):
        return over_values(lambda values: ones_like(values, dtype), input)
    if is_string(input) and dtype is None:
        return _filled(tensor(input).shape, dtypes.string, 1)
    return _ones_like(input, dtype=None if dtype is None else dtypes.name_of(dtype))


@op(name="range")
def _range(start, limit, delta, *, count):
    del limit
    return start + delta * jnp.arange(count).astype(start.dtype)


def range(start, limit=None, delta=1, dtype=None, name="range"):
    """Return start, start + delta, ... up to but without `limit`; `range(n)` counts from 0.

    The dtype is the widest among the arguments: int32 for whole Python numbers, float32 with a float among them.

    Example:
        >>> import fitloom as tf
        >>> tf.range(2, 10, 3).numpy().tolist()
        [2, 5, 8]
    """
    if limit is None:
        start, limit = 0, start
    parts = [host_value(v, "range's bounds") for v in (start, limit, delta)]
    if dtype is None:
        order = [np.dtype(t) for t in (np.int32, np.int64, np.float32, np.float64)]
        given = [dtypes.numpy_dtype(dtype_of(v)) if dtype_of(v) is not None else
                 (order[2] if p.dtype.kind == "f" else order[0])
                 for v, p in zip((start, limit, delta), parts, strict=True)]
        chosen = max(given, key=lambda d: order.index(d) if d in order else 0)
    else:
        chosen = dtypes.numpy_dtype(dtype)
    start, limit, delta = (p.item() for p in parts)
    if delta == 0:
        raise InvalidArgumentError("range expected a delta other than 0.")
    return _constant(np.arange(start, limit, delta, dtype=np.float64 if chosen.kind != "i" and chosen.kind != "u"
                               else np.int64).astype(chosen))


@op(name="linspace")
def _linspace(start, stop, *, num, axis):
    return jnp.linspace(start, stop, num, axis=axis, dtype=start.dtype)


def linspace(start, stop, num, name=None, axis=0):
    """Return `num` evenly spaced values from `start` to `stop`, both included."""
    start, stop = alike("linspace", start, stop)
    if not dtypes.as_dtype(start.dtype).is_inexact:
        from fitloom.ops.casting import cast

        start, stop = cast(start, dtypes.float64), cast(stop, dtypes.float64)
    return _linspace(start, stop, num=static_int(num), axis=int(axis))


linspace_nd = linspace


def eye(num_rows, num_columns=None, batch_shape=None, dtype=dtypes.float32, name=None):
    """Return the identity matrix, (..., num_rows, num_columns)."""
    rows = static_int(num_rows)
    matrix = np.eye(rows, rows if num_columns is None else static_int(num_columns),
                    dtype=dtypes.numpy_dtype(dtype))
    if batch_shape is not None:
        matrix = np.broadcast_to(matrix, (*static_ints(batch_shape), *matrix.shape)).copy()
    return _constant(matrix)


@op(name="meshgrid")
def _meshgrid(*axes, indexing):
    return tuple(jnp.meshgrid(*axes, indexing=indexing))


def meshgrid(*args, indexing="xy", name=None):
    """Return coordinate tensors of the grid spanned by vectors; 'xy' swaps the first two axes, 'ij' does not."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid expected indexing 'xy' or 'ij', but received '{indexing}'.")
    return list(_meshgrid(*alike("meshgrid", *args), indexing=indexing))


@op(name="one_hot")
def _one_hot(indices, on_value, off_value, *, depth, axis):
    hot = jax.nn.one_hot(indices, depth, dtype=bool, axis=axis)
    return jnp.where(hot, on_value, off_value)


def one_hot(indices, depth, on_value=None, off_value=None, axis=None, dtype=None, name=None):
    """Return vectors that are `on_value` (1) at each index and `off_value` (0) elsewhere.

    Args:
        indices: whole numbers; one outside [0, depth) gives only `off_value`.
        depth: length of the new axis, a Python number.
        axis: where the new axis goes; last by default.
        dtype: of the result; that of the values if given, else float32.

    Example:
        >>> import fitloom as tf
        >>> tf.one_hot([1, 0], 2).numpy().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if hasattr(indices, "with_flat_values"):
        if axis not in (None, -1, len(indices.shape)):
            raise ValueError(f"one_hot of a RaggedTensor adds the last axis only, but received axis={axis}.")
        return indices.with_flat_values(one_hot(indices.flat_values, depth, on_value, off_value, None, dtype))
    if dtype is None:
        dtype = next((d for d in map(dtype_of, (on_value, off_value)) if d is not None), None)
        if dtype is None:
            given = [v for v in (on_value, off_value) if v is not None]
            dtype = dtypes.as_dtype(np.result_type(*map(type, given)).type) if given else dtypes.float32
            dtype = {dtypes.float64: dtypes.float32, dtypes.int64: dtypes.int32}.get(dtype, dtype)
    plain = bool if dtypes.name_of(dtype) == "bool" else int
    on, off = (tensor(plain(d) if v is None else v, dtype) for v, d in ((on_value, 1), (off_value, 0)))
    return _one_hot(as_index(indices), on, off, depth=static_int(depth), axis=-1 if axis is None else int(axis))


@op(name="sequence_mask")
def _sequence_mask(lengths, *, maxlen, dtype):
    return (jnp.arange(maxlen, dtype=lengths.dtype) < lengths[..., None]).astype(dtype)


def sequence_mask(lengths, maxlen=None, dtype=dtypes.bool_, name=None):
    """Return, for each length n, a row of `maxlen` that is true in its first n places."""
    if maxlen is None:
        maxlen = int(np.max(host_value(lengths, "sequence_mask's lengths without maxlen"), initial=0))
    return _sequence_mask(as_index(lengths), maxlen=static_int(maxlen), dtype=dtypes.name_of(dtype))


def get_static_value(tensor, partial=False):
    """Return the value as a NumPy array if it is known without running the program, else None."""
    try:
        return host_value(tensor)
    except InvalidArgumentError:
        return None


@op(name="identity", host=lambda x: x)
def _identity(x):
    return jnp.copy(x)  # a copy: jax hands an output that is an input back as the very same array


def identity(input, name=None):
    """Return a tensor with the same value (for a variable, the value it has now)."""
    from fitloom.ops.calling import is_string

    if is_string(input):
        return tensor(input)
    return _identity(input)


def identity_n(input, name=None):
    """Return `identity` of each tensor in a list."""
    return [identity(x) for x in input]


def unravel_index(indices, dims, name=None):
    """Return the coordinates, (ndim, count), of flat positions in a shape."""
    return _unravel_index(as_index(indices), dims=static_ints(dims))


@op(name="unravel_index")
def _unravel_index(indices, *, dims):
    return jnp.stack(jnp.unravel_index(indices, dims)).astype(indices.dtype)


def constant(value, dtype=None, shape=None, name="Const"):
    """Return a tensor with a fixed value.

    Args:
        value: a number, text, nested lists or an array; a single value fills `shape`.
        dtype: by default float32 for Python floats, int32 for ints, an array's own.

    Example:
        >>> import fitloom as tf
        >>> tf.constant(2, shape=[2]).numpy().tolist()
        [2, 2]
    """
    made = engine.convert_to_tensor(value, dtype=dtype)
    if shape is None:
        return made
    from fitloom.ops.shaping import broadcast_to, reshape

    shape = static_ints(shape)
    if made.shape.num_elements() == 1:
        return broadcast_to(reshape(made, ()), shape)
    return reshape(made, shape)
