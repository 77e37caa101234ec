# SPDX-License-Identifier: Apache-2.0
"""`tf.nn.experimental`: dropout whose random numbers the caller chooses."""
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops import random, shaping
from fitloom.ops.calling import static_ints, tensor
from fitloom.ops.casting import cast

__all__ = ["general_dropout", "stateless_dropout"]


def general_dropout(x, rate, uniform_sampler, noise_shape=None, name=None):
    """Return x with each element 0 where a random number is below `rate`, else divided by 1 - rate.

    Args:
        uniform_sampler: function of `shape` and `dtype` that gives numbers in [0, 1).
        noise_shape: shape of the random numbers, broadcast over x; None entries stand for x's sizes.
    """
    x = tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(f"general_dropout expected a floating dtype, because values are scaled, but received "
                         f"{x.dtype.name}.")
    if isinstance(rate, (int, float)):
        if not 0 <= rate < 1:
            raise InvalidArgumentError(f"general_dropout expected a rate in [0, 1), but received {rate}.")
        if rate == 0:
            return x
    shape = tuple(x.shape) if noise_shape is None else tuple(
        size if n is None else static_ints([n])[0] for size, n in zip(x.shape, noise_shape, strict=True))
    drawn = uniform_sampler(shape=shape, dtype=x.dtype)
    scale = 1 / (1 - rate)
    scale, rate, nothing = (cast(tensor(number), x.dtype) for number in (scale, rate, 0))
    return shaping.where(drawn >= rate, x * scale, nothing)


def stateless_dropout(x, rate, seed, rng_alg="auto_select", noise_shape=None, name=None):
    """Return x with dropout, a function of a seed of two numbers alone.

    Example:
        >>> import fitloom as tf
        >>> x, again = (tf.nn.experimental.stateless_dropout(tf.ones(8), 0.5, seed=[1, 0]) for _ in range(2))
        >>> bool(tf.reduce_all(x == again))
        True
    """
    def sampler(shape, dtype):
        return random.stateless_uniform(shape, seed=seed, dtype=dtypes.as_dtype(dtype), alg=rng_alg)
    return general_dropout(x, rate, sampler, noise_shape)
