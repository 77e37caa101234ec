# SPDX-License-Identifier: Apache-2.0
"""Shapes: what they are, and operations that rearrange elements without computing with them.

Shapes, axes, sizes and paddings are part of the compiled program: they are Python numbers, or tensors whose values
are known while recording, such as the results of `tf.shape` and arithmetic on them.
"""

from __future__ import annotations

import builtins
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.engine import op
from fitloom.ops.calling import (
    alike,
    as_boolean,
    host_value,
    joined,
    over_values,
    static_axis,
    static_int,
    static_ints,
    tensor,
    with_text,
)

# ---- what a shape is


def shape(input, out_type=dtypes.int32, name=None):
    """Return the shape as a vector of whole numbers, known while recording.

    Example:
        >>> import fitloom as tf
        >>> tf.shape(tf.zeros([2, 3])).numpy().tolist()
        [2, 3]
    """
    dims = tensor(input).shape
    if None in tuple(dims):
        raise InvalidArgumentError(
            f"tf.shape needs sizes that are known, but received a symbolic input of shape {dims}. "
            "Use keras.ops.shape (None marks unknown sizes), or -1 in a reshape.")
    return engine.Tensor(np.asarray(tuple(dims), dtypes.numpy_dtype(out_type)))


def shape_n(input, out_type=dtypes.int32, name=None):
    """Return the shapes of a list of tensors."""
    return [shape(x, out_type) for x in input]


def rank(input, name=None):
    """Return the number of axes as a scalar."""
    return engine.Tensor(np.asarray(len(tensor(input).shape), np.int32))


def size(input, out_type=dtypes.int32, name=None):
    """Return the number of elements as a scalar."""
    if hasattr(input, "with_flat_values"):
        return size(input.flat_values, out_type)
    dims = tuple(tensor(input).shape)
    if None in dims:
        raise InvalidArgumentError(f"tf.size needs sizes that are known, but received a symbolic shape {dims}.")
    return engine.Tensor(np.asarray(math.prod(dims), dtypes.numpy_dtype(out_type)))


def broadcast_static_shape(shape_x, shape_y):
    """Return the TensorShape that two shapes broadcast to."""
    return TensorShape(np.broadcast_shapes(tuple(shape_x), tuple(shape_y)))


def broadcast_dynamic_shape(shape_x, shape_y):
    """Return the shape that two shapes broadcast to, as a vector."""
    return engine.Tensor(np.asarray(np.broadcast_shapes(static_ints(shape_x), static_ints(shape_y)), np.int32))


def ensure_shape(x, shape, name=None):
    """Return `x`; raise InvalidArgumentError if its shape cannot be `shape` (None matches any size)."""
    x, wanted = tensor(x), TensorShape(shape)
    if not wanted.is_compatible_with(x.shape):
        raise InvalidArgumentError(f"ensure_shape expected shape {wanted}, but received {x.shape}.")
    return x


# ---- same elements, other shape


@with_text
@op(name="reshape", host=lambda x, *, shape: np.reshape(x, shape))
def _reshape(x, *, shape):
    try:
        return jnp.reshape(x, shape)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"reshape cannot put {x.size} elements of shape {tuple(x.shape)} into shape {shape}. "
            "The product of the sizes must stay the same (one of them may be -1).") from None


def reshape(tensor, shape, name=None):
    """Return the same elements, in row-major order, with another shape.

    Args:
        shape: sizes; one of them may be -1, and is then computed from the others.
    """
    return _reshape(tensor, shape=static_ints(shape))


@with_text
@op(name="expand_dims", host=lambda x, *, axis: np.expand_dims(x, axis))
def _expand_dims(x, *, axis):
    return jnp.expand_dims(x, axis)


def expand_dims(input, axis, name=None):
    """Insert an axis of size 1 at position `axis`."""
    if hasattr(input, "with_flat_values"):
        axis = static_axis(axis)
        axis = axis + len(input.shape) + 1 if axis < 0 else axis
        return input.grouped(axis) if axis < 2 else input.with_values(expand_dims(input.values, axis - 1))
    return _expand_dims(input, axis=static_axis(axis))


