# SPDX-License-Identifier: Apache-2.0
"""Where the seeds of shuffles and random functions come from."""
import threading

from fitloom import engine


class _Scope(threading.local):
    seeds = None


_SCOPE = _Scope()


def fresh_seed(seed=None) -> int:
    """Return the seed of a node: from the user's `seed` if given, else drawn from the global stream.

    Inside a function that makes datasets (flat_map, interleave) the draw depends on the element only, so that the
    dataset can be made again after a restore.
    """
    if seed is not None:
        # the global seed takes part, as in TensorFlow: (global, own) together decide
        own = engine.get_seed()
        return (int(seed) & ((1 << 32) - 1)) | ((0 if own is None else (int(own) * 2654435761 & 0x7FFFFFFF)) << 32)
    if _SCOPE.seeds is not None:
        _SCOPE.seeds[1] += 1
        return (_SCOPE.seeds[0] + _SCOPE.seeds[1] * 0x9E3779B97F4A7C15) & ((1 << 63) - 1)
    return engine.next_host_seed() & ((1 << 63) - 1)


class seeds_from:
    """Context in which fresh seeds are f(seed, 1), f(seed, 2)..."""

    def __init__(self, seed):
        self.seed = seed

    def __enter__(self):
        self.before, _SCOPE.seeds = _SCOPE.seeds, [self.seed, 0]

    def __exit__(self, *_):
        _SCOPE.seeds = self.before
