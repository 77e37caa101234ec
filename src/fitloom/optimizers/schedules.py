# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules: the learning rate as a function of the optimizer's step."""
import math
import numbers

from fitloom import engine, ops
from fitloom.base import config, identifiers, registry, serialization

_NAMESPACE = "keras.optimizers.schedules"


def _float(step):
    return ops.cast(step if engine.is_tensor(step) else engine.convert_to_tensor(step), config.floatx())


class LearningRateSchedule:
    """A learning rate that depends on the step; subclass it and write `__call__(step)` and `get_config()`.

    Example:
        >>> import fitloom as tf
        >>> class Halve(tf.keras.optimizers.schedules.LearningRateSchedule):
        ...     def __call__(self, step):
        ...         return 0.1 / (1.0 + tf.cast(step, "float32"))
        >>> round(float(Halve()(1)), 3)
        0.05
    """

    def __call__(self, step):
        """Return the learning rate at `step`; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step).")

    def get_config(self):
        """Return the constructor's arguments; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config() to be saved.")

    @classmethod
    def from_config(cls, config):
        """Return the schedule a configuration describes."""
        return cls(**config)


registry.builtin(_NAMESPACE)(LearningRateSchedule)


class BuiltinSchedule(LearningRateSchedule):
    """A schedule of this package: a function of the step alone, whose arguments are its attributes."""

    def _keep(self, arguments):
        settings = {k: v for k, v in arguments.items() if k not in ("self", "__class__")}
        self.__dict__.update(settings)
        self._names = tuple(settings)

    def get_config(self):
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in self._names}


def _positive(name, value):
    if not isinstance(value, numbers.Real) and not hasattr(value, "shape"):
        raise TypeError(f"{name} must be a number, but is {value!r}.")
    if value <= 0:
        raise ValueError(f"{name} must be positive, but is {value}.")


@registry.builtin(_NAMESPACE)
class ExponentialDecay(BuiltinSchedule):
    """initial_learning_rate * decay_rate^(step / decay_steps).

    Args:
        decay_steps: steps after which the rate has shrunk once by decay_rate.
        staircase: shrink in jumps (the exponent is a whole number).
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="ExponentialDecay"):
        _positive("decay_steps", decay_steps)
        self._keep(locals())

    def __call__(self, step):
        """Return the learning rate at `step`."""
        exponent = _float(step) / float(self.decay_steps)
        if self.staircase:
            exponent = ops.floor(exponent)
        base = ops.cast(float(self.decay_rate), config.floatx())
        return float(self.initial_learning_rate) * ops.pow(base, exponent)


@registry.builtin(_NAMESPACE)
class InverseTimeDecay(BuiltinSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); `staircase` floors step / decay_steps."""

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="InverseTimeDecay"):
        _positive("decay_steps", decay_steps)
        self._keep(locals())

    def __call__(self, step):
        """Return the learning rate at `step`."""
        progress = _float(step) / float(self.decay_steps)
        if self.staircase:
            progress = ops.floor(progress)
        return float(self.initial_learning_rate) / (1.0 + float(self.decay_rate) * progress)


@registry.builtin(_NAMESPACE)
class PiecewiseConstantDecay(BuiltinSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], ...

    Raises:
        ValueError: `values` has not one entry more than `boundaries`.
    """

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(f"values must have one entry more than boundaries, but there are {len(values)} values "
                             f"and {len(boundaries)} boundaries.")
        self._keep(locals())

    def __call__(self, step):
        """Return the learning rate at `step`."""
        step = _float(step)
        rate = ops.cast(float(self.values[0]), config.floatx())
        for boundary, value in zip(self.boundaries, self.values[1:]):
            rate = ops.where(step > float(boundary), ops.cast(float(value), config.floatx()), rate)
        return rate


@registry.builtin(_NAMESPACE)
class PolynomialDecay(BuiltinSchedule):
    """(initial - end) * (1 - step / decay_steps)^power + end, constant after decay_steps.

    Args:
        cycle: after decay_steps start again, each time with the next multiple of decay_steps.
    """

    def __init__(self, initial_learning_rate, decay_steps, end_learning_rate=0.0001, power=1.0, cycle=False,
                 name="PolynomialDecay"):
        _positive("decay_steps", decay_steps)
        self._keep(locals())

    def __call__(self, step):
        """Return the learning rate at `step`."""
        step, length = _float(step), float(self.decay_steps)
        if self.cycle:
            length = ops.maximum(ops.ceil(step / length), 1.0) * length
        else:
            step = ops.minimum(step, length)
        first, last = float(self.initial_learning_rate), float(self.end_learning_rate)
        return (first - last) * ops.pow(1.0 - step / length, float(self.power)) + last


@registry.builtin(_NAMESPACE)
class CosineDecay(BuiltinSchedule):
    """initial * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha), constant after decay_steps.

    Args:
        alpha: smallest rate as a fraction of the initial one.
        warmup_target: rise linearly from initial_learning_rate to this in the first `warmup_steps` steps, then decay.

    Source: Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983
    """

    def __init__(self, initial_learning_rate, decay_steps, alpha=0.0, name="CosineDecay", warmup_target=None,
                 warmup_steps=0):
        _positive("decay_steps", decay_steps)
        self._keep(locals())

    def _decayed(self, step, rate):
        progress = ops.minimum(step, float(self.decay_steps)) / float(self.decay_steps)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * progress))
        return float(rate) * ((1.0 - float(self.alpha)) * cosine + float(self.alpha))

    def __call__(self, step):
        """Return the learning rate at `step`."""
        step, first, warmup = _float(step), float(self.initial_learning_rate), float(self.warmup_steps)
        if self.warmup_target is None:
            return self._decayed(step, first)
        rising = first + (float(self.warmup_target) - first) * step / max(warmup, 1.0)
        return ops.where(step < warmup, rising, self._decayed(step - warmup, self.warmup_target))


@registry.builtin(_NAMESPACE)
class CosineDecayRestarts(BuiltinSchedule):
    """`CosineDecay` that starts again; each period is t_mul times longer and begins m_mul times as high.

    Source: Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983
    """

    def __init__(self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"):
        _positive("first_decay_steps", first_decay_steps)
        self._keep(locals())

    def __call__(self, step):
        """Return the learning rate at `step`."""
        progress, growth = _float(step) / float(self.first_decay_steps), float(self.t_mul)
        if growth == 1.0:
            restart = ops.floor(progress)
            progress = progress - restart
        else:
            restart = ops.floor(ops.log(1.0 - progress * (1.0 - growth)) / math.log(growth))
            length = ops.pow(ops.cast(growth, config.floatx()), restart)
            progress = (progress - (1.0 - length) / (1.0 - growth)) / length
        height = ops.pow(ops.cast(float(self.m_mul), config.floatx()), restart)
        cosine = 0.5 * height * (1.0 + ops.cos(math.pi * progress))
        return float(self.initial_learning_rate) * ((1.0 - float(self.alpha)) * cosine + float(self.alpha))


def serialize(learning_rate_schedule):
    """Return the configuration of a schedule."""
    return serialization.serialize_keras_object(learning_rate_schedule)


def deserialize(config, custom_objects=None):
    """Return the schedule that a configuration describes."""
    return identifiers.deserialize("learning rate schedule", config, _NAMESPACE, custom_objects)
