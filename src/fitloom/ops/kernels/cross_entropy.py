# SPDX-License-Identifier: Apache-2.0
"""Cross-entropies from logits and from probabilities, without a reduction over the batch.

Everything is computed in float32 for float16 and bfloat16 inputs and returned in their dtype.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels.derivatives import with_backward

# Keras's backend.epsilon(): probabilities are kept this far from 0 and 1.
EPSILON = 1e-7


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array, axis: int = -1) -> jax.Array:
    """Compute `-sum_c labels_c * log_softmax(logits)_c`.

    Args:
        logits: Any shape.
        labels: Probabilities of the classes, the shape of logits.
        axis: The axis of the classes.

    Returns:
        The shape of logits without `axis`, in its dtype.
    """
    return _softmax(logits, labels, axis=axis % logits.ndim)


def sparse_softmax_cross_entropy(logits: jax.Array, labels: jax.Array, axis: int = -1) -> jax.Array:
    """Compute `-log_softmax(logits)[label]`.

    Args:
        logits: Any shape.
        labels: Integers in [0, classes), the shape of logits without `axis`. A label outside
            makes its loss NaN (its gradient is zero, so a caller may mask it out afterwards).
        axis: The axis of the classes.

    Returns:
        The shape of labels, in the dtype of logits.
    """
    axis %= logits.ndim
    wide = _wide(logits)
    chosen = _one_hot(labels, logits.shape, axis)
    # A comparison in place of a gather: its gradient needs no scatter.
    score = jnp.sum(jnp.where(chosen, wide, jnp.zeros((), wide.dtype)), axis=axis)
    loss = _log_sum_exp(wide, axis) - score
    valid = (labels >= 0) & (labels < logits.shape[axis])
    return jnp.where(valid, loss, jnp.full((), jnp.nan, loss.dtype)).astype(logits.dtype)


def sigmoid_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Compute `-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits))`.

    As `max(x, 0) - x * labels + log(1 + exp(-|x|))`, which overflows nowhere.

    Args:
        logits: Any shape.
        labels: Probabilities, broadcast against logits.

    Returns:
        The shape and dtype of logits.
    """
    wide = _wide(logits)
    labels = labels.astype(wide.dtype)
    # softplus(x) - x * labels; logaddexp has the exact gradient sigmoid(x) everywhere.
    return (jnp.logaddexp(wide, jnp.zeros((), wide.dtype)) - wide * labels).astype(logits.dtype)


def categorical_cross_entropy(
    probabilities: jax.Array, labels: jax.Array, axis: int = -1, epsilon: float = EPSILON
) -> jax.Array:
    """Compute `-sum_c labels_c * log(p_c)`, p scaled to the sum 1 and clipped to [e, 1 - e].

    Args and returns as `softmax_cross_entropy`, with probabilities in place of logits.
    """
    p = _normalized(probabilities, axis, epsilon)
    return -jnp.sum(labels.astype(p.dtype) * jnp.log(p), axis=axis).astype(probabilities.dtype)


def sparse_categorical_cross_entropy(
    probabilities: jax.Array, labels: jax.Array, axis: int = -1, epsilon: float = EPSILON
) -> jax.Array:
    """Compute `-log(p[label])`, p scaled to the sum 1 and clipped to [epsilon, 1 - epsilon].

    Args and returns as `sparse_softmax_cross_entropy`, with probabilities in place of logits.
    """
    axis %= probabilities.ndim
    p = _normalized(probabilities, axis, epsilon)
    chosen = _one_hot(labels, p.shape, axis)
    loss = -jnp.sum(jnp.where(chosen, jnp.log(p), jnp.zeros((), p.dtype)), axis=axis)
    valid = (labels >= 0) & (labels < p.shape[axis])
    return jnp.where(valid, loss, jnp.full((), jnp.nan, loss.dtype)).astype(probabilities.dtype)


def binary_cross_entropy(probabilities: jax.Array, labels: jax.Array, epsilon: float = EPSILON) -> jax.Array:
    """Compute `-labels * log(p) - (1 - labels) * log(1 - p)`, p clipped to [epsilon, 1 - epsilon].

    Args and returns as `sigmoid_cross_entropy`, with probabilities in place of logits.
    """
    p = jnp.clip(_wide(probabilities), epsilon, 1 - epsilon)
    labels = labels.astype(p.dtype)
    loss = -labels * jnp.log(p) - (1 - labels) * jnp.log(1 - p)
    return loss.astype(probabilities.dtype)


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _one_hot(labels, shape, axis):
    """True at the label's place along `axis`, False elsewhere; nothing true for a wrong label."""
    classes = lax.broadcasted_iota(labels.dtype, shape, axis)
    return classes == jnp.expand_dims(labels, axis)


def _normalized(probabilities, axis, epsilon):
    p = _wide(probabilities)
    p = p / jnp.sum(p, axis=axis, keepdims=True)
    return jnp.clip(p, epsilon, 1 - epsilon)


def _log_sum_exp(x, axis):
    # A row of -inf only has no finite maximum to subtract.
    highest = lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    highest = jnp.where(jnp.isfinite(highest), highest, jnp.zeros((), x.dtype))
    total = jnp.sum(jnp.exp(x - highest), axis=axis)
    return jnp.log(total) + jnp.squeeze(highest, axis)


def _softmax_forward(logits, labels, *, axis):
    wide, weights = _wide(logits), labels.astype(_wide(logits).dtype)
    normalizer = _log_sum_exp(wide, axis)
    loss = normalizer * jnp.sum(weights, axis=axis) - jnp.sum(weights * wide, axis=axis)
    return loss.astype(logits.dtype), (logits, labels, normalizer)


def _softmax_backward(residuals, cotangent, *, axis):
    logits, labels, normalizer = residuals
    wide, weights = _wide(logits), labels.astype(_wide(logits).dtype)
    cotangent = jnp.expand_dims(cotangent.astype(wide.dtype), axis)
    log_probabilities = wide - jnp.expand_dims(normalizer, axis)
    total = jnp.sum(weights, axis=axis, keepdims=True)
    dlogits = cotangent * (jnp.exp(log_probabilities) * total - weights)
    dlabels = None
    if jnp.issubdtype(labels.dtype, jnp.floating):
        dlabels = (-cotangent * log_probabilities).astype(labels.dtype)
    return dlogits.astype(logits.dtype), dlabels


_softmax = with_backward(_softmax_forward, _softmax_backward)
