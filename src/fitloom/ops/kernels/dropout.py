# SPDX-License-Identifier: Apache-2.0
"""Dropout from a counter hash.

Random bits are a hash of the element's position and the seed, so nothing is stored: XLA fuses
the hash into whatever uses the mask and computes it again in the backward pass (0.17 ms against
3.5 ms for threefry, 128 x 12 x 12 x 64 elements, two cores). `tests/ops/kernels/test_dropout.py`
holds the statistical battery it must pass. It is not a generator for anything but dropout and
noise: `random` has those.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.ops.kernels.random import folded

# Larger arrays are counted axis by axis: a dimension of more does not fit 32-bit indices.
_MOST_IN_ONE_IOTA = 2**31


def dropout(
    x: jax.Array,
    rate: float | jax.Array,
    seed: jax.Array,
    noise_shape: Sequence[int | None] | None = None,
) -> jax.Array:
    """Set elements to zero with probability `rate`, and scale the others by 1 / (1 - rate).

    Args:
        x: Any shape.
        rate: Probability in [0, 1], a Python number or a scalar array.
        seed: As in `hash_bits`; another seed gives another mask.
        noise_shape: Shape of the mask, broadcast against x; None entries stand for x's size.

    Returns:
        Array of x's shape and dtype.
    """
    shape = _noise_shape(x.shape, noise_shape)
    bits = hash_bits(seed, shape)
    if isinstance(rate, (int, float)):
        if not 0 <= rate <= 1:
            raise ValueError(f"the dropout rate must be between 0 and 1, received {rate}")
        if rate == 0:
            return x
        if rate == 1:
            return jnp.zeros_like(x)
        # round(rate * 2^32) of the 2^32 values are dropped: the rate is exact to 2^-33.
        keep = bits >= np.uint32(min(round(rate * 2**32), 2**32 - 1))
        scale = 1 / (1 - rate)
    else:
        rate = rate.astype(jnp.promote_types(rate.dtype, jnp.float32))
        keep = _to_unit(bits) >= rate.astype(jnp.float32)
        scale = jnp.where(rate < 1, 1 / (1 - jnp.minimum(rate, 0.9999999)), 0)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    scaled = (x.astype(wide) * jnp.asarray(scale, wide)).astype(x.dtype)
    return jnp.where(keep, scaled, jnp.zeros((), x.dtype))


def hash_uniform(
    seed: jax.Array, shape: Sequence[int], dtype: jax.typing.DTypeLike = jnp.float32
) -> jax.Array:
    """Return uniform numbers in [0, 1), multiples of 2^-24, from `hash_bits`.

    Args:
        seed: As in `hash_bits`.
        shape: Of the result.
        dtype: Floating dtype of the result. float16 and bfloat16 round down, so 1 never occurs.
    """
    unit = _to_unit(hash_bits(seed, shape))
    dtype = jnp.dtype(dtype)
    if dtype.itemsize < 4:
        kept_bits = jnp.finfo(dtype).nmant + 1
        unit = jnp.floor(unit * 2**kept_bits) / 2**kept_bits
    return unit.astype(dtype)


def hash_bits(seed: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Return 32 random bits for each element: a hash of the seed and the element's number.

    The hash is the finalizer "lowbias32" (two multiplications, three xor-shifts, found by
    C. Wellons' search, bias 0.17 of what an ideal hash has in the strict avalanche test), with
    the first word of the key joined before it and the second word after its first
    multiplication. Arrays of more than 2^32 elements repeat themselves.

    Args:
        seed: Integer scalar of up to 64 bits, or two uint32 words; may be traced.
        shape: Of the result.

    Returns:
        uint32 array.
    """
    first, second = _key(seed)
    size = int(np.prod(shape, dtype=np.int64))
    if size < _MOST_IN_ONE_IOTA:
        counter = lax.iota(jnp.uint32, size).reshape(shape)
    else:
        counter = jnp.zeros(shape, jnp.uint32)
        stride = 1
        for axis in reversed(range(len(shape))):
            index = lax.broadcasted_iota(jnp.uint32, shape, axis)
            counter = counter + index * np.uint32(stride % 2**32)
            stride *= shape[axis]
    h = counter ^ first
    h = (h ^ (h >> 16)) * np.uint32(0x7FEB352D)
    h = h ^ second
    h = (h ^ (h >> 15)) * np.uint32(0x846CA68B)
    return h ^ (h >> 16)


def _noise_shape(shape, noise_shape):
    if noise_shape is None:
        return tuple(shape)
    noise = tuple(noise_shape)
    if len(noise) < len(shape):
        noise = (1,) * (len(shape) - len(noise)) + noise
    noise = tuple(s if n is None else int(n) for n, s in zip(noise, shape, strict=True))
    if any(n not in (1, s) for n, s in zip(noise, shape, strict=True)):
        raise ValueError(f"noise_shape {noise_shape} does not broadcast to the shape {shape}")
    return noise


def _to_unit(bits):
    """Turn 32 random bits into a float32 in [0, 1): the upper 24, which float32 holds exactly."""
    return (bits >> 8).astype(jnp.float32) * np.float32(2**-24)


def _key(seed):
    """Return two well-mixed uint32 scalars: nearby seeds must give unrelated keys."""
    seed = jnp.asarray(seed)
    if seed.shape == (3,):
        seed = folded(seed)
    if seed.shape == (2,):
        low, high = seed[0].astype(jnp.uint32), seed[1].astype(jnp.uint32)
    elif seed.shape == ():
        low = seed.astype(jnp.uint32)
        if seed.dtype.itemsize == 8:
            high = (seed.astype(jnp.uint64) >> 32).astype(jnp.uint32)
        else:
            high = jnp.zeros((), jnp.uint32)
    else:
        raise ValueError(f"a seed is a scalar, two uint32 words or three uint64, received shape {seed.shape}")
    # Two rounds of a Feistel network on the pair, each with the full finalizer (murmur3's
    # constants): a bijection of the 64 bits, so different seeds always give different keys.
    low = low ^ _mix(high + np.uint32(0x9E3779B9))
    high = high ^ _mix(low + np.uint32(0x85EBCA6B))
    low = low ^ _mix(high + np.uint32(0xC2B2AE35))
    return low, high ^ _mix(low + np.uint32(0x27D4EB2F))


def _mix(h):
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)
