# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling over windows in one, two or three spatial dimensions.

XLA:CPU differentiates `reduce_window` with `select_and_scatter`, which took 31 ms where the
formulation here takes 0.5 (28x28x32 images, batch 128): the forward pass remembers in one byte
which place of each window won, and the backward pass compares. Native code does the same in one
pass each way. Windows of more than 64 places keep XLA's own operation, because ours costs a pass
for each place.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.ops.kernels import platform
from fitloom.ops.kernels.derivatives import Static, with_backward
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

_MOST_PLACES = 64
# The native loops run along the channels, and smaller arrays take less time than a call of foreign code.
_LEAST_CHANNELS = 8
_LEAST_SIZE = 1 << 14


def max_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    data_format: str = "channels_last",
) -> jax.Array:
    """Take the largest value of each window: `y[o] = max_k x[o * strides + k - padding]`.

    Of equal values the first one, in row-major order, receives the whole gradient.

    Args:
        x: `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` for channels_first.
        window: Size of the window, one for all or one for each spatial dimension.
        strides: Step between windows; `window` if None.
        padding: `'valid'`, or `'same'` (`ceil(size / stride)` windows; padding never wins).
        data_format: `'channels_last'` or `'channels_first'`.

    Returns:
        Array of x's layout and dtype.
    """
    pooled = functools.partial(_max_pool_last, window=window, strides=strides, padding=padding)
    return _in_channels_last(pooled, x, data_format)


def avg_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    data_format: str = "channels_last",
) -> jax.Array:
    """Take the mean of each window; places outside the array count neither above nor below.

    Args and returns as `max_pool`. float16 and bfloat16 are summed in float32.
    """
    pooled = functools.partial(_avg_pool_last, window=window, strides=strides, padding=padding)
    return _in_channels_last(pooled, x, data_format)


def _in_channels_last(function, x, data_format):
    if data_format == "channels_last":
        return function(x)
    if data_format != "channels_first":
        raise ValueError(f"data_format must be 'channels_last' or 'channels_first', received {data_format!r}")
    return jnp.moveaxis(function(jnp.moveaxis(x, 1, -1)), -1, 1)


