# SPDX-License-Identifier: Apache-2.0
"""F-scores of multi-class and multi-label outputs."""
from fitloom import ops
from fitloom.base import config, registry
from fitloom.losses.shapes import as_tensor
from fitloom.metrics.metric import BuiltinMetric

_AVERAGES = (None, "micro", "macro", "weighted")


@registry.builtin("keras.metrics", "f_beta_score")
class FBetaScore(BuiltinMetric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall).

    Args:
        average: None (one score a class), 'micro' (counts joined), 'macro' (mean), 'weighted' (by class frequency).
        beta: how much more recall weighs than precision.
        threshold: scores above it are positive answers; None: the largest score of a row is.

    Raises:
        ValueError: unknown average, beta <= 0, threshold outside (0, 1], inputs that are not (batch, classes).
    """

    def __init__(self, average=None, beta=1.0, threshold=None, name="fbeta_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if average not in _AVERAGES:
            raise ValueError(f"Invalid `average` argument value. Expected one of: "
                             f"{{None, 'micro', 'macro', 'weighted'}}. Received: average={average}")
        if not isinstance(beta, float):
            raise ValueError("Invalid `beta` argument value. It should be a Python float. "
                             f"Received: beta={beta} of type '{type(beta)}'")
        if beta <= 0.0:
            raise ValueError(f"Invalid `beta` argument value. It should be > 0. Received: beta={beta}")
        if threshold is not None:
            if not isinstance(threshold, float):
                raise ValueError("Invalid `threshold` argument value. It should be a Python float. "
                                 f"Received: threshold={threshold} of type '{type(threshold)}'")
            if not 0.0 < threshold <= 1.0:
                raise ValueError("Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                                 f"Received: threshold={threshold}")
        self.average, self.beta, self.threshold = average, beta, threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def _build(self, y_true, y_pred, sample_weight=None):
        if len(y_pred.shape) != 2 or len(y_true.shape) != 2:
            raise ValueError(f"{type(self).__name__} expects 2D inputs with shape (batch_size, output_dim), but "
                             f"received y_true of shape {tuple(y_true.shape)}, y_pred of shape {tuple(y_pred.shape)}.")
        if self._built:
            return
        classes = y_pred.shape[-1]
        if classes is None or y_true.shape[-1] is None:
            raise ValueError(f"{type(self).__name__} needs to know the number of classes.")
        shape = () if self.average == "micro" else (classes,)
        for name in ("true_positives", "false_positives", "false_negatives", "intermediate_weights"):
            setattr(self, name, self.add_variable(shape, "zeros", name=name))
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch of one-hot (or multi-hot) targets and scores, both (batch, classes)."""
        self._add(y_true, y_pred, sample_weight)

    def _update(self, y_true, y_pred, sample_weight):
        y_true, y_pred = as_tensor(y_true, self._dtype), as_tensor(y_pred, self._dtype)
        if self.threshold is None:
            largest = ops.reduce_max(y_pred, axis=-1, keepdims=True)
            # zero is no answer (a row of zeros has none)
            answer = ops.logical_and(y_pred >= largest, ops.abs(y_pred) > 1e-9)
        else:
            answer = y_pred > self.threshold
        answer = ops.cast(answer, self._dtype)
        truth = ops.cast(ops.cast(y_true, "int32"), self._dtype)
        weight = None
        if sample_weight is not None:
            weight = as_tensor(sample_weight, self._dtype)
            weight = ops.expand_dims(weight, 1) if len(weight.shape) == 1 else weight

        def total(values):
            return ops.reduce_sum(values if weight is None else values * weight, axis=self.axis)

        self.true_positives.assign_add(total(answer * truth))
        self.false_positives.assign_add(total(answer * (1.0 - truth)))
        self.false_negatives.assign_add(total((1.0 - answer) * truth))
        self.intermediate_weights.assign_add(total(truth))

    def result(self):
        """Return the score, or one for each class."""
        if not self._built:
            return ops.zeros([], self._dtype)
        epsilon, hits = config.epsilon(), self.true_positives.value
        precision = hits / (hits + self.false_positives.value + epsilon)
        recall = hits / (hits + self.false_negatives.value + epsilon)
        score = precision * recall / ((self.beta ** 2) * precision + recall + epsilon) * (1.0 + self.beta ** 2)
        if self.average == "weighted":
            frequency = self.intermediate_weights.value
            return ops.reduce_sum(score * (frequency / (ops.reduce_sum(frequency) + epsilon)))
        return score if self.average is None else ops.reduce_mean(score)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "average": self.average, "beta": self.beta, "threshold": self.threshold}


@registry.builtin("keras.metrics")
class F1Score(FBetaScore):
    """2 precision recall / (precision + recall): `FBetaScore` with beta 1."""

    def __init__(self, average=None, threshold=None, name="f1_score", dtype=None):
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self):
        """Return the constructor's arguments."""
        settings = super().get_config()
        del settings["beta"]
        return settings
