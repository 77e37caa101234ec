# SPDX-License-Identifier: Apache-2.0
"""Functions between layers: the relu family, smooth gates, softmax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, static_int, unary
from fitloom.ops.kernels import gelu as kernels

relu = unary("relu", jax.nn.relu, "Return max(x, 0); NaN stays NaN, the derivative at 0 is 0.", x="features")
softsign = unary("softsign", jax.nn.soft_sign, "Return x / (1 + |x|).", x="features")
selu = unary("selu", lambda x: _selu(x), "Return scale * elu(x, alpha) of self-normalizing networks.", x="features")
tanh_shrink = unary("tanh_shrink", lambda x: x - jnp.tanh(x), "Return x - tanh(x).")
mish = unary("mish", lambda x: x * jnp.tanh(jax.nn.softplus(x)), "Return x * tanh(softplus(x)).")
hard_tanh = unary("hard_tanh", lambda x: _between(x, -1, 1), "Return x limited to [-1, 1].")
hard_sigmoid = unary("hard_sigmoid", lambda x: _between(x + 3, 0, 6) / 6, "Return relu6(x + 3) / 6.")
hard_silu = unary("hard_silu", lambda x: x * _between(x + 3, 0, 6) / 6, "Return x * relu6(x + 3) / 6.")
relu6 = unary("relu6", lambda x: _between(x, 0, 6), "Return min(max(x, 0), 6); the derivative at 0 and 6 is 0.",
              x="features")
sparse_plus = unary(
    "sparse_plus", lambda x: jnp.where(x <= -1, jnp.zeros((), x.dtype), jnp.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "Return 0 up to -1, (x + 1) ** 2 / 4 between -1 and 1, x from there on.")
sparse_sigmoid = unary("sparse_sigmoid", lambda x: _between((x + 1) / 2, 0, 1), "Return (x + 1) / 2 limited to [0, 1].")


def _selu(x):
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    below = jnp.expm1(jnp.where(x >= 0, jnp.zeros((), x.dtype), x))
    return jnp.where(x >= 0, jnp.asarray(scale, x.dtype) * x, jnp.asarray(scale * alpha, x.dtype) * below)


def _between(x, low, high):
    """Clip with derivative 0 at both ends."""
    inside = (x > low) & (x < high)
    return jnp.where(inside, x, lax.stop_gradient(jnp.clip(x, low, high)))


@op(name="leaky_relu")
def _leaky_relu(x, *, alpha):
    return jnp.where(x > 0, x, jnp.asarray(alpha, x.dtype) * x)


def leaky_relu(features, alpha=0.2, name=None):
    """Return x where it is positive, else alpha * x."""
    return _leaky_relu(features, alpha=float(alpha))


@op(name="elu")
def _elu(x, *, alpha):
    return jnp.where(x > 0, x, jnp.asarray(alpha, x.dtype) * jnp.expm1(jnp.where(x > 0, jnp.zeros((), x.dtype), x)))


def elu(features, alpha=1.0, name=None):
    """Return x where it is positive, else alpha * (exp(x) - 1)."""
    return _elu(features, alpha=float(alpha))


@op(name="celu")
def _celu(x, *, alpha):
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, jnp.zeros((), x.dtype), x) / alpha))


def celu(x, alpha=1.0):
    """Return max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)."""
    return _celu(x, alpha=float(alpha))


_gelu = op(kernels.gelu, name="gelu")


def gelu(features, approximate=False, name=None):
    """Return x * P(X <= x) for a standard normal X; `approximate` by tanh."""
    return _gelu(features, approximate=bool(approximate))


@op(name="silu")
def _silu(x, beta):
    return x * jax.nn.sigmoid(beta * x)


_plain_silu = op(jax.nn.silu, name="silu")


def silu(features, beta=1.0):
    """Return x * sigmoid(beta * x)."""
    return _plain_silu(features) if beta == 1.0 and isinstance(beta, float) else _silu(*alike("silu", features, beta))


swish = silu


@op(name="softmax")
def _softmax(x, *, axis):
    _need_axis("softmax", x)
    return jax.nn.softmax(x, axis=axis)


@op(name="log_softmax")
def _log_softmax(x, *, axis):
    _need_axis("log_softmax", x)
    return jax.nn.log_softmax(x, axis=axis)


def _need_axis(name, x):
    if x.ndim == 0 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InvalidArgumentError(
            f"{name} expected a float tensor with at least one axis, but received {x.dtype} of shape {tuple(x.shape)}.")


def _axes(axis):
    return -1 if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else static_int(axis)


def softmax(logits, axis=None, name=None):
    """Return exp(x) / sum(exp(x)) along `axis` (the last one if None)."""
    return _softmax(logits, axis=_axes(axis))


def log_softmax(logits, axis=None, name=None):
    """Return x - log(sum(exp(x))) along `axis` (the last one if None)."""
    return _log_softmax(logits, axis=_axes(axis))


@op(name="crelu")
def _crelu(x, *, axis):
    return jax.nn.relu(jnp.concatenate([x, -x], axis))


def crelu(features, axis=-1, name=None):
    """Return relu of [x, -x] joined along `axis`."""
    return _crelu(features, axis=int(axis))


@op(name="glu")
def _glu(x, *, axis):
    return jax.nn.glu(x, axis)


def glu(x, axis=-1):
    """Return a * sigmoid(b) for the two halves of x along `axis`."""
    return _glu(x, axis=int(axis))


@op(name="hard_shrink")
def _hard_shrink(x, *, threshold):
    return jnp.where(jnp.abs(x) > threshold, x, jnp.zeros((), x.dtype))


def hard_shrink(x, threshold=0.5):
    """Return x where |x| > threshold, else 0."""
    return _hard_shrink(x, threshold=float(threshold))


@op(name="soft_shrink")
def _soft_shrink(x, *, threshold):
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, jnp.zeros((), x.dtype)))


def soft_shrink(x, threshold=0.5):
    """Return x moved towards 0 by `threshold`, and 0 where |x| is below it."""
    return _soft_shrink(x, threshold=float(threshold))


@op(name="squareplus")
def _squareplus(x, *, b):
    return (x + jnp.sqrt(x * x + jnp.asarray(b, x.dtype))) / 2


def squareplus(x, b=4):
    """Return (x + sqrt(x ** 2 + b)) / 2."""
    return _squareplus(x, b=b)


@op(name="threshold")
def _threshold(x, *, threshold, default_value):
    return jnp.where(x > threshold, x, jnp.asarray(default_value, x.dtype))


def threshold(x, threshold, default_value):
    """Return x where it is above `threshold`, else `default_value`."""
    return _threshold(x, threshold=float(threshold), default_value=float(default_value))


@op(name="sparsemax")
def _sparsemax(x, *, axis):
    z = jnp.moveaxis(x, axis, -1)
    ordered = jnp.sort(z, axis=-1, descending=True)
    k = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    total = jnp.cumsum(ordered, axis=-1, dtype=z.dtype)
    support = 1 + k * ordered > total
    count = jnp.sum(support, axis=-1, keepdims=True, dtype=jnp.int32)
    tau = (jnp.take_along_axis(total, count - 1, axis=-1) - 1) / count.astype(z.dtype)
    return jnp.moveaxis(jax.nn.relu(z - tau), -1, axis)


def sparsemax(x, axis=-1):
    """Return the Euclidean projection of x onto the probability simplex (Martins and Astudillo, 2016)."""
    return _sparsemax(x, axis=int(axis))
