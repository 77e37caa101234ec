# SPDX-License-Identifier: Apache-2.0
"""Losses between probabilities, as functions: one value for each row.

Probabilities are clipped to [epsilon, 1 - epsilon]; with `from_logits=True` the logarithm of the sigmoid or softmax
is taken directly, which is exact for large logits. Raises (all): ValueError when the shapes do not fit.
"""
import warnings

from fitloom import ops
from fitloom.base import config, registry
from fitloom.losses.shapes import as_pair, class_labels, matched


def _clip(probabilities):
    return ops.clip_by_value(probabilities, config.epsilon(), 1.0 - config.epsilon())


def _smooth_binary(y_true, label_smoothing):
    return y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing if label_smoothing else y_true


def _smooth_categorical(y_true, label_smoothing, axis):
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[axis]


def _binary_terms(y_true, y_pred, from_logits):
    """Return -(y log p + (1 - y) log(1 - p)) for each element."""
    if from_logits:
        # max(z, 0) - z y + log(1 + exp(-|z|))
        return ops.relu(y_pred) - y_pred * y_true + ops.softplus(-ops.abs(y_pred))
    y_pred = _clip(y_pred)
    return -(y_true * ops.log(y_pred) + (1.0 - y_true) * ops.log(1.0 - y_pred))


def _log_probabilities(y_pred, axis):
    """Return log p, with p normalised to sum to 1 over `axis`."""
    return ops.log(_clip(y_pred / ops.reduce_sum(y_pred, axis=axis, keepdims=True)))


def _log_softmax_parts(logits, axis):
    """Return (highest, n) with log_softmax = (logits - highest) - n: highest keeps `axis`, n lacks it.

    The losses below never make a table of log-probabilities: for 8,192 classes that takes twice the time. Differences
    from the highest logit come first, which is exact for large logits.
    """
    highest = ops.stop_gradient(ops.reduce_max(logits, axis=axis, keepdims=True))
    return highest, ops.log(ops.reduce_sum(ops.exp(logits - highest), axis=axis))


@registry.builtin("keras.losses", "bce", "BCE")
def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return mean(-(y log p + (1 - y) log(1 - p)), axis).

    Args:
        y_true: 0 or 1 (or a probability), of y_pred's shape.
        y_pred: probabilities p, or logits when `from_logits`.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2.
        axis: the axis of the mean.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.losses.binary_crossentropy([1.0], [0.5]))
        0.6931471824645996
    """
    y_true, y_pred = matched(y_true, y_pred, "binary_crossentropy")
    y_true = _smooth_binary(y_true, label_smoothing)
    return ops.reduce_mean(_binary_terms(y_true, y_pred, from_logits), axis=axis)


@registry.builtin("keras.losses")
def binary_focal_crossentropy(y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False,
                              label_smoothing=0.0, axis=-1):
    """Return mean((1 - p_t)^gamma * binary crossentropy, axis), p_t = p where y = 1, else 1 - p.

    Args:
        apply_class_balancing: weigh class 1 by `alpha` and class 0 by 1 - alpha.
        gamma: how much easy examples lose weight.

    Source: Lin et al. 2018, https://arxiv.org/abs/1708.02002
    """
    y_true, y_pred = matched(y_true, y_pred, "binary_focal_crossentropy")
    y_true = _smooth_binary(y_true, label_smoothing)
    terms = _binary_terms(y_true, y_pred, from_logits)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    p_t = y_true * p + (1.0 - y_true) * (1.0 - p)
    terms = ops.pow(1.0 - p_t, gamma) * terms
    if apply_class_balancing:
        terms = terms * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.reduce_mean(terms, axis=axis)


@registry.builtin("keras.losses", "cce", "CCE")
def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Return -sum(y_true * log p, axis), p = y_pred normalised over `axis`, or softmax(y_pred) when `from_logits`.

    Args:
        y_true: one-hot rows, or probabilities, of y_pred's shape.
        label_smoothing: s; y becomes y (1 - s) + s / classes.
    """
    y_true, y_pred = _categorical_pair(y_true, y_pred, axis, "categorical_crossentropy")
    y_true = _smooth_categorical(y_true, label_smoothing, axis)
    if from_logits:
        highest, normalizer = _log_softmax_parts(y_pred, axis)
        return ops.reduce_sum(y_true * (highest - y_pred), axis=axis) + ops.reduce_sum(y_true, axis=axis) * normalizer
    return -ops.reduce_sum(y_true * _log_probabilities(y_pred, axis), axis=axis)


def _categorical_pair(y_true, y_pred, axis, name):
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"axis must be an int, but received {axis!r} of type {type(axis).__name__}.")
    y_true, y_pred = matched(y_true, y_pred, name)
    if len(y_pred.shape) and y_pred.shape[axis] == 1:
        warnings.warn(f"{name} has only one class here (y_pred has shape {tuple(y_pred.shape)}), so the loss is "
                      f"constant. Use 'binary_crossentropy' for two classes in one unit.", SyntaxWarning, stacklevel=3)
    return y_true, y_pred


