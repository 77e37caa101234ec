# SPDX-License-Identifier: Apache-2.0
"""Normalization, attention, recurrence, embedding and dropout: the kernels of built-in layers as operations.

Arrays that a kernel allows to be None may be None here. `tf.nn.batch_normalization`, `tf.nn.dropout` and the like are
below them.
"""

from __future__ import annotations

import builtins

import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.engine import op
from fitloom.ops.arithmetic import rsqrt
from fitloom.ops.calling import alike, as_index, optional, static_ints, tensor
from fitloom.ops.kernels import attention, dense as dense_kernel, dropout as dropout_kernels, normalization, recurrent

# ---- kernels as operations


def _batch_norm(x, gamma, beta, mask, *, axes, epsilon):
    """Return (normalized x, mean, variance) with the statistics of x; see ops/kernels/normalization."""
    return tuple(normalization.batch_norm_training(x, gamma, beta, axes, epsilon, mask))


batch_norm_training = optional(_batch_norm, "batch_norm_training")
batch_norm_inference = optional(normalization.batch_norm_inference, "batch_norm_inference")
layer_norm = optional(normalization.layer_norm, "layer_norm")
rms_norm = optional(normalization.rms_norm, "rms_norm")
group_norm = optional(normalization.group_norm, "group_norm")
dense = optional(dense_kernel.dense, "dense")


def _lstm(x, h0, c0, kernel, recurrent_kernel, bias, mask, **attributes):
    """Run a long short-term memory layer: (sequence, last h, last c); see ops/kernels/recurrent."""
    return tuple(recurrent.lstm(x, h0, c0, kernel, recurrent_kernel, bias, mask, **attributes))


def _gru(x, h0, kernel, recurrent_kernel, bias, mask, **attributes):
    """Run a gated recurrent unit layer: (sequence, last h); see ops/kernels/recurrent."""
    return tuple(recurrent.gru(x, h0, kernel, recurrent_kernel, bias, mask, **attributes))


def _simple_rnn(x, h0, kernel, recurrent_kernel, bias, mask, **attributes):
    """Run a fully connected recurrent layer: (sequence, last h); see ops/kernels/recurrent."""
    return tuple(recurrent.simple_rnn(x, h0, kernel, recurrent_kernel, bias, mask, **attributes))


lstm = optional(_lstm, "lstm")
gru = optional(_gru, "gru")
simple_rnn = optional(_simple_rnn, "simple_rnn")


def _attend(query, key, value, bias, mask, seed, **attributes):
    return attention.dot_product_attention(query, key, value, bias=bias, mask=mask, seed=seed, **attributes)


_attention = optional(_attend, "dot_product_attention")


def scaled_dot_product_attention(query, key, value, bias=None, mask=None, seed=None, **attributes):
    """Return softmax(scale * query key^T + bias) value for each head: (batch, tokens, heads, size) inputs.

    Args:
        bias: added to the products, or None; mask: True where a query may see a key, or None.
        seed: a seed tensor when `dropout_rate` is above 0.
        attributes: is_causal, scale, dropout_rate, soft_cap, return_scores, as in ops/kernels/attention.
    """
    return _attention(query, key, value, bias, mask, seed, **attributes)


# ---- dropout


@op(name="dropout")
def _dropout(x, seed, *, rate, noise_shape):
    return dropout_kernels.dropout(x, rate, seed, noise_shape)


@op(name="dropout")
def _dropout_at_rate(x, seed, rate, *, noise_shape):
    return dropout_kernels.dropout(x, rate.astype(x.dtype), seed, noise_shape)


def _checked_rate(rate):
    if isinstance(rate, (int, float)) and not 0 <= rate <= 1:
        raise ValueError(f"dropout expected a rate in [0, 1), but received {rate}.")
    return rate


def dropout_kernel(x, seed, rate, noise_shape=None):
    """Return x with elements dropped by a seed tensor: see `dropout`."""
    rate = _checked_rate(rate)
    noise_shape = None if noise_shape is None else tuple(noise_shape)
    if isinstance(rate, (int, float, np.number)):
        return _dropout(x, seed, rate=float(rate), noise_shape=noise_shape)
    return _dropout_at_rate(x, seed, rate, noise_shape=noise_shape)


