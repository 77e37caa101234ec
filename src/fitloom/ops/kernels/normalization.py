# SPDX-License-Identifier: Apache-2.0
"""Normalizations with one-pass statistics and gradients written by hand.

The sums of x and x * x are taken in one pass over the data (batch normalization 5.6 -> 1.35 ms,
layer normalization 0.38 -> 0.26 ms forward and backward on two cores), by native code where the
channels are last, and layer normalization of rows is native as a whole. The variance
`mean(x * x) - mean(x)^2` loses all digits where the mean is large against the spread, so x is
first shifted by one sample of it, which the compiler does for free in the same pass.
Statistics of float16 and bfloat16 are float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels import platform
from fitloom.ops.kernels.derivatives import with_backward
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated


# Smaller arrays are normalized in less time than a call of foreign code takes.
_LEAST_SIZE = 1 << 12


def batch_norm_training(
    x: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    axes: Sequence[int],
    epsilon: float,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalize with the statistics of x: `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`.

    Args:
        x: Any shape.
        gamma, beta: Scale and offset in the shape of the axes of x that are kept, or None.
        axes: The axes that are averaged over.
        epsilon: Added to the variance.
        mask: Weights of the positions, in the shape of x without its last axis; positions of
            weight 0 do not enter the statistics.

    Returns:
        `(y, mean, var)`: y in x's shape and dtype; the mean and the biased variance in the
        shape of the kept axes, float32 for half precision. All three can be differentiated.
    """
    axes = _canonical(axes, x.ndim)
    if mask is None:
        return _batch_norm(x, gamma, beta, axes=axes, epsilon=float(epsilon))
    wide = x.astype(_statistics_dtype(x))
    weights = jnp.broadcast_to(jnp.expand_dims(mask.astype(wide.dtype), -1), x.shape)
    # As Keras: a batch without any valid position has mean and variance 0.
    total = jnp.sum(weights, axis=axes) + 1e-7
    mean = jnp.sum(weights * wide, axis=axes) / total
    centered = wide - jnp.expand_dims(mean, axes)
    var = jnp.sum(weights * centered * centered, axis=axes) / total
    return batch_norm_inference(x, mean, var, gamma, beta, axes, epsilon), mean, var


def batch_norm_inference(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    axes: Sequence[int],
    epsilon: float,
) -> jax.Array:
    """Normalize with given statistics: `y = x * k + (beta - mean * k)`, `k = gamma / sqrt(..)`.

    Args and returns as `batch_norm_training`.
    """
    axes = _canonical(axes, x.ndim)
    dtype = _statistics_dtype(x)
    scale = lax.rsqrt(var.astype(dtype) + epsilon)
    if gamma is not None:
        scale = scale * gamma.astype(dtype)
    offset = -mean.astype(dtype) * scale
    if beta is not None:
        offset = offset + beta.astype(dtype)
    y = x.astype(dtype) * jnp.expand_dims(scale, axes) + jnp.expand_dims(offset, axes)
    return y.astype(x.dtype)


def layer_norm(
    x: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-3,
) -> jax.Array:
    """Normalize each sample over `axes`: `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`.

    Args:
        x: Any shape.
        gamma, beta: Scale and offset in the shape of the normalized axes, or None.
        axes: The axes that are averaged over.
        epsilon: Added to the variance.

    Returns:
        Array of x's shape and dtype.
    """
    axes = _canonical(axes, x.ndim)
    return _layer_norm(x, gamma, beta, axes=axes, epsilon=float(epsilon))


def rms_norm(
    x: jax.Array,
    scale: jax.Array | None,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-6,
) -> jax.Array:
    """Divide each sample by its root mean square: `y = x / sqrt(mean(x^2) + epsilon) * scale`.

    Args and returns as `layer_norm`.
    """
    axes = _canonical(axes, x.ndim)
    return _rms_norm(x, scale, axes=axes, epsilon=float(epsilon))


