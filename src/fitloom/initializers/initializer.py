# SPDX-License-Identifier: Apache-2.0
"""The base classes of initializers."""
import numpy as np

from fitloom import engine
from fitloom.base import config, dtypes, serialization


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

    The same seed gives the same values, on every call and every machine; without a seed one is taken, at
    construction, from the process's generator (`tf.random.set_seed`, `keras.utils.set_random_seed`).

    Args:
        seed: int, `keras.random.SeedGenerator` (each call then gives new values), or None.
    """

    def __init__(self, seed=None):
        if isinstance(seed, dict):
            seed = serialization.deserialize_keras_object(seed)     # a SeedGenerator of a configuration
        self._given_seed = seed
        if seed is None:
            seed = int(engine.host_generator(None).integers(0, 2**31 - 1))
        elif not hasattr(seed, "next") and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(
                f"{type(self).__name__} expected `seed` to be an int, a SeedGenerator or None, but received "
                f"'{seed}' (of type {type(seed).__name__}).")
        self.seed = seed

    def generator(self) -> np.random.Generator:
        """Return the generator that the next draw uses."""
        seed = self.seed
        if hasattr(seed, "next"):
            words = np.asarray(seed.next(), np.uint64).ravel()
            seed = int(words[0]) << 32 | int(words[-1])
        return engine.host_generator(int(seed))

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


def width_of(dtype: np.dtype):
    """Return the dtype in which NumPy draws for `dtype`: float64 for float64, else float32."""
    return np.float64 if dtype == np.float64 else np.float32
