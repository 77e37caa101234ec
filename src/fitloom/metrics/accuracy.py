# SPDX-License-Identifier: Apache-2.0
"""Shares of right answers, and what 'accuracy' means for given shapes."""
import math

from fitloom import ops
from fitloom.base import config, registry
from fitloom.losses.shapes import as_tensor, class_labels, matched, squeeze_or_expand
from fitloom.metrics.reduction_metrics import MeanMetricWrapper


def accuracy(y_true, y_pred):
    """Return 1.0 where y_true equals y_pred, else 0.0."""
    y_pred = as_tensor(y_pred)
    y_true, y_pred = squeeze_or_expand(as_tensor(y_true, y_pred.dtype), y_pred)
    return ops.cast(ops.equal(y_true, y_pred), config.floatx())


@registry.builtin("keras.metrics")
def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Return 1.0 where (y_pred > threshold) equals y_true, else 0.0."""
    y_true, y_pred = matched(y_true, y_pred, "binary_accuracy")
    return ops.cast(ops.equal(y_true, ops.cast(y_pred > threshold, y_true.dtype)), config.floatx())


@registry.builtin("keras.metrics")
def categorical_accuracy(y_true, y_pred):
    """Return 1.0 for each row whose largest output stands where the one-hot target's 1 is."""
    y_true, y_pred = matched(y_true, y_pred, "categorical_accuracy")
    return _agree(ops.argmax(y_true, axis=-1, output_type="int32"), y_pred)


@registry.builtin("keras.metrics")
def sparse_categorical_accuracy(y_true, y_pred):
    """Return 1.0 for each row whose largest output stands at the target's class number."""
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    rows, given = tuple(y_pred.shape)[:-1], tuple(y_true.shape)
    if None not in rows + given and math.prod(rows) == math.prod(given):
        y_true = ops.reshape(y_true, rows)      # as many targets as rows, in another shape
    return _agree(*class_labels(y_true, y_pred, -1, "sparse_categorical_accuracy"))


def _agree(labels, y_pred):
    return ops.cast(ops.equal(labels, ops.argmax(y_pred, axis=-1, output_type="int32")), config.floatx())


@registry.builtin("keras.metrics")
def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """Return 1.0 for each row whose one-hot class is among the k largest outputs (ties count as in)."""
    y_true, y_pred = matched(y_true, y_pred, "top_k_categorical_accuracy")
    return _in_top(ops.argmax(y_true, axis=-1, output_type="int32"), y_pred, k)


@registry.builtin("keras.metrics")
def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """Return 1.0 for each row whose class number is among the k largest outputs (ties count as in).

    Args:
        from_sorted_ids: `y_pred` holds class numbers, best first, instead of scores.
    """
    y_pred = as_tensor(y_pred)
    shape = tuple(as_tensor(y_true).shape)
    if from_sorted_ids:
        labels = ops.cast(ops.reshape(as_tensor(y_true), y_pred.shape[:-1]), "int32")
        found = ops.equal(ops.expand_dims(labels, -1), ops.cast(y_pred[..., :k], "int32"))
        return ops.cast(ops.reduce_any(found, axis=-1), config.floatx())
    labels, y_pred = class_labels(y_true, y_pred, -1, "sparse_top_k_categorical_accuracy")
    result = _in_top(labels, y_pred, k)
    # Keras gives the targets' own shape back where that is (..., 1) with a sequence axis before it
    return ops.reshape(result, shape) if len(shape) == len(y_pred.shape) > 2 else result


def _in_top(labels, y_pred, k):
    chosen = ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
    score = ops.reduce_sum(chosen * y_pred, axis=-1, keepdims=True)
    better = ops.reduce_sum(ops.cast(y_pred > score, "int32"), axis=-1)
    return ops.cast(better < k, config.floatx())


def _last(shape):
    return shape[-1] if len(shape) else 1


def _kind(y_true_shape, y_pred_shape):
    y_true_shape, y_pred_shape = tuple(y_true_shape), tuple(y_pred_shape)
    classes = _last(y_pred_shape)
    if classes == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape) or _last(y_true_shape) == 1:
        return "sparse"
    return "categorical"


def resolve_accuracy(y_true_shape, y_pred_shape, name="accuracy", dtype=None):
    """Return the metric that 'accuracy' stands for, called `name`.

    One output unit: BinaryAccuracy; targets that lack the class axis: SparseCategoricalAccuracy; else
    CategoricalAccuracy.
    """
    classes = {"binary": BinaryAccuracy, "sparse": SparseCategoricalAccuracy, "categorical": CategoricalAccuracy}
    return classes[_kind(y_true_shape, y_pred_shape)](name=name, dtype=dtype)


def resolve_crossentropy(y_true_shape, y_pred_shape, name="crossentropy", dtype=None):
    """Return the metric that 'crossentropy' stands for, chosen as `resolve_accuracy` does."""
    from fitloom.metrics import probabilistic
    classes = {"binary": probabilistic.BinaryCrossentropy, "sparse": probabilistic.SparseCategoricalCrossentropy,
               "categorical": probabilistic.CategoricalCrossentropy}
    return classes[_kind(y_true_shape, y_pred_shape)](name=name, dtype=dtype)


@registry.builtin("keras.metrics", "accuracy")
class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets, element by element.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.metrics.Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]))
        0.75
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(accuracy, name, dtype)


@registry.builtin("keras.metrics")
class BinaryAccuracy(MeanMetricWrapper):
    """How often outputs on the right side of `threshold` match 0/1 targets: `binary_accuracy`.

    Raises:
        ValueError: threshold outside (0, 1).
    """

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        if threshold is None or not 0 < threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, but is {threshold}.")
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


@registry.builtin("keras.metrics")
class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest output stands at the one-hot target's class: `categorical_accuracy`."""

    def __init__(self, name="categorical_accuracy", dtype=None):
        super().__init__(categorical_accuracy, name, dtype)


@registry.builtin("keras.metrics")
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest output stands at the target's class number: `sparse_categorical_accuracy`."""

    def __init__(self, name="sparse_categorical_accuracy", dtype=None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


@registry.builtin("keras.metrics")
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the one-hot target's class is among the k largest outputs: `top_k_categorical_accuracy`."""

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


@registry.builtin("keras.metrics")
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the target's class number is among the k largest outputs: `sparse_top_k_categorical_accuracy`."""

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None, from_sorted_ids=False):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
        self.k, self.from_sorted_ids = k, from_sorted_ids