@with_text
@op(name="squeeze", host=lambda x, *, axis: np.squeeze(x, axis))
def _squeeze(x, *, axis):
    for one in () if axis is None else (axis,) if isinstance(axis, int) else axis:
        if x.shape[one] != 1:
            raise InvalidArgumentError(
                f"squeeze expected axis {one} to have size 1, but received shape {tuple(x.shape)}.")
    return jnp.squeeze(x, axis)


def squeeze(input, axis=None, name=None):
    """Remove axes of size 1: all of them, or those in `axis`."""
    axis = static_axis(axis)
    return _squeeze(input, axis=None if axis == () else axis)


@with_text
@op(name="transpose", host=lambda x, *, perm: np.transpose(x, perm))
def _transpose(x, *, perm):
    return jnp.transpose(x, perm)


@op
def _conjugate_transpose(x, *, perm):
    return jnp.conj(jnp.transpose(x, perm))


def transpose(a, perm=None, conjugate=False, name=None):
    """Permute the axes: axis i of the result is axis perm[i] of `a`; all reversed if `perm` is None."""
    perm = None if perm is None else static_ints(perm)
    return (_conjugate_transpose if conjugate else _transpose)(a, perm=perm)


@with_text
@op(name="broadcast_to", host=lambda x, *, shape: np.broadcast_to(x, shape).copy())
def _broadcast_to(x, *, shape):
    given = (1,) * (len(shape) - x.ndim) + tuple(x.shape)
    return jnp.broadcast_to(x, tuple(g if s == -1 else s for s, g in zip(shape, given, strict=True)))


def broadcast_to(input, shape, name=None):
    """Repeat axes of size 1, and new leading axes, until the shape is `shape`."""
    return _broadcast_to(input, shape=static_ints(shape))


# ---- putting together and taking apart


@with_text
@op(name="concat", same_dtype=True, host=lambda *values, axis: np.concatenate(values, axis))
def _concat(*values, axis):
    try:
        return jnp.concatenate(values, axis)
    except (TypeError, ValueError):
        shapes = ", ".join(str(tuple(v.shape)) for v in values[:6])
        raise InvalidArgumentError(
            f"concat expected tensors that agree in every axis but axis {axis}, but received shapes {shapes}."
        ) from None


def concat(values, axis, name=None):
    """Join tensors along an existing axis."""
    if not isinstance(values, (list, tuple)):
        values = [values]
    ragged = next((v for v in values if hasattr(v, "with_flat_values")), None)
    if ragged is not None:
        return ragged.join(values, static_axis(axis))
    return _concat(*joined("concat", values), axis=static_axis(axis))


@with_text
@op(name="stack", same_dtype=True, host=lambda *values, axis: np.stack(values, axis))
def _stack(*values, axis):
    if builtins.any(v.shape != values[0].shape for v in values):
        shapes = ", ".join(str(tuple(v.shape)) for v in values[:6])
        raise InvalidArgumentError(f"stack expected tensors of one shape, but received {shapes}.")
    return jnp.stack(values, axis)


def stack(values, axis=0, name=None):
    """Join tensors of one shape along a new axis."""
    if not isinstance(values, (list, tuple)):
        values = unstack(values)
    ragged = next((v for v in values if hasattr(v, "with_flat_values")), None)
    if ragged is not None:
        return ragged.stacked(values, static_axis(axis))
    return _stack(*joined("stack", values), axis=static_axis(axis))


parallel_stack = stack


@with_text
@op(name="split", host=lambda x, *, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis))
def _split(x, *, sizes, axis):
    points = np.cumsum((0, *sizes))
    return tuple(lax.slice_in_dim(x, int(a), int(b), axis=axis % x.ndim)
                 for a, b in zip(points[:-1], points[1:], strict=True))


