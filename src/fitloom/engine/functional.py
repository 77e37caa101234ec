# SPDX-License-Identifier: Apache-2.0
"""Tensor code as pure functions of arrays, and the step program that keeps its state on loan."""
import contextlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base import nest
from fitloom.base.errors import ValueNotKnownError
from fitloom.engine.avals import SEED
from fitloom.engine.checking import CHECKS, raise_failed
from fitloom.engine.context import CLOSED, CONTEXT, LOCK, traces_of_other_threads
from fitloom.engine.inline import InlineTrace
from fitloom.engine.instruction import STATISTICS
from fitloom.engine.interpreter import Uncompiled
from fitloom.engine.placement import Placement, placement_of
from fitloom.engine.seeds import next_host_seed, next_keras_seed, next_operation_seed
from fitloom.engine.store import LAYOUT, repack, unpack
from fitloom.engine.tensor import Tensor


@contextlib.contextmanager
def outside():
    """Leave any trace: what runs here runs now, on real values (`tf.init_scope`)."""
    before = CONTEXT.trace
    if not before.inline:
        yield
        return
    CONTEXT.trace = CLOSED
    try:
        with jax.ensure_compile_time_eval():
            yield
            if not CONTEXT.trace.closed:
                CONTEXT.trace.flush()
    finally:
        CONTEXT.trace = before


def wrap(structure):
    """Return a structure of arrays as Tensors."""
    return nest.map_structure(lambda a: Tensor(a) if hasattr(a, "dtype") and hasattr(a, "shape") else a, structure)


def unwrap(structure):
    """Return a structure of Tensors and Variables as arrays."""
    return nest.map_structure(
        lambda t: t.array if isinstance(t, Tensor) or getattr(t.__class__, "is_variable", False) else t, structure)


class MoreVariables(Exception):
    """A traced function touched variables that were not declared; `stores` holds theirs."""

    def __init__(self, stores):
        super().__init__(f"{len(stores)} variables were not declared.")
        self.stores = stores


class Functional:
    """`fn` over Tensors as a pure function of the variables' stores, a seed and arrays.

    `pure(values, seed, *structures) -> (result arrays, new values)`; values are one buffer a store, in the order of
    `stores`. With `discover`, a variable that is not among them raises MoreVariables instead of being a constant.
    """

    def __init__(self, fn, variables, discover=False):
        self.fn, self.discover = fn, discover
        self.variables, self.layout_epoch = list(variables), LAYOUT.epoch
        self.stores = list(dict.fromkeys(v.store for v in self.variables))

    def refresh(self):
        """Follow variables that moved to other stores; return whether any did."""
        if self.layout_epoch == LAYOUT.epoch:
            return False
        self.layout_epoch = LAYOUT.epoch
        found = list(dict.fromkeys([v.store for v in self.variables]
                                   + [m.store for store in self.stores for m in store.members]))
        moved = found != self.stores
        self.stores = found
        return moved

    def __call__(self, values, seed, *structures):
        bindings = {}
        for store, value in zip(self.stores, values):
            members = [value] if store.layout is None else unpack(value, store.layout)
            bindings.update(zip(store.members, members))
        trace = InlineTrace(bindings, seed=seed, parent=CONTEXT.trace if CONTEXT.trace.inline else None,
                            discover=self.discover)
        with trace:
            result = self.fn(*[wrap(s) for s in structures])
            result = unwrap(result)
            trace.close()
        if trace.discovered:
            raise MoreVariables(list(dict.fromkeys(v.store for v in trace.discovered)))
        new = []
        for store, value in zip(self.stores, values):
            if any(m in trace.written for m in store.members):
                parts = [jnp.asarray(trace.bindings[m]) for m in store.members]
                array = parts[0] if store.layout is None else repack(parts)
                new.append(array if store.sharding is None else
                           jax.lax.with_sharding_constraint(array, store.sharding))
            else:
                new.append(value)
        return result, new

    def read(self):
        """Return the stores' buffers as they are now."""
        return [store.current() for store in self.stores]

    def write(self, values):
        """Put new buffers into the stores."""
        for store, value in zip(self.stores, values):
            store.value, store.escaped = value, False


def functional(fn, variables) -> Functional:
    """Return `fn` (over Tensors, touching `variables`) as a pure function for jit, scan and vmap."""
    return Functional(fn, variables)


# Steps as long as this begin one after the other on a CPU. Two at once need their memory twice (XLA takes a step's
# before it has freed the one before), and the processor would not do more; only starting a step takes time then, some
# 0.4 ms. The next batch is prepared meanwhile in any case.
LONG_SECONDS = 0.02


