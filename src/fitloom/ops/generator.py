# SPDX-License-Identifier: Apache-2.0
"""`tf.random.Generator`: random numbers from a state of one's own."""

from __future__ import annotations

import math
import secrets

import jax
import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.engine import op
from fitloom.ops import random
from fitloom.ops.calling import host_value, static_int, static_ints, tensor
from fitloom.ops.kernels.philox import RESERVED

_BINOMIAL = 125          # a binomial number takes as many numbers from the generator


@op(name="generator_start")
def _start_of(state):
    low, high, key = jax.lax.bitcast_convert_type(state, jnp.uint64)
    return jnp.stack([key, low, high])


@op(name="generator_skip")
def _skipped(state, count):
    words = jax.lax.bitcast_convert_type(state, jnp.uint64)
    by = count.astype(jnp.uint64) * jnp.uint64(RESERVED)
    low = words[0] + by
    high = words[1] + (low < by).astype(jnp.uint64)
    return jax.lax.bitcast_convert_type(jnp.stack([low, high, words[2]]), jnp.int64)


class Generator:
    """Random numbers from a state, held by the variable `state`: int64 (3,), the counter's halves and the key.

    The numbers are those of TensorFlow for the same state (binomial ones are not).

    Args:
        copy_from: a Generator whose state and algorithm to copy.
        state: three whole numbers, or a variable that holds them and is then shared.
        alg: 'philox' (also 1 or 'auto_select'), the only algorithm.

    Example:
        >>> import fitloom as tf
        >>> g = tf.random.Generator.from_seed(1)
        >>> g.normal([2]).numpy().astype(float).round(4).tolist()
        [0.4384, -0.5344]
    """

    def __init__(self, copy_from=None, state=None, alg=None):
        if copy_from is not None:
            if state is not None or alg is not None:
                raise ValueError("Generator takes either copy_from, or state and alg.")
            state, alg = copy_from.state.numpy(), copy_from.algorithm
        elif state is None or alg is None:
            raise ValueError("Generator expected copy_from, or state and alg: or use Generator.from_seed(1).")
        self.algorithm = _algorithm(alg)
        if getattr(state, "is_variable", False):
            if tuple(state.shape) != (3,) or state.dtype != dtypes.int64:
                raise ValueError(f"A generator's variable is int64 of shape (3,), but received {state.dtype.name} of "
                                 f"shape {tuple(state.shape)}.")
            self.state = state
        else:
            self.state = engine.Variable(_state(state), trainable=False, dtype="int64", name="StateVar")

    @classmethod
    def from_seed(cls, seed, alg=None):
        """Return the generator that begins at `seed`: a whole number, or up to three."""
        return cls(state=create_rng_state(seed, alg), alg=random.Algorithm.PHILOX if alg is None else alg)

    @classmethod
    def from_state(cls, state, alg):
        """Return the generator that goes on from `state`."""
        return cls(state=state, alg=alg)

    @classmethod
    def from_non_deterministic_state(cls, alg=None):
        """Return a generator with a random beginning."""
        words = [secrets.randbits(64) for _ in range(3)]
        return cls(state=words, alg=random.Algorithm.PHILOX if alg is None else alg)

    @classmethod
    def from_key_counter(cls, key, counter, alg):
        """Return the generator of a key (one number) and a counter (two)."""
        return cls(state=_of_key_counter(key, counter), alg=alg)

    @property
    def key(self):
        """The key, a scalar."""
        return self.state[2]

    def reset_from_seed(self, seed):
        """Begin again at `seed`."""
        self.state.assign(create_rng_state(seed, self.algorithm))

    def reset(self, state):
        """Go on from `state`."""
        self.state.assign(_state(state))

    def reset_from_key_counter(self, key, counter):
        """Go on from a key (one number) and a counter (two)."""
        self.state.assign(_of_key_counter(key, counter))

    def skip(self, delta):
        """Pass over `delta` numbers; return the state before."""
        state = self.state.read_value()
        self.state.assign(_skipped(state, tensor(delta, dtypes.int64)))
        return state

    def _start(self, shape, each=1):
        return _start_of(self.skip(math.prod(static_ints(shape)) * each))

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None):
        """Return normal numbers."""
        return random.draw_normal(self._start(shape), shape, dtype, mean, stddev)

    def truncated_normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None):
        """Return normal numbers within two standard deviations."""
        return random.draw_truncated_normal(self._start(shape), shape, dtype, mean, stddev)

    def uniform(self, shape, minval=0, maxval=None, dtype=dtypes.float32, name=None):
        """Return uniform numbers in [minval, maxval); whole ones for an integer dtype, which need `maxval`."""
        if maxval is None and dtypes.as_dtype(dtype).is_integer:
            raise ValueError(f"Must specify maxval for the integer dtype {dtypes.name_of(dtype)}; over its whole range "
                             "draws uniform_full_int.")
        return random.draw_uniform(self._start(shape), shape, dtype, minval, maxval)

    def uniform_full_int(self, shape, dtype=dtypes.uint64, name=None):
        """Return whole numbers over the whole range of `dtype` (32 or 64 bits)."""
        return random.draw_uniform(self._start(shape), shape, dtype, None, None)

    def binomial(self, shape, counts, probs, dtype=dtypes.int32, name=None):
        """Return numbers of successes."""
        return random.stateless_binomial(shape, self._start(shape, _BINOMIAL), counts, probs, dtype)

    def make_seeds(self, count=1):
        """Return `count` seeds for stateless functions, (2, count) int64."""
        from fitloom.ops import creating, shaping

        keys = self.uniform_full_int([count], dtypes.int64)
        return shaping.stack([keys, creating.zeros_like(keys)])

    def split(self, count=1):
        """Return a list of `count` independent generators."""
        keys = self.make_seeds(static_int(count))[0]
        return [Generator(state=[0, 0, key], alg=self.algorithm) for key in host_value(keys, "split's keys").tolist()]


