# SPDX-License-Identifier: Apache-2.0
"""`keras.random`: draws whose seed is None (from the program's stream), a number (the same draw each time), or a
`SeedGenerator` (the next draw of its own)."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops import random as draws
from fitloom.ops.kernels import random as kernels
from fitloom.ops.calling import dtype_of, static_axis, static_int, static_ints
from fitloom.ops.normalizing import dropout_kernel
from fitloom.ops.numpy_rules import as_tensor


def seed_tensor(seed):
    """Return a seed tensor for a Keras seed."""
    if seed is None:
        return engine.draw_keras_seed()
    if isinstance(seed, (int, np.integer)):
        return draws.seed_of([int(seed), 0])
    if hasattr(seed, "draw") or engine.is_tensor(seed):
        return draws.seed_of(seed)
    raise ValueError(f"seed must be None, a whole number or a SeedGenerator, but received {seed!r}.")


def _float(dtype):
    return config.floatx() if dtype is None else dtypes.name_of(dtype)


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal numbers."""
    return draws.draw_normal(seed_tensor(seed), shape, _float(dtype), mean, stddev)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal numbers within two standard deviations."""
    return draws.draw_truncated_normal(seed_tensor(seed), shape, _float(dtype), mean, stddev)


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Return uniform numbers in [minval, maxval)."""
    dtype = dtypes.as_dtype(_float(dtype))
    if not dtype.is_floating:
        raise ValueError(f"keras.random.uniform expected a floating dtype, but received {dtype.name}. Use randint.")
    return draws.draw_uniform(seed_tensor(seed), shape, dtype, minval, maxval)


def randint(shape, minval, maxval, dtype="int32", seed=None):
    """Return whole numbers in [minval, maxval)."""
    if not dtypes.as_dtype(dtype).is_integer:
        raise ValueError(f"keras.random.randint expected an integer dtype, but received {dtypes.name_of(dtype)}.")
    return draws.draw_uniform(seed_tensor(seed), shape, dtype, minval, maxval)


def categorical(logits, num_samples, dtype="int32", seed=None):
    """Return class numbers drawn with probabilities softmax(logits), (batch, num_samples)."""
    logits = as_tensor(logits)
    if len(logits.shape) != 2:
        raise ValueError(f"categorical expected logits with 2 axes, but received shape {tuple(logits.shape)}.")
    return draws._categorical(seed_tensor(seed), logits, count=static_int(num_samples), dtype=dtypes.name_of(dtype))


def _parameter(x, dtype):
    return as_tensor(x, dtype) if dtype_of(x) is None else as_tensor(x)


def gamma(shape, alpha, dtype=None, seed=None):
    """Return gamma numbers with rate 1."""
    dtype = _float(dtype)
    return draws._gamma(seed_tensor(seed), _parameter(alpha, dtype), as_tensor(1.0, dtype), shape=static_ints(shape),
                        dtype=dtype)


def beta(shape, alpha, beta, dtype=None, seed=None):
    """Return beta numbers."""
    dtype = _float(dtype)
    return draws._beta(seed_tensor(seed), _parameter(alpha, dtype), _parameter(beta, dtype), shape=static_ints(shape),
                       dtype=dtype)


def binomial(shape, counts, probabilities, dtype=None, seed=None):
    """Return numbers of successes."""
    dtype = _float(dtype)
    return draws._binomial(seed_tensor(seed), _parameter(counts, dtype), _parameter(probabilities, dtype),
                           shape=static_ints(shape), dtype=dtype)


_shuffle = op(lambda seed, x, *, axis: kernels.shuffle_by_keys(seed, x, axis), name="shuffle")


def shuffle(x, axis=0, seed=None):
    """Return the slices along `axis` in random order."""
    return _shuffle(seed_tensor(seed), as_tensor(x), axis=static_axis(axis))


def dropout(inputs, rate, noise_shape=None, seed=None):
    """Return inputs with elements 0 with probability `rate`, the others divided by 1 - rate."""
    inputs = as_tensor(inputs)
    if not rate:
        return inputs
    return dropout_kernel(inputs, seed_tensor(seed), rate, noise_shape)
