# SPDX-License-Identifier: Apache-2.0
"""Random numbers as pure functions of a seed of two uint32 words.

Threefry (jax.random) for quality: the same seed gives the same numbers on every platform.
Dropout has a faster generator of its own, `fitloom.ops.kernels.dropout`.

Every function takes `seed`, a uint32 array of shape (2,), and returns the given dtype exactly.
float16 and bfloat16 draws are made in float32 and rounded towards zero or clipped where a
bound is open, so that `uniform` never returns its upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

DTypeLike = jax.typing.DTypeLike


def uniform(
    seed: jax.Array,
    shape: Sequence[int],
    low: float | jax.Array = 0.0,
    high: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the uniform distribution on [low, high)."""
    dtype = jnp.dtype(dtype)
    low, high = jnp.asarray(low, dtype), jnp.asarray(high, dtype)
    return jax.random.uniform(_key(seed), tuple(shape), dtype, low, high)


def normal(
    seed: jax.Array,
    shape: Sequence[int],
    mean: float | jax.Array = 0.0,
    stddev: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the normal distribution."""
    dtype, wide = jnp.dtype(dtype), _wide(dtype)
    unit = jax.random.normal(_key(seed), tuple(shape), wide)
    return (unit * jnp.asarray(stddev, wide) + jnp.asarray(mean, wide)).astype(dtype)


def truncated_normal(
    seed: jax.Array,
    shape: Sequence[int],
    mean: float | jax.Array = 0.0,
    stddev: float | jax.Array = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draw from the normal distribution cut off at two standard deviations on both sides."""
    dtype, wide = jnp.dtype(dtype), _wide(dtype)
    low, high = jnp.asarray(-2.0, wide), jnp.asarray(2.0, wide)
    unit = jax.random.truncated_normal(_key(seed), low, high, tuple(shape), wide)
    return (unit * jnp.asarray(stddev, wide) + jnp.asarray(mean, wide)).astype(dtype)


def randint(
    seed: jax.Array,
    shape: Sequence[int],
    low: int | jax.Array,
    high: int | jax.Array,
    dtype: DTypeLike = jnp.int32,
) -> jax.Array:
    """Draw integers uniformly from [low, high)."""
    return jax.random.randint(_key(seed), tuple(shape), low, high, jnp.dtype(dtype))


def bits(seed: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.uint32) -> jax.Array:
    """Draw uniformly from all values of an integer dtype."""
    wanted = jnp.dtype(dtype)
    unsigned = jax.random.bits(_key(seed), tuple(shape), jnp.dtype(f"uint{8 * wanted.itemsize}"))
    return jax.lax.bitcast_convert_type(unsigned, wanted)


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
    logits = logits.astype(_wide(logits.dtype))
    shape = (num_samples, *logits.shape[:-1])
    drawn = jax.random.categorical(_key(seed), logits, axis=-1, shape=shape)
    return jnp.moveaxis(drawn, 0, -1).astype(dtype)


def shuffle(seed: jax.Array, x: jax.Array, axis: int = 0) -> jax.Array:
    """Permute x along `axis`, all other axes together."""
    return jax.random.permutation(_key(seed), x, axis=axis)


def permutation(seed: jax.Array, n: int, dtype: DTypeLike = jnp.int32) -> jax.Array:
    """Draw a permutation of 0 ... n - 1."""
    return jax.random.permutation(_key(seed), jnp.arange(n, dtype=dtype))


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
    if seed.ndim == 0:  # one number of up to 64 bits
        seed = seed.astype(jnp.uint64)
        seed = jnp.stack([seed >> jnp.uint64(32), seed & jnp.uint64(0xFFFFFFFF)])
    return jax.random.wrap_key_data(seed.astype(jnp.uint32), impl="threefry2x32")


def _wide(dtype):
    """The dtype to draw in: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)
