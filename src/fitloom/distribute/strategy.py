# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute.Strategy`: which devices share the work, and the contexts in which user code runs."""
import contextlib
import functools
import threading

from fitloom import engine, ops
from fitloom.base import nest, tracebacks
from fitloom.distribute import inputs, replicas
from fitloom.distribute.cluster import CLUSTER
from fitloom.distribute.operations import InputContext, ReduceOp, ValueContext, reduce_op as reduce_as
from fitloom.distribute.replicas import ReplicaContext
from fitloom.distribute.values import PerReplica, map_values, per_replica
from fitloom.engine.context import CONTEXT


class _Scopes(threading.local):
    stack: tuple = ()


_SCOPES = _Scopes()


class StrategyExtended:
    """Details of a strategy: its devices and how it places values (`strategy.extended`)."""

    def __init__(self, strategy, devices=(), placement=None):
        self._strategy, self.worker_devices, self.placement = strategy, tuple(devices), placement
        if placement is not None:
            placement.owner = strategy
        self.parameter_devices = self.worker_devices
        self.experimental_require_static_shapes, self.experimental_between_graph = False, False
        self.should_checkpoint = self.should_save_summary = True

    def variable_created_in_scope(self, variable):
        """Whether a variable lies on this strategy's devices."""
        return variable.store.placement is self.placement

    def reduce_to(self, reduce_op, value, destinations=None, options=None):
        """Return a value reduced over the replicas."""
        return self._strategy.reduce(reduce_op, value, axis=None)

    def batch_reduce_to(self, reduce_op, value_destination_pairs, options=None):
        """Return a list of values reduced over the replicas."""
        return [self.reduce_to(reduce_op, value) for value, _ in value_destination_pairs]

    def update(self, variable, fn, args=(), kwargs=None, group=True):
        """Call fn(variable, *args): the variable is one on all devices."""
        return fn(variable, *args, **(kwargs or {}))

    def value_container(self, value):
        """Return the variable that a value belongs to."""
        return value

    def call_for_each_replica(self, fn, args=(), kwargs=None):
        """Return `strategy.run(fn, args, kwargs)`."""
        return self._strategy.run(fn, args, kwargs)