class StepProgram:
    """A compiled step that owns the state while it runs: buffers are donated, never copied.

    `fn(*batch)` over Tensors reads and assigns `variables` and returns a structure of Tensors (logs). Whoever reads a
    variable in between gets its value: the stores' `writer` is this program, and `flush` gives the state back.

    Args:
        fn: the step.
        variables: the variables it touches, as far as they are known; others are found when it is traced.
        fetch: pure function of arrays (index, *data) -> batch structure, for `run`; gathers a batch on the device.
        donate: reuse the state's buffers.
        compiled: whether the step is one program; else it is traced all the same, and its operations run one at a time.
        rewrite: turns the pure function of one step into another one with the same results, for one device.
    """

    def __init__(self, fn, variables, fetch=None, donate=True, compiled=True, rewrite=None):
        self.pure, self.fetch, self.values = Functional(fn, variables, discover=True), fetch, None
        self.donate, self._jitted, self._loop = donate and compiled, None, None
        self.one_program, self.rewrite = compiled, rewrite if compiled else None
        self.compiled, self.running, self.placement, self.checked = 0, False, None, False
        self._long, self._latest = None, None   # whether steps take long, once that is known; what the last one gave
        self._slow_steps = 0

    # -- the loan

    def acquire(self):
        """Take the state out of the variables."""
        with LOCK:
            values, readers = [], list(traces_of_other_threads())
            if not CONTEXT.trace.closed and not CONTEXT.trace.inline:
                CONTEXT.trace.flush()                        # pending work reads the values as they are now
                readers.append(CONTEXT.trace)
            for trace in readers:
                for store in trace.opened if not trace.closed else ():
                    store.escaped = True
            if self.pure.refresh():
                self._jitted = self._loop = None             # compiled for the old stores
            for store in self.pure.stores:
                value = store.current()
                if self.donate and store.escaped:
                    value = jnp.array(value, copy=True)
                    STATISTICS["donated_copies"] += 1
                values.append(value)
            for store in self.pure.stores:
                store.writer, store.escaped = self, False
            self.values, self.placement = values, placement_of(self.pure.stores)

    def flush(self):
        """Give the state back to the variables."""
        with LOCK:
            if self.running:
                # asked by code that the trace runs outside of itself: it may look, but the loan goes on
                for store, value in zip(self.pure.stores, self.values):
                    store.value = value
            elif self.values is not None:
                for store, value in zip(self.pure.stores, self.values):
                    store.value, store.writer = value, None
                self.values = self._latest = None

    def put(self, store, value):
        """Give one store another value, while the state is out on loan."""
        self.values[self.pure.stores.index(store)] = value

    # -- running

    def _step(self, values, seed, *batch):
        self.compiled += 1
        logs, values = self._rewritten()(values, seed, *self._spread(batch))
        return self._readable(logs), values

    def _rewritten(self):
        pure = self.pure
        # a lambda is traced: jax's caches would keep the object alive
        return pure if self.rewrite is None or self.placement is not None else self.rewrite(lambda *a: pure(*a))

    def _spread(self, batch):
        """Split a batch over the devices, where there are several."""
        return batch if self.placement is None else jax.tree_util.tree_map(self.placement.spread, batch)

    def _readable(self, logs):
        """Put results where every process can read them."""
        if self.placement is None or not self.placement.across:
            return logs
        return jax.tree_util.tree_map(
            lambda a: jax.lax.with_sharding_constraint(a, self.placement.whole) if hasattr(a, "dtype") else a, logs)

    def step(self, *batch):
        """Run one step on a batch of arrays; return the logs as a structure of arrays."""
        if self.values is None:
            self.acquire()
        if self.placement is not None:
            batch = jax.tree_util.tree_map(self.placement.rows, batch)
        return self._execute("_jitted", np.uint64(next_host_seed()), *batch)

    def run(self, first, count, *data):
        """Run `count` steps on batches first, first + 1, ... of data on the device; return the last step's logs.

        The trip count is an input of the program, so one executable serves any count.
        """
        seed = np.uint64(next_host_seed(count=count))
        return self._execute("_loop", seed, np.int32(first), np.int32(count), *data)

    def bytes_computed(self, *batch):
        """Return the size of all that a step computes from this batch on the way. It is traced, not run."""
        def look(program):
            traced = program.trace(self.values, np.uint64(0), *batch).jaxpr.jaxpr
            leaves = len(jax.tree_util.tree_leaves(batch))
            return bytes_computed(traced, traced.invars[len(traced.invars) - leaves:])
        return self._on_loan("_jitted", look)

    def _execute(self, name, *arguments):
        made = CHECKS.made

        def run(program):
            if self.placement is not None and self.placement.across:
                Placement.dispatched += 1
            self._wait(self._latest)
            logs, self.values = program(self.values, *arguments)
            self._pace(logs)
            self.running = False
            self.checked = self.checked or CHECKS.made > made
            if self.checked:                                 # tf.debugging in the step
                jax.block_until_ready(self.values)
                jax.effects_barrier()
                raise_failed()
            return logs
        return self._on_loan(name, run)

    @staticmethod
    def _wait(logs):
        with contextlib.suppress(Exception):                 # of a failed step: whoever reads the logs gets it
            jax.block_until_ready(logs)

    def _pace(self, logs):
        """After a step was started: time the first ones; remember what to wait for."""
        if self._long is None:
            begin = time.perf_counter()
            if jax.default_backend() == "cpu":
                self._wait(logs)
            if time.perf_counter() - begin <= LONG_SECONDS:
                self._long = False
            else:                                            # the first one alone may be slow for other reasons
                self._slow_steps += 1
                self._long = True if self._slow_steps == 3 else None
        self._latest = jax.tree_util.tree_leaves(logs)[:1] if self._long else None

    def _on_loan(self, name, use):
        """Return `use(program)`, called while the state is on loan; variables that the step meets first are added."""
        if self.values is None:
            self.acquire()
        program = getattr(self, name)
        if program is None:
            if self.one_program:
                program = jax.jit(self._step if name == "_jitted" else self._many,
                                  donate_argnums=(0,) if self.donate else ())
            else:
                program = Uncompiled(self._step)
            setattr(self, name, program)
        try:
            self.running = True
            result = use(program)
            self.running = False
            return result
        except MoreVariables as more:
            self.running = False
            self.flush()
            self.pure.stores += [store for store in more.stores if store not in self.pure.stores]
            return self._on_loan(name, use)
        except BaseException:
            self.running = False
            # a failed trace leaves the buffers alone; a failed run may have consumed them
            if self.values is not None and any(getattr(v, "is_deleted", bool)() for v in self.values):
                self.values = None
            else:
                self.flush()
            raise

    def _many(self, values, seed, first, count, *data):
        self.compiled += 1
        if self.placement is not None:
            given = self.fetch
            fetch = lambda i, *data: self._spread(given(i, *data))
        else:
            fetch = self.fetch
        batch = jax.eval_shape(lambda i: fetch(i, *data), first)
        # traced once: the loop's body evaluates the jaxpr (a lambda, or jax's caches would keep this program alive)
        pure = self._rewritten()
        traced, shapes = jax.make_jaxpr(lambda *a: pure(*a), return_shape=True)(
            values, jax.ShapeDtypeStruct((), np.uint64), *batch)
        structure = jax.tree_util.tree_structure(shapes)
        empty = jax.tree_util.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), shapes[0])

        def body(i, carry):
            values, _ = carry
            # the seeds of single steps, so that it does not matter how many are dispatched together
            inputs = jax.tree_util.tree_leaves((values, seed + i.astype(np.uint64), *fetch(first + i, *data)))
            flat = jax.core.eval_jaxpr(traced.jaxpr, traced.consts, *inputs)
            logs, values = jax.tree_util.tree_unflatten(structure, flat)
            return values, self._readable(logs)
        values, logs = jax.lax.fori_loop(jnp.zeros((), np.int32), count, body, (list(values), empty))
        return logs, values