@registry.builtin("keras.losses")
def categorical_focal_crossentropy(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                                   axis=-1):
    """Return sum(-alpha * (1 - p)^gamma * y_true * log p, axis).

    Args:
        alpha: weight, one number or a list with one for each class.
        gamma: how much easy examples lose weight.

    Source: Lin et al. 2018, https://arxiv.org/abs/1708.02002
    """
    y_true, y_pred = _categorical_pair(y_true, y_pred, axis, "categorical_focal_crossentropy")
    y_true = _smooth_categorical(y_true, label_smoothing, axis)
    p = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    p = _clip(p / ops.reduce_sum(p, axis=axis, keepdims=True))
    if isinstance(alpha, (list, tuple)):
        alpha = ops.cast(ops.convert_to_tensor(alpha, "float32"), p.dtype)
    return ops.reduce_sum(ops.pow(1.0 - p, gamma) * alpha * (-y_true * ops.log(p)), axis=axis)


@registry.builtin("keras.losses", "scce")
def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """Return -log p[y_true], p = y_pred normalised over `axis`, or softmax(y_pred) when `from_logits`.

    Args:
        y_true: integer class numbers of y_pred's shape without `axis` (a last axis of 1 is dropped).
        ignore_class: label whose rows give 0 (and do not count in the Loss class's mean).
        axis: the axis of classes.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.losses.sparse_categorical_crossentropy([1], [[0.5, 0.5]])[0])
        0.6931471824645996
    """
    y_true, y_pred = class_labels(y_true, y_pred, axis, "sparse_categorical_crossentropy")
    valid = None
    if ignore_class is not None:
        valid = ops.not_equal(y_true, ignore_class)
        y_true = ops.where(valid, y_true, ops.zeros_like(y_true))
    chosen = ops.cast(ops.one_hot(y_true, y_pred.shape[axis], axis=axis, dtype="int32"), "bool")
    if from_logits:
        highest, normalizer = _log_softmax_parts(y_pred, axis)
        score = ops.reduce_sum(ops.where(chosen, y_pred, ops.zeros_like(y_pred)), axis=axis)
        losses = ops.squeeze(highest, [axis]) - score + normalizer
    else:
        log_p = _log_probabilities(y_pred, axis)
        losses = -ops.reduce_sum(ops.where(chosen, log_p, ops.zeros_like(log_p)), axis=axis)
    # a label that is no class: NaN, as in TensorFlow, and not the loss of some other class
    known = ops.logical_and(y_true >= 0, y_true < y_pred.shape[axis])
    losses = ops.where(known, losses, ops.zeros_like(losses) + float("nan"))
    return losses if valid is None else ops.where(valid, losses, ops.zeros_like(losses))


@registry.builtin("keras.losses")
def categorical_generalized_cross_entropy(y_true, y_pred, q):
    """Return (1 - p[y_true]^q) / q: between mean absolute error (q = 1) and crossentropy (q to 0).

    Args:
        y_true: integer class numbers.
        y_pred: probabilities.
        q: in (0, 1).

    Source: Zhang and Sabuncu 2018, https://arxiv.org/abs/1805.07836
    """
    y_true, y_pred = class_labels(y_true, y_pred, -1, "categorical_generalized_cross_entropy")
    chosen = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
    p = ops.reduce_sum(chosen * y_pred, axis=-1)
    return (1.0 - ops.pow(p, q)) / q


@registry.builtin("keras.losses", "kld", "KLD", "kullback_leibler_divergence")
def kl_divergence(y_true, y_pred):
    """Return sum(y_true * log(y_true / y_pred), axis=-1), both clipped to [epsilon, 1]."""
    y_true, y_pred = matched(y_true, y_pred, "kl_divergence")
    y_true = ops.clip_by_value(y_true, config.epsilon(), 1.0)
    y_pred = ops.clip_by_value(y_pred, config.epsilon(), 1.0)
    return ops.reduce_sum(y_true * ops.log(y_true / y_pred), axis=-1)


@registry.builtin("keras.losses")
def ctc(y_true, y_pred):
    """Return the connectionist temporal classification loss of each sequence.

    Args:
        y_true: int labels of shape (batch, max_labels); 0 is the blank and fills up short rows.
        y_pred: logits of shape (batch, max_time, classes).

    Returns:
        Losses of shape (batch,).

    Raises:
        ValueError: other ranks.

    Source: Graves et al. 2006.
    """
    _, y_pred = as_pair(0.0, y_pred)
    y_true = ops.cast(ops.convert_to_tensor(y_true), "int32")
    if len(y_true.shape) != 2 or len(y_pred.shape) != 3:
        raise ValueError("ctc expected y_true of shape (batch, max_labels) and y_pred of shape (batch, max_time, "
                         f"classes), but received shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}.")
    lengths = ops.reduce_sum(ops.cast(ops.not_equal(y_true, 0), "int32"), axis=1)
    return ops.ctc_loss(y_true, y_pred, label_length=lengths, logit_length=ops.fill([y_pred.shape[0]], y_pred.shape[1]),
                        logits_time_major=False, blank_index=0)
