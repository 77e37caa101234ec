# SPDX-License-Identifier: Apache-2.0
"""The base classes of initializers."""
import math

import numpy as np

from fitloom import engine
from fitloom.base import config, dtypes, serialization
from fitloom.ops.kernels import philox


class Initializer:
    """Make the first value of a weight; subclasses define `__call__(shape, dtype=None)`.

    Built-in initializers define `draw`, which works on the host with NumPy, so that building a model starts no
    compiled program.

    Example:
        >>> import fitloom as tf
        >>> class Sevens(tf.keras.initializers.Initializer):
        ...     def __call__(self, shape, dtype=None):
        ...         return tf.fill(shape, 7.0)
    """

    def __call__(self, shape, dtype=None):
        return engine.convert_to_tensor(self.draw(shape, dtype))

    def draw(self, shape, dtype=None) -> np.ndarray:
        """Return the value as a NumPy array of this shape and dtype (default: floatx)."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__(self, shape, dtype=None)`.")

    def get_config(self):
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Make an initializer from `get_config()`."""
        return cls(**config)

    def clone(self):
        """Return a fresh initializer with the same configuration."""
        return type(self).from_config(self.get_config())


class RandomInitializer(Initializer):
    """Base of initializers that draw from a generator.

    The same seed gives the same values, on every call and every machine: those of Keras on TensorFlow. Without a seed
    one is taken, at construction, from Python's `random`, as in Keras (`keras.utils.set_random_seed`), or after
    `tf.random.set_seed` from the program's stream.

    Args:
        seed: int, `keras.random.SeedGenerator` (each call then gives new values), or None.
    """

    def __init__(self, seed=None):
        if isinstance(seed, dict):
            seed = serialization.deserialize_keras_object(seed)     # a SeedGenerator of a configuration
        self._given_seed = seed
        if seed is None:
            seed = engine.default_seed()
        elif not hasattr(seed, "next") and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(
                f"{type(self).__name__} expected `seed` to be an int, a SeedGenerator or None, but received "
                f"'{seed}' (of type {type(seed).__name__}).")
        self.seed = seed

    def start(self, name, count) -> philox.Start:
        """Return where the generator of the next draw starts.

        Args:
            name: of the draw and its dtype.
            count: how many numbers it takes.
        """
        seed = self.seed
        if not hasattr(seed, "next"):
            return philox.stateless_start(int(seed), 0)
        first, second = np.asarray(seed.next()).astype(np.uint32).view(np.int32).ravel()
        return philox.stateless_start(first, second)

    def uniform(self, shape, dtype, low, high):
        """Return uniform numbers in [low, high)."""
        return philox.on_host(philox.uniform, self._start("uniform", shape, dtype), shape, dtype) * dtype.type(
            high - low) + dtype.type(low)

    def normal(self, shape, dtype, mean, stddev, truncated=False):
        """Return normal numbers, with `truncated` within two standard deviations."""
        draw, name = (philox.truncated_normal, "truncated_normal") if truncated else (philox.normal, "normal")
        return philox.on_host(draw, self._start(name, shape, dtype), shape, dtype) * dtype.type(stddev) \
            + dtype.type(mean)

    def _start(self, name, shape, dtype):
        return self.start(f"{name} {dtype.name}", math.prod(shape))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"seed": serialization.serialize_keras_object(self._given_seed)}


def dimensions(shape) -> tuple:
    """Return a shape as a tuple of ints."""
    return tuple(int(n) for n in ((shape,) if np.ndim(shape) == 0 else shape))


def numpy_dtype(dtype, floating_for=None) -> np.dtype:
    """Return the NumPy dtype, by default floatx; with `floating_for` (a class name) only floats are accepted."""
    dtype = dtypes.as_dtype(config.floatx() if dtype is None else dtype)
    if floating_for and not dtype.is_floating:
        raise ValueError(f"{floating_for} expected a floating dtype, but received dtype='{dtype.name}'.")
    return dtype.numpy_dtype
