# SPDX-License-Identifier: Apache-2.0
"""A procedure: Python code over tensors that is recorded as ONE instruction.

Built-in layers and models, losses, metrics, optimizer updates and tf.function bodies are procedures. Recording one
costs a few microseconds, however much it computes; its body runs as Python only when a program is lowered.
"""
import sys
from operator import is_

import jax
import jax.extend
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from fitloom.base import nest
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import symbolic
from fitloom.engine.avals import SEED, aval_of
from fitloom.engine.checking import CHECKS, raise_failed
from fitloom.engine.context import CONTEXT, LOCK, SETTINGS
from fitloom.engine.inline import InlineTrace
from fitloom.engine.instruction import Instruction, Op
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.store import LAYOUT, PackedResults
from fitloom.engine.tensor import Tensor, pending
from fitloom.engine.trace import Ledger, Trace, forget_instruction


class Layout:
    """What an instruction of a procedure looks like from outside.

    Its inputs are: the arguments, the `variables`, the `captures` (tensors of an enclosing computation), and a seed if
    `seeded`. Its outputs: the result tensors, their masks, the new values of the `written` variables.
    """

    __slots__ = ("variables", "captures", "written", "seeded", "structure", "tensors", "masks")


# Stands in a body's jaxpr for an input that the body turned out to need while it was traced.
_NEEDED = jax.extend.core.Primitive("needed_input")
_NEEDED.def_abstract_eval(lambda *, shape, dtype, index: jax.core.ShapedArray(shape, dtype))


class Memo:
    """What a procedure did the last time it was recorded at a trie node.

    Node, input slots and the leaf numbers of its stores determine every slot, so when they are the same again nothing
    has to be looked up variable by variable.
    """

    __slots__ = ("inputs", "avals", "epoch", "stores", "new", "next", "instruction", "start", "end", "written",
                 "write_slots", "write_stores", "seeds", "before", "after", "leaves", "outputs", "plain", "nothing",
                 "places", "run")


