# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.constraints`: projections applied to a weight after each update."""
from fitloom import ops
from fitloom.base import config, identifiers, registry, serialization

_NAMESPACE = "keras.constraints"


class Constraint:
    """Map a weight to one that is allowed; subclasses define `__call__(w)`.

    Example:
        >>> import fitloom as tf
        >>> class Bounded(tf.keras.constraints.Constraint):
        ...     def __call__(self, w):
        ...         return tf.clip_by_value(w, -1.0, 1.0)
    """

    def __call__(self, w):
        """Return the projected weight; the base class allows every weight."""
        return w

    def get_config(self):
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Make a constraint from `get_config()`."""
        return cls(**config)


def _norm(w, axis):
    axis = axis if isinstance(axis, int) else tuple(axis)
    return ops.sqrt(ops.reduce_sum(ops.square(w), axis=axis, keepdims=True))


@registry.builtin(_NAMESPACE, "min_max_norm")
class MinMaxNorm(Constraint):
    """Scale each unit's incoming weights to a norm within [min_value, max_value].

    `w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (epsilon + norm)`

    Args:
        min_value, max_value: bounds of the norm.
        rate: 1.0 enforces the bounds at once, less moves towards them.
        axis: axis or axes over which norms are taken: 0 for Dense kernels, (0, 1, 2) for Conv2D kernels.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w):
        """Return the scaled weight."""
        w = ops.convert_to_tensor(w)
        norm = _norm(w, self.axis)
        clipped = ops.minimum(ops.maximum(norm, float(self.min_value)), float(self.max_value))
        wanted = self.rate * clipped + (1.0 - self.rate) * norm
        return w * (wanted / (config.epsilon() + norm))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


@registry.builtin(_NAMESPACE, "max_norm")
class MaxNorm(Constraint):
    """Scale each unit's incoming weights down to a norm of at most `max_value` (Srivastava et al., 2014)."""

    def __init__(self, max_value=2, axis=0):
        self.max_value, self.axis = max_value, axis

    def __call__(self, w):
        """Return the scaled weight."""
        w = ops.convert_to_tensor(w)
        norm = _norm(w, self.axis)
        return w * (ops.minimum(norm, float(self.max_value)) / (config.epsilon() + norm))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}


@registry.builtin(_NAMESPACE, "non_neg")
class NonNeg(Constraint):
    """Set negative weights to zero."""

    def __call__(self, w):
        """Return max(w, 0)."""
        return ops.maximum(ops.convert_to_tensor(w), 0.0)


@registry.builtin(_NAMESPACE, "unit_norm")
class UnitNorm(Constraint):
    """Scale each unit's incoming weights to norm 1."""

    def __init__(self, axis=0):
        self.axis = axis

    def __call__(self, w):
        """Return the scaled weight."""
        w = ops.convert_to_tensor(w)
        return w / (config.epsilon() + _norm(w, self.axis))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"axis": self.axis}


def get(identifier):
    """Return the constraint for a name, configuration, class or callable; None stays None."""
    return identifiers.get("constraint", identifier, _NAMESPACE)


def serialize(constraint):
    """Return the constraint as plain data."""
    return serialization.serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """Return the constraint that `serialize` (or a name) describes."""
    return identifiers.deserialize("constraint", config, _NAMESPACE, custom_objects)
