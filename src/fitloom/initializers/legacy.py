# SPDX-License-Identifier: Apache-2.0
"""The initializers at the root of TensorFlow: `tf.random_normal_initializer` and its siblings."""
import numpy as np

from fitloom import engine
from fitloom.initializers.constant_initializers import Constant, Ones, Zeros
from fitloom.initializers.initializer import RandomInitializer, dimensions, numpy_dtype
from fitloom.initializers.random_initializers import RandomNormal, RandomUniform


class _Fresh(RandomInitializer):
    """Without a seed every call draws new values (those of `keras.initializers` repeat the first call's)."""

    def start(self, name, count):
        """Return where the generator of the next draw starts: without a seed as that of `tf.random.normal`."""
        return engine.next_operation_seed(None, name, count) if self._given_seed is None else super().start(name, count)


class random_normal_initializer(_Fresh, RandomNormal):
    """Draw from a normal distribution, anew in each call unless a seed is given."""


class random_uniform_initializer(_Fresh, RandomUniform):
    """Draw uniformly from [minval, maxval), anew in each call unless a seed is given; integers for integer dtypes."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        super().__init__(minval, 0.05 if maxval is None else maxval, seed)


class zeros_initializer(Zeros):
    """Fill with zeros."""


class ones_initializer(Ones):
    """Fill with ones."""


class constant_initializer(Constant):
    """Fill with a constant: a scalar, or as many values in a list as the shape has."""

    def __init__(self, value=0, support_partition=False):
        super().__init__(value)

    def draw(self, shape, dtype=None):
        """Return the filled array."""
        value, shape = np.asarray(self.value), dimensions(shape)
        if value.size not in (1, int(np.prod(shape))):
            raise TypeError(f"constant_initializer has {value.size} values, but the shape {tuple(shape)} asks for "
                            f"{int(np.prod(shape))}.")
        return np.array(np.broadcast_to(value, shape) if value.size == 1 else value.reshape(shape),
                        dtype=numpy_dtype(dtype))
