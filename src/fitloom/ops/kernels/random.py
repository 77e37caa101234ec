# SPDX-License-Identifier: Apache-2.0
"""Random numbers as pure functions of a seed, the same on every platform.

Uniform, normal and truncated normal numbers, whole numbers, classes and permutations are those that TensorFlow draws on
a CPU (`fitloom.ops.kernels.philox`); the other distributions are made of Threefry bits (jax.random).
Dropout has a faster generator of its own, `fitloom.ops.kernels.dropout`.

A `seed` is a uint64 array of shape (3,), where the generator starts (key, low and high half of its counter); or a
stateless seed of two 32-bit numbers, as a uint64 scalar (the first one in its high half) or as two uint32 words.
Every function returns the given dtype exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.ops.kernels import philox

DTypeLike = jax.typing.DTypeLike


def folded(seed: jax.Array) -> jax.Array:
    """Return a seed of shape (3,) as one uint64 number, for generators of another kind."""
    return seed[0] ^ (seed[1] << jnp.uint64(7)) ^ (seed[2] << jnp.uint64(32)) ^ (seed[2] >> jnp.uint64(32))


def start_of(seed: jax.Array) -> philox.Start:
    """Return where the generator starts for a seed."""
    seed = jnp.asarray(seed)
    if seed.dtype == jnp.uint64 and seed.shape == (3,):
        return philox.Start(seed[0], seed[1], seed[2])
    if seed.ndim == 0:
        seed = seed.astype(jnp.uint64)
        words = [seed >> jnp.uint64(32), seed & jnp.uint64(0xFFFFFFFF)]
    else:
        words = [seed[0], seed[1]]
    # a stateless seed of uint32 is read as int32, whose sign is kept
    signed = [lax.bitcast_convert_type(word.astype(jnp.uint32), jnp.int32).astype(jnp.int64) for word in words]
    return philox.scrambled(*[lax.bitcast_convert_type(word, jnp.uint64) for word in signed])


def uniform(
    seed: jax.Array,
    shape: Sequence[int],
    low: float | jax.Array = 0.0,
    high: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the uniform distribution on [low, high)."""
    dtype, shape = jnp.dtype(dtype), tuple(shape)
    unit = philox.uniform(jnp, start_of(seed), math.prod(shape), dtype).reshape(shape)
    if low.__class__ is float and high.__class__ is float and (low, high) == (0.0, 1.0):
        return unit
    low, high = jnp.asarray(low, dtype), jnp.asarray(high, dtype)
    return unit * (high - low) + low


