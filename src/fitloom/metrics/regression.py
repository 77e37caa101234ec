# SPDX-License-Identifier: Apache-2.0
"""Means of regression losses, and measures of fit."""
from fitloom import engine, ops
from fitloom.base import config, registry
from fitloom.losses import regression as losses
from fitloom.losses.shapes import as_tensor, matched
from fitloom.metrics.metric import BuiltinMetric
from fitloom.metrics.reduction_metrics import Mean, MeanMetricWrapper


def _mean_of(function, class_name, default_name, doc, *aliases):
    """Make the metric class that averages a loss function without settings."""
    def __init__(self, name=default_name, dtype=None):
        MeanMetricWrapper.__init__(self, function, name, dtype)

    made = type(class_name, (MeanMetricWrapper,), {
        "__init__": __init__, "__doc__": doc, "__module__": __name__, "__qualname__": class_name})
    return registry.builtin("keras.metrics", default_name, *aliases)(made)


MeanSquaredError = _mean_of(losses.mean_squared_error, "MeanSquaredError", "mean_squared_error",
                            "Mean of (y_true - y_pred)^2.", "MSE", "mse")
MeanAbsoluteError = _mean_of(losses.mean_absolute_error, "MeanAbsoluteError", "mean_absolute_error",
                             "Mean of |y_true - y_pred|.", "MAE", "mae")
MeanAbsolutePercentageError = _mean_of(
    losses.mean_absolute_percentage_error, "MeanAbsolutePercentageError", "mean_absolute_percentage_error",
    "Mean of 100 |y_true - y_pred| / |y_true|.", "MAPE", "mape")
MeanSquaredLogarithmicError = _mean_of(
    losses.mean_squared_logarithmic_error, "MeanSquaredLogarithmicError", "mean_squared_logarithmic_error",
    "Mean of (log(y_true + 1) - log(y_pred + 1))^2.", "MSLE", "msle")
LogCoshError = _mean_of(losses.log_cosh, "LogCoshError", "logcosh", "Mean of log(cosh(y_pred - y_true)).",
                        "log_cosh_error", "log_cosh")
Hinge = _mean_of(losses.hinge, "Hinge", "hinge", "Mean hinge loss.")
SquaredHinge = _mean_of(losses.squared_hinge, "SquaredHinge", "squared_hinge", "Mean squared hinge loss.")
CategoricalHinge = _mean_of(losses.categorical_hinge, "CategoricalHinge", "categorical_hinge",
                            "Mean categorical hinge loss.")


