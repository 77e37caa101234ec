# SPDX-License-Identifier: Apache-2.0
"""Random numbers are f(seed, counter): two integers on the host, so a run resumes with the same numbers."""
import random
import secrets

import numpy as np

from fitloom.engine.context import CONTEXT, LOCK

_MASK = (1 << 32) - 1
_MOST = (1 << 31) - 1    # TensorFlow cuts seeds to 31 bits
_UNSET = 87654321        # its global seed where only the operation has one
_BLOCKS = 256            # by which its generators move on for each number


class _Stream:
    seed = None          # the user's seed, or None
    drawn = 0            # the seed in use
    counter = 0
    operations = 0       # seeds of single operations drawn so far, TensorFlow's sequence
    random = None        # (Python's generator that gives them, how many it has given)
    given: dict = {}     # (operation, global and own seed) -> numbers drawn, of operations with seeds of their own
    python = True        # whether unseeded initializers follow Python's `random`, as in Keras
    keras: list[int] | None = None         # the state of the SeedGenerator of `keras.random` functions without a seed


STREAM = _Stream()


def set_seed(seed):
    """Start the stream of random numbers anew; the same seed gives the same numbers."""
    if seed is not None and (isinstance(seed, bool) or int(seed) != seed):
        raise ValueError(f"A seed must be an integer, but received {seed!r}.")
    with LOCK:
        STREAM.seed = seed
        STREAM.drawn = secrets.randbits(32) if seed is None else high_half(int(seed))
        STREAM.counter = STREAM.operations = 0
        STREAM.random, STREAM.given, STREAM.python, STREAM.keras = None, {}, seed is None, None


def get_seed():
    """Return the seed set by the user, or None."""
    return STREAM.seed


def stream_state():
    """Return what a checkpoint stores: the user's seed, the one in use, counters, draws of seeded operations."""
    given = [[*key, count] for key, count in STREAM.given.items()]
    return STREAM.seed, STREAM.drawn, STREAM.counter, STREAM.operations, STREAM.python, given, STREAM.keras


def restore_stream(state):
    """Continue where `stream_state()` was taken; its first three parts alone are enough for what functions draw."""
    with LOCK:
        STREAM.seed, STREAM.drawn, STREAM.counter, *rest = state
        STREAM.operations, STREAM.python, given, STREAM.keras = rest or (0, False, (), None)
        STREAM.random, STREAM.given = None, {tuple(key): count for *key, count in given}


def next_operation_seed(own_seed, name, count):
    """Return (key, low, high), where the generator of an operation outside functions starts: TensorFlow's choice.

    Args:
        own_seed: the operation's seed, or None.
        name: of the operation; with a seed of its own each goes on where it stopped.
        count: how many numbers it draws.
    """
    with LOCK:
        if own_seed is None and STREAM.seed is None:
            fresh = next_host_seed()
            return fresh & _MASK, 0, fresh >> 32
        first = _UNSET if STREAM.seed is None else int(STREAM.seed) % _MOST
        if own_seed is not None:
            second = int(own_seed) % _MOST
        else:
            made, position = STREAM.random or (random.Random(STREAM.seed), 0)
            for _ in range(STREAM.operations - position):        # the stream was restored
                made.randint(0, _MOST)
            second = made.randint(0, _MOST) % _MOST
            STREAM.operations += 1
            STREAM.random = made, STREAM.operations
        second = second or (0 if first else _MOST)
        if own_seed is None:
            return first, 0, second
        key = (name, first, second)
        before = STREAM.given.get(key, 0)
        STREAM.given[key] = before + count
        return first, int(before * _BLOCKS), second


def next_keras_seed() -> int:
    """Return the next seed of `keras.random` functions without one, as Keras's global SeedGenerator gives them."""
    with LOCK:
        if STREAM.keras is None:
            STREAM.keras = [default_seed(), 0]
        state = STREAM.keras
        STREAM.keras = [(word + 1) * 5387 % 933199 for word in state]       # Keras's step without an order
        return state[0] << 32 | state[1]


def default_seed() -> int:
    """Return the seed of an initializer or a SeedGenerator that was given none: from Python's `random`, as in Keras.

    After `tf.random.set_seed` alone it comes from the program's stream.
    """
    return random.randint(1, 10**9) if STREAM.python else int(host_generator().integers(1, 10**9))


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
    STREAM.python = True


set_seed(None)