class Strategy:
    """Which devices share the work: the base of all strategies.

    Variables made `with strategy.scope():` lie on all its devices; `fit`, `evaluate` and `predict` of a model made
    there split each batch over them. A batch is always the global batch: results are those of one device.

    Args:
        extended: details; strategies make their own.
    """

    def __init__(self, extended=None):
        self.extended = extended if isinstance(extended, StrategyExtended) else StrategyExtended(self)

    # -- what it is

    @property
    def num_replicas_in_sync(self):
        """How many replicas share a batch; 1 inside fit's own step, which is written for the whole batch."""
        if inside_step():
            return 1
        placement = self.extended.placement
        return 1 if placement is None else placement.size

    @property
    def cluster_resolver(self):
        """The resolver of a cluster, None on one machine."""
        return None

    def __deepcopy__(self, memo):
        return self

    def local_replicas(self):
        """Return the numbers of this process's replicas."""
        if CLUSTER.size == 1:
            return range(self.num_replicas_in_sync)
        devices = self.extended.placement.mesh.devices
        first = devices[(slice(None), *[0] * (devices.ndim - 1))]
        own = [i for i, device in enumerate(first) if device.process_index == CLUSTER.rank]
        return range(own[0], own[-1] + 1) if own else range(0)

    # -- contexts

    @contextlib.contextmanager
    def scope(self):
        """Context in which new variables lie on the strategy's devices."""
        before, placed = _SCOPES.stack, CONTEXT.placement
        if before and before[-1] is not self:
            raise RuntimeError(f"The scope of a {type(before[-1]).__name__} is open: strategies do not nest. Leave it "
                               f"before entering that of another {type(self).__name__}.")
        _SCOPES.stack, CONTEXT.placement = (*before, self), self.extended.placement
        try:
            yield self
        finally:
            _SCOPES.stack, CONTEXT.placement = before, placed

    @tracebacks.short
    def run(self, fn, args=(), kwargs=None, options=None):
        """Call `fn` once for each replica, with its part of PerReplica arguments; return PerReplica results.

        The function is traced once, as by tf.function; optimizers sum gradients over the replicas.
        """
        if not callable(fn):
            raise TypeError(f"strategy.run needs a function, but received {type(fn).__name__}. Pass the function and "
                            "its arguments apart: strategy.run(step, args=(batch,)).")
        if not isinstance(args, (tuple, list)):
            args = (args,)
        with self.scope():
            return replicas.run(self, fn, tuple(args), dict(kwargs or {}))

    # -- values

    def reduce(self, reduce_op, value, axis=None):
        """Return the sum or mean of a value over all replicas and, if given, along `axis` of each."""
        return map_values(functools.partial(_reduce, reduce_as(reduce_op), axis), value)

    def gather(self, value, axis):
        """Return the replicas' tensors joined along `axis`."""
        return map_values(lambda leaf: ops.concat(list(leaf.values), axis) if isinstance(leaf, PerReplica)
                          else engine.convert_to_tensor(leaf), value)

    def experimental_local_results(self, value):
        """Return the replicas' values as a tuple."""
        if isinstance(value, PerReplica):
            return value.values
        if nest.is_nested(value) and any(isinstance(leaf, PerReplica) for leaf in replicas.leaves(value)):
            count = len(next(leaf for leaf in replicas.leaves(value) if isinstance(leaf, PerReplica)).values)
            return tuple(map_values(functools.partial(_value_of, i), value) for i in range(count))
        return (value,)

    def experimental_distribute_values_from_function(self, value_fn):
        """Return a PerReplica of `value_fn(ValueContext)` for each replica."""
        count = self.num_replicas_in_sync
        values = [value_fn(ValueContext(i, count)) for i in range(count)]
        return values[0] if count == 1 else per_replica(values)

    # -- data

    def experimental_distribute_dataset(self, dataset, options=None):
        """Return a dataset whose batches are dealt out to the replicas; a batch of it is the global batch."""
        return inputs.distribute(self, dataset, options)

    def distribute_datasets_from_function(self, dataset_fn, options=None):
        """Return the dataset that `dataset_fn(InputContext)` makes, whose elements go to one replica each."""
        return inputs.from_function(self, dataset_fn, self._input_context(), options)

    experimental_distribute_datasets_from_function = distribute_datasets_from_function

    def _input_context(self):
        return InputContext(1, 0, self.num_replicas_in_sync)

    def experimental_make_numpy_dataset(self, numpy_input):
        """Return a Dataset of the rows of NumPy arrays."""
        from fitloom.data import Dataset

        return Dataset.from_tensor_slices(numpy_input)


def _value_of(replica, leaf):
    return leaf.values[replica] if isinstance(leaf, PerReplica) else leaf


def _reduce(operation, axis, value):
    """Reduce one PerReplica (or a plain value, the same on every replica)."""
    mean = operation is ReduceOp.MEAN
    if not isinstance(value, PerReplica):
        value = engine.convert_to_tensor(value)
        if axis is None:
            return value
        return ops.reduce_mean(value, axis=axis) if mean else ops.reduce_sum(value, axis=axis)
    if axis is not None:
        axes = [axis] if isinstance(axis, int) else list(axis)
        if value.split == 0:
            ndim = len(value.whole.shape) - 1
            if any(not -ndim <= a < ndim for a in axes):
                raise ValueError(f"reduce(axis={axis}) needs values with that axis, but each replica's value has shape "
                                 f"{tuple(value.whole.shape[1:])}. Use axis=None.")
            over = [0] + [a % ndim + 1 for a in axes]
            return ops.reduce_mean(value.whole, axis=over) if mean else ops.reduce_sum(value.whole, axis=over)
        joined = ops.concat(list(value.values), axes[0])
        return ops.reduce_mean(joined, axis=axes) if mean else ops.reduce_sum(joined, axis=axes)
    stacked = value.whole if value.split == 0 else ops.stack(list(value.values))
    return ops.reduce_mean(stacked, axis=0) if mean else ops.reduce_sum(stacked, axis=0)