@registry.builtin("keras.metrics", "root_mean_squared_error", "rmse", "RMSE")
class RootMeanSquaredError(Mean):
    """sqrt(mean((y_true - y_pred)^2))."""

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch."""
        self._add(y_true, y_pred, sample_weight)

    def _update(self, y_true, y_pred, sample_weight):
        mask = engine.get_mask(y_pred)
        y_true, y_pred = matched(as_tensor(y_true, self._dtype), as_tensor(y_pred, self._dtype), self.name)
        values = ops.square(y_pred - y_true)
        if mask is not None:
            engine.set_mask(values, mask)
        Mean._update(self, values, sample_weight)

    def result(self):
        """Return the root of the mean."""
        return ops.sqrt(super().result())


def cosine(y_true, y_pred, axis=-1):
    """Return the cosine of the angle between targets and outputs."""
    return -losses.cosine_similarity(y_true, y_pred, axis=axis)


@registry.builtin("keras.metrics", "cosine_similarity")
class CosineSimilarity(MeanMetricWrapper):
    """Mean cosine of the angle between targets and outputs (the loss of this name is its negative)."""

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(cosine, name, dtype, axis=axis)


@registry.builtin("keras.metrics")
def pearson_correlation(y_true, y_pred, axis=-1):
    """Return cov(y_true, y_pred) / (std(y_true) std(y_pred)) over `axis`.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.metrics.pearson_correlation([[1., 2., 3.]], [[2., 4., 6.]])[0]) > 0.999999
        True
    """
    y_true, y_pred = matched(y_true, y_pred, "pearson_correlation")

    def standardized(x):
        x = x - ops.reduce_mean(x, axis=axis, keepdims=True)
        return x / ops.reduce_std(x, axis=axis, keepdims=True)
    return ops.reduce_mean(standardized(y_true) * standardized(y_pred), axis=axis)


@registry.builtin("keras.metrics")
def concordance_correlation(y_true, y_pred, axis=-1):
    """Return 2 cov / (var(y_true) + var(y_pred) + (mean(y_true) - mean(y_pred))^2 + epsilon) over `axis`.

    Source: Lin 1989.
    """
    y_true, y_pred = matched(y_true, y_pred, "concordance_correlation")
    true_mean, pred_mean = (ops.reduce_mean(x, axis=axis, keepdims=True) for x in (y_true, y_pred))
    covariance = ops.reduce_mean((y_true - true_mean) * (y_pred - pred_mean), axis=axis)
    spread = ops.reduce_variance(y_true, axis=axis) + ops.reduce_variance(y_pred, axis=axis)
    distance = ops.reduce_mean(ops.square(true_mean - pred_mean), axis=axis)
    return 2.0 * covariance / (spread + distance + config.epsilon())


@registry.builtin("keras.metrics")
class PearsonCorrelation(MeanMetricWrapper):
    """Mean over rows of `pearson_correlation` along `axis`."""

    def __init__(self, name="pearson_correlation", dtype=None, axis=-1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


@registry.builtin("keras.metrics")
class ConcordanceCorrelation(MeanMetricWrapper):
    """Mean over rows of `concordance_correlation` along `axis`."""

    def __init__(self, name="concordance_correlation", dtype=None, axis=-1):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis


_AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


@registry.builtin("keras.metrics", "r2_score")
class R2Score(BuiltinMetric):
    """1 - sum(w (y_true - y_pred)^2) / sum(w (y_true - mean)^2), for each output column, then joined.

    Args:
        class_aggregation: None (one score a column), 'uniform_average' or 'variance_weighted_average'.
        num_regressors: number of regressors for the adjusted score; 0 gives the plain one.

    Raises:
        ValueError: unknown aggregation, negative num_regressors, targets that are not (batch, columns).
    """

    def __init__(self, class_aggregation="uniform_average", num_regressors=0, name="r2_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if class_aggregation not in _AGGREGATIONS:
            raise ValueError(f"Invalid value for argument `class_aggregation`: {class_aggregation!r}. It must be one "
                             f"of {_AGGREGATIONS}.")
        if num_regressors < 0:
            raise ValueError(f"Invalid value for argument `num_regressors`: {num_regressors}. It must be >= 0.")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable((), "zeros", name="num_samples")
        self._built = False

    def _build(self, y_true, y_pred, sample_weight=None):
        shape = tuple(y_true.shape)
        if len(shape) != 2 or len(y_pred.shape) != 2:
            raise ValueError(f"R2Score expects 2D inputs with shape (batch_size, output_dim), but received y_true of "
                             f"shape {shape} and y_pred of shape {tuple(y_pred.shape)}. Add a last axis: y[:, None].")
        if self._built:
            return
        if shape[-1] is None or y_pred.shape[-1] is None:
            raise ValueError("R2Score needs to know the number of output columns.")
        for name in ("squared_sum", "sum", "residual", "count"):
            setattr(self, {"residual": "total_mse"}.get(name, name),
                    self.add_variable((shape[-1],), "zeros", name=name))
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch."""
        self._add(y_true, y_pred, sample_weight)

    def _update(self, y_true, y_pred, sample_weight):
        y_true, y_pred = matched(as_tensor(y_true, self._dtype), as_tensor(y_pred, self._dtype), self.name)
        weights = ops.ones_like(y_true)
        if sample_weight is not None:
            sample_weight = as_tensor(sample_weight, self._dtype)
            weights = weights * (ops.expand_dims(sample_weight, 1) if len(sample_weight.shape) == 1 else sample_weight)
        weighted = y_true * weights
        self.sum.assign_add(ops.reduce_sum(weighted, axis=0))
        self.squared_sum.assign_add(ops.reduce_sum(y_true * weighted, axis=0))
        self.total_mse.assign_add(ops.reduce_sum(ops.square(y_true - y_pred) * weights, axis=0))
        self.count.assign_add(ops.reduce_sum(weights, axis=0))
        # elements, as in Keras; those of weight 0 (rows that only fill up a batch) are none
        self.num_samples.assign_add(ops.reduce_sum(ops.cast(ops.not_equal(weights, 0.0), self._dtype)))

    def result(self):
        """Return the score, or one for each column."""
        if not self._built:
            return ops.zeros([], self._dtype)
        mean = self.sum.value / self.count.value
        total = self.squared_sum.value - self.sum.value * mean
        scores = 1.0 - self.total_mse.value / total
        # a column without variance: 0 (Keras), not -inf
        scores = ops.where(ops.is_inf(scores), ops.zeros_like(scores), scores)
        if self.class_aggregation == "uniform_average":
            scores = ops.reduce_mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = ops.reduce_sum(scores * total) / ops.reduce_sum(total)
        if self.num_regressors:
            samples, p = self.num_samples.value, float(self.num_regressors)
            scores = 1.0 - (1.0 - scores) * (samples - 1.0) / (samples - p - 1.0)
        return scores

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "class_aggregation": self.class_aggregation,
                "num_regressors": self.num_regressors}
