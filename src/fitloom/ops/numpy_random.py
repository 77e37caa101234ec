# SPDX-License-Identifier: Apache-2.0
"""`tf.experimental.numpy.random`: NumPy's draws, as tensors."""
from fitloom.base import dtypes
from fitloom.engine import set_seed
from fitloom.ops import casting
from fitloom.ops import random as draws


def _shape(size):
    return () if size is None else (size,) if isinstance(size, int) else tuple(size)


def seed(s):
    """Set the seed of all draws."""
    set_seed(s)


def randn(*args):
    """Return standard normal numbers of shape `args`, in float64."""
    return draws.normal(args, dtype=dtypes.float64)


def standard_normal(size=None):
    """Return standard normal numbers, in float64."""
    return draws.normal(_shape(size), dtype=dtypes.float64)


def uniform(low=0.0, high=1.0, size=None):
    """Return numbers drawn uniformly from [low, high), in float64."""
    return draws.uniform(_shape(size), low, high, dtype=dtypes.float64)


def rand(*size):
    """Return numbers drawn uniformly from [0, 1), in float64."""
    return uniform(size=size)


def random(size=None):
    """Return numbers drawn uniformly from [0, 1), in float64."""
    return uniform(size=size)


def randint(low, high=None, size=None, dtype=dtypes.int64):
    """Return whole numbers drawn uniformly from [low, high), or [0, low)."""
    low, high = (0, low) if high is None else (low, high)
    return casting.cast(draws.uniform(_shape(size), low, high, dtype=dtypes.int64), dtype)


def poisson(lam=1.0, size=None):
    """Return numbers of a Poisson distribution, in int64."""
    return casting.cast(draws.poisson(_shape(size), lam), dtypes.int64)
