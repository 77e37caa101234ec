# SPDX-License-Identifier: Apache-2.0
"""The initializers at the root of TensorFlow: `tf.random_normal_initializer` and its siblings."""
from fitloom.initializers.constant_initializers import Constant, Ones, Zeros
from fitloom.initializers.random_initializers import RandomNormal, RandomUniform


class random_normal_initializer(RandomNormal):
    """Draw from a normal distribution: `RandomNormal` with TensorFlow's lower-case name."""


class random_uniform_initializer(RandomUniform):
    """Draw uniformly from [minval, maxval); integers for integer dtypes."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        super().__init__(minval, 0.05 if maxval is None else maxval, seed)


class zeros_initializer(Zeros):
    """Fill with zeros."""


class ones_initializer(Ones):
    """Fill with ones."""


class constant_initializer(Constant):
    """Fill with a constant."""

    def __init__(self, value=0, support_partition=False):
        super().__init__(value)