def normal(
    seed: jax.Array,
    shape: Sequence[int],
    mean: float | jax.Array = 0.0,
    stddev: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the normal distribution."""
    return _scaled(philox.normal, seed, shape, mean, stddev, dtype)


def truncated_normal(
    seed: jax.Array,
    shape: Sequence[int],
    mean: float | jax.Array = 0.0,
    stddev: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the normal distribution cut off at two standard deviations on both sides."""
    return _scaled(philox.truncated_normal, seed, shape, mean, stddev, dtype)


def _scaled(draw, seed, shape, mean, stddev, dtype) -> jax.Array:
    dtype, shape = jnp.dtype(dtype), tuple(shape)
    unit = draw(jnp, start_of(seed), math.prod(shape), dtype).reshape(shape)
    return unit * jnp.asarray(stddev, dtype) + jnp.asarray(mean, dtype)


def normal_between(
    seed: jax.Array,
    shape: Sequence[int],
    mean: jax.Array,
    stddev: jax.Array,
    low: jax.Array,
    high: jax.Array,
) -> jax.Array:
    """Draw from the normal distribution cut off at `low` and `high`; all parameters broadcast to shape."""
    dtype = jnp.result_type(mean, stddev)
    wide = _wide(dtype)
    mean, stddev, low, high = (x.astype(wide) for x in (mean, stddev, low, high))
    unit = jax.random.truncated_normal(_key(seed), (low - mean) / stddev, (high - mean) / stddev, tuple(shape), wide)
    return jnp.clip(unit * stddev + mean, low, high).astype(dtype)


def randint(
    seed: jax.Array,
    shape: Sequence[int],
    low: int | jax.Array,
    high: int | jax.Array,
    dtype: DTypeLike = jnp.int32,
) -> jax.Array:
    """Draw integers uniformly from [low, high): the remainder of random bits, which favours none noticeably."""
    dtype = jnp.dtype(dtype)
    wide = dtype if dtype.itemsize >= 4 else jnp.dtype(jnp.int64)
    unsigned = jnp.dtype(f"uint{8 * wide.itemsize}")
    low, high = jnp.asarray(low, wide), jnp.asarray(high, wide)
    span = lax.bitcast_convert_type(high, unsigned) - lax.bitcast_convert_type(low, unsigned)
    drawn = lax.rem(*jnp.broadcast_arrays(bits(seed, shape, unsigned), jnp.maximum(span, unsigned.type(1))))
    return (lax.bitcast_convert_type(drawn, wide) + low).astype(dtype)


def bits(seed: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.uint32) -> jax.Array:
    """Draw uniformly from all values of an integer dtype."""
    dtype, shape = jnp.dtype(dtype), tuple(shape)
    wide = dtype if dtype.itemsize >= 4 else jnp.dtype(jnp.uint32)
    return philox.integers(jnp, start_of(seed), math.prod(shape), wide).reshape(shape).astype(dtype)


def bernoulli(
    seed: jax.Array,
    shape: Sequence[int],
    probability: float | jax.Array = 0.5,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw 1 with the given probability (broadcast to shape), else 0."""
    probability = jnp.asarray(probability)
    if not jnp.issubdtype(probability.dtype, jnp.floating):
        probability = probability.astype(jnp.float32)
    probability = probability.astype(_wide(probability.dtype))
    return jax.random.bernoulli(_key(seed), probability, tuple(shape)).astype(dtype)


def categorical(
    seed: jax.Array, logits: jax.Array, num_samples: int, dtype: DTypeLike = jnp.int32
) -> jax.Array:
    """Draw class numbers with probabilities `softmax(logits)`.

    Args:
        seed: Two uint32 words.
        logits: `(batch, classes)`, unnormalized log probabilities.
        num_samples: Draws for each row.
        dtype: Integer dtype.

    Returns:
        `(batch, num_samples)`.
    """
    rows = math.prod(logits.shape[:-1])
    logits, classes = logits.reshape(rows, logits.shape[-1]), logits.shape[-1]
    unit = philox.uniform(jnp, start_of(seed), rows * num_samples, np.float64).reshape(rows, num_samples)
    finite = jnp.isfinite(logits)
    top = jnp.max(jnp.where(finite, logits, jnp.finfo(logits.dtype).min), -1, keepdims=True)
    weights = jnp.exp(logits.astype(jnp.float64) - top.astype(jnp.float64))
    running = jnp.cumsum(jnp.where(finite, weights, 0.0), -1)
    drawn = jax.vmap(lambda sums, u: jnp.searchsorted(sums, u * sums[-1], side="right"))(running, unit)
    return jnp.minimum(drawn, classes - 1).astype(dtype)


def shuffle(seed: jax.Array, x: jax.Array, axis: int = 0) -> jax.Array:
    """Permute x along `axis`, all other axes together."""
    return jnp.take(x, permutation(seed, x.shape[axis]), axis=axis, mode="clip")


def shuffle_by_keys(seed: jax.Array, x: jax.Array, axis: int = 0) -> jax.Array:
    """Permute x along `axis` by sorting random keys, as `keras.random.shuffle` does."""
    return jnp.take(x, jnp.argsort(uniform(seed, (x.shape[axis],)), stable=True), axis=axis, mode="clip")


def permutation(seed: jax.Array, n: int, dtype: DTypeLike = jnp.int32) -> jax.Array:
    """Draw a permutation of 0 ... n - 1 (Fisher and Yates)."""
    partner = jnp.arange(n) + lax.rem(philox.words(jnp, start_of(seed), n).astype(jnp.int64), n - jnp.arange(n))
    partner = partner.astype(jnp.int32)

    def swap(i, order):
        both = jnp.stack([i, partner[i]])               # one scatter: two updates would copy the whole order
        return order.at[both].set(order[both[::-1]], mode="promise_in_bounds")
    return lax.fori_loop(jnp.int32(0), jnp.int32(max(n - 1, 0)), swap, jnp.arange(n, dtype=dtype))


def gamma(
    seed: jax.Array,
    shape: Sequence[int],
    alpha: float | jax.Array,
    beta: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the gamma distribution, density `x^(alpha - 1) exp(-beta x)`; mean alpha / beta."""
    dtype, wide = jnp.dtype(dtype), _wide(dtype)
    unit = jax.random.gamma(_key(seed), jnp.asarray(alpha, wide), tuple(shape), wide)
    return (unit / jnp.asarray(beta, wide)).astype(dtype)


def beta(
    seed: jax.Array,
    shape: Sequence[int],
    alpha: float | jax.Array,
    beta: float | jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the beta distribution, density `x^(alpha - 1) (1 - x)^(beta - 1)`."""
    dtype, wide = jnp.dtype(dtype), _wide(dtype)
    alpha, beta = jnp.asarray(alpha, wide), jnp.asarray(beta, wide)
    return jax.random.beta(_key(seed), alpha, beta, tuple(shape), wide).astype(dtype)


def poisson(
    seed: jax.Array,
    shape: Sequence[int],
    rate: float | jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the Poisson distribution with mean `rate`, broadcast to shape."""
    rate = jnp.asarray(rate, jnp.float32)
    return jax.random.poisson(_key(seed), rate, tuple(shape), jnp.int32).astype(dtype)


def binomial(
    seed: jax.Array,
    shape: Sequence[int],
    counts: float | jax.Array,
    probabilities: float | jax.Array,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw the number of successes in `counts` trials, each with the given probability."""
    dtype, wide = jnp.dtype(dtype), jnp.dtype(jnp.float32)
    if dtype == jnp.float64:
        wide = dtype
    counts, probabilities = jnp.asarray(counts, wide), jnp.asarray(probabilities, wide)
    drawn = jax.random.binomial(_key(seed), counts, probabilities, tuple(shape), wide)
    return drawn.astype(dtype)


def split(seed: jax.Array, count: int = 2) -> jax.Array:
    """Return `count` independent seeds made from one, `(count, 2)`."""
    return jax.random.key_data(jax.random.split(_key(seed), count))


def fold_in(seed: jax.Array, number: int | jax.Array) -> jax.Array:
    """Return a new seed made from a seed and a 32-bit number.

    Use it or `split` on one seed, not both: number i gives the seed that `split` has at place i.
    """
    return jax.random.key_data(jax.random.fold_in(_key(seed), number))


def _key(seed):
    seed = jnp.asarray(seed)
    if seed.shape == (3,):
        seed = folded(seed)
    if seed.ndim == 0:  # one number of up to 64 bits
        seed = seed.astype(jnp.uint64)
        seed = jnp.stack([seed >> jnp.uint64(32), seed & jnp.uint64(0xFFFFFFFF)])
    return jax.random.wrap_key_data(seed.astype(jnp.uint32), impl="threefry2x32")


def _wide(dtype):
    """The dtype to draw in: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)
