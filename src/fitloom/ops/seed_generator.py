# SPDX-License-Identifier: Apache-2.0
"""`keras.random.SeedGenerator`: seeds for layers, a state that is saved with the model."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import naming, registry
from fitloom.engine import op


@op(name="next_seed")
def _seed_from(state):
    """Pack the two words of a state into one seed."""
    import jax.numpy as jnp

    return (state[0].astype(jnp.uint64) << jnp.uint64(32)) | state[1].astype(jnp.uint64)


@op(name="advance_seed")
def _advance(state):
    return state + np.asarray([0, 1], np.uint32)


@op(name="advance_seed")
def _advance_both(state):
    return ((state.astype(np.uint64) + np.uint64(1)) * np.uint64(5387) % np.uint64(933199)).astype(np.uint32)


@registry.builtin("keras.random")
class SeedGenerator:
    """A sequence of seeds: `state` holds (seed, counter), and each draw counts one up.

    Args:
        seed: a whole number; None draws one.

    Example:
        >>> import fitloom as tf
        >>> generator = tf.keras.random.SeedGenerator(seed=7)
        >>> bool(tf.reduce_all(generator.next() == generator.next()))
        False
    """

    _tracked_as = "seed_generators"

    def __init__(self, seed=None, name=None, **unused):
        if unused:
            raise ValueError(f"Unrecognized keyword arguments of SeedGenerator: {sorted(unused)}.")
        if seed is None:
            seed = engine.default_seed()
        if not isinstance(seed, (int, np.integer)):
            raise ValueError(f"SeedGenerator expected a whole number as seed, but received {seed!r}.")
        if seed < 0:
            raise ValueError(f"SeedGenerator expected a seed of at least 0, but received {seed}.")
        self.name = name or naming.unique_name("seed_generator")
        self.seed = self._initial_seed = int(seed)
        value = np.asarray([self.seed & 0xFFFFFFFF, 0], np.uint32)
        self.state = engine.KerasVariable(value, dtype="uint32", trainable=False, name="seed_generator_state")

    def next(self, ordered=True):
        """Return the state, two uint32 words, and advance it: its second word counts, without an order both change."""
        current = self.state.value if hasattr(self.state, "value") else self.state.read_value()
        self.state.assign(_advance(current) if ordered else _advance_both(current))
        return current

    def draw(self):
        """Return a seed for the drawing operations, and advance the state.

        In a function of a dataset the seed belongs to the element instead: (dataset, epoch, position), whatever
        thread computes it, so that augmentation can be resumed; the state stays.
        """
        if engine.in_seed_scope():
            return engine.draw_seed(self._initial_seed)
        return _seed_from(self.next())

    def get_config(self):
        """Return the constructor's arguments."""
        return {"seed": self._initial_seed}

    @classmethod
    def from_config(cls, config):
        """Make the generator that `get_config` describes."""
        return cls(**config)