def create_rng_state(seed, alg=None):
    """Return the state of a generator that begins at `seed`, int64 (3,): one whole number, or up to three."""
    _algorithm(random.Algorithm.PHILOX if alg is None else alg)
    words = np.ravel(host_value(seed, "a generator's seed") if engine.is_tensor(seed) else np.asarray(seed, object))
    return _state([*words[:3].tolist(), 0, 0, 0][:3])


def _of_key_counter(key, counter):
    counter = np.ravel(host_value(counter, "a counter") if engine.is_tensor(counter) else np.asarray(counter, object))
    key = np.ravel(host_value(key, "a key") if engine.is_tensor(key) else np.asarray(key, object))
    if len(counter) != 2 or len(key) != 1:
        raise ValueError(f"A key is one number and a counter two, but received {len(key)} and {len(counter)}.")
    return _state([*counter.tolist(), *key.tolist()])


def _state(state):
    words = np.ravel(host_value(state, "a generator's state") if engine.is_tensor(state) else np.asarray(state, object))
    if len(words) != 3 or any(isinstance(word, float) for word in words):
        raise ValueError(f"A generator's state is three whole numbers, but received {words.tolist()}.")
    return np.array([int(word) % 2**64 for word in words], np.uint64).view(np.int64)


def _algorithm(alg):
    known = {"philox": 1, "auto_select": 1, 1: 1, 3: 1, random.Algorithm.PHILOX: 1}
    found = known.get(alg)
    if found is None:
        other = " Threefry runs on TPUs only." if alg in ("threefry", 2) else ""
        raise ValueError(f"Generator expected alg='philox', but received {alg!r}.{other}")
    return found


class _Global:
    generator = None


def get_global_generator():
    """Return the process-wide generator, made on first use."""
    if _Global.generator is None:
        seed = engine.get_seed()
        with engine.outside():
            _Global.generator = Generator.from_non_deterministic_state() if seed is None else Generator.from_seed(seed)
    return _Global.generator


def set_global_generator(generator):
    """Replace the process-wide generator."""
    _Global.generator = generator