def stateless_dropout(x, rate, seed, rng_alg="auto_select", noise_shape=None, name=None):
    """Return x with elements dropped, a function of `seed` alone (a seed tensor, or two numbers)."""
    from fitloom.ops.random import seed_of

    return dropout_kernel(tensor(x), seed_of(seed), rate, noise_shape)


def dropout(x, rate, noise_shape=None, seed=None, name=None):
    """Return x with each element 0 with probability `rate`, else divided by 1 - rate.

    Args:
        noise_shape: shape of the mask, broadcast over x; None entries stand for x's sizes.
        seed: makes the sequence of masks the caller's own.
    """
    x, rate = tensor(x), _checked_rate(rate)
    if rate.__class__ in (int, float) and rate == 0:
        return x
    noise_shape = None if noise_shape is None else [None if n is None else static_ints([n])[0] for n in noise_shape]
    return dropout_kernel(x, engine.draw_operation_seed(seed, "dropout", 1), rate, noise_shape)


def alpha_dropout(x, rate, seed, noise_shape=None):
    """Return x with elements set to selu's limit and rescaled, so that mean and variance are kept."""
    return _alpha_dropout(tensor(x), seed, rate=float(rate), noise_shape=None if noise_shape is None
                          else tuple(noise_shape))


@op(name="alpha_dropout")
def _alpha_dropout(x, seed, *, rate, noise_shape):
    alpha = -1.6732632423543772 * 1.0507009873554805  # the value selu tends to at minus infinity
    shape = x.shape if noise_shape is None else tuple(s if n is None else n
                                                      for s, n in zip(x.shape, noise_shape, strict=True))
    keep = dropout_kernels.hash_uniform(seed, shape) >= rate
    a = ((1 - rate) * (1 + rate * alpha ** 2)) ** -0.5
    b = -a * alpha * rate
    return jnp.asarray(a, x.dtype) * jnp.where(keep, x, jnp.asarray(alpha, x.dtype)) + jnp.asarray(b, x.dtype)


# ---- tf.nn


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon, name=None):
    """Return (x - mean) / sqrt(variance + variance_epsilon) * scale + offset; offset and scale may be None."""
    x = tensor(x)
    factor = rsqrt(variance + variance_epsilon)
    if scale is not None:
        factor = factor * scale
    shift = -mean * factor if offset is None else offset - mean * factor
    return x * factor + shift


def fused_batch_norm(x, scale, offset, mean=None, variance=None, epsilon=0.001, data_format="NHWC",
                     is_training=True, name=None, exponential_avg_factor=1.0):
    """Return (normalized x, mean, variance), with the statistics of x when training."""
    axes = (0, 2, 3) if data_format == "NCHW" else tuple(builtins.range(len(x.shape) - 1))
    if is_training:
        return batch_norm_training(x, scale, offset, None, axes=axes, epsilon=float(epsilon))
    return batch_norm_inference(x, mean, variance, scale, offset, axes=axes, epsilon=float(epsilon)), mean, variance


@op(name="lrn")
def _lrn(x, *, radius, bias, alpha, beta):
    squares = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(radius, radius)])
    total = builtins.sum(squares[..., i:i + x.shape[-1]] for i in builtins.range(2 * radius + 1))
    return x / (bias + alpha * total) ** beta


def local_response_normalization(input, depth_radius=5, bias=1, alpha=1, beta=0.5, name=None):
    """Return x / (bias + alpha * sum of squares of the 2 r + 1 nearest channels) ** beta."""
    return _lrn(input, radius=int(depth_radius), bias=float(bias), alpha=float(alpha), beta=float(beta))


lrn = local_response_normalization


# ---- embeddings


def embedding_lookup(params, ids, max_norm=None, name=None):
    """Return the rows of `params` (one table, or the list of its consecutive parts) at `ids`."""
    from fitloom.ops.clipping import clip_by_norm
    from fitloom.ops.indexing import gather
    from fitloom.ops.shaping import concat

    if isinstance(params, (list, tuple)):
        params = params[0] if len(params) == 1 else concat(params, 0)
    rows = gather(params, as_index(ids))
    return rows if max_norm is None else clip_by_norm(rows, max_norm, axes=[-1])


def xw_plus_b(x, weights, biases, name=None):
    """Return x weights + biases."""
    return dense(*alike("xw_plus_b", x, weights, biases))


def relu_layer(x, weights, biases, name=None):
    """Return relu(x weights + biases)."""
    from fitloom.ops.activations import relu

    return relu(xw_plus_b(x, weights, biases))