def _geometry(x, window, strides, padding):
    """Return window, strides and ((low, high), ...) padding, one for each spatial dimension."""
    ndim = x.ndim - 2
    window = _per_dimension(window, ndim, "window")
    strides = window if strides is None else _per_dimension(strides, ndim, "strides")
    if padding == "valid":
        return window, strides, ((0, 0),) * ndim
    if padding != "same":
        raise ValueError(f"padding must be 'valid' or 'same', received {padding!r}")
    pads = []
    for size, width, stride in zip(x.shape[1:-1], window, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        pads.append((total // 2, total - total // 2))
    return window, strides, tuple(pads)


def _per_dimension(value, ndim, name):
    values = (value,) * ndim if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != ndim or min(values) < 1:
        raise ValueError(f"{name} must be {ndim} positive integers, received {value!r}")
    return values


def _max_pool_last(x, window, strides, padding):
    window, strides, pads = _geometry(x, window, strides, padding)
    if math.prod(window) <= _MOST_PLACES and jnp.issubdtype(x.dtype, jnp.floating):
        return _max_pool(x, window=window, strides=strides, pads=pads)
    return lax.reduce_window(
        x, _lowest(x.dtype), lax.max, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    )


def _lowest(dtype):
    """The value of padding in a maximum: a NumPy constant, by which JAX knows the operation."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.array(-np.inf, dtype)
    return np.array(jnp.iinfo(dtype).min, dtype)


def _places(x, window, strides):
    """Return for each place of the window, in row-major order, its value in every window."""
    counts = [(n - w) // s + 1 for n, w, s in zip(x.shape[1:-1], window, strides, strict=True)]
    views = []
    for offset in itertools.product(*map(range, window)):
        limits = [o + (n - 1) * s + 1 for o, n, s in zip(offset, counts, strides, strict=True)]
        views.append(lax.slice(x, (0, *offset, 0), (x.shape[0], *limits, x.shape[-1]), (1, *strides, 1)))
    return views


def _max_forward(x, *, window, strides, pads):
    native = (
        platform.native_enabled()
        and x.dtype == jnp.float32
        and x.ndim <= 5
        and x.shape[-1] >= _LEAST_CHANNELS
        and x.size >= _LEAST_SIZE
    )
    largest = _largest if native else largest_reference
    y, winner = largest(x, window=window, strides=strides, pads=pads)
    return y, (winner, Static((x.shape, native)))


def _max_backward(residuals, cotangent, *, window, strides, pads):
    winner, static = residuals
    shape, native = static.value
    spread = _spread_to_winners if native else spread_reference
    return spread(cotangent, winner, shape=shape, window=window, strides=strides, pads=pads)


def largest_reference(x, *, window, strides, pads):
    """Return the largest value of each window and, as uint8, the place of the first that is it."""
    padded = lax.pad(x, _lowest(x.dtype), [(0, 0, 0), *((a, b, 0) for a, b in pads), (0, 0, 0)])
    views = _places(padded, window, strides)
    largest = functools.reduce(jnp.maximum, views)
    winner = jnp.full(largest.shape, len(views) - 1, jnp.uint8)
    for place in reversed(range(len(views) - 1)):
        winner = jnp.where(views[place] == largest, jnp.uint8(place), winner)
    return largest, winner


def _largest_native(x, *, window, strides, pads):
    counts = [
        (n + low + high - w) // s + 1
        for n, (low, high), w, s in zip(x.shape[1:-1], pads, window, strides, strict=True)
    ]
    shape = (x.shape[0], *counts, x.shape[-1])
    results = (jax.ShapeDtypeStruct(shape, x.dtype), jax.ShapeDtypeStruct(shape, jnp.uint8))
    return library.call("max_pool", results, x, window=window, strides=strides, lows=tuple(a for a, _ in pads))


def spread_reference(dy, winner, *, shape, window, strides, pads):
    return (_spread(dy, winner, shape, window, strides, pads),)


def _spread_to_winners_native(dy, winner, *, shape, window, strides, pads):
    results = (jax.ShapeDtypeStruct(shape, dy.dtype),)
    lows = tuple(low for low, _ in pads)
    return library.call("max_pool_gradient", results, dy, winner, window=window, strides=strides, lows=lows)


_largest = Accelerated("max_pool", largest_reference, _largest_native)
_spread_to_winners = Accelerated("max_pool_gradient", spread_reference, _spread_to_winners_native)
largest_primitive, spread_primitive = _largest.primitive, _spread_to_winners.primitive
_max_pool = with_backward(_max_forward, _max_backward)


def _spread(values, winner, shape, window, strides, pads):
    """Add each window's value to the place that `winner` names, or to all places if None.

    A place k = p + s * r of window o is input o * s + k - low = (o + r) * s + p - low. So an
    array with axes (o + r, p) for each dimension, seen as one axis, is the padded input, and
    each shift r adds one term to it; there is one r only where windows do not overlap.
    """
    ndim = len(window)
    shifts = [-(-w // s) for w, s in zip(window, strides, strict=True)]
    counts = values.shape[1:-1]
    blocks = [n + r - 1 for n, r in zip(counts, shifts, strict=True)]
    # Axes of the result: batch, (block, phase) for each spatial dimension, channels.
    full = (values.shape[0], *itertools.chain(*zip(blocks, strides, strict=True)), values.shape[-1])

    def phase(dimension):
        return lax.broadcasted_iota(jnp.int32, full, 2 + 2 * dimension)

    def expand(array):
        for dimension in range(ndim):
            array = jnp.expand_dims(array, 2 + 2 * dimension)
        return jnp.broadcast_to(array, full)

    total = None
    for shift in itertools.product(*map(range, shifts)):
        config = [(r, m - 1 - r, 0) for r, m in zip(shift, shifts, strict=True)]
        config = [(0, 0, 0), *config, (0, 0, 0)]
        here = expand(lax.pad(values, jnp.zeros((), values.dtype), config))
        taps = [phase(d) + shift[d] * strides[d] for d in range(ndim)]
        place = functools.reduce(lambda a, d: a * window[d] + taps[d], range(ndim), 0)
        chosen = None
        if winner is not None:
            chosen = expand(lax.pad(winner, jnp.uint8(0), config)) == place.astype(jnp.uint8)
        for d in range(ndim):
            if (shift[d] + 1) * strides[d] > window[d]:  # this shift has phases without a tap
                inside = taps[d] < window[d]
                chosen = inside if chosen is None else chosen & inside
        term = here if chosen is None else jnp.where(chosen, here, jnp.zeros((), here.dtype))
        total = term if total is None else total + term
    sizes = [b * s for b, s in zip(blocks, strides, strict=True)]
    total = total.reshape(shape[0], *sizes, shape[-1])
    # Cut the padding away; input places that no window reaches get zeros.
    config = [
        (-low, low + size - have, 0) for (low, _), size, have in zip(pads, shape[1:-1], sizes, strict=True)
    ]
    return lax.pad(total, jnp.zeros((), total.dtype), [(0, 0, 0), *config, (0, 0, 0)])


def _avg_pool_last(x, window, strides, padding):
    window, strides, pads = _geometry(x, window, strides, padding)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    if math.prod(window) <= _MOST_PLACES and jnp.issubdtype(x.dtype, jnp.floating):
        total = _sum_pool(x, window=window, strides=strides, pads=pads)
    else:
        total = lax.reduce_window(
            x.astype(wide),
            jnp.zeros((), wide),
            lax.add,
            (1, *window, 1),
            (1, *strides, 1),
            ((0, 0), *pads, (0, 0)),
        )
    return (total / _counts(x.shape, window, strides, pads, wide)).astype(x.dtype)


def _counts(shape, window, strides, pads, dtype):
    """Number of real places in each window: a product of one vector for each dimension."""
    counts = jnp.ones((1,) * len(shape), dtype)
    for d, (size, width, stride, (low, high)) in enumerate(
        zip(shape[1:-1], window, strides, pads, strict=True)
    ):
        starts = range(-low, size + high - width + 1, stride)
        inside = [min(start + width, size) - max(start, 0) for start in starts]
        axis = [1] * len(shape)
        axis[d + 1] = len(inside)
        counts = counts * jnp.array(inside, dtype).reshape(axis)
    return counts


def _sum_forward(x, *, window, strides, pads):
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded = lax.pad(
        x.astype(wide),
        jnp.zeros((), wide),
        [(0, 0, 0), *((a, b, 0) for a, b in pads), (0, 0, 0)],
    )
    return functools.reduce(jnp.add, _places(padded, window, strides)), Static((x.shape, x.dtype))


def _sum_backward(residuals, cotangent, *, window, strides, pads):
    shape, dtype = residuals.value
    return (_spread(cotangent, None, shape, window, strides, pads).astype(dtype),)


_sum_pool = with_backward(_sum_forward, _sum_backward)
