# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels.dropout import dropout


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

    Heads are moved next to the batch once, so that both products are plain batched matrix
    products. The softmax is computed in float32 for float16 and bfloat16.

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
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))
    if heads != key_heads:
        k, v = (jnp.repeat(a, heads // key_heads, axis=1) for a in (k, v))
    wide = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=wide) * scale
    if soft_cap is not None:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    if bias is not None:
        logits = logits + bias.astype(wide)
    if is_causal:
        queries, keys = logits.shape[-2:]
        rows = lax.broadcasted_iota(jnp.int32, (queries, keys), 0)
        columns = lax.broadcasted_iota(jnp.int32, (queries, keys), 1)
        causal = columns <= rows
        mask = causal if mask is None else mask.astype(bool) & causal
    if mask is not None:
        # Far below every real product but finite, so that no row becomes 0 / 0.
        lowest = jnp.array(0.7 * float(jnp.finfo(wide).min), wide)
        logits = jnp.where(mask.astype(bool), logits, lowest)
    scores = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    weights = scores
    if dropout_rate:
        if seed is None:
            raise ValueError("attention with dropout needs a seed")
        weights = dropout(scores, dropout_rate, seed)
    y = jnp.swapaxes(jnp.einsum("bhqk,bhkd->bhqd", weights, v), 1, 2)
    return (y, scores) if return_scores else y
