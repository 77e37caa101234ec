# SPDX-License-Identifier: Apache-2.0
"""Area under the receiver operating characteristic or the precision-recall curve."""
from fitloom import ops
from fitloom.base import config, errors, registry
from fitloom.metrics.confusion_metrics import ConfusionMetric
from fitloom.metrics.thresholds import confusion, evenly_spaced


@registry.builtin("keras.metrics")
class AUC(ConfusionMetric):
    """Riemann sum of the curve over thresholds.

    Args:
        num_thresholds: how many thresholds (at least 2), evenly spaced in [0, 1].
        curve: 'ROC', 'PR' or 'PRGAIN' (precision-recall-gain, Flach and Kull 2015).
        summation_method: 'interpolation' (trapezoids; for PR Davis and Goadrich's), 'minoring', 'majoring'.
        thresholds: the inner thresholds themselves.
        multi_label: a curve for each column, averaged.
        num_labels: number of columns, when known beforehand.
        label_weights: weights of the columns.
        from_logits: apply a sigmoid first.

    Raises:
        ValueError: num_thresholds < 2, an unknown curve or method, thresholds outside [0, 1].

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.metrics.AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
        0.75

    Source: Davis and Goadrich 2006.
    """

    def __init__(self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None, dtype=None,
                 thresholds=None, multi_label=False, num_labels=None, label_weights=None, from_logits=False):
        super().__init__(name=name, dtype=dtype)
        for value, known, what in ((str(curve).upper(), ("ROC", "PR", "PRGAIN"), "curve"),
                                   (str(summation_method).lower(), ("interpolation", "minoring", "majoring"),
                                    "summation_method")):
            if value not in known:
                given = curve if what == "curve" else summation_method
                raise ValueError(f'Invalid AUC {what.replace("_", " ")} value: "{given}".'
                                 f"{errors.did_you_mean(value, known)} It must be one of {', '.join(known)}.")
        self.curve, self.summation_method = curve.upper(), summation_method.lower()
        self._given = thresholds is not None
        if self._given:
            inner = sorted(float(t) for t in thresholds)
            if any(not 0 <= t <= 1 for t in inner):
                raise ValueError(f"Threshold values must be in [0, 1]. Received: {inner}")
        else:
            if num_thresholds <= 1:
                raise ValueError(f"Argument `num_thresholds` must be an integer > 1. Received: {num_thresholds}")
            inner = evenly_spaced(num_thresholds)
        if num_labels is not None and not multi_label:
            raise ValueError("num_labels needs multi_label=True.")
        self.num_thresholds = len(inner) + 2
        self.multi_label, self.num_labels, self._from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else tuple(float(w) for w in label_weights)
        self.thresholds = self._limits = [0.0 - config.epsilon(), *inner, 1.0 + config.epsilon()]
        self._built = False
        if not multi_label or num_labels:
            self._make_counts(num_labels)

    def _make_counts(self, labels):
        self._make(self._limits, (self.num_thresholds, labels) if labels else None)
        self._built = True

    def _build(self, y_true, y_pred, sample_weight=None):
        if self.multi_label:
            shape = tuple(y_pred.shape)
            if len(shape) != 2:
                raise ValueError(f"AUC with multi_label=True expected outputs of shape (batch, labels), but received "
                                 f"{shape}.")
            if self._built and shape[-1] != self.true_positives.shape[-1]:
                raise ValueError(f"AUC '{self.name}' was made for {self.true_positives.shape[-1]} labels, but outputs "
                                 f"of shape {shape} came.")
            if self.label_weights is not None and len(self.label_weights) != shape[-1]:
                raise ValueError(f"AUC received {len(self.label_weights)} label_weights for {shape[-1]} labels.")
        if not self._built:
            self._make_counts(y_pred.shape[-1])

    def _confusion(self, y_true, y_pred, weight):
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        # with separate curves the weights of labels act on the areas, else on the counts
        label_weights = None if self.multi_label else self.label_weights
        return confusion(y_true, y_pred, self.thresholds, weight, even=self._even, by_label=self.multi_label,
                         label_weights=label_weights)

    def result(self):
        """Return the area; 0 before any batch came."""
        if not self._built:
            return ops.zeros([], self._dtype)
        hit, false_alarm = self.true_positives.value, self.false_positives.value
        right_no, miss = self.true_negatives.value, self.false_negatives.value
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._average(self._precision_recall(hit, false_alarm, miss))
        recall = ops.divide_no_nan(hit, hit + miss)
        if self.curve == "ROC":
            x, y = ops.divide_no_nan(false_alarm, false_alarm + right_no), recall
        elif self.curve == "PRGAIN":
            odds = ops.divide_no_nan(hit + miss, false_alarm + right_no)
            x, y = self._gain(odds, miss, hit), self._gain(odds, false_alarm, hit, 1.0)
        else:
            x, y = recall, ops.divide_no_nan(hit, hit + false_alarm)
        first, second = y[:-1], y[1:]
        heights = {"interpolation": lambda: (first + second) / 2.0, "minoring": lambda: ops.minimum(first, second),
                   "majoring": lambda: ops.maximum(first, second)}[self.summation_method]()
        return self._average(ops.reduce_sum((x[:-1] - x[1:]) * heights, axis=0))

    @staticmethod
    def _gain(odds, errors, hit, empty=0.0):
        """Return 1 - odds * errors / hit within [0, 1]; `empty` where there is neither, 0 where only errors are."""
        none, only = ops.equal(hit, 0.0), ops.greater(errors, 0.0)
        gain = ops.clip_by_value(1.0 - odds * ops.divide_no_nan(errors, hit), 0.0, 1.0)
        return ops.where(none, ops.where(only, ops.zeros_like(gain), empty * ops.ones_like(gain)), gain)

    def _average(self, areas):
        if not self.multi_label:
            return areas
        if self.label_weights is None:
            return ops.reduce_mean(areas)
        weights = ops.constant(self.label_weights, dtype=self._dtype)
        return ops.divide_no_nan(ops.reduce_sum(areas * weights), ops.reduce_sum(weights))

    @staticmethod
    def _precision_recall(hit, false_alarm, miss):
        """Between two thresholds TP is linear in the number of positives P: TP = intercept + slope * P."""
        positives = hit + false_alarm
        slope = ops.divide_no_nan(hit[:-1] - hit[1:], ops.relu(positives[:-1] - positives[1:]))
        intercept = hit[1:] - slope * positives[1:]
        both_positive = ops.logical_and(positives[:-1] > 0.0, positives[1:] > 0.0)
        ratio = ops.where(both_positive, ops.divide_no_nan(positives[:-1], ops.relu(positives[1:])),
                          ops.ones_like(positives[1:]))
        area = ops.divide_no_nan(slope * (hit[:-1] - hit[1:] + intercept * ops.log(ratio)),
                                 ops.relu(hit[1:] + miss[1:]))
        return ops.reduce_sum(area, axis=0)

    def get_config(self):
        """Return the constructor's arguments."""
        settings = {**super().get_config(), "num_thresholds": self.num_thresholds, "curve": self.curve,
                    "summation_method": self.summation_method, "multi_label": self.multi_label,
                    "num_labels": self.num_labels,
                    "label_weights": None if self.label_weights is None else list(self.label_weights),
                    "from_logits": self._from_logits}
        if self._given:
            settings["thresholds"] = self._limits[1:-1]
        return settings
