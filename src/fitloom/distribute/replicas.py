# SPDX-License-Identifier: Apache-2.0
"""`Strategy.run`: a function written for one replica, as one program for all of them.

With rows that divide, the function is traced once for one replica's share and runs on every device (shard_map).
Gradients are summed where an optimizer applies them; variables the function assigns are joined by their `aggregation`.
With rows that do not divide, it is traced for the two sizes of share and every device computes all shares: that is
one batch of an epoch.
"""
import functools

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from fitloom import engine
from fitloom.base import nest
from fitloom.distribute.operations import ReduceOp, reduce_op
from fitloom.distribute.values import PerReplica, leaves, map_values, per_replica
from fitloom.engine.avals import SEED, aval
from fitloom.engine.context import CONTEXT
from fitloom.engine.instruction import Instruction
from fitloom.engine.procedure import Block, Layout
from fitloom.ops.losses import REPLICAS

AXIS = "replica"
_SPREAD_SEED = 0x9E3779B97F4A7C15


class ReplicaContext:
    """What a function sees while it runs for one replica: `tf.distribute.ReplicaContext`."""

    def __init__(self, strategy, replica_id_in_sync_group=0, count=None):
        self._strategy, self._id, self._count = strategy, replica_id_in_sync_group, count
        self.applying, self.inlines = False, self.num_replicas_in_sync > 1
        self.agreed: dict = {}          # variables that an optimizer wrote: the same on every replica

    strategy = property(lambda self: self._strategy, doc="The strategy that runs the replicas.")
    devices = property(lambda self: self._strategy.extended.worker_devices[:1], doc="The replica's devices.")

    @property
    def num_replicas_in_sync(self):
        """How many replicas share a batch."""
        return self._count or self._strategy.num_replicas_in_sync

    @property
    def replica_id_in_sync_group(self):
        """Number of this replica: an int, or inside a program for several replicas a tensor."""
        return self._id

    def all_reduce(self, reduce_op, value, options=None):
        """Return the sum or mean of a structure of tensors over all replicas."""
        return nest.map_structure(functools.partial(self._reduce_one, _is_mean(reduce_op)), value)

    def all_gather(self, value, axis, options=None):
        """Return a structure of tensors of all replicas, joined along `axis`."""
        return nest.map_structure(lambda each: self._gather_one(engine.convert_to_tensor(each), int(axis)), value)

    def merge_call(self, merge_fn, args=(), kwargs=None):
        """Call `merge_fn(strategy, ...)` in cross-replica context; possible with one replica only."""
        if self.num_replicas_in_sync == 1:
            return merge_fn(self._strategy, *args, **(kwargs or {}))
        raise NotImplementedError("merge_call needs all replicas at one place, but they run as one program. Use "
                                  "all_reduce or all_gather, or do the work after strategy.run.")

    def _reduce_one(self, mean, value):
        return value

    def _gather_one(self, value, axis):
        return value

    # -- what an optimizer asks (Optimizer.apply)

    def sum_gradients(self, gradients):
        """Return gradients summed over the replicas."""
        return [None if g is None else self._reduce_one(False, _dense(g)) for g in gradients]

    def update(self, optimizer, gradients, variables):
        """Apply an optimizer to the replicas' summed gradients."""
        self.applying = True
        try:
            optimizer.apply(self.sum_gradients(gradients), variables)
        finally:
            self.applying = False
        written = [*(variables if variables is not None else optimizer._trainable_variables), *optimizer.variables,
                   *getattr(getattr(optimizer, "inner_optimizer", None), "variables", ())]
        self.agreed.update({id(v): v for v in written})

    def __enter__(self):
        self._before, CONTEXT.replica = CONTEXT.replica, self
        self._count_before, REPLICAS.count = REPLICAS.count, self.num_replicas_in_sync
        return self

    def __exit__(self, *_):
        CONTEXT.replica, REPLICAS.count = self._before, self._count_before


def _is_mean(operation):
    return reduce_op(operation) is ReduceOp.MEAN


def _dense(gradient):
    return engine.convert_to_tensor(gradient)


@engine.op(name="all_reduce")
def _all_reduce(x, *, axis, mean):
    return lax.pmean(x, axis) if mean else lax.psum(x, axis)


@engine.op(name="all_gather")
def _all_gather(x, *, axis_name, axis):
    return lax.all_gather(x, axis_name, axis=axis, tiled=True)