class Procedure(Op):
    """Python code `body(*tensors, **attributes)` as one instruction for each signature.

    Args:
        body: over Tensors; returns a nested structure of Tensors (None and Python values pass through).
        name: what errors call it.
    """

    captures_values = False    # whether float tensors of the outside become inputs, so that gradients reach them

    def __init__(self, body, name, effects=False):
        super().__init__(body, name, effects=effects)
        self.instructions, self.bound = [], {}

    def forget(self):
        """Drop everything remembered: the body has changed, or its owner is gone."""
        for instruction in self.instructions:
            forget_instruction(instruction)
        self.instructions.clear()
        self.cache.clear()
        self.bound.clear()

    # -- the instruction

    def instruction(self, avals, attributes=()):
        """Return the interned instruction for a signature."""
        found = self.cache.get((avals, attributes))
        if found is None:
            found = self.make(avals, attributes)
            if not any(isinstance(t._value, jax.core.Tracer) or t._value is None for t in found.layout.captures):
                self.keep(avals, attributes, found)          # else it belongs to this very computation
        return found

    def drop(self, instruction):
        """Let go of an instruction, and of the traces that contain it."""
        forget_instruction(instruction)
        if instruction in self.instructions:
            self.instructions.remove(instruction)

    def make(self, avals, attributes):
        """Run the body once, as Python, on tracers; return the instruction that replays what it did."""
        keywords, layout = dict(attributes), Layout()
        graph = self._trace(avals, keywords, layout)
        fn = self.transform(jax.extend.core.jaxpr_as_fun(graph), avals, layout, keywords)
        inputs = tuple(avals) + tuple(x.aval for x in layout.variables + layout.captures)
        if layout.seeded:
            inputs += (SEED,)
        place = {v: position for position, v in enumerate(layout.variables)}   # `==` compares elements
        writes = [len(avals) + place[v] for v in layout.written]
        instruction = Instruction(fn, self.name, inputs, writes, effects=self.effects or bool(graph.effects))
        instruction.layout = layout
        self.instructions.append(instruction)
        return instruction

    def transform(self, fn, avals, layout, keywords):
        """Return the function to lower (a place for jax.custom_vjp, jax.checkpoint)."""
        return fn

    def _trace(self, avals, keywords, layout, axis_env=None):
        """Return the body's jaxpr over arguments, variables, captures and seed; `axis_env` names mapped axes."""
        with jax.extend.core.take_current_trace() as around:
            outer_traces = _with_parents(around)
        state, needed = [], []

        def body(seed, *arrays):
            with jax.extend.core.take_current_trace() as own:
                pass

            def capture(value):
                needed.append(value)
                with jax.extend.core.set_current_trace(own):
                    return _NEEDED.bind(shape=value.aval.shape, dtype=value.aval.dtype, index=len(needed) - 1)

            trace = InlineTrace(seed=seed, discover=True, capture=capture, outer_traces=outer_traces,
                                values=self.captures_values)
            outputs = self._run_body(trace, arrays, keywords, layout)
            state.append(trace)
            return tuple(outputs) + tuple(jnp.asarray(trace.bindings[v]) for v in trace.written)

        closed = jax.make_jaxpr(body, axis_env=axis_env)(SEED.spec(), *[a.spec() for a in avals])
        _refuse_leaked(closed.consts, outer_traces)
        trace, graph = state[0], closed.jaxpr
        trace.captured = trace.tensors = trace.environment = None
        layout.written, layout.seeded = tuple(trace.written), trace.draws > 0
        # A value that nobody else holds was made inside the body: a constant.
        held = [_references(x) for x in needed]
        inside = [x.__class__ is Tensor and n == _UNHELD and x._value is not None
                  and not isinstance(x._value, jax.core.Tracer) for x, n in zip(needed, held)]
        layout.variables = tuple(x for x in needed if x.__class__ is not Tensor)
        layout.captures = tuple(x for x, own in zip(needed, inside) if x.__class__ is Tensor and not own)
        places = {id(needed[e.params["index"]]): e.outvars[0] for e in graph.eqns if e.primitive is _NEEDED}
        constants = [x for x, own in zip(needed, inside) if own]
        invars = graph.invars[1:] + [places[id(x)] for x in layout.variables + layout.captures]
        if layout.seeded:
            invars.append(graph.invars[0])
        graph = graph.replace(eqns=[e for e in graph.eqns if e.primitive is not _NEEDED], invars=invars,
                              constvars=graph.constvars + [places[id(x)] for x in constants])
        values = [*closed.consts, *[x.array for x in constants]]
        return jax.extend.core.ClosedJaxpr(graph, [_literal(c) for c in values])

    def _run_body(self, trace, arrays, keywords, layout):
        """Run the body on arrays inside `trace`; fill in the layout of its results; return result arrays."""
        with trace:
            result = self.fn(*[Tensor(a) for a in arrays], **keywords)
            leaves, layout.tensors, layout.masks = [], [], []
            for leaf in nest.flatten(result):
                if getattr(leaf.__class__, "is_variable", False):
                    leaf = leaf.value_tensor()
                if leaf.__class__ is Tensor or isinstance(leaf, (jax.Array, jax.core.Tracer)):
                    layout.tensors.append(len(leaves))
                    leaves.append(leaf)
                else:
                    layout.tensors.append(Constant(leaf))
            for position, leaf in enumerate(list(leaves)):
                mask = getattr(leaf, "_keras_mask", None) if leaf.__class__ is Tensor else None
                if mask is not None:
                    layout.masks.append((position, len(leaves)))
                    leaves.append(mask)
            layout.structure = nest.map_structure(lambda _: None, result)
            arrays = [trace.array_of(x) if x.__class__ is Tensor else x for x in leaves]
            trace.close()
        return arrays

    # -- recording

    def __call__(self, inputs, attributes=()):
        """Record with input tensors (a list) and static attributes (a tuple of pairs); return the result structure."""
        return self.bind(attributes)(inputs)

    def bind(self, attributes=()) -> "Bound":
        """Return the procedure with its attributes fixed: callers in a hurry keep it."""
        found = self.bound.get(attributes)
        if found is None:
            found = self.bound[attributes] = Bound(self, attributes)
        return found

    def _as_python(self, inputs, attributes):
        return self.fn(*[x if x.__class__ is Tensor else convert_to_tensor(x) for x in inputs], **dict(attributes))


