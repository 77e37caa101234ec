# SPDX-License-Identifier: Apache-2.0
"""`keras.random.SeedGenerator`: a seed and a counter as a variable, so that they are saved with a model."""
import numpy as np

from fitloom import engine
from fitloom.base import dtypes


class SeedGenerator:
    """Give a new seed at each call of `next`; `keras.random` functions and initializers take it as `seed=`.

    Args:
        seed: int, or None to take one from the process's generator.
        name: name of the state variable's owner.

    Example:
        >>> import fitloom as tf
        >>> generator = tf.keras.random.SeedGenerator(seed=1)
        >>> generator.next().numpy().tolist(), generator.next().numpy().tolist()
        ([1, 0], [1, 1])
    """

    _tracked_as = "seed_generators"

    def __init__(self, seed=None, name=None, **kwargs):
        if kwargs:
            raise ValueError(f"SeedGenerator takes `seed` and `name`, but received {sorted(kwargs)}.")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise ValueError(f"`seed` must be an int >= 0 or None, but received '{seed}'.")
        self.name = name or "seed_generator"
        self.own_seed = None if seed is None else int(seed)
        first = int(engine.host_generator(None).integers(0, 2**31 - 1)) if seed is None else int(seed)
        with engine.outside():
            self.state = engine.KerasVariable(
                np.asarray([first & 0xFFFFFFFF, 0], np.uint32), dtype=dtypes.uint32, trainable=False,
                name="seed_generator_state")

    def next(self, ordered=True):
        """Return the seed, two uint32, and advance the counter."""
        current = engine.convert_to_tensor(self.state)
        self.state.assign(current + engine.convert_to_tensor(np.asarray([0, 1], np.uint32)))
        return current

    def draw(self):
        """Return a scalar uint64 seed for one call of a layer; it costs no variable update."""
        return engine.draw_seed(self.own_seed)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"seed": self.own_seed}

    @classmethod
    def from_config(cls, config):
        """Make a generator from `get_config()`."""
        return cls(**config)