class _Parallel(ReplicaContext):
    """One of several replicas, inside the program that all of them run."""

    def __init__(self, strategy):
        super().__init__(strategy, engine.Tensor(lax.axis_index(AXIS).astype(jnp.int32)))

    def _reduce_one(self, mean, value):
        return _all_reduce(engine.convert_to_tensor(value), axis=AXIS, mean=mean)

    def _gather_one(self, value, axis):
        return _all_gather(value, axis_name=AXIS, axis=axis % max(1, len(value.shape)))


class _Uneven(ReplicaContext):
    """One of several replicas with shares of different sizes; optimizers wait until all shares are done."""

    def __init__(self, strategy, number):
        super().__init__(strategy, number)
        self.updates, self.waiting = [], {}

    def _reduce_one(self, mean, value):
        raise NotImplementedError(
            f"This batch does not divide over {self.num_replicas_in_sync} replicas, and the function exchanges values "
            "between replicas in its middle (all_reduce, all_gather). Batch with drop_remainder=True, or do the "
            "exchange after strategy.run (strategy.reduce).")

    _gather_one = _reduce_one

    def update(self, optimizer, gradients, variables):
        kept = [(g, v) for g, v in zip(gradients, variables if variables is not None
                                       else optimizer._trainable_variables) if g is not None]
        self.updates.append((optimizer, [v for _, v in kept], [_dense(g) for g, _ in kept]))
        self.waiting.update({id(v): v for _, v in kept})


# -- running

_FUNCTIONS: dict = {}
_MOST_FUNCTIONS = 256


def run(strategy, fn, args, kwargs):
    """Run `fn` once for each replica; return its results as PerReplica values (plain ones with one replica)."""
    if CONTEXT.replica is not None and CONTEXT.replica.inlines:
        raise RuntimeError("strategy.run was called inside a function that strategy.run runs: replicas do not nest.")
    if strategy.num_replicas_in_sync == 1:
        with ReplicaContext(strategy, 0):
            args, kwargs = map_values(_first, args), map_values(_first, kwargs)
            return fn(*args, **kwargs)
    given = leaves((args, kwargs))
    sizes = {leaf.split for leaf in given if isinstance(leaf, PerReplica)}
    even = all(split == 0 or split is not None and len(set(split)) == 1 for split in sizes)
    if not even and len(sizes) > 1:
        raise ValueError("strategy.run received PerReplica values that are split differently "
                         f"({', '.join(map(str, sizes))}). The values of one call must come from one batch.")
    program = _program(strategy, fn, (args, kwargs), None if even else sizes.pop())
    tensors = []
    for leaf in given:
        if _is_input(leaf):
            tensors += leaf.values if isinstance(leaf, PerReplica) and leaf.split is None else [_tensor(leaf)]
    return program(tensors)


def _first(leaf):
    return leaf.values[0] if isinstance(leaf, PerReplica) else leaf


def _is_input(leaf):
    return isinstance(leaf, (PerReplica, engine.Tensor, np.ndarray, np.generic, jax.Array))


def _tensor(leaf):
    return leaf.whole if isinstance(leaf, PerReplica) else engine.convert_to_tensor(leaf)


def _identity(fn):
    """Return what makes two function objects the same program: the code, and the objects that it names."""
    code = getattr(getattr(_plain(fn), "__func__", _plain(fn)), "__code__", None)
    return (code if code is not None else id(fn), *map(_static, _named_by(fn)))


def _plain(fn):
    return getattr(fn, "python_function", fn)


def _named_by(fn):
    """Return the objects a function closes over, its defaults, its instance, and the globals that it names."""
    plain = _plain(fn)
    inner = getattr(plain, "__func__", plain)
    found = [getattr(plain, "__self__", None), *(getattr(inner, "__defaults__", None) or ())]
    found += [_content(cell) for cell in getattr(inner, "__closure__", None) or ()]
    codes = [inner.__code__] if hasattr(inner, "__code__") else []
    while codes:
        code = codes.pop()
        found += [inner.__globals__.get(name) for name in code.co_names]
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return found


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:                       # not assigned yet
        return None


def _program(strategy, fn, given, sizes):
    """Return the (remembered) program for a function and the structure of its arguments."""
    outline = map_values(lambda leaf: _Input(leaf) if _is_input(leaf) else leaf, given)
    static = tuple(leaf.key if isinstance(leaf, _Input) else _static(leaf) for leaf in leaves(outline))
    key = (strategy, _identity(fn), static, str(map_values(lambda leaf: 0, outline)), sizes)
    found = _FUNCTIONS.get(key)
    if found is None:
        if len(_FUNCTIONS) >= _MOST_FUNCTIONS:
            _FUNCTIONS.pop(next(iter(_FUNCTIONS))).forget()
        listed = any(isinstance(leaf, _Input) and leaf.listed for leaf in leaves(outline))
        kind = _Even if sizes is None and not listed else _Shares
        found = _FUNCTIONS[key] = kind(strategy, fn, outline, sizes)
    return found