class Bound:
    """A procedure with its attributes fixed."""

    __slots__ = ("procedure", "attributes")

    def __init__(self, procedure, attributes):
        self.procedure, self.attributes = procedure, attributes

    def __call__(self, inputs):
        """Record with input tensors (a sequence); return the result structure."""
        results = self.replay(inputs)
        return self.record(inputs) if results is MISSED else results

    def replay(self, inputs):
        """Do the same as the last time at this place of a known path; MISSED if anything differs.

        This is what a step of a training loop consists of, so it looks nothing up that the place determines.
        """
        trace = CONTEXT.trace
        if trace.ledger is None:
            return MISSED
        with LOCK:
            memo = trace.node.memos.get(self)
            if memo is None or memo.before is not trace.ledger or len(inputs) != len(memo.places) \
                    or memo.epoch != LAYOUT.epoch:
                return MISSED
            leaves, outs = trace.leaves, trace.outs
            if memo.run is not None:               # the results of one instruction, such as all gradients
                if not all(map(is_, inputs, outs[memo.run])):
                    return MISSED
            else:
                for value, place, slot, a in zip(inputs, memo.places, memo.inputs, memo.avals):
                    if place is not None:
                        if value is not outs[place]:
                            return MISSED
                    elif value.__class__ is not Tensor or value.aval is not a:
                        return MISSED
                    elif slot == -len(leaves) - 1 and value not in trace.tensors and value.trace is not trace:
                        array = value._value
                        leaves.append(value.array if array is None or array.__class__ is PackedResults else array)
                        trace.tensors[value] = slot
                    elif trace.tensors.get(value) != slot:
                        return MISSED
            if memo.leaves != len(leaves) or memo.seeds is not None and memo.seeds != len(trace.ints):
                return MISSED
            for store, _ in memo.new:
                array = store.value
                if store.writer is not None or array.__class__ is np.ndarray:
                    return MISSED
                leaves.append(array)
            if memo.seeds is not None:
                trace.draw()
            for store in memo.write_stores:
                store.writer = trace
            start, trace.node, trace.ledger, trace.n = trace.n, memo.next, memo.after, memo.end
            if memo.plain:
                result = pending(trace, start, memo.outputs[0])
                trace.outs.append(result)
                return result
            if memo.nothing:
                return None
            results = []
            for a in memo.outputs:
                results.append(pending(trace, start, a))
                start += 1
            trace.outs += results
            return _assemble(memo.instruction.layout, results)

    def record(self, inputs):
        """Record without looking for what happened the last time on a known path."""
        trace = CONTEXT.trace
        if trace.inline or SETTINGS.eager or CONTEXT.eager:
            return self.procedure._as_python(inputs, self.attributes)
        with LOCK:
            if trace.closed:
                trace = CONTEXT.trace = Trace()
            if trace.eager:
                return self.procedure._as_python(inputs, self.attributes)
            node, slots, avals, tensors = trace.node, [], [], trace.tensors
            for value in inputs:
                if value.__class__ is Tensor:
                    if value.trace is trace:
                        slots.append(value.slot)
                    else:
                        slot = tensors.get(value)
                        slots.append(trace.tensor(value) if slot is None else slot)
                else:
                    if isinstance(value, symbolic.SYMBOLIC):
                        raise InvalidArgumentError(f"{self.procedure.name} cannot be called with a KerasTensor.")
                    if not getattr(value.__class__, "is_variable", False):
                        value = convert_to_tensor(value)
                    slots.append(trace.slot(value))
                avals.append(value.aval)
            memo = node.memos.get(self)
            if memo is None or trace.ledger is not None or memo.inputs != slots or memo.avals != avals \
                    or memo.epoch != LAYOUT.epoch or not _replay_inputs(memo, trace):
                return self._record_anew(trace, node, slots, avals, inputs)
            trace.node = memo.next
            start = trace.n
            trace.n = start + len(memo.instruction.outputs)
            if memo.written:
                trace.write(memo.written, memo.start, memo.write_stores, memo.write_slots)
            results = [pending(trace, slot, a) for slot, a in enumerate(memo.outputs, start)]
            trace.outs += results
            return results[0] if memo.plain else _assemble(memo.instruction.layout, results)

    def _record_anew(self, trace, node, slots, avals, given):
        instruction = self.procedure.instruction(tuple(avals), self.attributes)
        layout = instruction.layout
        if trace.closed or (trace.wrote and layout.written and trace.settles(layout.written)):
            return self(given)       # tracing the body read a pending value, or a variable would be written twice
        memo, inputs = Memo(), list(slots)
        memo.inputs, memo.avals, memo.epoch, memo.leaves = inputs, list(avals), LAYOUT.epoch, len(trace.leaves)
        memo.before = trace.ledger
        memo.places, memo.run = _places(trace, given)
        before = dict(trace.opened)                     # from here on with books of its own
        slots = inputs + [trace.slot(x) for x in layout.variables + layout.captures]
        memo.stores, memo.new = [], []
        for store in dict.fromkeys(v.store for v in layout.variables):
            (memo.stores if store in before else memo.new).append((store, trace.opened[store]))
        memo.seeds = len(trace.ints) if layout.seeded else None
        if layout.seeded:
            slots.append(trace.draw())
        memo.start, memo.instruction = trace.n + instruction.results, instruction
        memo.outputs = instruction.outputs[:instruction.results]
        memo.plain = layout.structure is None and not layout.masks and len(memo.outputs) == 1
        memo.nothing = not memo.outputs and layout.structure is None and layout.tensors[0].value is None
        results = trace.emit(instruction, tuple(slots))
        memo.next, memo.end = trace.node, trace.n
        memo.written = layout.written
        memo.write_slots = dict(zip(layout.written, range(memo.start, memo.start + len(layout.written))))
        memo.write_stores = tuple(dict.fromkeys(v.store for v in layout.written))
        if memo.written:
            trace.write(memo.written, memo.start, memo.write_stores)
        if not trace.eager and memo.next.depth == node.depth + 1 and not layout.captures:
            self._remember(trace, node, memo)
        return _assemble(layout, results)

    def _remember(self, trace, node, memo):
        known = node.memos.get(self)
        memo.after = known.after if known is not None else None
        if memo.before is not None:
            if memo.after is None or not memo.after.describes(trace):
                memo.after = memo.before if memo.before.describes(trace) else Ledger(trace)
            trace.settle(memo.after)
        node.memos[self] = memo


