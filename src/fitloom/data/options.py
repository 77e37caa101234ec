# SPDX-License-Identifier: Apache-2.0
"""`tf.data.Options`: accepted names of TensorFlow's; most tune machinery that does not exist here."""
from fitloom.base.errors import did_you_mean


class _Group:
    """Options whose names are known; unset ones are None."""

    _names: dict = {}

    def __init__(self):
        for name, default in self._names.items():
            object.__setattr__(self, name, default() if isinstance(default, type) else default)
        object.__setattr__(self, "_set", set())

    def __setattr__(self, name, value):
        if name not in self._names:
            raise AttributeError(f"{type(self).__name__} has no option '{name}'.{did_you_mean(name, self._names)}")
        object.__setattr__(self, name, value)
        self._set.add(name)

    def merge(self, other):
        """Return the options of both; those set in `other` win."""
        merged = type(self)()
        for name in self._names:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, _Group):
                object.__setattr__(merged, name, mine.merge(theirs))
            elif name in other._set:
                setattr(merged, name, theirs)
            elif name in self._set:
                setattr(merged, name, mine)
        return merged

    def __eq__(self, other):
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self._names)

    __hash__ = None

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in sorted(self._set))})"


class ThreadingOptions(_Group):
    """`tf.data.ThreadingOptions`; `private_threadpool_size` limits the threads of `map`."""

    _names = {"max_intra_op_parallelism": None, "private_threadpool_size": None}


class AutotuneOptions(_Group):
    """`tf.data.experimental.AutotuneOptions`: accepted."""

    _names = {"enabled": None, "cpu_budget": None, "ram_budget": None, "autotune_algorithm": None,
              "initial_parallelism": None, "min_parallelism": None}


class DistributeOptions(_Group):
    """`tf.data.experimental.DistributeOptions`; read by `tf.distribute`."""

    _names = {"auto_shard_policy": None, "num_devices": None}


class OptimizationOptions(_Group):
    """`tf.data.experimental.OptimizationOptions`: accepted; plans are always rewritten."""

    _names = dict.fromkeys(["apply_default_optimizations", "filter_fusion", "filter_parallelization",
                            "inject_prefetch", "map_and_batch_fusion", "map_and_filter_fusion", "map_fusion",
                            "map_parallelization", "noop_elimination", "parallel_batch", "shuffle_and_repeat_fusion",
                            "seq_interleave_prefetch", "warm_start"])


class Options(_Group):
    """How a dataset is run.

    `deterministic=False` is accepted and changes nothing: the order here is always that of the input.
    """

    _names = {"autotune": AutotuneOptions, "deterministic": None, "dataset_name": None,
              "distribute": DistributeOptions, "experimental_deterministic": None,
              "experimental_distribute": DistributeOptions, "experimental_external_state_policy": None,
              "experimental_optimization": OptimizationOptions, "experimental_slack": None,
              "experimental_symbolic_checkpoint": None, "experimental_threading": ThreadingOptions,
              "experimental_warm_start": None, "framework_type": None, "threading": ThreadingOptions}


__all__ = ["AutotuneOptions", "DistributeOptions", "OptimizationOptions", "Options", "ThreadingOptions"]
