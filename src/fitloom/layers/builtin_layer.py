# SPDX-License-Identifier: Apache-2.0
"""`BuiltinLayer`: what the layers of this package share: their arguments are attributes and configuration."""
import inspect

from fitloom import activations, constraints, initializers, regularizers
from fitloom.layers.layer import Layer

# What an argument is, by the end of its name: functions that make it from what the user gave, and turn it back.
_KINDS = (
    ("initializer", initializers.get, initializers.serialize),
    ("regularizer", regularizers.get, regularizers.serialize),
    ("constraint", constraints.get, constraints.serialize),
    ("activation", activations.get, activations.serialize),
)
_OF_THE_BASE = {"self", "name", "dtype", "trainable", "autocast", "activity_regularizer", "kwargs"}


def _kind_of(argument):
    for ending, make, serialize in _KINDS:
        if argument.endswith(ending):
            return make, serialize
    return None


def _plain(value):
    """Return tracked lists and dicts as plain ones."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class BuiltinLayer(Layer):
    """Base of the layers of this package; not for subclasses of users.

    The constructor's arguments become attributes (`_keep(locals())`), names of initializers, regularizers,
    constraints and activations resolved; `get_config` reads them back by the constructor's signature.
    """

    per_example = True
    not_in_config: tuple = ()   # constructor arguments that are no configuration

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not cls._own_class and "per_example" not in cls.__dict__:
            cls.per_example = False   # a user's subclass may do anything

    def _keep(self, arguments):
        """Make attributes of a constructor's arguments, given as its `locals()`."""
        for name, value in arguments.items():
            if name in _OF_THE_BASE or name[0] == "_":
                continue
            kind = _kind_of(name)
            setattr(self, name, kind[0](value) if kind else value)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        owner = next(cls for cls in type(self).__mro__
                     if cls.__dict__.get("__init__") and cls.__module__.startswith("fitloom."))
        for name in inspect.signature(owner.__init__).parameters:
            if name in _OF_THE_BASE or name in self.not_in_config:
                continue
            kind, value = _kind_of(name), getattr(self, name)
            config[name] = _plain(value) if kind is None or value is None else kind[1](value)
        return config

    @staticmethod
    def _sizes(value, ndim, name, allow_zero=False):
        """Return an int, or a sequence of `ndim` ints, as a tuple of `ndim` ints.

        Raises:
            ValueError: anything else.
        """
        least = 0 if allow_zero else 1
        given = (value,) * ndim if isinstance(value, int) else value
        try:
            sizes = tuple(int(v) for v in given)
            valid = all(v == w for v, w in zip(sizes, given))
        except (TypeError, ValueError):
            sizes, valid = (), False
        if not valid or len(sizes) != ndim or min(sizes) < least:
            at_least = ">= 0" if allow_zero else "> 0"
            raise ValueError(f"The `{name}` argument must be a tuple of {ndim} integers {at_least}; each should be a "
                             f"{'non-negative' if allow_zero else 'positive'} integer. Received: {name}={value!r}")
        return sizes
