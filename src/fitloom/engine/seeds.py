# SPDX-License-Identifier: Apache-2.0
"""Random numbers are f(seed, counter): two integers on the host, so a run resumes with the same numbers."""
import random
import secrets

import numpy as np

from fitloom.engine.context import CONTEXT, LOCK

_MASK = (1 << 32) - 1


class _Stream:
    seed = None          # the user's seed, or None
    drawn = 0            # the seed in use
    counter = 0


STREAM = _Stream()


def set_seed(seed):
    """Start the stream of random numbers anew; the same seed gives the same numbers."""
    if seed is not None and (isinstance(seed, bool) or int(seed) != seed):
        raise ValueError(f"A seed must be an integer, but received {seed!r}.")
    with LOCK:
        STREAM.seed = seed
        STREAM.drawn = secrets.randbits(32) if seed is None else high_half(int(seed))
        STREAM.counter = 0


def get_seed():
    """Return the seed set by the user, or None."""
    return STREAM.seed


def stream_state():
    """Return (seed in use, counter): what a checkpoint stores."""
    return STREAM.seed, STREAM.drawn, STREAM.counter


def restore_stream(state):
    """Continue where `stream_state()` was taken."""
    with LOCK:
        STREAM.seed, STREAM.drawn, STREAM.counter = state


def next_host_seed(own_seed=None, count=1) -> int:
    """Return a fresh 64-bit seed, the first of `count`: the seed in the high half, the counter in the low half."""
    scope = CONTEXT.seeds
    if scope is not None:
        scope.counter += 1
        high = scope.seed if own_seed is None else high_half(scope.seed ^ int(own_seed))
        return (high << 32) | (scope.counter & _MASK)
    with LOCK:
        first = STREAM.counter + 1
        STREAM.counter += count
        high = STREAM.drawn if own_seed is None else high_half(int(own_seed))
        return (high << 32) | (first & _MASK)


class seed_scope:
    """Context in which this thread's seeds are f(seed, 0), f(seed, 1)...: random operations of one data element."""

    def __init__(self, seed):
        # the element's number also enters the counter: 32 bits of the seed alone would collide
        self.seed, self.counter = high_half(int(seed)), high_half(int(seed) ^ 0x5851F42D4C957F2D)

    def __enter__(self):
        self.before, CONTEXT.seeds = CONTEXT.seeds, self

    def __exit__(self, *_):
        CONTEXT.seeds = self.before


def in_seed_scope() -> bool:
    """Whether this thread's seeds belong to a data element."""
    return CONTEXT.seeds is not None


def host_generator(seed=None) -> np.random.Generator:
    """Return a NumPy generator: of `seed` if given (the same numbers each time), else fresh from the stream."""
    key = next_host_seed() if seed is None else int(seed) & ((1 << 64) - 1)
    return np.random.Generator(np.random.Philox(key=key))


def high_half(seed) -> int:
    """Spread a user's seed over 32 bits."""
    # splitmix's finalizer: neighbouring seeds must not give neighbouring streams
    seed = (seed + 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    seed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)
    seed = ((seed ^ (seed >> 27)) * 0x94D049BB133111EB) & ((1 << 64) - 1)
    return (seed ^ (seed >> 31)) & _MASK


def set_random_seed(seed):
    """Seed Python's `random`, NumPy and our own random numbers (`tf.keras.utils.set_random_seed`)."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        raise ValueError(f"Expected `seed` argument to be an integer. Received: seed={seed!r} (of type "
                         f"{type(seed).__name__})")
    random.seed(int(seed))
    np.random.seed(int(seed) & 0xFFFFFFFF)
    set_seed(int(seed))


set_seed(None)