def _static(value):
    plain = isinstance(value, (int, float, bool, str, bytes, type(None)))
    return (type(value), value) if plain else id(value)


class _Input:
    """Stands for a tensor among the arguments."""

    def __init__(self, leaf):
        self.shared = not isinstance(leaf, PerReplica)
        self.stacked, self.listed = not self.shared and leaf.split == 0, not self.shared and leaf.split is None
        self.key = ("input", self.shared, self.stacked, self.listed and len(leaf.whole))


class _Replicas(Block):
    """A replica function with its static arguments fixed; it keeps them, so that ids in its key stay theirs."""

    def __init__(self, strategy, fn, outline, sizes):
        self.strategy, self.user_fn, self.outline, self.sizes = strategy, fn, outline, sizes
        self.count = strategy.num_replicas_in_sync
        self.kept = _named_by(fn)
        self.inputs = [leaf for leaf in leaves(outline) if isinstance(leaf, _Input)]
        super().__init__(self._body, getattr(fn, "__name__", "strategy.run"))

    def call(self, context, tensors):
        """Run the function on one replica's tensors."""
        given = iter(tensors)
        args, kwargs = map_values(lambda leaf: next(given) if isinstance(leaf, _Input) else leaf, self.outline)
        with context:
            return self.user_fn(*args, **kwargs)


def rule_of(variable, depends):
    """Return how the values that replicas assign to a variable become one.

    Args:
        depends: whether the new value depends on the old one (a sum then adds up the changes).

    Raises:
        ValueError: the variable does not say.
    """
    name = getattr(variable.aggregation, "name", variable.aggregation)
    name = "none" if name is None else str(name).lower()
    if name == "none":
        if isinstance(variable, engine.KerasVariable) and variable.aval.inexact:
            return "mean"
        raise ValueError(
            f"The function of strategy.run assigns variable '{variable.name}', which does not say how the replicas' "
            "values become one. Create it with aggregation=tf.VariableAggregation.SUM, MEAN or ONLY_FIRST_REPLICA.")
    if name == "sum":
        return "change" if depends else "sum"
    return "first" if name == "only_first_replica" else name