def bytes_computed(jaxpr, inputs):
    """Return the size of everything in a jaxpr that is computed from `inputs`, some of its variables."""
    known, total = set(inputs), 0
    for equation in jaxpr.eqns:
        used = [not hasattr(v, "val") and v in known for v in equation.invars]      # literals have a value
        if not any(used):
            continue
        known.update(equation.outvars)
        total += sum(v.aval.size * v.aval.dtype.itemsize for v in equation.outvars if hasattr(v.aval, "dtype"))
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        inner = getattr(inner, "jaxpr", inner)
        if inner is not None and len(inner.invars) == len(used):
            total += bytes_computed(inner, [v for v, one in zip(inner.invars, used) if one])
    return total


def optimizer_applied(owner):
    """End of apply_gradients: run now, unless this loop is known to record more before its next step."""
    trace = CONTEXT.trace
    if trace.closed or trace.inline:
        return
    if owner._run_at_once and not trace.live_tapes():
        trace.flush()
        CONTEXT.applied = owner
    else:
        trace.applied = (owner, trace.node)


def next_element():
    """A dataset hands out its next element: pending training steps start.

    Raises:
        ValueNotKnownError: a function is being traced, where the element would become part of the program.
    """
    if CONTEXT.trace.inline:
        raise ValueNotKnownError("It takes the next element of a dataset, which comes from the host (what is done with "
                                 "it is compiled all the same, one program a step).")
    begin_steps()


def begin_steps():
    """Pending training steps start here."""
    trace = CONTEXT.trace
    if not trace.closed and not trace.inline and trace.wrote and not trace.nested:
        trace.flush()


def draw_operation_seed(own_seed, name, count) -> Tensor:
    """Return the seed of a drawing operation: outside functions and datasets, where TensorFlow's generator starts.

    Args:
        own_seed: the operation's seed, or None.
        name: of the operation and its dtype.
        count: how many numbers it draws.
    """
    if isinstance(CONTEXT.trace, InlineTrace) or CONTEXT.seeds is not None:
        return draw_seed(own_seed)
    return Tensor(np.asarray(next_operation_seed(own_seed, name, count), np.uint64))


def draw_keras_seed() -> Tensor:
    """Return the seed of a `keras.random` function that was given none."""
    if isinstance(CONTEXT.trace, InlineTrace) or CONTEXT.seeds is not None:
        return draw_seed()
    return Tensor(np.asarray(next_keras_seed(), np.uint64))


def draw_seed(own_seed=None) -> Tensor:
    """Return a fresh uint64 scalar seed: in a program an input, so it never recompiles."""
    trace = CONTEXT.trace
    if isinstance(trace, InlineTrace):
        return trace.draw_seed(own_seed)
    return Tensor(np.asarray(next_host_seed(own_seed), np.uint64))
