# SPDX-License-Identifier: Apache-2.0
"""The losses of `tf.nn`: cross entropies from logits, CTC, and sampled ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, as_index, static_int, tensor
from fitloom.ops.kernels import cross_entropy

_soft = op(cross_entropy.softmax_cross_entropy, name="softmax_cross_entropy_with_logits")
_sparse = op(cross_entropy.sparse_softmax_cross_entropy, name="sparse_softmax_cross_entropy_with_logits")
_binary = op(cross_entropy.sigmoid_cross_entropy, name="sigmoid_cross_entropy_with_logits", same_dtype=True)
probability_cross_entropy = op(cross_entropy.categorical_cross_entropy, name="categorical_crossentropy")
sparse_probability_cross_entropy = op(cross_entropy.sparse_categorical_cross_entropy,
                                      name="sparse_categorical_crossentropy")
binary_probability_cross_entropy = op(cross_entropy.binary_cross_entropy, name="binary_crossentropy")


def softmax_cross_entropy_with_logits(labels, logits, axis=-1, name=None):
    """Return -sum(labels * log_softmax(logits)) along `axis`.

    Args:
        labels: probabilities in the shape of `logits`; gradients flow into them too.
    """
    logits = tensor(logits)
    labels = tensor(labels)
    if labels.dtype != logits.dtype:
        from fitloom.ops.casting import cast

        labels = cast(labels, logits.dtype)
    return _soft(logits, labels, axis=static_int(axis))


def sparse_softmax_cross_entropy_with_logits(labels, logits, name=None):
    """Return -log_softmax(logits)[label] for whole-number labels.

    Args:
        labels: class numbers, the shape of `logits` without its last axis; one out of range gives NaN.
    """
    labels, logits = as_index(labels), tensor(logits)
    if len(labels.shape) != len(logits.shape) - 1:
        raise ValueError(
            f"sparse_softmax_cross_entropy_with_logits expected labels with one axis less than logits, but received "
            f"labels of shape {tuple(labels.shape)} and logits of shape {tuple(logits.shape)}.")
    return _sparse(logits, labels)


def sigmoid_cross_entropy_with_logits(labels=None, logits=None, name=None):
    """Return -labels log(sigmoid(x)) - (1 - labels) log(1 - sigmoid(x)) for logits x, by element."""
    labels, logits = tensor(labels), tensor(logits)
    if tuple(labels.shape) != tuple(logits.shape):
        raise ValueError(f"logits and labels must have the same shape, received {tuple(logits.shape)} and "
                         f"{tuple(labels.shape)}.")
    return _binary(logits, labels)


@op(name="weighted_cross_entropy_with_logits")
def _weighted(labels, x, pos_weight):
    weight = 1 + (pos_weight - 1) * labels
    return (1 - labels) * x + weight * jax.nn.softplus(-x)


def weighted_cross_entropy_with_logits(labels=None, logits=None, pos_weight=None, name=None):
    """Return the sigmoid cross entropy with the positive term times `pos_weight`."""
    logits, labels, pos_weight = alike("weighted_cross_entropy_with_logits", logits, labels, pos_weight)
    return _weighted(labels, logits, pos_weight)


@op(name="log_poisson_loss")
def _log_poisson(targets, log_input, *, full):
    loss = jnp.exp(log_input) - log_input * targets
    if full:
        stirling = targets * jnp.log(targets) - targets + 0.5 * jnp.log(2 * jnp.pi * targets).astype(targets.dtype)
        loss = loss + jnp.where((targets >= 0) & (targets <= 1), jnp.zeros_like(targets), stirling)
    return loss


def log_poisson_loss(targets, log_input, compute_full_loss=False, name=None):
    """Return exp(log_input) - targets * log_input, with Stirling's term if `compute_full_loss`."""
    return _log_poisson(*alike("log_poisson_loss", targets, log_input), full=bool(compute_full_loss))


@op(name="l2_loss")
def _l2_loss(t):
    return jnp.sum(jnp.square(t)) / 2


def l2_loss(t, name=None):
    """Return sum(t ** 2) / 2."""
    return _l2_loss(t)


# ---- connectionist temporal classification


