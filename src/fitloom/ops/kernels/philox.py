# SPDX-License-Identifier: Apache-2.0
"""Philox4x32-10, and the distributions that TensorFlow draws with it, bit for bit where they need no sine or logarithm.

A block of four 32-bit words is a function of a 64-bit key and a 128-bit counter; a draw takes the blocks from a counter
on, one after the other. The functions work on NumPy and on jax arrays (`xp` is either module): initial weights are
drawn on the host, everything else inside programs. On jax arrays every number computes its block for itself: that fuses
into one vectorized loop, which takes 2 ms for a million numbers where computing each block once takes 11.

Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_HALF = np.uint64(32)
RESERVED = 256          # blocks by which a generator moves on for each number that it has given
# blocks for a group of truncated normal numbers (4 of float32, 2 of float64): too few once in 10^14 groups
_TRIES = {4: 4, 2: 6}
_CHUNK = 1 << 16        # numbers that are drawn together on the host: their words fit in the processor's cache


class Start(NamedTuple):
    """Where a draw begins: three uint64 scalars, the key and the counter's low and high half."""

    key: Any
    low: Any
    high: Any


def _halves(x):
    return x.astype(np.uint32), (x >> _HALF).astype(np.uint32)


def blocks(start, skips):
    """Return the four words, uint32 arrays, of the blocks that lie `skips` (a uint64 array) behind the start."""
    low = skips + start.low
    high = start.high + (low < skips).astype(np.uint64)
    return _rounds(start.key, (*_halves(low), *_halves(high)))


def _rounds(key, counter):
    a, b, c, d = counter
    first, second = (half + np.zeros(1, np.uint32) for half in _halves(key))      # of scalars, NumPy notes overflows
    for turn in range(_ROUNDS):
        if turn:
            first, second = first + np.uint32(_WEYL[0]), second + np.uint32(_WEYL[1])
        left = a.astype(np.uint64) * np.uint64(_MULTIPLIERS[0])
        right = c.astype(np.uint64) * np.uint64(_MULTIPLIERS[1])
        (low_left, high_left), (low_right, high_right) = _halves(left), _halves(right)
        a, b, c, d = high_right ^ b ^ first, low_right, high_left ^ d ^ second, low_left
    return a, b, c, d


def scrambled(low, high):
    """Return the Start of a stateless seed, two uint64 scalars."""
    key = np.asarray(0x3EC8F720 | 0x02461E29 << 32, np.uint64)
    a, b, c, d = (word[0].astype(np.uint64) for word in _rounds(key, (*_halves(low), *_halves(high))))
    return Start(a | (b << _HALF), low & np.uint64(0), c | (d << _HALF))


def stateless_start(first, second):
    """Return the Start of a stateless seed of two whole numbers."""
    return scrambled(np.asarray(int(first) % 2**64, np.uint64), np.asarray(int(second) % 2**64, np.uint64))


# ---- words in the order of the generator


