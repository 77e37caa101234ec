# SPDX-License-Identifier: Apache-2.0
"""Grey-scale dilation and erosion, and glimpses of images."""
import builtins

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.engine import op
from fitloom.ops import random
from fitloom.ops.calling import alike, host_value, static_ints, tensor
from fitloom.ops.clipping import clip_by_value
from fitloom.ops.shaping import reverse, where


@op(name="dilation2d")
def _dilation(x, filters, *, strides, padding, rates):
    low = jnp.array(-jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min, x.dtype)
    (rows, columns), spans = filters.shape[:2], []
    for size, kernel, stride, rate in zip(x.shape[1:3], (rows, columns), strides, rates, strict=True):
        reach = (kernel - 1) * rate + 1
        if padding == "SAME":
            count = -(-size // stride)
            missing = builtins.max((count - 1) * stride + reach - size, 0)
            spans.append((count, missing // 2, missing - missing // 2))
        else:
            spans.append((builtins.max(-(-(size - reach + 1) // stride), 0), 0, 0))
    padded = jnp.pad(x, [(0, 0), spans[0][1:], spans[1][1:], (0, 0)], constant_values=low)
    best = None
    for i in builtins.range(rows):
        for j in builtins.range(columns):
            top, left = i * rates[0], j * rates[1]
            part = padded[:, top:top + (spans[0][0] - 1) * strides[0] + 1:strides[0],
                          left:left + (spans[1][0] - 1) * strides[1] + 1:strides[1]] + filters[i, j]
            best = part if best is None else jnp.maximum(best, part)
    return best


def _pair(value, name):
    values = static_ints(value)
    if len(values) != 4 or values[0] != 1 or values[3] != 1:
        raise ValueError(f"dilation2d needs {name} of the form [1, rows, columns, 1], but received {list(values)}.")
    return values[1:3]


def dilation2d(input, filters, strides, padding, data_format, dilations, name=None):
    """Return the largest input + filter of each window.

    Args:
        input: (batch, height, width, channels).
        filters: (rows, columns, channels).
        strides, dilations: [1, rows, columns, 1].
        padding: 'SAME' or 'VALID'.
        data_format: 'NHWC'.
    """
    if data_format != "NHWC":
        raise ValueError(f"dilation2d takes data_format 'NHWC', but received {data_format!r}.")
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"dilation2d takes padding 'SAME' or 'VALID', but received {padding!r}.")
    return _dilation(*alike("dilation2d", input, filters), strides=_pair(strides, "strides"), padding=padding,
                     rates=_pair(dilations, "dilations"))


def erosion2d(value, filters, strides, padding, data_format, dilations, name=None):
    """Return the smallest value - filter of each window, the filter being mirrored; arguments as in `dilation2d`."""
    value, filters = alike("erosion2d", value, filters)
    return -dilation2d(-value, reverse(filters, [0, 1]), strides, padding, data_format, dilations)


@op(name="glimpse")
def _glimpse(x, corners, *, size):
    def one(image, corner):
        rows, columns = corner[0] + jnp.arange(size[0]), corner[1] + jnp.arange(size[1])
        inside = ((rows >= 0) & (rows < x.shape[1]))[:, None] & ((columns >= 0) & (columns < x.shape[2]))
        found = image[jnp.clip(rows, 0, x.shape[1] - 1)][:, jnp.clip(columns, 0, x.shape[2] - 1)]
        return found, jnp.broadcast_to(inside[..., None], found.shape)
    return jax.vmap(one)(x, corners)


@op(name="glimpse_corners")
def _corners(offsets, *, size, shape, centered, normalized):
    scale = jnp.asarray(shape, offsets.dtype)
    at = offsets * scale if normalized else offsets
    if centered and normalized:
        at = (at + scale - jnp.asarray(size, offsets.dtype)) / 2
    elif centered:
        at = at + scale / 2
    return jnp.trunc(at).astype(jnp.int32)


def extract_glimpse(input, size, offsets, centered=True, normalized=True, noise="uniform", name=None):
    """Return a window of each image, around a point of its own.

    Args:
        input: (batch, height, width, channels), floating.
        size: (rows, columns) of the windows.
        offsets: (batch, 2): y and x of the windows' centres if centered and normalized, else of their corners.
        centered: whether (0, 0) is the images' centre rather than their upper left corner.
        normalized: whether offsets are in units of the image: from -1 to 1 if centered, else from 0 to 1.
        noise: what stands where a window leaves its image: 'uniform' or 'gaussian' random numbers, or 'zero'.
    """
    if noise not in ("uniform", "gaussian", "zero"):
        raise ValueError(f"extract_glimpse takes noise 'uniform', 'gaussian' or 'zero', but received {noise!r}.")
    x, size = tensor(input), tuple(int(v) for v in np.ravel(host_value(size, "a glimpse's size")))
    places = _corners(tensor(offsets), size=size, shape=tuple(x.shape)[1:3], centered=bool(centered),
                      normalized=bool(normalized))
    found, inside = _glimpse(x, places, size=size)
    if noise == "zero":
        return where(inside, found, 0.0)
    if noise == "uniform":
        return where(inside, found, random.uniform(tuple(found.shape), dtype=x.dtype))
    drawn = random.normal(tuple(found.shape), 0.5, 0.5, dtype=x.dtype)
    return where(inside, found, clip_by_value(drawn, 0.0, 1.0))
