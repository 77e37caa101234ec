# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.regularizers`: penalties on weights and activations, added to the loss."""
import math

from fitloom import ops
from fitloom.base import identifiers, registry, serialization

_NAMESPACE = "keras.regularizers"


class Regularizer:
    """Turn a tensor into a scalar penalty; subclasses define `__call__(x)` and `get_config()`.

    Example:
        >>> import fitloom as tf
        >>> class Spread(tf.keras.regularizers.Regularizer):
        ...     def __call__(self, x):
        ...         return 0.1 * tf.math.reduce_std(x)
    """

    def __call__(self, x):
        """Return no penalty."""
        return 0.0

    def get_config(self):
        """Return the constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config() to be saved.")

    @classmethod
    def from_config(cls, config):
        """Make a regularizer from `get_config()`."""
        return cls(**config)


def _factor(name, value):
    """Return a factor as a float; None means 0."""
    value = 0.0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` must be a finite float >= 0, but received {name}={value!r}.")
    return float(value)


@registry.builtin(_NAMESPACE, "l1l2", "l1_l2")
class L1L2(Regularizer):
    """Penalty `l1 * sum(|x|) + l2 * sum(x^2)`."""

    def __init__(self, l1=0.0, l2=0.0):
        self.l1, self.l2 = _factor("l1", l1), _factor("l2", l2)

    def __call__(self, x):
        """Return the penalty of `x`."""
        penalty = 0.0
        if self.l1:
            penalty = penalty + self.l1 * ops.reduce_sum(ops.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * ops.reduce_sum(ops.square(x))
        return penalty

    def get_config(self):
        """Return the constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


@registry.builtin(_NAMESPACE, "l1")
class L1(Regularizer):
    """Penalty `l1 * sum(|x|)`."""

    def __init__(self, l1=0.01):
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x):
        """Return the penalty of `x`."""
        return self.l1 * ops.reduce_sum(ops.abs(x))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"l1": self.l1}


@registry.builtin(_NAMESPACE, "l2")
class L2(Regularizer):
    """Penalty `l2 * sum(x^2)`."""

    def __init__(self, l2=0.01):
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x):
        """Return the penalty of `x`."""
        return self.l2 * ops.reduce_sum(ops.square(x))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"l2": self.l2}


@registry.builtin(_NAMESPACE, "orthogonal_regularizer")
class OrthogonalRegularizer(Regularizer):
    """Penalty for rows (or columns) of a matrix that are not orthogonal.

    `factor * mean over pairs i < j of |cos(x_i, x_j)|`.

    Args:
        factor: strength.
        mode: 'rows' or 'columns'.
    """

    def __init__(self, factor=0.01, mode="rows"):
        if mode not in ("rows", "columns"):
            raise ValueError(f"`mode` must be 'rows' or 'columns', but received '{mode}'.")
        self.factor, self.mode = _factor("factor", factor), mode

    def __call__(self, x):
        """Return the penalty of a matrix."""
        x = ops.convert_to_tensor(x)
        if len(x.shape) != 2:
            raise ValueError(f"OrthogonalRegularizer needs a tensor of 2 axes, but received shape {tuple(x.shape)}.")
        x = x if self.mode == "rows" else ops.transpose(x)
        size = x.shape[0]
        unit = x * ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(x), axis=1, keepdims=True), 1e-12))
        cosines = ops.abs(ops.matmul(unit, ops.transpose(unit)))
        off_diagonal = cosines * (1.0 - ops.eye(size, dtype=x.dtype))
        return self.factor * 0.5 * ops.reduce_sum(off_diagonal) / (size * (size - 1) / 2.0)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"factor": self.factor, "mode": self.mode}


def get(identifier):
    """Return the regularizer for a name, configuration, class or callable; None stays None."""
    return identifiers.get("regularizer", identifier, _NAMESPACE)


def serialize(regularizer):
    """Return the regularizer as plain data."""
    return serialization.serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """Return the regularizer that `serialize` (or a name) describes."""
    return identifiers.deserialize("regularizer", config, _NAMESPACE, custom_objects)
