# SPDX-License-Identifier: Apache-2.0
"""Sums and means: `Sum`, `Mean`, and a mean of a function of targets and outputs."""
from fitloom import engine, ops
from fitloom.base import registry, serialization
from fitloom.losses.loss import both
from fitloom.losses.reduction import align
from fitloom.losses.shapes import as_tensor
from fitloom.metrics.metric import BuiltinMetric, Metric

registry.builtin("keras.metrics", "metric")(Metric)


def weighted_rows(values, sample_weight, dtype):
    """Return (values, weights) of shape (rows,): means over the inner axes of w*v and of w; a mask is a weight.

    Raises:
        ValueError: weights that fit neither rows nor elements.
    """
    mask = engine.get_mask(values)
    values = as_tensor(values, dtype)
    if mask is not None:
        mask = ops.cast(align(as_tensor(mask), values), dtype)
    if sample_weight is not None:
        sample_weight = align(as_tensor(sample_weight, dtype), values)
        if mask is not None:
            while len(mask.shape) < len(sample_weight.shape):
                mask = ops.expand_dims(mask, -1)
            sample_weight = sample_weight * mask
    else:
        sample_weight = mask
    if sample_weight is not None:
        if len(sample_weight.shape) > len(values.shape):
            raise ValueError(f"sample_weight of shape {tuple(sample_weight.shape)} does not fit values of shape "
                             f"{tuple(values.shape)}: give one weight for each row.")
        if tuple(sample_weight.shape) != tuple(values.shape):
            sample_weight = ops.broadcast_to(sample_weight, values.shape)
        values = ops.where(ops.equal(sample_weight, 0.0), ops.zeros_like(values), values * sample_weight)
    inner = list(range(1, len(values.shape)))
    if inner:
        values = ops.reduce_mean(values, axis=inner)
        sample_weight = None if sample_weight is None else ops.reduce_mean(sample_weight, axis=inner)
    return values, sample_weight


@registry.builtin("keras.metrics", "sum")
class Sum(BuiltinMetric):
    """Weighted sum of values.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.metrics.Sum()([1., 2., 3.]))
        6.0
    """

    def __init__(self, name="sum", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, values, sample_weight=None):
        """Add values of any shape, times weights."""
        self._add(values, sample_weight)

    def _update(self, values, sample_weight):
        values = as_tensor(values, self._dtype)
        if sample_weight is not None:
            values = values * align(as_tensor(sample_weight, self._dtype), values)
        self.total.assign_add(ops.reduce_sum(values))

    def result(self):
        """Return the sum."""
        return self.total.value


@registry.builtin("keras.metrics", "mean")
class Mean(BuiltinMetric):
    """Weighted mean: sum(w * v) / sum(w), exact over batches of any size.

    Example:
        >>> import fitloom as tf
        >>> float(tf.keras.metrics.Mean()([1., 3.], sample_weight=[1., 0.]))
        1.0
    """

    def __init__(self, name="mean", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, values, sample_weight=None):
        """Add a batch of values; weights are one for each row or for each value."""
        self._add(values, sample_weight)

    def _update(self, values, sample_weight):
        values, sample_weight = weighted_rows(values, sample_weight, self._dtype)
        self.total.assign_add(ops.reduce_sum(values))
        if sample_weight is not None:
            rows = ops.reduce_sum(sample_weight)
        else:
            rows = ops.cast(float(values.shape[0]) if len(values.shape) else 1.0, self._dtype)
        self.count.assign_add(rows)

    def result(self):
        """Return the mean; 0 before any value came."""
        return ops.divide_no_nan(self.total.value, self.count.value)


@registry.builtin("keras.metrics", "mean_metric_wrapper")
class MeanMetricWrapper(Mean):
    """Weighted mean of a function's values.

    Args:
        fn: `fn(y_true, y_pred, **kwargs)`, one value for each row.
        **kwargs: arguments given to `fn` each time.
    """

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype)
        self._fn, self._fn_kwargs = fn, kwargs
        # The same function serves `tf.keras.losses` and users' code; a user's function may print or branch.
        self._pure = registry.builtin_name(fn) is not None or getattr(fn, "__module__", "").startswith("fitloom.")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch; a mask carried by `y_pred` hides its padded steps."""
        if self._pure:
            self._add(y_true, y_pred, sample_weight)
        else:
            self._update(as_tensor(y_true), as_tensor(y_pred), sample_weight)

    def _update(self, y_true, y_pred, sample_weight):
        mask = engine.get_mask(y_pred)
        if y_pred.dtype in ("float16", "bfloat16"):
            y_pred = ops.cast(y_pred, self._dtype)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        mask = both(mask, engine.get_mask(values))
        values = as_tensor(values, self._dtype)
        if mask is not None:
            engine.set_mask(values, mask)
        Mean._update(self, values, sample_weight)

    def get_config(self):
        """Return the constructor's arguments."""
        base = {"name": self.name, "dtype": self._dtype}
        if type(self) is not MeanMetricWrapper:
            return {**base, **self._fn_kwargs}
        serialize = serialization.serialize_keras_object
        return {**base, "fn": serialize(self._fn), **{k: serialize(v) for k, v in self._fn_kwargs.items()}}

    @classmethod
    def from_config(cls, config):
        """Return the metric a configuration describes."""
        if "fn" in config:
            config = {**config, "fn": serialization.deserialize_keras_object(config["fn"])}
        return cls(**config)