class _Even(_Replicas):
    """All replicas have shares of one size: each device runs the function on its own."""

    def _body(self, *tensors):
        context = _Parallel(self.strategy)
        result = self.call(context, tensors)
        self.agreed = context.agreed
        return result

    def _share(self, each, a):
        if each.shared:
            return a
        return aval(a.shape[1:], a.dtype) if each.stacked else aval((a.shape[0] // self.count,) + a.shape[1:], a.dtype)

    def make(self, avals, attributes):
        layout = Layout()
        graph = self._trace([self._share(each, a) for each, a in zip(self.inputs, avals)], {}, layout,
                            axis_env=[(AXIS, self.count)])
        results = len(graph.jaxpr.outvars) - len(layout.written)
        place = {v: len(avals) + i for i, v in enumerate(layout.variables)}
        where = [place[v] for v in layout.written]
        rules = ["agreed" if id(v) in self.agreed else rule_of(v, _depends(graph.jaxpr, results + i, where[i]))
                 for i, v in enumerate(layout.written)]
        evaluate = jax.extend.core.jaxpr_as_fun(graph)

        def one(*arrays):
            arrays = list(arrays)
            for i, each in enumerate(self.inputs):
                if each.stacked:
                    arrays[i] = arrays[i][0]
            if layout.seeded:
                arrays[-1] = arrays[-1] + lax.axis_index(AXIS).astype(jnp.uint64) * jnp.uint64(_SPREAD_SEED)
            outputs = evaluate(*arrays)
            new = [_join(rule, arrays[i], value) for rule, i, value in zip(rules, where, outputs[results:])]
            return (*[jnp.asarray(value)[None] for value in outputs[:results]], *new)

        whole, dealt = PartitionSpec(), PartitionSpec(self.strategy.extended.placement.axes)
        inputs = tuple(avals) + tuple(x.aval for x in layout.variables + layout.captures)
        inputs += (SEED,) if layout.seeded else ()
        specs = [whole if each.shared else dealt for each in self.inputs] + [whole] * (len(inputs) - len(avals))
        fn = jax.shard_map(one, mesh=self.strategy.extended.placement.mesh, in_specs=tuple(specs),
                           out_specs=(dealt,) * results + (whole,) * len(rules), check_vma=False)
        layout.masks = []
        instruction = Instruction(fn, self.name, inputs, where, effects=bool(graph.effects))
        instruction.layout = layout
        self.instructions.append(instruction)
        return instruction

    def __call__(self, inputs, attributes=()):
        return nest.map_structure(lambda leaf: PerReplica(leaf, 0) if isinstance(leaf, engine.Tensor) else leaf,
                                  super().__call__(inputs))


def _depends(jaxpr, output, place):
    """Whether an output of a jaxpr depends on an input."""
    return place in _inputs_of(jaxpr, [output])


def _inputs_of(jaxpr, outputs):
    """Return the positions of the inputs on which some outputs of a jaxpr depend."""
    needed = {id(jaxpr.outvars[i]) for i in outputs}
    for equation in reversed(jaxpr.eqns):
        wanted = [i for i, variable in enumerate(equation.outvars) if id(variable) in needed]
        if not wanted:
            continue
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        inner = getattr(inner, "jaxpr", inner)
        used = range(len(equation.invars))
        if equation.primitive.name in _CALLS and len(getattr(inner, "invars", ())) == len(equation.invars):
            used = _inputs_of(inner, wanted)
        needed.update(id(equation.invars[i]) for i in used)
    return {i for i, variable in enumerate(jaxpr.invars) if id(variable) in needed}


_CALLS = ("jit", "pjit", "closed_call", "remat", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call")


def _join(rule, old, new):
    """Join the new values of a variable over the replicas, inside the program."""
    if rule == "mean":
        return lax.pmean(new, AXIS)
    if rule == "sum":
        return lax.psum(new, AXIS)
    if rule == "change":
        return old + lax.psum(new - old, AXIS)
    return new if rule == "agreed" else lax.all_gather(new, AXIS)[0]


class _Shares(_Replicas):
    """Shares of different sizes: one program computes them one after the other; empty ones are left out."""

    def _body(self, *tensors):
        trace, results, contexts, values = CONTEXT.trace, [], [], []
        first = trace.bindings = _FirstValues(trace.bindings)
        for number, share in enumerate(self._deal(tensors)):
            if share is None:
                continue
            context = _Uneven(self.strategy, number)
            contexts.append(context)
            first.waiting = context.waiting
            results.append(self.call(context, share))
            trace.flush()
            trace._restart()
            values.append({v: trace.bindings[v] for v in trace.written})
            for v in trace.written:
                dict.__setitem__(trace.bindings, v, first.kept[v])
            trace.written = {}
            first.waiting = {}
        for v in {v: None for each in values for v in each}:
            trace.assign(v, _join_list(rule_of(v, True), first.kept[v], [each[v] for each in values if v in each]))
        for updates in zip(*[context.updates for context in contexts]):
            sums = [functools.reduce(lambda a, b: a + b, column) for column in zip(*[u[2] for u in updates])]
            updates[0][0].apply(sums, updates[0][1])
        return _together(results)

    def _deal(self, tensors):
        """Yield each replica's tensors, None for one without rows."""
        bounds = np.cumsum((0, *self.sizes)) if self.sizes is not None else range(self.count + 1)
        for number in range(self.count):
            share, given = [], iter(tensors)
            low, high = int(bounds[number]), int(bounds[number + 1])
            for each in self.inputs:
                if each.listed:
                    share.append([next(given) for _ in range(each.key[-1])][number])
                else:
                    tensor = next(given)
                    share.append(tensor if each.shared else tensor[number] if each.stacked else tensor[low:high])
            yield share if high > low else None


class _FirstValues(dict):
    """The bindings of a trace, which keep the first value of each variable and refuse outdated ones."""

    def __init__(self, bindings):
        super().__init__(bindings)
        self.kept, self.waiting = dict(bindings), {}

    def __setitem__(self, variable, array):
        self.kept.setdefault(variable, array)
        super().__setitem__(variable, array)

    def get(self, variable, default=None):
        if id(variable) in self.waiting:
            raise NotImplementedError(
                f"This batch does not divide over the replicas, and the function reads variable '{variable.name}' "
                "after an optimizer has updated it. Batch with drop_remainder=True.")
        return super().get(variable, default)


def _join_list(rule, old, new):
    if rule == "mean":
        return functools.reduce(jnp.add, new) / len(new)
    if rule == "first":
        return new[0]
    return functools.reduce(lambda total, value: total + (value - old), new, old)


def _together(results):
    """Return the structure of PerReplica of the replicas' results; what is no tensor must be the same."""
    if nest.is_nested(results[0]):
        columns = zip(*[nest.flatten(result) for result in results])
        return nest.pack_sequence_as(results[0], [_together(list(column)) for column in columns])
    return per_replica(results) if isinstance(results[0], engine.Tensor) else results[0]
