# SPDX-License-Identifier: Apache-2.0
"""Interpolation of arrays along some axes, as pure functions of JAX arrays.

Sample o of an axis lies at (o + 1/2) * n / size - 1/2 in the input (half-pixel centres). Places outside count as
nothing, and the weights that are left are scaled to the sum 1.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

_RADIUS = {"bilinear": 1.0, "bicubic": 2.0, "lanczos3": 3.0, "lanczos5": 5.0, "gaussian": 1.5, "mitchellcubic": 2.0}


def _kernel(method, x):
    """Weight at distance x >= 0 from the centre."""
    if method == "bilinear":
        return np.maximum(0.0, 1 - x)
    if method == "bicubic":  # Keys, a = -1/2
        near = ((1.5 * x - 2.5) * x) * x + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))
    if method == "mitchellcubic":  # B = C = 1/3
        near = (((7 * x - 12) * x) * x + 16 / 3) / 6
        far = (((-7 / 3 * x + 12) * x - 20) * x + 32 / 3) / 6
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))
    if method == "gaussian":
        return np.where(x < 1.5, np.exp(-x * x / (2 * 0.5 ** 2)), 0.0)
    radius = _RADIUS[method]
    return np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


def weights(n, size, method, antialias):
    """Return the (size, n) matrix that interpolates an axis of length n."""
    scale = n / size
    if method == "area":
        edges = np.arange(size + 1) * scale
        i = np.arange(n)
        share = np.minimum(edges[1:, None], i + 1) - np.maximum(edges[:-1, None], i)
        return np.maximum(share, 0) / scale
    centre = (np.arange(size) + 0.5) * scale - 0.5
    width = max(scale, 1.0) if antialias else 1.0
    matrix = _kernel(method, np.abs(np.arange(n) - centre[:, None]) / width)
    total = matrix.sum(1, keepdims=True)
    return matrix / np.where(np.abs(total) > 1e-8, total, 1)


def resize_axes(x, axes, size, method, antialias):
    """Return `x` with the given axes resized; 'nearest' keeps the dtype, the others give float32 for whole numbers."""
    if method == "nearest":
        for axis, target in zip(axes, size, strict=True):
            n = x.shape[axis]
            if n != target:
                place = np.minimum(np.floor((np.arange(target) + 0.5) * (n / target)), n - 1).astype(np.int32)
                x = jnp.take(x, place, axis=axis)
        return x
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize == 2:
        x = x.astype(jnp.float32)
    for axis, target in zip(axes, size, strict=True):
        n = x.shape[axis]
        if n == target:
            continue
        if method == "bilinear" and not (antialias and n > target):
            centre = np.clip((np.arange(target) + 0.5) * (n / target) - 0.5, 0, n - 1)
            low = np.floor(centre).astype(np.int32)
            share = np.expand_dims(centre - low, [a for a in range(x.ndim - axis) if a][:x.ndim - axis - 1])
            share = jnp.asarray(share, x.dtype)
            x = jnp.take(x, low, axis=axis) * (1 - share) + jnp.take(x, np.minimum(low + 1, n - 1), axis=axis) * share
        else:
            matrix = jnp.asarray(weights(n, target, method, antialias), x.dtype)
            x = jnp.moveaxis(jnp.tensordot(x, matrix, axes=((axis,), (1,))), -1, axis)
    return x
