# SPDX-License-Identifier: Apache-2.0
"""Sums, means, extremes, cumulations: operations that go over one or more axes.

`axis` is None (all axes), a whole number or a list of them; `keepdims` keeps the reduced axes with size 1. Means of
whole numbers are whole (rounded towards 0), as in TensorFlow. The gradient of an extreme is shared among ties.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from fitloom.base import dtypes
from fitloom.engine import op
from fitloom.ops.calling import as_boolean, static_axis


def _mean(x, axis, keepdims):
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.mean(x, axis=axis, keepdims=keepdims)
    total = jnp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)
    return lax.div(total, jnp.full(total.shape, max(x.size // max(total.size, 1), 1), x.dtype))


def _variance(x, axis, keepdims):
    """Two passes: the mean, then the mean of squared distances from it."""
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    return jnp.mean(jnp.square(jnp.abs(centred)), axis=axis, keepdims=keepdims)


_KINDS = {
    "sum": lambda x, axis, keepdims: jnp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype),
    "prod": lambda x, axis, keepdims: jnp.prod(x, axis=axis, keepdims=keepdims, dtype=x.dtype),
    "max": lambda x, axis, keepdims: extreme(x, axis, keepdims, largest=True),
    "min": lambda x, axis, keepdims: extreme(x, axis, keepdims, largest=False),
    "mean": _mean,
    "variance": _variance,
    "std": lambda x, axis, keepdims: jnp.sqrt(_variance(x, axis, keepdims)),
    "logsumexp": lambda x, axis, keepdims: logsumexp(x, axis=axis, keepdims=keepdims),
    "all": lambda x, axis, keepdims: jnp.all(x, axis=axis, keepdims=keepdims),
    "any": lambda x, axis, keepdims: jnp.any(x, axis=axis, keepdims=keepdims),
    "euclidean_norm": lambda x, axis, keepdims: jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=keepdims)),
    "count_nonzero": lambda x, axis, keepdims: jnp.sum(x != 0, axis=axis, keepdims=keepdims, dtype=jnp.int64),
}


def _plain_extreme(x, largest, axis, keepdims):
    return (jnp.max if largest else jnp.min)(x, axis=axis, keepdims=keepdims)


_shared_extreme = jax.custom_jvp(_plain_extreme, nondiff_argnums=(1, 2, 3))


@_shared_extreme.defjvp
def _shared_extreme_jvp(largest, axis, keepdims, primals, tangents):
    """Share the tangent among the ties.

    XLA may compute x once for the extreme and again, rounded otherwise, for the comparison with it: then nothing would
    be equal to the extreme. The place where it was found counts in any case.
    """
    (x,), (tangent,) = primals, tangents
    axes = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in np.atleast_1d(axis))
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    rows = x.transpose(kept + axes).reshape(tuple(x.shape[a] for a in kept) + (-1,))
    place = (jnp.argmax if largest else jnp.argmin)(rows, axis=-1, keepdims=True)
    found = lax.broadcasted_iota(place.dtype, rows.shape, rows.ndim - 1) == place
    found = found.reshape([x.shape[a] for a in kept + axes]).transpose(np.argsort(kept + axes))
    extreme = _shared_extreme(x, largest, axis, True)
    hit = ((x == extreme) | found).astype(x.dtype)
    result = jnp.sum(hit * tangent, axis=axes, keepdims=True) / jnp.sum(hit, axis=axes, keepdims=True)
    return (extreme, result) if keepdims else (jnp.squeeze(extreme, axes), jnp.squeeze(result, axes))


def extreme(x, axis, keepdims, largest):
    """Maximum or minimum of an array; over nothing it is the lowest or the highest value of the dtype."""
    if x.size:
        shared = jnp.issubdtype(x.dtype, jnp.floating)
        return (_shared_extreme if shared else _plain_extreme)(x, largest, axis, keepdims)
    dtype = dtypes.as_dtype(x.dtype)
    initial = (-np.inf if largest else np.inf) if dtype.is_floating else (dtype.min if largest else dtype.max)
    function = jnp.max if largest else jnp.min
    return function(x, axis=axis, keepdims=keepdims, initial=jnp.asarray(initial, x.dtype))


def _reduction(kind, name, summary, host=None, boolean=False):
    function = _KINDS[kind]

    def reduce(x, *, axis, keepdims):
        return function(x, axis, keepdims)

    def on_host(x, *, axis, keepdims):
        return host(x, axis=axis, keepdims=keepdims, **({"dtype": x.dtype} if kind in ("sum", "prod") else {}))

    recorded = op(reduce, name=name, host=None if host is None else on_host)

    def public(input_tensor, axis=None, keepdims=False, name=None):
        if hasattr(input_tensor, "with_flat_values"):
            return input_tensor.reduce(kind, public, axis)
        if boolean:
            input_tensor = as_boolean(public.__name__, input_tensor)
        return recorded(input_tensor, axis=static_axis(axis), keepdims=bool(keepdims))

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"{summary}\n\n    Args:\n        axis: None for all axes, a whole number or a list.\n    "
    return public


reduce_sum = _reduction("sum", "reduce_sum", "Return the sum over `axis`.", host=np.sum)
reduce_prod = _reduction("prod", "reduce_prod", "Return the product over `axis`.", host=np.prod)
reduce_max = _reduction("max", "reduce_max", "Return the largest value over `axis`.", host=np.max)
reduce_min = _reduction("min", "reduce_min", "Return the smallest value over `axis`.", host=np.min)
reduce_mean = _reduction("mean", "reduce_mean", "Return the mean over `axis`.")
reduce_variance = _reduction("variance", "reduce_variance", "Return mean((x - mean(x)) ** 2) over `axis`.")
reduce_std = _reduction("std", "reduce_std", "Return the square root of the variance over `axis`.")
reduce_logsumexp = _reduction("logsumexp", "reduce_logsumexp", "Return log(sum(exp(x))) over `axis`, stably.")
reduce_all = _reduction("all", "reduce_all", "Return whether all are true over `axis`.", boolean=True)
reduce_any = _reduction("any", "reduce_any", "Return whether any is true over `axis`.", boolean=True)
reduce_euclidean_norm = _reduction("euclidean_norm", "reduce_euclidean_norm", "Return sqrt(sum(x * x)) over `axis`.")
_count_nonzero = _reduction("count_nonzero", "count_nonzero", "Return how many elements differ from 0.")


def count_nonzero(input, axis=None, keepdims=None, dtype=dtypes.int64, name=None):
    """Return how many elements over `axis` differ from 0, as `dtype`."""
    from fitloom.ops.casting import cast

    return cast(_count_nonzero(input, axis, bool(keepdims)), dtype)


# ---- positions of extremes


@op(name="argmax")
def _argmax(x, *, axis, dtype):
    return jnp.argmax(x, axis=axis).astype(dtype)


@op(name="argmin")
def _argmin(x, *, axis, dtype):
    return jnp.argmin(x, axis=axis).astype(dtype)


def argmax(input, axis=None, output_type=dtypes.int64, name=None):
    """Return the position of the largest value along `axis` (axis 0 if None), the first of equals."""
    return _argmax(input, axis=static_axis(0 if axis is None else axis), dtype=dtypes.name_of(output_type))


def argmin(input, axis=None, output_type=dtypes.int64, name=None):
    """Return the position of the smallest value along `axis` (axis 0 if None), the first of equals."""
    return _argmin(input, axis=static_axis(0 if axis is None else axis), dtype=dtypes.name_of(output_type))


# ---- cumulations


def _directed(function, x, axis, exclusive, reverse, neutral):
    """Cumulate along `axis`; `exclusive` leaves each element out of its own total."""
    if reverse:
        x = jnp.flip(x, axis)
    if exclusive:
        head = jnp.full_like(lax.slice_in_dim(x, 0, min(1, x.shape[axis]), axis=axis), neutral)
        x = jnp.concatenate([head, lax.slice_in_dim(x, 0, max(x.shape[axis] - 1, 0), axis=axis)], axis)
    y = function(x, axis=axis)
    return jnp.flip(y, axis) if reverse else y


@op(name="cumsum")
def _cumsum(x, *, axis, exclusive, reverse):
    axis %= x.ndim
    return _directed(lambda x, axis: jnp.cumsum(x, axis, dtype=x.dtype), x, axis, exclusive, reverse, 0)


@op(name="cumprod")
def _cumprod(x, *, axis, exclusive, reverse):
    axis %= x.ndim
    return _directed(lambda x, axis: jnp.cumprod(x, axis, dtype=x.dtype), x, axis, exclusive, reverse, 1)


@op
def _cumulative_logsumexp(x, *, axis, exclusive, reverse):
    return _directed(lambda x, axis: lax.cumlogsumexp(x, axis), x, axis % x.ndim, exclusive, reverse, -jnp.inf)


def cumsum(x, axis=0, exclusive=False, reverse=False, name=None):
    """Return running sums along `axis`.

    Args:
        exclusive: leave each element out of its own sum.
        reverse: run from the end.

    Example:
        >>> import fitloom as tf
        >>> tf.cumsum(tf.constant([1, 2, 3]), exclusive=True).numpy().tolist()
        [0, 1, 3]
    """
    return _cumsum(x, axis=static_axis(axis), exclusive=bool(exclusive), reverse=bool(reverse))


def cumprod(x, axis=0, exclusive=False, reverse=False, name=None):
    """Return running products along `axis` (arguments as in `cumsum`)."""
    return _cumprod(x, axis=static_axis(axis), exclusive=bool(exclusive), reverse=bool(reverse))


def cumulative_logsumexp(x, axis=0, exclusive=False, reverse=False, name=None):
    """Return running log(sum(exp(x))) along `axis` (arguments as in `cumsum`)."""
    return _cumulative_logsumexp(x, axis=static_axis(axis), exclusive=bool(exclusive), reverse=bool(reverse))


# ---- moments


@op
def _moments(x, *, axes, keepdims):
    wide = x.astype(jnp.float32) if x.dtype.itemsize == 2 else x
    mean = jnp.mean(wide, axis=axes, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=axes, keepdims=keepdims)
    if not keepdims:
        mean = jnp.mean(wide, axis=axes)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def moments(x, axes, shift=None, keepdims=False, name=None):
    """Return the mean and the variance over `axes`.

    16-bit floats are computed in float32.
    """
    return _moments(x, axes=static_axis(axes), keepdims=bool(keepdims))


@op
def _weighted_moments(x, weights, *, axes, keepdims):
    weights = jnp.broadcast_to(weights, jnp.broadcast_shapes(x.shape, weights.shape))
    total = jnp.sum(weights, axis=axes, keepdims=True)
    mean = jnp.sum(weights * x, axis=axes, keepdims=True) / total
    variance = jnp.sum(weights * jnp.square(x - mean), axis=axes, keepdims=True) / total
    return (mean, variance) if keepdims else (jnp.squeeze(mean, axes), jnp.squeeze(variance, axes))


def weighted_moments(x, axes, frequency_weights, keepdims=False, name=None):
    """Return the mean and the variance over `axes`, each element counted with its weight."""
    return _weighted_moments(x, frequency_weights, axes=static_axis(axes), keepdims=bool(keepdims))


@op
def _sufficient_statistics(x, shift, *, axes, keepdims, shifted):
    axes = tuple(range(x.ndim)) if axes is None else axes
    count = 1
    for axis in (axes,) if isinstance(axes, int) else axes:
        count *= x.shape[axis]
    moved = x - shift if shifted else x
    return (jnp.asarray(count, x.dtype), jnp.sum(moved, axis=axes, keepdims=keepdims),
            jnp.sum(jnp.square(moved), axis=axes, keepdims=keepdims))


def sufficient_statistics(x, axes, shift=None, keepdims=False, name=None):
    """Return (count, sum of x - shift, sum of (x - shift) ** 2, shift) over `axes`."""
    given = shift is not None
    statistics = _sufficient_statistics(x, shift if given else 0, axes=static_axis(axes), keepdims=bool(keepdims),
                                        shifted=given)
    return (*statistics, shift)


def normalize_moments(counts, mean_ss, variance_ss, shift, name=None):
    """Return the mean and the variance from the results of `sufficient_statistics`."""
    mean = mean_ss / counts
    variance = variance_ss / counts - mean * mean
    return (mean if shift is None else mean + shift), variance
