# SPDX-License-Identifier: Apache-2.0
"""Random numbers: `tf.random`.

A draw is a function of a seed. `normal`, `uniform` and the like take it from the program's stream, which `set_seed`
starts anew; `stateless_*` from their argument; a `Generator` from its own state. Uniform and normal numbers,
classes and shuffles outside functions are those of TensorFlow on a CPU for the same seeds; the others are ours.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops import shaping
from fitloom.ops.calling import as_index, dtype_of, static_int, static_ints, tensor
from fitloom.ops.kernels import philox, random as kernels


def set_seed(seed):
    """Start the program's stream of random numbers anew."""
    engine.set_seed(seed)


# ---- seeds


@op(name="seed")
def _seed_of_words(words):
    words = jax.lax.bitcast_convert_type(words.reshape(-1), jnp.uint64)
    return jnp.stack(philox.scrambled(words[0], words[1] if words.shape[0] > 1 else jnp.uint64(0)))


def seed_of(seed):
    """Return a seed tensor (uint64 scalar) from a seed tensor, one number, or two."""
    if isinstance(seed, engine.Tensor) and seed.aval.shape in ((), (3,)) and seed.aval.dtype == np.uint64:
        return seed
    if hasattr(seed, "draw"):
        return seed.draw()
    words = as_index(seed, np.int64)
    if words.aval.size not in (1, 2):
        raise InvalidArgumentError(f"A seed is one whole number or two, but received shape {words.aval.shape}.")
    return _seed_of_words(words)


def _keras_seed(seed):
    """A seed in Keras's sense: None draws, a SeedGenerator is asked, a number gives the same draw each time."""
    return engine.draw_seed() if seed is None else seed_of(seed)


# ---- draws with a seed tensor: the operations

_uniform = op(lambda seed, low, high, *, shape, dtype: kernels.uniform(seed, shape, low, high, dtype), name="uniform")
_normal = op(lambda seed, mean, stddev, *, shape, dtype: kernels.normal(seed, shape, mean, stddev, dtype),
             name="normal")
_truncated = op(lambda seed, mean, stddev, *, shape, dtype: kernels.truncated_normal(seed, shape, mean, stddev, dtype),
                name="truncated_normal")
_integers = op(lambda seed, low, high, *, shape, dtype: kernels.randint(seed, shape, low, high, dtype),
               name="uniform_integers")
_bits = op(lambda seed, *, shape, dtype: kernels.bits(seed, shape, dtype), name="random_bits")
_gamma = op(lambda seed, alpha, beta, *, shape, dtype: kernels.gamma(seed, shape, alpha, beta, dtype), name="gamma")
_beta = op(lambda seed, alpha, beta, *, shape, dtype: kernels.beta(seed, shape, alpha, beta, dtype), name="beta")
_poisson = op(lambda seed, rate, *, shape, dtype: kernels.poisson(seed, shape, rate, dtype), name="poisson")
_binomial = op(lambda seed, counts, probs, *, shape, dtype: kernels.binomial(seed, shape, counts, probs, dtype),
               name="binomial")
_categorical = op(lambda seed, logits, *, count, dtype: kernels.categorical(seed, logits, count, dtype),
                  name="categorical")
_shuffle = op(lambda seed, x, *, axis: kernels.shuffle(seed, x, axis), name="shuffle")


_between = op(lambda seed, mean, stddev, low, high, *, shape: kernels.normal_between(
    seed, shape, mean, stddev, low, high), name="parameterized_truncated_normal")


def _float(name, dtype, *allowed):
    dtype = dtypes.as_dtype(dtype)
    if not dtype.is_floating:
        raise ValueError(f"{name} expected a floating dtype, but received {dtype.name}.")
    return dtype


def draw_normal(seed, shape, dtype="float32", mean=0.0, stddev=1.0):
    """Return normal numbers, a function of the seed tensor."""
    dtype = _float("normal", dtype)
    return _normal(seed, tensor(mean, dtype) if dtype_of(mean) is None else mean,
                   tensor(stddev, dtype) if dtype_of(stddev) is None else stddev,
                   shape=static_ints(shape), dtype=dtype.name)


def draw_truncated_normal(seed, shape, dtype="float32", mean=0.0, stddev=1.0):
    """Return normal numbers within two standard deviations, a function of the seed tensor."""
    dtype = _float("truncated_normal", dtype)
    return _truncated(seed, tensor(mean, dtype) if dtype_of(mean) is None else mean,
                      tensor(stddev, dtype) if dtype_of(stddev) is None else stddev,
                      shape=static_ints(shape), dtype=dtype.name)