MISSED = object()          # a replay found something that differs


def _places(trace, inputs):
    """Where the inputs stand among the trace's results (None: elsewhere), and as a slice if they are neighbours."""
    position = {id(t): k for k, t in enumerate(trace.outs)}
    places = [position.get(id(x)) for x in inputs]
    first = places[0] if places else None
    if first is None or places != list(range(first, first + len(places))):
        return places, None
    return places, slice(first, first + len(places))


_references = sys.getrefcount


def _unheld():
    """Measure what getrefcount gives for a tensor that only a list holds (it differs between Python versions)."""
    needed = [Tensor(np.zeros((), np.float32))]
    return [_references(x) for x in needed][0]


_UNHELD = _unheld()


class Block(Procedure):
    """A procedure that stays one instruction also inside traced functions, because its derivative is its own.

    `transform(fn, avals, layout, keywords)` wraps the pure function (jax.custom_vjp, jax.checkpoint, ...).
    """

    captures_values = True

    def _as_python(self, inputs, attributes):
        inputs = [x if x.__class__ is Tensor else convert_to_tensor(x) for x in inputs]
        trace = CONTEXT.trace
        if trace.inline and not trace.recording:
            return self._apply(trace, inputs, attributes)
        if not trace.inline and (trace.closed or not trace.live_tapes()):
            if not trace.closed:
                trace.flush()
            with InlineTrace() as within:                   # eager: apply to concrete arrays
                result = self._apply(within, inputs, attributes)
            if CHECKS.failed:
                raise_failed()
            for variable, array in within.bindings.items():
                variable.assign(Tensor(array))
            return result
        with LOCK:
            instruction = self.instruction(tuple(x.aval for x in inputs), attributes)
            layout = instruction.layout
            slots = [trace.slot(x) for x in inputs] + [trace.slot(x) for x in layout.variables + layout.captures]
            if layout.seeded:
                slots.append(trace.draw())
            results = trace.emit(instruction, tuple(slots))
            if layout.written:
                start = trace.n - len(layout.written)
                trace.write(layout.written, start, tuple(dict.fromkeys(v.store for v in layout.written)))
        return _assemble(layout, results)

    def _apply(self, trace, inputs, attributes):
        instruction = self.instruction(tuple(x.aval for x in inputs), attributes)
        layout = instruction.layout
        arrays = [trace.array_of(x) for x in inputs] + [trace.lookup(v) for v in layout.variables]
        arrays += [trace.array_of(t) for t in layout.captures]
        if layout.seeded:
            arrays.append(trace.draw_seed().array)
        outputs = instruction.fn(*arrays)
        for variable, array in zip(layout.written, outputs[instruction.results:]):
            trace.assign(variable, array)
        return _assemble(layout, [Tensor(a) for a in outputs[:instruction.results]])


