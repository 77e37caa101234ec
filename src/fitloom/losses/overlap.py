# SPDX-License-Identifier: Apache-2.0
"""Losses of overlap (dice, tversky) and of embeddings (circle), as functions."""
from fitloom import ops
from fitloom.base import config, registry
from fitloom.losses.shapes import as_pair, as_tensor, matched


@registry.builtin("keras.losses")
def dice(y_true, y_pred, axis=None):
    """Return 1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred) + epsilon), summed over `axis` (None: all axes)."""
    y_true, y_pred = matched(y_true, y_pred, "dice")
    overlap = ops.reduce_sum(y_true * y_pred, axis=axis)
    total = ops.reduce_sum(y_true, axis=axis) + ops.reduce_sum(y_pred, axis=axis)
    return 1.0 - 2.0 * overlap / (total + config.epsilon())


@registry.builtin("keras.losses")
def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """Return 1 - TP / (TP + alpha FN + beta FP + epsilon), soft counts summed over `axis` (None: all axes).

    Args:
        alpha: weight of misses y_true (1 - y_pred). (Keras's text calls these false positives; its numbers are these.)
        beta: weight of false alarms (1 - y_true) y_pred.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721
    """
    y_true, y_pred = matched(y_true, y_pred, "tversky")
    true_positives = ops.reduce_sum(y_true * y_pred, axis=axis)
    false_positives = ops.reduce_sum((1.0 - y_true) * y_pred, axis=axis)
    false_negatives = ops.reduce_sum(y_true * (1.0 - y_pred), axis=axis)
    return 1.0 - true_positives / (true_positives + alpha * false_negatives + beta * false_positives
                                   + config.epsilon())


@registry.builtin("keras.losses")
def circle(y_true, y_pred, ref_labels=None, ref_embeddings=None, remove_diagonal=True, gamma=80, margin=0.4):
    """Return the circle loss of each row of L2-normalised embeddings.

    With cosine similarities s to the reference rows: softplus(logsumexp over other classes of
    gamma max(s + m, 0) (s - m) + logsumexp over the own class of -gamma max(1 + m - s, 0) (s - 1 + m)); 0 for a row
    without an example of its own class or of another.

    Args:
        y_true: integer labels of shape (batch,).
        y_pred: embeddings of shape (batch, d), each of length 1.
        ref_labels, ref_embeddings: the rows to compare with; None compares the batch with itself.
        remove_diagonal: leave out each row's comparison with itself.
        gamma: scale.
        margin: m, the relaxation.

    Source: Sun et al. 2020, https://arxiv.org/abs/2002.10857
    """
    _, y_pred = as_pair(0.0, y_pred)
    labels = ops.reshape(ops.cast(as_tensor(y_true), "int32"), [-1, 1])
    if ref_embeddings is None:
        references = y_pred
    else:
        references = as_tensor(ref_embeddings, y_pred.dtype)
    reference_labels = labels if ref_labels is None else ops.reshape(ops.cast(as_tensor(ref_labels), "int32"), [-1, 1])
    rows, columns = y_pred.shape[0], references.shape[0]
    if labels.shape[0] != rows or reference_labels.shape[0] != columns:
        raise ValueError(f"circle expected one label for each embedding, but received {labels.shape[0]} labels for "
                         f"{rows} embeddings and {reference_labels.shape[0]} for {columns} reference embeddings.")
    distance = ops.maximum(1.0 - ops.matmul(y_pred, references, transpose_b=True), 0.0)
    same = ops.equal(labels, ops.transpose(reference_labels))
    different = ops.logical_not(same)
    if remove_diagonal:
        same = ops.logical_and(same, ops.logical_not(ops.eye(rows, columns, dtype="bool")))
    own = -gamma * ops.relu(margin + distance) * (margin - distance)
    other = gamma * ops.relu(1.0 + margin - distance) * (1.0 - margin - distance)
    lowest = ops.ones_like(distance) * -1e30
    own = ops.reduce_logsumexp(ops.where(same, own, lowest), axis=1)
    other = ops.reduce_logsumexp(ops.where(different, other, lowest), axis=1)
    complete = ops.logical_and(ops.reduce_any(same, axis=1), ops.reduce_any(different, axis=1))
    return ops.where(complete, ops.softplus(own + other), ops.zeros_like(own))