def draw_uniform(seed, shape, dtype="float32", minval=0, maxval=None):
    """Return uniform numbers in [minval, maxval), whole ones for an integer dtype; a function of the seed tensor."""
    dtype = dtypes.as_dtype(dtype)
    shape = static_ints(shape)
    if dtype.is_integer:
        if maxval is None and minval is None:
            return _bits(seed, shape=shape, dtype=dtype.name)
        if maxval is None:
            raise ValueError(f"uniform expected maxval for the integer dtype {dtype.name}.")
        if isinstance(minval, int) and isinstance(maxval, int) and minval >= maxval:
            raise InvalidArgumentError(f"uniform expected minval < maxval, but received {minval} and {maxval}.")
        return _integers(seed, as_index(minval, dtype.numpy_dtype), as_index(maxval, dtype.numpy_dtype), shape=shape,
                         dtype=dtype.name)
    _float("uniform", dtype)
    low = tensor(float(minval), dtype) if dtype_of(minval) is None and np.ndim(minval) == 0 else tensor(minval)
    high = 1.0 if maxval is None else maxval
    high = tensor(float(high), dtype) if dtype_of(high) is None and np.ndim(high) == 0 else tensor(high)
    return _uniform(seed, low, high, shape=shape, dtype=dtype.name)


# ---- from the program's stream


def _from_stream(seed, name, shape, dtype):
    return engine.draw_operation_seed(seed, f"{name} {dtypes.name_of(dtype)}", math.prod(static_ints(shape)))


def normal(shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, seed=None, name=None):
    """Return normal numbers of the given mean and standard deviation."""
    return draw_normal(_from_stream(seed, "normal", shape, dtype), shape, dtype, mean, stddev)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, seed=None, name=None):
    """Return normal numbers; those beyond two standard deviations are drawn again."""
    return draw_truncated_normal(_from_stream(seed, "truncated_normal", shape, dtype), shape, dtype, mean, stddev)


def uniform(shape, minval=0, maxval=None, dtype=dtypes.float32, seed=None, name=None):
    """Return numbers spread evenly over [minval, maxval); whole ones for an integer dtype."""
    return draw_uniform(_from_stream(seed, "uniform", shape, dtype), shape, dtype, minval, maxval)


def _parameters(dtype, *values):
    return [tensor(v, dtype) if dtype_of(v) is None else v for v in values]


def gamma(shape, alpha, beta=None, dtype=dtypes.float32, seed=None, name=None):
    """Return gamma numbers of shape `shape` + the parameters' shape; mean alpha / beta."""
    alpha, beta = _parameters(dtype, alpha, 1.0 if beta is None else beta)
    inner = np.broadcast_shapes(tuple(alpha.shape), tuple(beta.shape))
    return _gamma(engine.draw_operation_seed(seed, "gamma", 1), alpha, beta, shape=(*static_ints(shape), *inner),
                  dtype=dtypes.name_of(alpha.dtype))


def poisson(shape, lam, dtype=dtypes.float32, seed=None, name=None):
    """Return Poisson numbers of shape `shape` + the shape of the means `lam`."""
    lam, = _parameters(dtypes.float32, lam)
    return _poisson(engine.draw_operation_seed(seed, "poisson", 1), lam, shape=(*static_ints(shape), *tuple(lam.shape)),
                    dtype=dtypes.name_of(dtype))


