# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels import platform
from fitloom.ops.kernels.derivatives import with_backward
from fitloom.ops.kernels.dropout import dropout
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

# Below this many multiplications a product takes less time than the call of foreign code.
_LEAST_MULTIPLICATIONS = 1 << 14


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_rate: float = 0.0,
    seed: jax.Array | None = None,
    soft_cap: float | None = None,
    return_scores: bool = False,
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Compute `softmax(scale * query key^T + bias) value` for each head.

    On the CPU plain and masked attention in float32 is native. Elsewhere heads are moved next to the batch
    once, so that both products are plain batched matrix products. The softmax is computed in float32 for
    float16 and bfloat16.

    Args:
        query: `(batch, queries, heads, head size)`.
        key: `(batch, keys, key heads, head size)`; the number of query heads is a multiple of
            the number of key heads (grouped queries).
        value: `(batch, keys, key heads, value size)`.
        bias: Added to the scaled products; broadcasts to `(batch, heads, queries, keys)`.
        mask: True where a query may see a key; broadcasts to `(batch, heads, queries, keys)`.
            A query that sees no key gets the mean of all values, as in Keras.
        is_causal: Let query i see only the keys up to i.
        scale: Factor of the products; `1 / sqrt(head size)` if None.
        dropout_rate: Probability with which a score is dropped.
        seed: Seed for `dropout`, needed if the rate is not 0.
        soft_cap: If given, `soft_cap * tanh(products / soft_cap)` replaces the products.
        return_scores: Return the scores too, `(batch, heads, queries, keys)`, before dropout.

    Returns:
        `(batch, queries, heads, value size)` in the query's dtype, or this and the scores.
    """
    heads, key_heads = query.shape[2], key.shape[2]
    if heads % key_heads or value.shape[2] != key_heads:
        raise ValueError(
            f"the number of query heads ({heads}) must be a multiple of the number of key heads "
            f"({key_heads}), which must equal that of value heads ({value.shape[2]})"
        )
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    extras = bias is not None or dropout_rate or soft_cap is not None or return_scores
    if not extras and _native_takes(query, key, value, mask, scale):
        operand = jnp.zeros((0,), bool) if mask is None else _four_axes(mask.astype(bool))
        return _attention(query, key, value, operand, causal=bool(is_causal), scale=float(scale))
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))
    if heads != key_heads:
        k, v = (jnp.repeat(a, heads // key_heads, axis=1) for a in (k, v))
    wide = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=wide) * scale
    if soft_cap is not None:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    if bias is not None:
        logits = logits + bias.astype(wide)
    logits = _hidden(logits, mask, is_causal)
    scores = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    weights = scores
    if dropout_rate:
        if seed is None:
            raise ValueError("attention with dropout needs a seed")
        weights = dropout(scores, dropout_rate, seed)
    y = jnp.swapaxes(jnp.einsum("bhqk,bhkd->bhqd", weights, v), 1, 2)
    return (y, scores) if return_scores else y


def _hidden(logits, mask, is_causal):
    """Put a number in the place of products that a query must not see."""
    if is_causal:
        queries, keys = logits.shape[-2:]
        rows = lax.broadcasted_iota(jnp.int32, (queries, keys), 0)
        columns = lax.broadcasted_iota(jnp.int32, (queries, keys), 1)
        causal = columns <= rows
        mask = causal if mask is None else mask.astype(bool) & causal
    if mask is None:
        return logits
    # Far below every real product but finite, so that no row becomes 0 / 0.
    lowest = jnp.array(0.7 * float(jnp.finfo(logits.dtype).min), logits.dtype)
    return jnp.where(mask.astype(bool), logits, lowest)


# The native version: heads are read where they lie, and scores live in the cache only. Each row of them is
# computed again backwards from its largest product and 1 / the sum of its exponentials.


def _native_takes(query, key, value, mask, scale):
    shape = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    return (
        platform.native_enabled()
        and query.dtype == key.dtype == value.dtype == jnp.float32
        and isinstance(scale, (int, float))
        and math.prod(shape) * query.shape[3] >= _LEAST_MULTIPLICATIONS
        and (mask is None or jnp.broadcast_shapes(mask.shape, shape) == shape)
    )


def _four_axes(mask):
    return mask.reshape((1,) * (4 - mask.ndim) + mask.shape)


def _weights(q, k, mask, causal, scale):
    """Return the products (batch, heads, queries, keys), hidden ones replaced."""
    k = jnp.repeat(k, q.shape[2] // k.shape[2], axis=2)
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale
    return _hidden(logits, mask if mask.ndim == 4 else None, causal)


def _states_reference(q, k, v, mask, *, causal, scale):
    """Return the result, and of each row of scores the largest product and 1 / the sum of exponentials."""
    logits = _weights(q, k, mask, causal, scale)
    largest = lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    inverse = 1 / jnp.sum(weights, axis=-1, keepdims=True)
    v = jnp.repeat(v, q.shape[2] // v.shape[2], axis=2)
    y = jnp.einsum("bhqk,bkhd->bqhd", weights * inverse, v)
    return y, jnp.concatenate([largest, inverse], axis=-1)


def _states_native(q, k, v, mask, *, causal, scale):
    results = (
        jax.ShapeDtypeStruct((*q.shape[:3], v.shape[3]), q.dtype),
        jax.ShapeDtypeStruct((q.shape[0], q.shape[2], q.shape[1], 2), q.dtype),
    )
    return library.call("attention", results, q, k, v, mask, causal=int(causal), scale=scale)


def _gradients_reference(q, k, v, mask, stats, dy, *, causal, scale):
    del stats

    def value(q, k, v):
        return _states_reference(q, k, v, mask, causal=causal, scale=scale)[0]

    return jax.vjp(value, q, k, v)[1](dy)


def _gradients_native(q, k, v, mask, stats, dy, *, causal, scale):
    results = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (q, k, v))
    return library.call("attention_gradient", results, q, k, v, mask, stats, dy, causal=int(causal), scale=scale)


_states = Accelerated("attention", _states_reference, _states_native)
_gradients = Accelerated("attention_gradient", _gradients_reference, _gradients_native)


def _forward(q, k, v, mask, *, causal, scale):
    y, stats = _states(q, k, v, mask, causal=causal, scale=scale)
    return y, (q, k, v, mask, stats)


def _backward(residuals, dy, *, causal, scale):
    return (*_gradients(*residuals, dy, causal=causal, scale=scale), None)


_attention = with_backward(_forward, _backward)