def ctc_terms(labels, logits, label_length, logit_length, blank):
    """Return -log P(labels | logits) for each example, (batch,).

    The sum over alignments runs forward over time in log space, over the labels with blanks in between:
    alpha_t(s) = (alpha_{t-1}(s) + alpha_{t-1}(s-1) + alpha_{t-1}(s-2) if s-2 may be skipped to s) * y_t(l'_s)
    (Graves et al., 2006, equation 6).

    Args:
        labels: (batch, max labels) class numbers.
        logits: (batch, time, classes).
    """
    log_probability = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), -1)
    batch, most = labels.shape
    extended = jnp.full((batch, 2 * most + 1), blank, labels.dtype).at[:, 1::2].set(labels)
    before = jnp.concatenate([jnp.full((batch, 2), blank, labels.dtype), extended[:, :-2]], 1)
    skip = (extended != blank) & (extended != before)
    minus = jnp.asarray(-1e30, log_probability.dtype)  # "impossible"; -inf would make the gradient NaN
    emitted = jnp.take_along_axis(log_probability, jnp.clip(extended, 0, logits.shape[-1] - 1)[:, None, :], axis=2)
    places = jnp.arange(2 * most + 1)
    alpha = jnp.where(places[None] <= 1, emitted[:, 0], minus)
    alpha = jnp.where((places[None] == 1) & (label_length[:, None] == 0), minus, alpha)

    def shifted(a, n):
        if n > a.shape[1]:
            return jnp.full_like(a, minus)
        return jnp.concatenate([jnp.full((batch, n), minus), a[:, :-n]], 1)

    def step(alpha, inputs):
        y, t = inputs
        both = jnp.logaddexp(alpha, shifted(alpha, 1))
        if most:
            both = jnp.where(skip, jnp.logaddexp(both, shifted(alpha, 2)), both)
        return jnp.where((t < logit_length)[:, None], both + y, alpha), None

    times = jnp.arange(1, logits.shape[1])
    alpha, _ = lax.scan(step, alpha, (jnp.moveaxis(emitted, 1, 0)[1:], times))
    last = 2 * label_length.astype(jnp.int32)
    end = jnp.take_along_axis(alpha, last[:, None], 1)[:, 0]
    final = jnp.take_along_axis(alpha, jnp.maximum(last - 1, 0)[:, None], 1)[:, 0]
    total = jnp.where(last > 0, jnp.logaddexp(end, final), end)
    return (-total).astype(logits.dtype)


@op(name="ctc_loss")
def _ctc(labels, logits, label_length, logit_length, *, time_major, blank):
    logits = jnp.swapaxes(logits, 0, 1) if time_major else logits
    return ctc_terms(labels, logits, label_length, logit_length, blank % logits.shape[-1])


def ctc_loss(labels, logits, label_length, logit_length, logits_time_major=True, unique=None, blank_index=None,
             name=None):
    """Return the negative log likelihood of label sequences under the connectionist temporal classification.

    Args:
        labels: (batch, max labels) class numbers (dense).
        logits: (time, batch, classes) if `logits_time_major`, else (batch, time, classes); before softmax.
        label_length, logit_length: how many entries of each example count, (batch,).
        blank_index: class of the blank; 0 if None, negative from the end.

    Source: Graves et al. 2006.
    """
    if hasattr(labels, "dense_shape"):
        from fitloom.ops.sparse import to_dense

        labels = to_dense(labels)
        blank_index = -1 if blank_index is None else blank_index
    logits = tensor(logits)
    if len(logits.shape) != 3:
        raise InvalidArgumentError(f"ctc_loss expected logits with 3 axes, but received shape {tuple(logits.shape)}.")
    batch = logits.shape[1 if logits_time_major else 0]
    from fitloom.ops.creating import fill

    if label_length is None:
        label_length = fill([batch], labels.shape[-1])
    if logit_length is None:
        logit_length = fill([batch], logits.shape[0 if logits_time_major else 1])
    return _ctc(as_index(labels), logits, as_index(label_length), as_index(logit_length),
                time_major=bool(logits_time_major), blank=0 if blank_index is None else int(blank_index))


