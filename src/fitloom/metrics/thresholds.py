# SPDX-License-Identifier: Apache-2.0
"""Confusion counts at many thresholds at once."""
import numpy as np

from fitloom import ops
from fitloom.base import config
from fitloom.losses.reduction import align
from fitloom.losses.shapes import squeeze_or_expand

NEGATIVE = -1e10   # below every score: all predictions count as positive


def standard_thresholds(thresholds, default):
    """Return a list of thresholds from None, a number or a sequence.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    if thresholds is None:
        return [default]
    values = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    bad = [t for t in values if t is None or not 0.0 <= t <= 1.0]
    if bad or not values:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {_shown(bad)}")
    return [float(t) for t in values]


def _shown(values):
    return "[" + ", ".join(str(v) for v in values) + "]"


def evenly_spaced(num_thresholds):
    """Return `num_thresholds` - 2 inner thresholds i / (num_thresholds - 1)."""
    return [(i + 1) * 1.0 / (num_thresholds - 1) for i in range(num_thresholds - 2)]


def is_evenly_spaced(thresholds):
    """Whether thresholds (ends included) are so near to i / (n - 1) that buckets can be computed."""
    if len(thresholds) < 3:
        return False
    even = np.linspace(0.0, 1.0, len(thresholds), dtype="float32")
    return bool(np.allclose(np.asarray(thresholds, "float32"), even, atol=config.epsilon()))


def top_k_only(y_pred, k):
    """Return scores with all but the k largest of the last axis set to NEGATIVE."""
    chosen = ops.top_k(y_pred, k=k, sorted=False)[1]      # of equal scores the first ones
    chosen = ops.reduce_any(ops.cast(ops.one_hot(chosen, y_pred.shape[-1]), "bool"), axis=-2)
    return ops.where(chosen, y_pred, NEGATIVE * ops.ones_like(y_pred))


def confusion(y_true, y_pred, thresholds, sample_weight=None, class_id=None, top_k=None, even=False, by_label=False,
              label_weights=None):
    """Return weighted (true positives, false positives, true negatives, false negatives), one row a threshold.

    A prediction is positive at threshold t when y_pred > t.

    Args:
        y_true, y_pred: floating tensors of one shape (after dropping or adding a last axis of 1).
        thresholds: Python numbers, ascending where `even`.
        class_id: use this column only.
        top_k: only the k largest scores of a row can be positive.
        even: the thresholds are evenly spaced over [0, 1].
        by_label: keep columns apart: results of shape (thresholds, labels).
        label_weights: numbers, one a column.
    """
    y_true, y_pred = squeeze_or_expand(y_true, y_pred)
    true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
    if true_shape != pred_shape:
        raise ValueError(f"Expected targets and outputs of one shape, but y_true has shape {true_shape} and y_pred "
                         f"has shape {pred_shape}.")
    if top_k is not None:
        y_pred = top_k_only(y_pred, top_k)
    if class_id is not None:
        if len(pred_shape) < 2:
            raise ValueError(f"When class_id is provided, y_pred must be a 2D array with shape (num_samples, "
                             f"num_classes), found shape: {pred_shape}")
        if class_id >= pred_shape[-1]:
            raise ValueError(f"class_id is {class_id}, but there are {pred_shape[-1]} classes.")
        y_true, y_pred = y_true[..., class_id], y_pred[..., class_id]
    if sample_weight is None:
        weights = ops.ones_like(y_pred)
    else:
        weights = align(sample_weight, y_pred) * ops.ones_like(y_pred)
    if label_weights is not None:
        weights = weights * ops.constant(label_weights, dtype=y_pred.dtype)
    columns = y_pred.shape[-1] if by_label else 1
    y_true, y_pred, weights = (ops.reshape(x, [-1, columns]) for x in (y_true, y_pred, weights))
    if even:
        true_weight, false_weight = y_true * weights, (1.0 - y_true) * weights
    else:
        positive = ops.cast(ops.cast(y_true, "bool"), y_pred.dtype)
        true_weight, false_weight = positive * weights, (1.0 - positive) * weights
    if even or len(thresholds) > 8:
        found = _by_bucket(y_pred, true_weight, false_weight, thresholds, even)
    else:
        found = _by_comparison(y_pred, true_weight, false_weight, thresholds)
    true_positives, false_positives = found
    false_negatives = ops.reduce_sum(true_weight, axis=0) - true_positives
    true_negatives = ops.reduce_sum(false_weight, axis=0) - false_positives
    results = (true_positives, false_positives, true_negatives, false_negatives)
    return results if by_label else tuple(ops.squeeze(r, [-1]) for r in results)


def _by_comparison(y_pred, true_weight, false_weight, thresholds):
    """Compare every score with every threshold; -> two (thresholds, columns)."""
    limits = ops.reshape(ops.constant(thresholds, dtype=y_pred.dtype), [-1, 1, 1])
    above = ops.cast(y_pred > limits, y_pred.dtype)
    return (ops.reduce_sum(above * true_weight, axis=1), ops.reduce_sum(above * false_weight, axis=1))


def _by_bucket(y_pred, true_weight, false_weight, thresholds, even):
    """Sort scores into the intervals between thresholds, then sum from above: work n, not n * thresholds."""
    count, columns = len(thresholds), y_pred.shape[-1]
    if even:
        # bucket = how many of the thresholds after the first lie below the score
        bucket = ops.cast(ops.ceil(ops.clip_by_value(y_pred, 0.0, 1.0) * float(count - 1)), "int32") - 1
        bucket = ops.maximum(bucket, 0)
        order, inverse = None, None
    else:
        order = np.argsort(np.asarray(thresholds), kind="stable")
        inverse = np.argsort(order, kind="stable")
        ascending = ops.constant([thresholds[i] for i in order], dtype=y_pred.dtype)
        bucket = ops.reshape(ops.searchsorted(ascending, ops.reshape(y_pred, [-1])), y_pred.shape) - 1
    segments = ops.reshape(bucket * columns + ops.expand_dims(ops.range(columns), 0), [-1])
    # a score below every threshold has bucket -1: segment sums leave negative ids out
    segments = ops.where(ops.reshape(bucket, [-1]) < 0, -ops.ones_like(segments), segments)

    def from_above(weights):
        sums = ops.unsorted_segment_sum(ops.reshape(weights, [-1]), segments, count * columns)
        sums = ops.cumsum(ops.reshape(sums, [count, columns]), axis=0, reverse=True)
        return sums if inverse is None else ops.gather(sums, ops.constant(inverse.astype("int32")))
    return from_above(true_weight), from_above(false_weight)