def words(xp, start, count):
    """Return `count` words."""
    if xp is np:
        return np.stack(blocks(start, np.arange(-(-count // 4), dtype=np.uint64)), -1).reshape(-1)[:count]
    place = xp.arange(count, dtype=np.uint32)
    a, b, c, d = blocks(start, (place >> np.uint32(2)).astype(np.uint64))
    lane = place & np.uint32(3)
    return xp.where(lane < 2, xp.where(lane == 0, a, b), xp.where(lane == 2, c, d))


def _pairs(xp, start, count, each=1):
    """Return the two words of each of `count` pairs; on jax arrays every pair `each` times."""
    if xp is np:
        flat = words(np, start, 2 * count).reshape(count, 2)
        return flat[:, 0], flat[:, 1]
    place = xp.arange(count * each, dtype=np.uint32) // np.uint32(each)
    a, b, c, d = blocks(start, (place >> np.uint32(1)).astype(np.uint64))
    second = (place & np.uint32(1)).astype(bool)
    return xp.where(second, c, a), xp.where(second, d, b)


# ---- distributions


def integers(xp, start, count, dtype):
    """Return `count` whole numbers over the whole range of a dtype of 32 or 64 bits."""
    dtype = np.dtype(dtype)
    if dtype.itemsize == 4:
        return _view(xp, words(xp, start, count), dtype)
    low, high = _pairs(xp, start, count)
    return _view(xp, low.astype(np.uint64) | (high.astype(np.uint64) << _HALF), dtype)


def _view(xp, bits, dtype):
    if xp is np:
        return bits.view(dtype)
    from jax import lax
    return lax.bitcast_convert_type(bits, dtype)


def uniform(xp, start, count, dtype):
    """Return `count` numbers in [0, 1): the words' low bits behind the point of a number in [1, 2), minus 1."""
    dtype = np.dtype(dtype)
    if dtype == np.float64:
        return _double(xp, *_pairs(xp, start, count))
    bits = words(xp, start, count)
    if dtype == np.float32:
        return _single(xp, bits)
    mantissa, one = (10, 15 << 10) if dtype == np.float16 else (7, 127 << 7)
    bits = (bits & np.uint32((1 << mantissa) - 1)).astype(np.uint16) | np.uint16(one)
    return _view(xp, bits, dtype) - np.ones((), dtype)


def _single(xp, bits):
    return _view(xp, (bits & np.uint32(0x7FFFFF)) | np.uint32(127 << 23), np.dtype(np.float32)) - np.float32(1)


def _double(xp, first, second):
    bits = ((first.astype(np.uint64) & np.uint64(0xFFFFF)) << _HALF) | second | np.uint64(1023 << 52)
    return _view(xp, bits, np.dtype(np.float64)) - np.float64(1)


def _polar(xp, first, second, wide):
    """Return radius and angle of the method of Box and Muller for two uniform numbers."""
    return xp.sqrt(wide.type(-2) * xp.log(xp.maximum(first, wide.type(1e-7)))), wide.type(2 * np.pi) * second


def _wide(dtype):
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def normal(xp, start, count, dtype):
    """Return `count` numbers of the standard normal distribution, sine and cosine in turn."""
    dtype = np.dtype(dtype)
    wide, half = _wide(dtype), (count + 1) // 2
    each = 1 if xp is np else 2
    if wide == np.float32:
        unit = [_single(xp, word) for word in _pairs(xp, start, half, each)]
    else:
        place = xp.arange(half * each, dtype=np.uint64) // np.uint64(each)
        a, b, c, d = blocks(start, place)
        unit = [_double(xp, a, b), _double(xp, c, d)]
    radius, angle = _polar(xp, *unit, wide)
    if xp is np:
        found = np.stack([np.sin(angle) * radius, np.cos(angle) * radius], -1).reshape(-1)
    else:
        odd = (xp.arange(2 * half, dtype=np.uint32) & np.uint32(1)).astype(bool)
        found = xp.where(odd, xp.cos(angle), xp.sin(angle)) * radius
    return found[:count].astype(dtype)


def truncated_normal(xp, start, count, dtype):
    """Return `count` normal numbers between -2 and 2: each group has blocks of its own and takes the first that fit."""
    dtype = np.dtype(dtype)
    wide = _wide(dtype)
    size = 4 if wide == np.float32 else 2
    groups = -(-count // size)
    begins = xp.arange(groups, dtype=np.uint64) * np.uint64(size * RESERVED // 4)
    if xp is np:                                            # five groups of six need one block only
        found = _candidates(np, start, begins, 1, wide, size)
        again = np.flatnonzero(~np.all(np.abs(found) < 2, 1))
        found[again] = _first_that_fit(np, _candidates(np, start, begins[again], _TRIES[size], wide, size), size, wide)
    else:
        found = _first_that_fit(xp, _candidates(xp, start, begins, _TRIES[size], wide, size), size, wide)
    return found.reshape(-1)[:count].astype(dtype)


def _candidates(xp, start, begins, tries, wide, size):
    """Return tries * size normal numbers for each group."""
    a, b, c, d = blocks(start, begins[:, None] + xp.arange(tries, dtype=np.uint64))
    if wide == np.float32:
        polar = [_polar(xp, _single(xp, a), _single(xp, b), wide), _polar(xp, _single(xp, c), _single(xp, d), wide)]
    else:
        polar = [_polar(xp, _double(xp, a, b), _double(xp, c, d), wide)]
    found = [turn(angle) * radius for radius, angle in polar for turn in (xp.sin, xp.cos)]
    return xp.stack(found, -1).reshape(len(begins), tries * size)


def _first_that_fit(xp, found, size, wide):
    fits = xp.abs(found) < 2
    place = xp.cumsum(fits, 1)
    chosen = [xp.sum(xp.where(fits & (place == i + 1), found, wide.type(0)), 1, dtype=wide) for i in range(size)]
    return xp.stack(chosen, -1)


def on_host(draw, start, shape, dtype):
    """Return the NumPy array that `draw` (uniform, normal or truncated_normal) gives from a Start of Python ints."""
    dtype, count = np.dtype(dtype), math.prod(shape)
    numbers = np.empty(count, dtype)          # raises at once where there is no memory for so many
    for begin in range(0, count, _CHUNK):
        moved = begin * RESERVED // 4 if draw is truncated_normal else begin // (2 if dtype.itemsize == 8 else 4)
        low = int(start[1]) + moved
        place = Start(*[np.asarray(int(x) % 2**64, np.uint64) for x in (start[0], low, int(start[2]) + (low >> 64))])
        numbers[begin:begin + _CHUNK] = draw(np, place, min(_CHUNK, count - begin), dtype)
    return numbers.reshape(shape)