def group_norm(
    x: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    groups: int,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> jax.Array:
    """Normalize each sample over all positions and the channels of each group.

    Args:
        x: `(batch, ..., channels, ...)` with the channels on `axis`.
        gamma, beta: Scale and offset `(channels,)`, or None.
        groups: Number of groups; it divides the number of channels.
        axis: The axis of the channels.
        epsilon: Added to the variance.

    Returns:
        Array of x's shape and dtype.
    """
    axis %= x.ndim
    channels = x.shape[axis]
    if channels % groups:
        raise ValueError(f"{channels} channels cannot be split into {groups} equal groups")
    split = (*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
    axes = tuple(i for i in range(1, len(split)) if i != axis)
    y = _layer_norm(x.reshape(split), None, None, axes=axes, epsilon=float(epsilon))
    y = y.reshape(x.shape)
    others = tuple(i for i in range(x.ndim) if i != axis)
    dtype = _statistics_dtype(x)
    if gamma is not None:
        y = y.astype(dtype) * jnp.expand_dims(gamma.astype(dtype), others)
    if beta is not None:
        y = y.astype(dtype) + jnp.expand_dims(beta.astype(dtype), others)
    return y.astype(x.dtype)


def _canonical(axes, ndim):
    axes = (axes,) if isinstance(axes, int) else axes
    return tuple(sorted(a % ndim for a in axes))


def _statistics_dtype(x):
    return jnp.promote_types(x.dtype, jnp.float32)


def _size(x, axes):
    return math.prod(x.shape[a] for a in axes)


def _moments(x, axes):
    """Return the mean and the biased variance over `axes`, kept as axes of length one."""
    wide = x.astype(_statistics_dtype(x))
    if _size(x, axes) == 0:  # no samples: NaN, as the mean of nothing
        nothing = jnp.mean(wide, axis=axes, keepdims=True)
        return nothing, nothing
    first = tuple(slice(0, 1) if a in axes else slice(None) for a in range(x.ndim))
    # A constant, whatever it is: the moments do not depend on it.
    shift = lax.stop_gradient(wide[first])
    shifted = wide - shift
    mean = jnp.mean(shifted, axis=axes, keepdims=True)
    square = jnp.mean(shifted * shifted, axis=axes, keepdims=True)
    return mean + shift, jnp.maximum(square - mean * mean, 0)


def _channel_moments_reference(x, *, axes):
    mean, var = _moments(x, axes)
    return jnp.squeeze(mean, axes), jnp.squeeze(var, axes)


def _channel_moments_native(x, *, axes):
    channel = jax.ShapeDtypeStruct(x.shape[-1:], x.dtype)
    return library.call("channel_moments", (channel, channel), x.reshape(-1, x.shape[-1]))


def _channel_products_reference(dy, x, mean, *, axes):
    """The sums over `axes` of dy and of dy * (x - mean)."""
    dtype = _statistics_dtype(x)
    dy = dy.astype(dtype)
    deviation = x.astype(dtype) - jnp.expand_dims(mean, axes)
    return jnp.sum(dy, axis=axes), jnp.sum(dy * deviation, axis=axes)


def _channel_products_native(dy, x, mean, *, axes):
    channel = jax.ShapeDtypeStruct(mean.shape, x.dtype)
    flat = (-1, x.shape[-1])
    return library.call("channel_products", (channel, channel), dy.reshape(flat), x.reshape(flat), mean)


_channel_moments = Accelerated("channel_moments", _channel_moments_reference, _channel_moments_native)
_channel_products = Accelerated("channel_products", _channel_products_reference, _channel_products_native)


def _native_takes(x, axes):
    """The native sums are for float32 with the channels last."""
    return x.dtype == jnp.float32 and axes == tuple(range(x.ndim - 1)) and x.size > 0


def _batch_norm_forward(x, gamma, beta, *, axes, epsilon):
    moments = _channel_moments if _native_takes(x, axes) else _channel_moments_reference
    mean, var = moments(x, axes=axes)
    y = batch_norm_inference(x, mean, var, gamma, beta, axes, epsilon)
    return (y, mean, var), (x, mean, var, gamma, beta)


def _batch_norm_backward(residuals, cotangents, *, axes, epsilon):
    # With r = 1 / sqrt(var + e), n samples and u = x - mean:
    #   dbeta = sum(dy), dgamma = r * sum(dy * u)
    #   dvar' = dvar - gamma * r^3 / 2 * sum(dy * u), dmean' = dmean - gamma * r * sum(dy)
    #   dx = dy * gamma * r + dmean' / n + 2 / n * u * dvar'
    x, mean, var, gamma, beta = residuals
    dy, dmean, dvar = cotangents
    dtype = _statistics_dtype(x)
    n = _size(x, axes)
    products = _channel_products if _native_takes(x, axes) else _channel_products_reference
    dbeta, moment = products(dy, x, mean, axes=axes)
    r = lax.rsqrt(var + epsilon)
    scale = r if gamma is None else r * gamma.astype(dtype)
    dvar = dvar - scale * r * r * moment / 2
    dmean = dmean - scale * dbeta
    slope = 2 / n * dvar
    offset = dmean / n - mean * slope
    dx = (
        dy.astype(dtype) * jnp.expand_dims(scale, axes)
        + x.astype(dtype) * jnp.expand_dims(slope, axes)
        + jnp.expand_dims(offset, axes)
    )
    return (
        dx.astype(x.dtype),
        None if gamma is None else (moment * r).astype(gamma.dtype),
        None if beta is None else dbeta.astype(beta.dtype),
    )


_batch_norm = with_backward(_batch_norm_forward, _batch_norm_backward)


def _over_samples(parameter, axes, ndim):
    """Give a parameter in the shape of `axes` the number of dimensions of x."""
    return jnp.expand_dims(parameter, tuple(i for i in range(ndim) if i not in axes))


def _native_takes_rows(x, *parameters, axes):
    """The native layer normalization is for float32 rows: the normalized axes are the last ones."""
    rows = axes == tuple(range(axes[0], x.ndim)) and x.size >= _LEAST_SIZE and platform.native_enabled()
    return rows and x.dtype == jnp.float32 and all(p is None or p.dtype == x.dtype for p in parameters)


def _rows_reference(x, gamma, beta, *, epsilon):
    """Normalize the rows of a matrix; gamma and beta may be empty. Return y, and mean and 1 / deviation of each row."""
    present = (None if p.shape[0] != x.shape[1] else p for p in (gamma, beta))
    y, (_, mean, r, *_) = _layer_norm_plain(x, *present, axes=(1,), epsilon=epsilon)
    return y, jnp.concatenate([mean, r], axis=1)


def _rows_native(x, gamma, beta, *, epsilon):
    results = (jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((x.shape[0], 2), x.dtype))
    return library.call("layer_norm", results, x, gamma, beta, epsilon=epsilon)


def _rows_gradient_reference(x, gamma, moments, dy):
    gamma = None if gamma.shape[0] != x.shape[1] else gamma
    residuals = (x, moments[:, :1], moments[:, 1:], gamma, None)
    dx, dgamma, _ = _layer_norm_gradients(residuals, dy, axes=(1,))
    h = (x - moments[:, :1]) * moments[:, 1:]
    return dx, jnp.sum(dy * h, axis=0) if dgamma is None else dgamma, jnp.sum(dy, axis=0)


def _rows_gradient_native(x, gamma, moments, dy):
    row = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    results = (jax.ShapeDtypeStruct(x.shape, x.dtype), row, row)
    return library.call("layer_norm_gradient", results, x, gamma, moments, dy)


_rows = Accelerated("layer_norm", _rows_reference, _rows_native)
_rows_gradient = Accelerated("layer_norm_gradient", _rows_gradient_reference, _rows_gradient_native)


def _as_row(parameter, x, n):
    return jnp.zeros((0,), x.dtype) if parameter is None else parameter.reshape(n)


def _layer_norm_forward(x, gamma, beta, *, axes, epsilon):
    if not _native_takes_rows(x, gamma, beta, axes=axes):
        return _layer_norm_plain(x, gamma, beta, axes=axes, epsilon=epsilon)
    n = _size(x, axes)
    y, moments = _rows(x.reshape(-1, n), _as_row(gamma, x, n), _as_row(beta, x, n), epsilon=epsilon)
    return y.reshape(x.shape), (x, moments, gamma, beta)


def _layer_norm_backward(residuals, dy, *, axes, epsilon):
    if len(residuals) == 5:
        return _layer_norm_gradients(residuals, dy, axes=axes)
    x, moments, gamma, beta = residuals
    n = _size(x, axes)
    dx, dgamma, dbeta = _rows_gradient(x.reshape(-1, n), _as_row(gamma, x, n), moments, dy.reshape(-1, n))
    return (
        dx.reshape(x.shape),
        None if gamma is None else dgamma.reshape(gamma.shape),
        None if beta is None else dbeta.reshape(beta.shape),
    )


def _layer_norm_plain(x, gamma, beta, *, axes, epsilon):
    dtype = _statistics_dtype(x)
    mean, var = _moments(x, axes)
    r = lax.rsqrt(var + epsilon)
    y = (x.astype(dtype) - mean) * r
    if gamma is not None:
        y = y * _over_samples(gamma.astype(dtype), axes, x.ndim)
    if beta is not None:
        y = y + _over_samples(beta.astype(dtype), axes, x.ndim)
    return y.astype(x.dtype), (x, mean, r, gamma, beta)


def _layer_norm_gradients(residuals, dy, *, axes):
    # With h = (x - mean) * r and t = dy * gamma: dx = r * (t - mean(t) - h * mean(t * h)).
    x, mean, r, gamma, beta = residuals
    dtype = _statistics_dtype(x)
    others = tuple(i for i in range(x.ndim) if i not in axes)
    dy = dy.astype(dtype)
    h = (x.astype(dtype) - mean) * r
    t = dy if gamma is None else dy * _over_samples(gamma.astype(dtype), axes, x.ndim)
    dx = r * (t - jnp.mean(t, axis=axes, keepdims=True) - h * jnp.mean(t * h, axis=axes, keepdims=True))
    return (
        dx.astype(x.dtype),
        None if gamma is None else jnp.sum(dy * h, axis=others).astype(gamma.dtype),
        None if beta is None else jnp.sum(dy, axis=others).astype(beta.dtype),
    )


_layer_norm = with_backward(_layer_norm_forward, _layer_norm_backward)


def _rms_norm_forward(x, scale, *, axes, epsilon):
    dtype = _statistics_dtype(x)
    wide = x.astype(dtype)
    r = lax.rsqrt(jnp.mean(wide * wide, axis=axes, keepdims=True) + epsilon)
    y = wide * r
    if scale is not None:
        y = y * _over_samples(scale.astype(dtype), axes, x.ndim)
    return y.astype(x.dtype), (x, r, scale)


def _rms_norm_backward(residuals, dy, *, axes, epsilon):
    # With h = x * r and t = dy * scale: dx = r * (t - h * mean(t * h)).
    x, r, scale = residuals
    dtype = _statistics_dtype(x)
    others = tuple(i for i in range(x.ndim) if i not in axes)
    dy = dy.astype(dtype)
    h = x.astype(dtype) * r
    t = dy if scale is None else dy * _over_samples(scale.astype(dtype), axes, x.ndim)
    dx = r * (t - h * jnp.mean(t * h, axis=axes, keepdims=True))
    return (
        dx.astype(x.dtype),
        None if scale is None else jnp.sum(dy * h, axis=others).astype(scale.dtype),
    )


_rms_norm = with_backward(_rms_norm_forward, _rms_norm_backward)