def categorical(logits, num_samples, dtype=None, seed=None, name=None):
    """Return class numbers drawn with probabilities softmax(logits), (batch, num_samples) int64."""
    logits, count = tensor(logits), static_int(num_samples)
    reserved = int(logits.shape[0]) * (-(-count // 4) * 4) * 2            # numbers of 64 bits, in blocks of four
    return _categorical(engine.draw_operation_seed(seed, "categorical", reserved), logits, count=count,
                        dtype=dtypes.name_of(dtype or dtypes.int64))


def shuffle(value, seed=None, name=None):
    """Return the slices along axis 0 in random order."""
    value = tensor(value)
    blocks = -(-int(value.shape[0]) // 4)
    return _shuffle(engine.draw_operation_seed(seed, "shuffle", blocks / 256), value, axis=0)


# ---- stateless: functions of the seed argument


def stateless_normal(shape, seed, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None, alg="auto_select"):
    """Return normal numbers, the same for the same seed (two whole numbers)."""
    return draw_normal(seed_of(seed), shape, dtype, mean, stddev)


def stateless_truncated_normal(shape, seed, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None, alg="auto_select"):
    """Return truncated normal numbers, the same for the same seed."""
    return draw_truncated_normal(seed_of(seed), shape, dtype, mean, stddev)


def stateless_parameterized_truncated_normal(shape, seed, means=0.0, stddevs=1.0, minvals=-2.0, maxvals=2.0,
                                             name=None):
    """Return normal numbers between `minvals` and `maxvals`, the same for the same seed.

    Args:
        shape: of the result; the parameters broadcast to it.
        seed: two whole numbers.
        means, stddevs: of the normal distribution before it is cut.
        minvals, maxvals: bounds.
    """
    first = next((x for x in (means, stddevs, minvals, maxvals) if dtype_of(x) is not None), None)
    dtype = dtypes.float32 if first is None else dtype_of(first)
    return _between(seed_of(seed), *_parameters(dtype, means, stddevs, minvals, maxvals), shape=static_ints(shape))


def stateless_uniform(shape, seed, minval=0, maxval=None, dtype=dtypes.float32, name=None, alg="auto_select"):
    """Return uniform numbers, the same for the same seed."""
    return draw_uniform(seed_of(seed), shape, dtype, minval, maxval)


def stateless_categorical(logits, num_samples, seed, dtype=dtypes.int64, name=None):
    """Return class numbers drawn by softmax(logits), the same for the same seed."""
    return _categorical(seed_of(seed), tensor(logits), count=static_int(num_samples), dtype=dtypes.name_of(dtype))


def stateless_gamma(shape, seed, alpha, beta=None, dtype=dtypes.float32, name=None):
    """Return gamma numbers of shape `shape`, the same for the same seed."""
    alpha, beta = _parameters(dtype, alpha, 1.0 if beta is None else beta)
    return _gamma(seed_of(seed), alpha, beta, shape=static_ints(shape), dtype=dtypes.name_of(dtype))


def stateless_poisson(shape, seed, lam, dtype=dtypes.int32, name=None):
    """Return Poisson numbers of shape `shape`, the same for the same seed."""
    lam, = _parameters(dtypes.float32, lam)
    return _poisson(seed_of(seed), lam, shape=static_ints(shape), dtype=dtypes.name_of(dtype))


def stateless_binomial(shape, seed, counts, probs, output_dtype=dtypes.int32, name=None):
    """Return numbers of successes, the same for the same seed."""
    counts, probs = _parameters(dtypes.float32, counts, probs)
    return _binomial(seed_of(seed), counts, probs, shape=static_ints(shape), dtype=dtypes.name_of(output_dtype))


def stateless_shuffle(value, seed, alg="auto_select", name=None):
    """Return the slices along axis 0 in an order that the seed decides."""
    return _shuffle(seed_of(seed), tensor(value), axis=0)


def split(seed, num=2, alg="auto_select"):
    """Return `num` seeds made from one, (num, 2)."""
    return draw_uniform(seed_of(seed), (static_int(num), 2), _word_type(seed), None, None)


def fold_in(seed, data, alg="auto_select"):
    """Return a new seed made from a seed and a whole number."""
    data = tensor(data)
    first = draw_uniform(seed_of(seed), (), dtype_of(data), None, None)
    return shaping.stack([first, data])


def _word_type(seed):
    found = dtype_of(seed)
    return "int32" if found is None else found.name


def get_seed(op_seed):
    """Return (global seed, operation's seed), as TensorFlow's helper of that name does."""
    return engine.get_seed(), op_seed


# ---- samplers of classes


def log_uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None):
    """Return (sampled classes, expected counts of the true ones, of the sampled ones), P(k) ~ log((k+2)/(k+1))."""
    return _candidates(true_classes, num_sampled, unique, range_max, seed, log_uniform=True)


def uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None):
    """Return (sampled classes, expected counts of the true ones, of the sampled ones), all classes equally likely."""
    return _candidates(true_classes, num_sampled, unique, range_max, seed, log_uniform=False)


def _candidates(true_classes, num_sampled, unique, range_max, seed, log_uniform):
    return _draw_candidates(engine.draw_seed(seed), as_index(true_classes, np.int64), count=static_int(num_sampled),
                            unique=bool(unique), top=static_int(range_max), log_uniform=log_uniform)


@op(name="candidate_sampler")
def _draw_candidates(seed, true, *, count, unique, top, log_uniform):
    k = jnp.arange(top, dtype=jnp.float32)
    p = jnp.log((k + 2) / (k + 1)) / np.float32(np.log(top + 1)) if log_uniform else jnp.full(top, np.float32(1 / top))
    if unique:  # the largest of log p + Gumbel noise: sampling without replacement
        noise = -jnp.log(-jnp.log(kernels.uniform(seed, (top,), 1e-20, 1.0)))
        chosen = jnp.argsort(-(jnp.log(p) + noise))[:count]
        expected = -jnp.expm1(count * jnp.log1p(-p))
    else:
        chosen = kernels.categorical(seed, jnp.log(p)[None], count)[0]
        expected = p * count
    return chosen.astype(jnp.int64), expected[true], expected[chosen]


class Algorithm:
    """Names of generators. AUTO_SELECT and PHILOX are one; THREEFRY exists for TPUs only, as in TensorFlow."""

    PHILOX, THREEFRY, AUTO_SELECT = 1, 2, 3