@op(name="ctc_greedy_decoder")
def ctc_best_path(logits, lengths, *, blank, merge):
    """Return ((batch, time) labels padded with -1, (batch, 1) negative sum of the best logits)."""
    best = jnp.argmax(logits, -1).astype(jnp.int32)
    inside = jnp.arange(logits.shape[1])[None] < lengths[:, None]
    score = -jnp.sum(jnp.where(inside, jnp.max(logits, -1), jnp.zeros((), logits.dtype)), 1, keepdims=True)
    before = jnp.concatenate([jnp.full((best.shape[0], 1), -1, jnp.int32), best[:, :-1]], 1)
    keep = inside & (best != blank)
    if merge:
        keep = keep & (best != before)
    order = jnp.argsort(~keep, axis=1, stable=True)
    moved = jnp.take_along_axis(jnp.where(keep, best, -1), order, 1)
    return moved, score


# ---- few of many classes


def sampled_logits(weights, biases, labels, inputs, sampled, accidental=True):
    """Return (logits of the true and the sampled classes, their labels); see `sampled_softmax_loss`."""
    from fitloom.ops.arithmetic import equal, log
    from fitloom.ops.casting import cast
    from fitloom.ops.indexing import gather
    from fitloom.ops.linear_algebra import matmul
    from fitloom.ops.reductions import reduce_sum
    from fitloom.ops.shaping import concat, expand_dims, reshape, where

    candidates, true_expected, sampled_expected = sampled
    labels = as_index(labels)
    flat = reshape(labels, [-1])
    true = reduce_sum(expand_dims(inputs, 1) * reshape(gather(weights, flat),
                                                       [*tuple(labels.shape), inputs.shape[-1]]), -1)
    true = true + reshape(gather(biases, flat), tuple(labels.shape)) - log(true_expected)
    others = matmul(inputs, gather(weights, candidates), transpose_b=True) + gather(biases, candidates)
    others = others - log(sampled_expected)
    if accidental:
        hit = equal(expand_dims(cast(labels, "int64"), 2), expand_dims(expand_dims(cast(candidates, "int64"), 0), 0))
        hit = reduce_sum(cast(hit, inputs.dtype), 1) > 0
        others = where(hit, -3.4e38, others)
    logits = concat([true, others], 1)
    count = int(labels.shape[1])
    target = concat([reduce_sum(true * 0, 1, keepdims=True) + [[1.0 / count] * count], others * 0], 1)
    return logits, target


def _candidates(sampled_values, labels, num_sampled, num_classes):
    if sampled_values is not None:
        return sampled_values
    from fitloom.ops.random import log_uniform_candidate_sampler

    return log_uniform_candidate_sampler(labels, labels.shape[1], num_sampled, True, num_classes)


def sampled_softmax_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
                         remove_accidental_hits=True, seed=None, name="sampled_softmax_loss"):
    """Return the softmax cross entropy over the true and `num_sampled` drawn classes, (batch,)."""
    labels = as_index(labels)
    sampled = _candidates(sampled_values, labels, num_sampled, num_classes)
    logits, target = sampled_logits(weights, biases, labels, inputs, sampled, remove_accidental_hits)
    return softmax_cross_entropy_with_logits(target, logits)


def nce_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
             remove_accidental_hits=False, name="nce_loss"):
    """Return the noise contrastive estimation loss, (batch,)."""
    from fitloom.ops.reductions import reduce_sum

    labels = as_index(labels)
    sampled = _candidates(sampled_values, labels, num_sampled, num_classes)
    logits, target = sampled_logits(weights, biases, labels, inputs, sampled, remove_accidental_hits)
    return reduce_sum(sigmoid_cross_entropy_with_logits(target, logits), 1)


# ---- averages over replicas


class REPLICAS:
    """How many replicas share a batch; tf.distribute sets it while a strategy is in effect."""

    count = 1


def compute_average_loss(per_example_loss, sample_weight=None, global_batch_size=None):
    """Return sum(per_example_loss * sample_weight) / global_batch_size.

    Args:
        global_batch_size: examples on all replicas together; by default those here times the replicas.
    """
    from fitloom.ops.reductions import reduce_sum

    loss = tensor(per_example_loss)
    if sample_weight is not None:
        from fitloom.ops.casting import cast

        loss = loss * cast(sample_weight, loss.dtype)
    if global_batch_size is None:
        global_batch_size = int(loss.shape[0]) * REPLICAS.count
    return reduce_sum(loss) / float(global_batch_size)


def scale_regularization_loss(regularization_loss):
    """Return the sum of regularization losses divided by the number of replicas, each of which adds it."""
    from fitloom.ops.reductions import reduce_sum

    return reduce_sum(tensor(regularization_loss)) / float(REPLICAS.count)