class _Default(Strategy):
    """The strategy in effect where none was chosen: one device."""

    def scope(self):
        """Context that changes nothing."""
        return contextlib.nullcontext(self)


_DEFAULT = _Default()


# -- the step of fit is written for the whole batch

class _Step(threading.local):
    depth = 0


_STEP = _Step()


def inside_step() -> bool:
    """Whether fit's own step is running, which sees the whole batch as if there were one replica."""
    return _STEP.depth > 0 and not (CONTEXT.replica is not None and CONTEXT.replica.inlines)


class WholeBatch:
    """Context of a step that is written for the whole batch: one logical replica."""

    def __init__(self, strategy):
        self.strategy, self.replicas = strategy, []

    def __enter__(self):
        _STEP.depth += 1
        self.replicas.append(ReplicaContext(self.strategy, 0, count=1))
        self.replicas[-1].__enter__()

    def __exit__(self, *_):
        self.replicas.pop().__exit__()
        _STEP.depth -= 1


# -- who is in effect

def get_strategy() -> Strategy:
    """Return the strategy in effect; the default one, a single device, where none is."""
    if CONTEXT.replica is not None:
        return CONTEXT.replica.strategy
    return _SCOPES.stack[-1] if _SCOPES.stack else _DEFAULT


def has_strategy() -> bool:
    """Whether a strategy other than the default one is in effect."""
    return get_strategy() is not _DEFAULT


def in_cross_replica_context() -> bool:
    """Whether code runs for all replicas at once: inside a scope, outside `strategy.run`."""
    return CONTEXT.replica is None and bool(_SCOPES.stack)


def get_replica_context():
    """Return the ReplicaContext in which code runs for one replica; None inside a scope and outside `run`."""
    if CONTEXT.replica is not None:
        return CONTEXT.replica
    return None if _SCOPES.stack else ReplicaContext(_DEFAULT, 0)


def experimental_set_strategy(strategy):
    """Put a strategy in effect for the rest of the thread; None for the default one."""
    _SCOPES.stack = () if strategy is None else (strategy,)
    CONTEXT.placement = None if strategy is None else strategy.extended.placement


def is_chief() -> bool:
    """Whether this process writes files and logs: always on one machine, worker 0 in a cluster."""
    return CLUSTER.rank == 0


def in_cluster() -> bool:
    """Whether this process works together with others."""
    return CLUSTER.size > 1


# -- models

def strategy_of(model):
    """Return the strategy in whose scope a model was made or compiled, or that is in effect now; None without one."""
    found = model.__dict__.get("_strategy")
    if found is None:
        placement = next((v.store.placement for v in model.variables if v.store.placement is not None), None)
        found = placement.owner if placement is not None else get_strategy() if has_strategy() else None
    return found


def under_strategy(function):
    """Make a function of a model run in the scope of the model's strategy."""
    @functools.wraps(function)
    def placed(model, *args, **kwargs):
        strategy = strategy_of(model)
        if strategy is None:
            return function(model, *args, **kwargs)
        with strategy.scope():
            adopt(strategy, model.variables)
            return function(model, *args, **kwargs)
    return placed


def adopt(strategy, variables):
    """Move variables that were made outside of a strategy's scope to its devices."""
    placement = strategy.extended.placement
    if placement is not None:
        for variable in variables:
            variable.store.adopt(placement)


def between_workers(dataset):
    """Return what this process reads of a dataset under the strategy in effect: all of it on one machine."""
    if isinstance(dataset, inputs.DistributedDataset):
        return dataset.whole()
    return dataset if CLUSTER.size == 1 else inputs.between_workers(get_strategy(), dataset)