def _refuse_leaked(constants, outer_traces):
    for constant in constants:
        if isinstance(constant, jax.core.Tracer) and constant._trace not in outer_traces:
            raise TypeError(f"A tensor of shape {constant.shape} and dtype {constant.dtype} is out of scope here: "
                            "another function computed it while it was traced, and it never had a value. Return it "
                            "from that function, and pass it to this one.")


def _literal(constant):
    """A concrete constant as a NumPy array: jax arrays become hidden arguments, which a jit inside a jit mislays."""
    if isinstance(constant, jax.core.Tracer) or not isinstance(constant, jax.Array) \
            or not constant.is_fully_addressable or jax.dtypes.issubdtype(constant.dtype, jax.dtypes.extended):
        return constant
    return np.asarray(constant)


def _with_parents(trace):
    found = []
    while trace is not None and trace not in found:
        found.append(trace)
        trace = getattr(trace, "parent_trace", None)
    return found


class Constant:
    """A result that is not a tensor: it is the same each time."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def _replay_inputs(memo, trace):
    """Open the memo's stores and draw its seed if all would get the slots they had; return whether that is so."""
    opened = trace.opened
    for store, leaf in memo.stores:
        if opened.get(store) != leaf:
            return False
    if memo.seeds is not None and memo.seeds != len(trace.ints):
        return False
    if memo.new:
        leaves = trace.leaves
        if memo.new[0][1] != -len(leaves) - 1:
            return False
        for store, _ in memo.new:
            if store in opened or store.writer is not None or store.value.__class__ is np.ndarray:
                return False
        for store, leaf in memo.new:
            leaves.append(store.value)
            trace.holders.append(store)
            opened[store] = leaf
            if store.layout is not None:
                trace.layouts.append((leaf, store.layout))
            trace.late.append(store.slots_at(leaf))
    if memo.seeds is not None:
        trace.draw()
    return True


def _assemble(layout, results):
    for position, mask in layout.masks:
        results[position]._keras_mask = results[mask]
    leaves = [each.value if each.__class__ is Constant else results[each] for each in layout.tensors]
    return nest.pack_sequence_as(layout.structure, leaves)
