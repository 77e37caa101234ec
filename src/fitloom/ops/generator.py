# SPDX-License-Identifier: Apache-2.0
"""`tf.random.Generator`: random numbers from a state of one's own."""

from __future__ import annotations

import secrets

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.ops import random
from fitloom.ops.calling import host_value, static_int
from fitloom.ops.seed_generator import _seed_from


class Generator:
    """Random numbers from a state: two uint32 words, a seed and a counter, held by a variable.

    Example:
        >>> import fitloom as tf
        >>> g = tf.random.Generator.from_seed(1)
        >>> g.normal([2]).shape.as_list()
        [2]
    """

    def __init__(self, copy_from=None, state=None, alg=None):
        if copy_from is not None:
            state = copy_from.state
        if state is None:
            raise ValueError("Generator expected a state; use Generator.from_seed(1).")
        words = np.ravel(host_value(state, "a generator's state")).astype(np.uint32)
        self.state = engine.Variable(np.resize(words, 2), trainable=False, name="StateVar")
        self.algorithm = random.Algorithm.PHILOX if alg is None else alg

    @classmethod
    def from_seed(cls, seed, alg=None):
        """Return the generator that begins at `seed`."""
        return cls(state=np.asarray([int(seed) & 0xFFFFFFFF, 0], np.uint32), alg=alg)

    @classmethod
    def from_state(cls, state, alg=None):
        """Return the generator that goes on from `state`."""
        return cls(state=state, alg=alg)

    @classmethod
    def from_non_deterministic_state(cls, alg=None):
        """Return a generator with a random beginning."""
        return cls.from_seed(secrets.randbits(32), alg)

    @classmethod
    def from_key_counter(cls, key, counter, alg=None):
        """Return the generator of a key and a counter."""
        return cls(state=np.asarray([int(np.ravel(key)[0]) & 0xFFFFFFFF, int(np.ravel(counter)[0]) & 0xFFFFFFFF],
                                    np.uint32), alg=alg)

    key = property(lambda self: self.state[0])

    def _seed(self):
        current = self.state.read_value()
        self.state.assign(current + np.asarray([0, 1], np.uint32))
        return _seed_from(current)

    def reset_from_seed(self, seed):
        """Begin again at `seed`."""
        self.state.assign(np.asarray([int(seed) & 0xFFFFFFFF, 0], np.uint32))

    def reset(self, state):
        """Go on from `state`."""
        self.state.assign(np.resize(np.ravel(host_value(state)).astype(np.uint32), 2))

    def skip(self, delta):
        """Pass over `delta` draws."""
        self.state.assign(self.state.read_value() + np.asarray([0, int(delta)], np.uint32))

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None):
        """Return normal numbers."""
        return random.draw_normal(self._seed(), shape, dtype, mean, stddev)

    def truncated_normal(self, shape, mean=0.0, stddev=1.0, dtype=dtypes.float32, name=None):
        """Return normal numbers within two standard deviations."""
        return random.draw_truncated_normal(self._seed(), shape, dtype, mean, stddev)

    def uniform(self, shape, minval=0, maxval=None, dtype=dtypes.float32, name=None):
        """Return uniform numbers in [minval, maxval)."""
        return random.draw_uniform(self._seed(), shape, dtype, minval, maxval)

    def uniform_full_int(self, shape, dtype=dtypes.uint64, name=None):
        """Return whole numbers over the whole range of `dtype`."""
        return random.draw_uniform(self._seed(), shape, dtype, None, None)

    def binomial(self, shape, counts, probs, dtype=dtypes.int32, name=None):
        """Return numbers of successes."""
        return random.stateless_binomial(shape, self._seed(), counts, probs, dtype)

    def make_seeds(self, count=1):
        """Return `count` seeds for stateless functions, (2, count) int64."""
        return random.draw_uniform(self._seed(), (2, static_int(count)), dtypes.int64, None, None)

    def split(self, count=1):
        """Return a list of `count` independent generators."""
        words = np.asarray(random.draw_uniform(self._seed(), (static_int(count), 2), dtypes.uint32, None, None))
        return [Generator(state=row) for row in words]


class _Global:
    generator = None


def get_global_generator():
    """Return the process-wide generator, made on first use."""
    if _Global.generator is None:
        seed = engine.get_seed()
        _Global.generator = Generator.from_non_deterministic_state() if seed is None else Generator.from_seed(seed)
    return _Global.generator


def set_global_generator(generator):
    """Replace the process-wide generator."""
    _Global.generator = generator
