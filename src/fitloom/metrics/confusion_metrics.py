# SPDX-License-Identifier: Apache-2.0
"""Counts of right and wrong yes/no answers, and precision, recall at thresholds."""
from fitloom import engine, ops
from fitloom.base import registry
from fitloom.losses.reduction import align
from fitloom.losses.shapes import as_tensor
from fitloom.metrics.metric import BuiltinMetric
from fitloom.metrics.thresholds import (
    NEGATIVE,
    confusion,
    evenly_spaced,
    is_evenly_spaced,
    standard_thresholds,
)

_COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def masked_weight(y_pred, sample_weight, dtype):
    """Return weights in `dtype`, 0 where the mask carried by `y_pred` hides; None for all ones."""
    mask = engine.get_mask(y_pred)
    if sample_weight is not None:
        sample_weight = as_tensor(sample_weight, dtype)
    if mask is None:
        return sample_weight
    mask = ops.cast(as_tensor(mask), dtype)
    if sample_weight is None:
        return mask
    while len(sample_weight.shape) < len(mask.shape):
        sample_weight = ops.expand_dims(sample_weight, -1)
    return sample_weight * align(mask, sample_weight)


class ConfusionMetric(BuiltinMetric):
    """A metric of confusion counts at thresholds; `counts` names the ones it keeps."""

    counts: tuple = _COUNTS
    names: tuple = ()           # names of the variables, when not those of the counts
    class_id = top_k = None

    def _make(self, thresholds, shape=None):
        self.thresholds = thresholds
        self._even = is_evenly_spaced(thresholds)
        for name in self.names or self.counts:
            setattr(self, name, self.add_variable(shape or (len(thresholds),), "zeros", name=name))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch of 0/1 targets and scores in [0, 1]."""
        self._add(y_true, y_pred, sample_weight)

    def _update(self, y_true, y_pred, sample_weight):
        weight = masked_weight(y_pred, sample_weight, self._dtype)
        found = dict(zip(_COUNTS, self._confusion(as_tensor(y_true, self._dtype), as_tensor(y_pred, self._dtype),
                                                  weight)))
        for count, name in zip(self.counts, self.names or self.counts):
            getattr(self, name).assign_add(found[count])

    def _confusion(self, y_true, y_pred, weight):
        return confusion(y_true, y_pred, self.thresholds, weight, self.class_id, self.top_k, self._even)

    def _one(self, result):
        return result[0] if len(self.thresholds) == 1 else result


class _Count(ConfusionMetric):
    """One count at one or several thresholds (default 0.5)."""

    names = ("accumulator",)

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self._make(standard_thresholds(thresholds, 0.5))

    def result(self):
        """Return the count, or one for each threshold."""
        return self._one(self.accumulator.value)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


@registry.builtin("keras.metrics")
class TruePositives(_Count):
    """How many positives were found."""

    counts = ("true_positives",)


@registry.builtin("keras.metrics")
class FalsePositives(_Count):
    """How many negatives were called positive."""

    counts = ("false_positives",)


@registry.builtin("keras.metrics")
class TrueNegatives(_Count):
    """How many negatives were found."""

    counts = ("true_negatives",)


@registry.builtin("keras.metrics")
class FalseNegatives(_Count):
    """How many positives were missed."""

    counts = ("false_negatives",)


class _Ratio(ConfusionMetric):
    """true positives / (true positives + another count)."""

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self._make(standard_thresholds(thresholds, 0.5 if top_k is None else NEGATIVE))

    def result(self):
        """Return the ratio, or one for each threshold; 0 where nothing counts."""
        hits = getattr(self, self.counts[0]).value
        return self._one(ops.divide_no_nan(hits, hits + getattr(self, self.counts[1]).value))

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds, "top_k": self.top_k,
                "class_id": self.class_id}


@registry.builtin("keras.metrics")
class Precision(_Ratio):
    """Share of positive answers that are right: TP / (TP + FP).

    Args:
        thresholds: number or list; a score above it is a positive answer (default 0.5; with `top_k` none).
        top_k: only the k largest scores of a row can be positive.
        class_id: look at this class only.

    Example:
        >>> import fitloom as tf
        >>> round(float(tf.keras.metrics.Precision()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
        0.6667
    """

    counts = ("true_positives", "false_positives")


@registry.builtin("keras.metrics")
class Recall(_Ratio):
    """Share of positives that were found: TP / (TP + FN); arguments as `Precision`."""

    counts = ("true_positives", "false_negatives")


class _AtConstraint(ConfusionMetric):
    """The best of one ratio among the thresholds where another reaches a wanted value."""

    argument = ""

    def __init__(self, value, num_thresholds, class_id, name, dtype):
        if not 0 <= value <= 1:
            raise ValueError(f"Argument `{self.argument}` must be in the range [0, 1]. Received: {value}")
        if num_thresholds <= 0:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 0. Received: {num_thresholds}")
        super().__init__(name=name, dtype=dtype)
        self.value, self.num_thresholds, self.class_id = value, num_thresholds, class_id
        setattr(self, self.argument, value)
        self._make([0.5] if num_thresholds == 1 else [0.0, *evenly_spaced(num_thresholds), 1.0])

    def _ratios(self):
        """Return (constrained, dependent), each of shape (thresholds,)."""
        hit, false_alarm = self.true_positives.value, self.false_positives.value
        right_no, miss = self.true_negatives.value, self.false_negatives.value
        sensitivity = ops.divide_no_nan(hit, hit + miss)
        specificity = ops.divide_no_nan(right_no, right_no + false_alarm)
        precision = ops.divide_no_nan(hit, hit + false_alarm)
        return {"specificity": (specificity, sensitivity), "sensitivity": (sensitivity, specificity),
                "recall": (sensitivity, precision), "precision": (precision, sensitivity)}[self.argument]

    def result(self):
        """Return the best value; 0 where no threshold fulfils the constraint."""
        constrained, dependent = self._ratios()
        return ops.reduce_max(ops.where(constrained >= self.value, dependent, ops.zeros_like(dependent)))

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "class_id": self.class_id, "num_thresholds": self.num_thresholds,
                self.argument: self.value}


@registry.builtin("keras.metrics")
class SensitivityAtSpecificity(_AtConstraint):
    """Best sensitivity TP / (TP + FN) at thresholds whose specificity TN / (TN + FP) is at least the given one."""

    argument = "specificity"

    def __init__(self, specificity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


@registry.builtin("keras.metrics")
class SpecificityAtSensitivity(_AtConstraint):
    """Best specificity TN / (TN + FP) at thresholds whose sensitivity TP / (TP + FN) is at least the given one."""

    argument = "sensitivity"

    def __init__(self, sensitivity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


@registry.builtin("keras.metrics")
class PrecisionAtRecall(_AtConstraint):
    """Best precision at thresholds whose recall is at least the given one."""

    argument = "recall"

    def __init__(self, recall, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(recall, num_thresholds, class_id, name, dtype)


@registry.builtin("keras.metrics")
class RecallAtPrecision(_AtConstraint):
    """Best recall at thresholds whose precision is at least the given one."""

    argument = "precision"

    def __init__(self, precision, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(precision, num_thresholds, class_id, name, dtype)