def split(value, num_or_size_splits, axis=0, num=None, name=None):
    """Cut along `axis` into equal parts (a number) or into parts of given sizes (a list; one may be -1)."""
    value, axis = tensor(value), static_axis(axis)
    length = value.shape[axis]
    count = num_or_size_splits
    sizes = static_int(count) if np.ndim(count) == 0 else static_ints(count)
    if isinstance(sizes, int):
        if length % sizes:
            raise InvalidArgumentError(
                f"split expected axis {axis} to divide into {sizes} equal parts, but its size is {length}.")
        sizes = (length // sizes,) * sizes
    elif -1 in sizes:
        rest = length - builtins.sum(s for s in sizes if s != -1)
        sizes = tuple(rest if s == -1 else s for s in sizes)
    if builtins.sum(sizes) != length or builtins.min(sizes, default=0) < 0:
        raise InvalidArgumentError(f"split sizes {sizes} must add up to {length}, the size of axis {axis}.")
    return list(_split(value, sizes=sizes, axis=axis))


@with_text
@op(name="unstack", host=lambda x, *, axis, count: [np.take(x, i, axis) for i in builtins.range(count)])
def _unstack(x, *, axis, count):
    return tuple(lax.index_in_dim(x, i, axis % x.ndim, keepdims=False) for i in builtins.range(count))


def unstack(value, num=None, axis=0, name=None):
    """Return the list of slices along `axis`, that axis removed."""
    value, axis = tensor(value), static_axis(axis)
    if not -len(value.shape) <= axis < len(value.shape):
        raise InvalidArgumentError(f"unstack: axis {axis} is out of range for the shape {tuple(value.shape)}.")
    size = value.shape[axis]
    if size is None and num is None:
        raise ValueError(f"unstack needs the size of axis {axis}, but the shape is {value.shape}: give it as `num`.")
    if num is not None and size is not None and num != size:
        raise InvalidArgumentError(f"unstack: num={num}, but axis {axis} of the shape {tuple(value.shape)} has "
                                   f"{size}.")
    return list(_unstack(value, axis=axis, count=int(num) if size is None else size))


@with_text
@op(name="tile", host=lambda x, *, multiples: np.tile(x, multiples))
def _tile(x, *, multiples):
    return jnp.tile(x, multiples)


def tile(input, multiples, name=None):
    """Repeat the whole tensor multiples[i] times along axis i."""
    if hasattr(input, "tiled"):
        return input.tiled(static_ints(multiples))
    input, multiples = tensor(input), static_ints(multiples)
    if len(multiples) != len(input.shape):
        raise InvalidArgumentError(f"tile expected one multiple for each of the {len(input.shape)} axes of its input, "
                                   f"but received {len(multiples)}: {multiples}.")
    return _tile(input, multiples=multiples)


@with_text
@op(name="repeat", host=lambda x, *, repeats, axis: np.repeat(x, repeats, axis))
def _repeat(x, *, repeats, axis):
    counts = repeats if isinstance(repeats, int) else np.asarray(repeats)
    if not isinstance(repeats, int) and len(repeats) == 1:
        counts = repeats[0]
    if isinstance(counts, int):
        return jnp.repeat(x, counts, axis=axis)
    return jnp.repeat(x, counts, axis=axis, total_repeat_length=int(counts.sum()))


def repeat(input, repeats, axis=None, name=None):
    """Repeat each element (a slice along `axis`; of the flattened input if None) `repeats` times."""
    repeats = static_int(repeats) if np.ndim(repeats) == 0 else static_ints(repeats)
    return _repeat(input, repeats=repeats, axis=static_axis(axis))


_PAD_MODES = {"CONSTANT": "constant", "REFLECT": "reflect", "SYMMETRIC": "symmetric"}


@with_text
@op(name="pad", host=lambda x, value, *, paddings, mode: np.pad(x, paddings, mode, **(
    {"constant_values": value} if mode == "constant" else {})))
def _pad(x, value, *, paddings, mode):
    if mode == "constant":
        return jnp.pad(x, paddings, constant_values=value)
    return jnp.pad(x, paddings, mode=mode)


def pad(tensor, paddings, mode="CONSTANT", constant_values=0, name=None):
    """Add paddings[i] = (before, after) elements to axis i.

    Args:
        mode: 'CONSTANT' (`constant_values`), 'REFLECT' (mirrored, edge not repeated) or 'SYMMETRIC' (edge repeated).
    """
    if str(mode).upper() not in _PAD_MODES:
        raise ValueError(f"pad expected mode 'CONSTANT', 'REFLECT' or 'SYMMETRIC', but received '{mode}'.")
    pairs = tuple((int(a), int(b)) for a, b in np.asarray(host_value(paddings, "paddings")).reshape(-1, 2))
    mode, (values, filler) = _PAD_MODES[str(mode).upper()], alike("pad", tensor, constant_values)
    if len(pairs) != len(values.shape):
        raise InvalidArgumentError(f"pad expected one pair of paddings for each of the {len(values.shape)} axes, but "
                                   f"received {len(pairs)}.")
    for size, pair in zip(values.shape, pairs):
        if min(pair) < 0 or mode != "constant" and size is not None and max(pair) > size - (mode == "reflect"):
            raise InvalidArgumentError(f"pad with mode '{mode}' cannot add {pair} elements to an axis of size {size}.")
    return _pad(values, filler, paddings=pairs, mode=mode)


# ---- order


@with_text
@op(name="reverse", host=lambda x, *, axis: np.flip(x, axis))
def _reverse(x, *, axis):
    return jnp.flip(x, axis)


def reverse(tensor, axis, name=None):
    """Reverse the order along the axes in `axis`."""
    axis = static_axis(axis)
    if hasattr(tensor, "reversed_along"):
        return tensor.reversed_along(axis if isinstance(axis, builtins.tuple) else (axis,))
    return tensor if axis == () else _reverse(tensor, axis=axis)


@op(name="roll")
def _roll(x, shift, *, axis):
    shift = [shift[i] for i in builtins.range(shift.shape[0])] if shift.ndim else shift
    return jnp.roll(x, shift, axis)


def roll(input, shift, axis, name=None):
    """Shift elements along `axis`; those pushed out come in at the other end."""
    return _roll(input, shift if engine.is_tensor(shift) else np.asarray(shift, np.int32), axis=static_axis(axis))


@op(name="reverse_sequence")
def _reverse_sequence(x, lengths, *, seq_axis, batch_axis):
    index = jnp.arange(x.shape[seq_axis], dtype=lengths.dtype)
    lengths = lengths[:, None]
    places = jnp.where(index < lengths, lengths - 1 - index, index)
    shape = [1] * x.ndim
    shape[batch_axis], shape[seq_axis] = places.shape
    places = places if batch_axis < seq_axis else places.T
    return jnp.take_along_axis(x, places.reshape(shape), axis=seq_axis)


def reverse_sequence(input, seq_lengths, seq_axis=None, batch_axis=None, name=None):
    """Reverse the first seq_lengths[i] elements of each row i; the rest stays."""
    seq_lengths = seq_lengths if engine.is_tensor(seq_lengths) else np.asarray(seq_lengths, np.int32)
    return _reverse_sequence(input, seq_lengths, seq_axis=static_int(seq_axis), batch_axis=static_int(batch_axis or 0))


# ---- blocks and space


@op(name="space_to_batch")
def _space_to_batch(x, *, block, paddings):
    n, spatial = len(block), x.ndim
    x = jnp.pad(x, [(0, 0), *paddings, *[(0, 0)] * (spatial - 1 - n)])
    batch, rest = x.shape[0], x.shape[1 + n:]
    split = [m for s, b in zip(x.shape[1:1 + n], block, strict=True) for m in (s // b, b)]
    x = x.reshape(batch, *split, *rest)
    order = [*builtins.range(2, 2 * n + 1, 2), 0, *builtins.range(1, 2 * n, 2), *builtins.range(2 * n + 1, x.ndim)]
    x = x.transpose(order)
    return x.reshape(batch * math.prod(block), *split[::2], *rest)


@op(name="batch_to_space")
def _batch_to_space(x, *, block, crops):
    n, rest = len(block), x.shape[1 + len(block):]
    batch = x.shape[0] // math.prod(block)
    spatial = x.shape[1:1 + n]
    x = x.reshape(*block, batch, *spatial, *rest)
    order = [n, *[i for k in builtins.range(n) for i in (n + 1 + k, k)], *builtins.range(2 * n + 1, x.ndim)]
    x = x.transpose(order).reshape(batch, *[s * b for s, b in zip(spatial, block, strict=True)], *rest)
    for axis, (start, end) in enumerate(crops, 1):
        x = lax.slice_in_dim(x, start, x.shape[axis] - end, axis=axis)
    return x


def _pairs(values):
    return tuple((int(a), int(b)) for a, b in np.asarray(host_value(values, "paddings")).reshape(-1, 2))


def space_to_batch(input, block_shape, paddings, name=None):
    """Move blocks of the spatial axes 1..M into the batch axis, after zero padding."""
    return _space_to_batch(input, block=static_ints(block_shape), paddings=_pairs(paddings))


def batch_to_space(input, block_shape, crops, name=None):
    """Undo `space_to_batch`, cutting `crops` off."""
    return _batch_to_space(input, block=static_ints(block_shape), crops=_pairs(crops))


space_to_batch_nd = space_to_batch


@op(name="space_to_depth")
def _space_to_depth(x, *, block, first):
    x = jnp.moveaxis(x, 1, -1) if first else x
    n, h, w, c = x.shape
    x = x.reshape(n, h // block, block, w // block, block, c).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(n, h // block, w // block, block * block * c)
    return jnp.moveaxis(x, -1, 1) if first else x


@op(name="depth_to_space")
def _depth_to_space(x, *, block, first):
    x = jnp.moveaxis(x, 1, -1) if first else x
    n, h, w, c = x.shape
    c //= block * block
    x = x.reshape(n, h, w, block, block, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * block, w * block, c)
    return jnp.moveaxis(x, -1, 1) if first else x


def _check_block(name, x, block, data_format, inner):
    """Raise unless the block is a size that divides what is cut: the channels (`inner`), or height and width."""
    if int(block) < 2:
        raise InvalidArgumentError(f"{name} expected a block_size of at least 2, but received {block}.")
    shape = tuple(x.shape) if hasattr(x, "shape") else np.shape(x)
    if len(shape) != 4:
        raise InvalidArgumentError(f"{name} expected a tensor with 4 axes, but received shape {shape}.")
    sizes = shape[1:] if data_format in ("NCHW", "channels_first") else (shape[3], *shape[1:3])
    cut, unit = (sizes[:1], int(block) ** 2) if inner else (sizes[1:], int(block))
    if any(n is not None and n % unit for n in cut):
        raise InvalidArgumentError(f"{name} with block_size {block} expected "
                                   f"{'channels' if inner else 'height and width'} that {unit} divides, but received "
                                   f"shape {shape}.")


def space_to_depth(input, block_size, data_format="NHWC", name=None):
    """Move blocks of height and width into channels: (N, H, W, C) to (N, H/b, W/b, C b b)."""
    _check_block("space_to_depth", input, block_size, data_format, inner=False)
    return _space_to_depth(input, block=int(block_size), first=data_format in ("NCHW", "channels_first"))


def depth_to_space(input, block_size, data_format="NHWC", name=None):
    """Move channels into blocks of height and width: (N, H, W, C) to (N, H b, W b, C/(b b))."""
    _check_block("depth_to_space", input, block_size, data_format, inner=True)
    return _depth_to_space(input, block=int(block_size), first=data_format in ("NCHW", "channels_first"))


# ---- choosing between two


@with_text
@op(name="where", host=np.where)
def _where(condition, x, y):
    return jnp.where(condition, x, y)


def where(condition, x=None, y=None, name=None):
    """Return elements of `x` where `condition` is true and of `y` elsewhere; all three broadcast.

    With the condition alone, return the positions of its true elements, (count, ndim) int64; their number depends on
    the values, so this form cannot run inside a compiled function.

    Example:
        >>> import fitloom as tf
        >>> tf.where(tf.constant([True, False]), [1, 2], [3, 4]).numpy().tolist()
        [1, 4]
    """
    if (x is None) != (y is None):
        raise ValueError("where expected both x and y, or neither, but received one of them.")
    if x is None and hasattr(condition, "with_flat_values"):
        return condition.positions()
    if x is None:
        found = np.argwhere(host_value(condition, "where's condition"))
        return engine.Tensor(found.astype(np.int64))
    if builtins.any(hasattr(each, "with_flat_values") for each in (condition, x, y)):
        return over_values(where, condition, x, y)
    return _where(as_boolean("where", condition), *alike("where", x, y))
