# SPDX-License-Identifier: Apache-2.0
"""A compiled program: one recorded trace, lowered for one set of live results."""
import operator
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.engine.checking import raise_failed
from fitloom.engine.context import traces_of_other_threads
from fitloom.engine.instruction import STATISTICS
from fitloom.engine.interpreter import interpret
from fitloom.engine.lowering import evaluate
from fitloom.engine.store import FLOATS, INTS, MEMBER, SEEDS, PackedResults, repack, unpack

_ESCAPED = operator.attrgetter("escaped")
PACK_BYTES = 16384     # live float32 results up to this size leave the program in one buffer


class Program:
    """Leaves in; written stores, big live results and one buffer of small live results out."""

    __slots__ = ("effects", "placement", "rows", "leaf_count", "written", "call", "donated", "donatable", "order",
                 "where", "floats", "float_vector", "float_count", "int_count")
    compiled = True

    def __init__(self, trace, live, keep, placement=None):
        self.placement = placement
        self.rows = [] if placement is None else [j for j, store in enumerate(trace.holders) if store is None]
        self.leaf_count, self.float_count, self.int_count = len(trace.leaves), len(trace.floats), len(trace.ints)
        position = {store: j for j, store in enumerate(trace.holders) if store is not None}
        self.written = [position[store] for store in trace.dirty]
        avals = {t.slot: t.aval for t in trace.outs}
        small = [k for k in live if avals[k].dtype == np.float32 and avals[k].nbytes <= PACK_BYTES]
        if len(small) < 2:
            small = []
        big = [k for k in live if k not in set(small)]
        self.order, self.where, offset = {k: i for i, k in enumerate(big)}, {}, 0
        for slot in small:
            self.where[slot] = (offset, avals[slot].size, avals[slot].shape)
            offset += avals[slot].size
        committed = {v.store for variables, _ in trace.log[:trace.committed] for v in variables}
        self.effects = any(e[0].effects for e in trace.entries())    # a failed check leaves the variables as they were
        free = [j for j in self.written if trace.holders[j] not in committed]
        self.donated = () if keep or self.effects or not self.compiled else tuple(free)
        self.donatable = [j if j in self.donated else None for j in self.written]
        parts = [[trace.where(m) for m in store.members] for store in trace.dirty]
        packed = [store.layout is not None for store in trace.dirty]
        self.call = self._ready(self._lower(trace, parts, packed, big, small))
        self.floats = self.float_vector = None

    def _ready(self, step):
        """Return what runs the step's arrays-to-arrays function."""
        STATISTICS["programs"] += 1
        return jax.jit(step, donate_argnums=self.donated)

    def _lower(self, trace, parts, packed, big, small):
        entries, layouts = trace.entries(), dict(trace.layouts)
        leaf_count, float_count, int_count = self.leaf_count, self.float_count, self.int_count
        wanted = [k for part in parts for k in part] + big + small
        placement, rows = self.placement, self.rows
        shardings = [store.sharding for store in trace.dirty]

        def step(*arguments):
            if placement is not None:
                arguments = list(arguments)
                for j in rows:
                    arguments[j] = placement.spread(arguments[j])
            environment = {-(i + 1): a for i, a in enumerate(arguments[:leaf_count])}
            for leaf, layout in layouts.items():
                for i, member in enumerate(unpack(environment[leaf], layout)):
                    environment[leaf - MEMBER * (i + 1)] = member
            rest = list(arguments[leaf_count:])
            if float_count:
                floats = rest.pop(0)
                environment.update({FLOATS - i: floats[i] for i in range(float_count)})
            if int_count:
                ints = rest.pop(0)
                environment.update({INTS - i: ints[i].astype(np.int32) for i in range(int_count)})
                environment.update({SEEDS - i: lax.bitcast_convert_type(ints[i], np.uint64)
                                    for i in range(int_count)})
            evaluate(entries, environment, wanted)
            results = [repack([environment[k] for k in part]) if is_packed else jnp.asarray(environment[part[0]])
                       for part, is_packed in zip(parts, packed)]
            results += [environment[k] for k in big]
            if small:
                results.append(repack([environment[k] for k in small]))
            if placement is not None:
                shared = [placement.whole if placement.across else None] * (len(results) - len(shardings))
                results = [a if sharding is None else lax.with_sharding_constraint(a, sharding)
                           for a, sharding in zip(results, shardings + shared)]
            return results
        return step

    def __call__(self, trace, alive, stores):
        """Run on the trace's leaves; write the `stores` that wait for a value, and the live tensors."""
        STATISTICS["flushes"] += 1
        arguments = list(trace.leaves)
        if self.placement is not None:           # several devices: batches are split over them
            for j in self.rows:
                arguments[j] = self.placement.rows(arguments[j])
            if self.written and self.placement.across:
                type(self.placement).dispatched += 1
        others = traces_of_other_threads()
        if others or any(map(_ESCAPED, stores)):           # someone may still see an old value
            for store, j in zip(stores, self.donatable):
                if j is not None and (store.escaped or any(store in t.opened for t in others)):
                    arguments[j] = jnp.array(arguments[j], copy=True)
                    STATISTICS["donated_copies"] += 1
        if self.float_count:
            if trace.floats != self.floats or 0.0 in trace.floats:   # unchanged numbers stay on the device; 0. == -0.
                self.floats, self.float_vector = trace.floats, jnp.asarray(np.array(trace.floats, np.float32))
            arguments.append(self.float_vector)
        if self.int_count:
            arguments.append(np.array(trace.ints, np.int64))
        results = self.call(*arguments)
        if self.effects:
            jax.block_until_ready(results)
            jax.effects_barrier()
            raise_failed()
        for array, store in zip(results, stores):
            store.value, store.escaped, store.writer = array, False, None
        if alive:
            base, order = len(self.written), self.order
            packed = PackedResults(results[-1], self.where) if self.where else None
            if not order:
                for tensor in alive:
                    tensor._value = packed
                return
            for tensor in alive:
                i = order.get(tensor.slot)
                tensor._value = packed if i is None else results[base + i]


class Interpreted(Program):
    """The same for a trace that is not expected again: its operations run one at a time, nothing is compiled.

    Args:
        seconds: after this time it gives up with TooSlowError, before anything is written.
    """

    __slots__ = ("seconds",)
    compiled = False

    def __init__(self, trace, live, keep, seconds):
        self.seconds = seconds
        super().__init__(trace, live, keep)

    def _ready(self, step):
        def run(*arguments):
            deadline = time.perf_counter() + self.seconds
            return interpret(jax.make_jaxpr(step)(*arguments), arguments, deadline)
        STATISTICS["interpreted"] += 1
        return run
