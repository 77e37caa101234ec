# SPDX-License-Identifier: Apache-2.0
"""Branches and loops on tensors: `tf.cond`, `tf.while_loop`, `tf.switch_case`, `tf.case`.

Outside a traced function a predicate has a value, so the branch is plain Python. Inside, branch and loop bodies become
procedures whose variables and captured tensors are inputs of one XLA conditional or loop.
"""
import jax
import jax.numpy as jnp
from jax import lax

from fitloom import ops
from fitloom.base import nest
from fitloom.base.errors import InvalidArgumentError, ValueNotKnownError
from fitloom.base.shapes import TensorShape
from fitloom.engine.context import CONTEXT
from fitloom.engine.instruction import Instruction
from fitloom.engine.procedure import Block, Layout, Procedure
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.tensor import Tensor
from fitloom.tracing.repetition import repeat_while

_STORED = 256          # a loop of at most so many steps stores its states for a gradient


def known_value(tensor):
    """Return a scalar tensor's Python value, or None inside a traced function that depends on its inputs."""
    if not isinstance(tensor, Tensor):
        return tensor
    if not CONTEXT.trace.inline:
        return tensor.array.item() if tensor.aval.size == 1 else tensor.numpy()
    if tensor._value is None or isinstance(tensor._value, jax.core.Tracer):
        return None
    return tensor.array.item() if hasattr(tensor.array, "item") else tensor.array


def cond(pred, true_fn=None, false_fn=None, name=None):
    """Return `true_fn()` if `pred` holds, else `false_fn()`.

    Both must return the same structure of tensors with the same shapes and dtypes.
    """
    if true_fn is None or false_fn is None:
        raise TypeError("tf.cond needs both true_fn and false_fn.")
    if getattr(pred.__class__, "is_variable", False):
        pred = pred.value_tensor()
    if not isinstance(pred, Tensor):
        return true_fn() if bool(pred) else false_fn()
    if pred.aval.size != 1:
        raise ValueError(f"tf.cond needs a scalar predicate, but received shape {pred.aval.shape}. "
                         "For an elementwise choice use tf.where.")
    value = known_value(pred)
    if value is not None:
        return true_fn() if value else false_fn()
    return choose(Branches([false_fn, true_fn], "cond"), pred)


def choose(branches, pred):
    """Run branch 1 if the scalar tensor `pred` holds, else branch 0."""
    if getattr(pred.__class__, "is_variable", False):
        pred = pred.value_tensor()
    if pred.aval.size != 1:
        raise ValueError(f"A branch needs a scalar condition, but received shape {pred.aval.shape}. "
                         "For an elementwise choice use tf.where, or tf.reduce_all(x).")
    return branches([_AS_INDEX([pred])])


def switch_case(branch_index, branch_fns, default=None, name=None):
    """Return `branch_fns[branch_index]()`; an index out of range takes `default` (the last branch if None)."""
    branches = dict(branch_fns) if isinstance(branch_fns, dict) or (
        branch_fns and isinstance(branch_fns[0], (list, tuple))) else dict(enumerate(branch_fns))
    if sorted(branches) != list(range(len(branches))):
        raise ValueError(f"switch_case needs branches 0 to {len(branches) - 1}, but received {sorted(branches)}.")
    functions = [branches[i] for i in range(len(branches))] + [default or branches[len(branches) - 1]]
    index = convert_to_tensor(branch_index)
    value = known_value(index)
    last = len(functions) - 1
    if value is not None:
        return functions[value if 0 <= value < last else last]()
    return Branches(functions, "switch_case")([_Clamp(last)([index])])


def case(pred_fn_pairs, default=None, exclusive=False, strict=False, name="case"):
    """Return the result of the function of the first predicate that holds, else `default()`.

    Raises:
        tf.errors.InvalidArgumentError: `exclusive` and several predicates hold, or none does and there is no default.
            Inside a traced function, where no value is known, the first, or the last, function counts instead.
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
    if not pairs:
        if default is None:
            raise ValueError("tf.case needs at least one (predicate, function) pair or a default.")
        return default()
    if not CONTEXT.trace.inline:
        true = sum(bool(predicate) for predicate, _ in pairs) if exclusive or default is None else 1
        if true > 1 and exclusive:
            raise InvalidArgumentError(f"tf.case with exclusive=True needs one predicate that holds, but {true} do.")
        if not true and default is None:
            raise InvalidArgumentError("tf.case has no default, and none of its predicates holds.")
    predicate, function = pairs[0]
    if len(pairs) == 1:
        return cond(predicate, function, default or function)
    return cond(predicate, function, lambda: case(pairs[1:], default))


def while_loop(cond, body, loop_vars, shape_invariants=None, parallel_iterations=10, back_prop=True,
               swap_memory=False, maximum_iterations=None, name=None):
    """Repeat `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds; return the last values.

    Inside a traced function the shapes of the loop variables cannot change: a function whose loop has
    `shape_invariants` with unknown sizes, and needs them, runs as Python. A gradient through such a loop computes the
    states it needs again (`repetition.py`), unless a small `maximum_iterations` lets them be stored.
    """
    loop_vars = loop_vars if isinstance(loop_vars, (list, tuple)) else [loop_vars]
    values = nest.map_structure(as_tensor, list(loop_vars))
    limit = None if maximum_iterations is None else known_value(convert_to_tensor(maximum_iterations))
    if not CONTEXT.trace.inline:
        done = 0
        while (limit is None or done < limit) and bool(cond(*values)):
            values = _as_list(body(*values))
            values = nest.map_structure(as_tensor, values)
            done += 1
        return type(loop_vars)(values) if isinstance(loop_vars, tuple) else values
    if maximum_iterations is not None and limit is None:         # not known while tracing: counted in the loop
        most = ops.cast(maximum_iterations, "int32")
        counted = while_loop(lambda n, *state: ops.logical_and(n < most, cond(*state)),
                             lambda n, *state: (n + 1, *_as_list(body(*state))), [ops.constant(0), *values],
                             shape_invariants)[1:]
        return type(loop_vars)(counted) if isinstance(loop_vars, tuple) else counted
    loop = _While(lambda *state: convert_to_tensor(cond(*state)), body, values, limit, _changing(shape_invariants))
    result = nest.pack_sequence_as(values, nest.flatten(loop(nest.flatten(values))))
    return type(loop_vars)(result) if isinstance(loop_vars, tuple) else result


def _changing(shape_invariants):
    """Whether shape invariants name sizes that are not known."""
    shapes = [getattr(each, "shape", each) for each in nest.flatten(shape_invariants)]
    return any(isinstance(shape, TensorShape) and (shape.rank is None or None in tuple(shape)) for shape in shapes)


def as_tensor(value):
    """Return a value, a variable's too, as a tensor."""
    return value.value_tensor() if getattr(value.__class__, "is_variable", False) else convert_to_tensor(value)


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


class Body(Procedure):
    """A branch or loop body: tensors of the outside are its inputs, so that gradients reach them."""

    captures_values = True


class _Index(Block):
    def __init__(self):
        super().__init__(lambda p: Tensor(p.array.reshape(()).astype(jnp.int32)), "predicate")


_AS_INDEX = _Index()


class _Clamp(Block):
    """A branch index with everything out of range sent to the last branch."""

    def __init__(self, last):
        def clamp(index):
            array = index.array.reshape(()).astype(jnp.int32)
            return Tensor(jnp.where((array >= 0) & (array < last), array, last))
        super().__init__(clamp, "branch_index")


class _Compound(Block):
    """A block assembled from the instructions of its parts: no part's Python runs more than once."""

    def __init__(self, name):
        super().__init__(None, name)

    def _combine(self, layouts):
        """Return the layout of the whole: the union of what the parts need."""
        layout = Layout()
        layout.variables = tuple(dict.fromkeys(v for each in layouts for v in each.variables))
        layout.captures = tuple({id(t): t for each in layouts for t in each.captures}.values())
        layout.written = tuple(dict.fromkeys(v for each in layouts for v in each.written))
        layout.seeded = any(each.seeded for each in layouts)
        layout.masks = []
        return layout

    @staticmethod
    def _inputs_of(part, whole, arrays, arguments, offset=0):
        """Pick a part's inputs out of the whole's (variables, captures, seed)."""
        variables = dict(zip(whole.variables, arrays))
        captures = dict(zip(map(id, whole.captures), arrays[len(whole.variables):]))
        picked = list(arguments) + [variables[v] for v in part.variables] + [captures[id(t)] for t in part.captures]
        if part.seeded:
            seed = arrays[len(whole.variables) + len(whole.captures)]
            picked.append(seed + jnp.asarray(offset).astype(jnp.uint64) * jnp.uint64(0x9E3779B97F4A7C15))
        return picked

    def _finish(self, fn, avals, layout, parts):
        from fitloom.engine.avals import SEED
        inputs = tuple(avals) + tuple(x.aval for x in layout.variables + layout.captures)
        inputs += (SEED,) if layout.seeded else ()
        place = {v: position for position, v in enumerate(layout.variables)}   # `==` compares elements
        writes = [len(avals) + place[v] for v in layout.written]
        instruction = Instruction(fn, self.name, inputs, writes, effects=any(p.effects for p in parts))
        instruction.layout = layout
        self.instructions.append(instruction)
        return instruction


class Branches(_Compound):
    """One of several functions, chosen by an index."""

    def __init__(self, functions, name):
        super().__init__(name)
        self.functions = functions

    def unify(self, parts):
        """Return (what each part contributes to every output, the outputs' places, their structure)."""
        first = parts[0]
        for other in parts[1:]:
            if other.layout.structure != first.layout.structure or \
                    other.outputs[:other.results] != first.outputs[:first.results]:
                raise InvalidArgumentError(
                    f"tf.{self.name}: all branches must return tensors of the same shapes and dtypes, but one returns "
                    f"{list(first.outputs[:first.results])} and another {list(other.outputs[:other.results])}.")
        return [list(range(p.results)) for p in parts], first.layout.tensors, first.layout.structure

    def make(self, avals, attributes):
        parts = [Body(f, self.name).instruction(()) for f in self.functions]
        picked, tensors, structure = self.unify(parts)
        layout = self._combine([p.layout for p in parts])
        layout.structure, layout.tensors = structure, tensors

        def branch(part, chosen):
            def run(arrays):
                outputs = part.fn(*self._inputs_of(part.layout, layout, arrays, ()))
                current = dict(zip(layout.variables, arrays))
                current.update(zip(part.layout.written, outputs[part.results:]))
                results = tuple(outputs[p] if p.__class__ is int else jnp.asarray(p) for p in chosen)
                return results + tuple(current[v] for v in layout.written)
            return run

        def fn(index, *arrays):
            return tuple(lax.switch(index, [branch(p, c) for p, c in zip(parts, picked)], arrays))
        return self._finish(fn, avals, layout, parts)


class _While(_Compound):
    def __init__(self, condition, body, values, limit, changing=False):
        super().__init__("while_loop")
        self.structure, self.limit, self.changing = values, limit, changing
        self.condition = lambda *flat: condition(*nest.pack_sequence_as(values, flat))
        self.body = lambda *flat: nest.map_structure(as_tensor, _as_list(body(*nest.pack_sequence_as(values, flat))))

    def make(self, avals, attributes):
        condition = Body(self.condition, "while_loop condition").instruction(avals)
        body = Body(self.body, "while_loop body").instruction(avals)
        if body.outputs[:body.results] != tuple(avals):
            raise (ValueNotKnownError if self.changing else InvalidArgumentError)(
                f"tf.while_loop: the body must return values of the same shapes and dtypes as the loop variables "
                f"{list(avals)}, but returned {list(body.outputs[:body.results])}. Inside a compiled function shapes "
                "cannot change from one iteration to the next.")
        layout, count = self._combine([condition.layout, body.layout]), len(avals)
        layout.structure, layout.tensors = body.layout.structure, body.layout.tensors

        def with_writes(outer, written):
            current = dict(zip(layout.variables, outer))
            current.update(zip(layout.written, written))
            return [current[v] for v in layout.variables] + list(outer[len(layout.variables):])

        def test(state, outer):
            step, flat, written = state[0], state[1:1 + count], state[1 + count:]
            inputs = self._inputs_of(condition.layout, layout, with_writes(outer, written), flat, step)
            more = condition.fn(*inputs)[0].reshape(())
            return more if self.limit is None else more & (step < int(self.limit))

        def advance(state, outer):
            step, flat, written = state[0], state[1:1 + count], state[1 + count:]
            outputs = body.fn(*self._inputs_of(body.layout, layout, with_writes(outer, written), flat, step))
            new = dict(zip(layout.written, written))
            new.update(zip(body.layout.written, outputs[body.results:]))
            return (step + 1, *outputs[:count], *(new[v] for v in layout.written))

        def fn(*arrays):
            start, outer = tuple(arrays[:count]), tuple(arrays[count:])
            old = dict(zip(layout.variables, outer))
            state = (jnp.zeros((), jnp.int32), *start, *(old[v] for v in layout.written))
            if self.limit is None or self.limit > _STORED:
                return repeat_while(test, advance, state, outer)[1:]

            def bounded(state, _):                           # a small known bound: every state is stored
                return lax.cond(test(state, outer), lambda s: advance(s, outer), lambda s: s, state), None
            return lax.scan(bounded, state, None, length=int(self.limit))[0][1:]
        return self._finish(fn, avals, layout, (condition, body))


class Scan(_Compound):
    """A loop over the first axis: `step(carry tensors, element tensors) -> (carry, outputs)` as one lax.scan."""

    def __init__(self, step, carry_count, name, reverse=False):
        super().__init__(name)
        self.step, self.carry_count, self.reverse = step, carry_count, reverse

    def make(self, avals, attributes):
        from fitloom.engine.avals import aval
        count = self.carry_count
        elements = tuple(aval(a.shape[1:], a.dtype) for a in avals[count:])
        part = Body(self.step, self.name).instruction(tuple(avals[:count]) + elements)
        if part.outputs[:count] != tuple(avals[:count]):
            raise InvalidArgumentError(
                f"{self.name}: the function must return values of the same shapes and dtypes as the initial values "
                f"{list(avals[:count])}, but returned {list(part.outputs[:count])}.")
        layout = self._combine([part.layout])
        layout.structure, layout.tensors = part.layout.structure, part.layout.tensors

        def fn(*arrays):
            carry, columns, outer = arrays[:count], arrays[count:len(avals)], arrays[len(avals):]
            old = dict(zip(layout.variables, outer))

            def advance(state, row):
                step, carried, written = state
                current = dict(old)
                current.update(zip(layout.written, written))
                inputs = [current[v] for v in layout.variables] + list(outer[len(layout.variables):])
                outputs = part.fn(*self._inputs_of(part.layout, layout, inputs, tuple(carried) + tuple(row), step))
                return (step + 1, tuple(outputs[:count]), tuple(outputs[part.results:])), \
                    tuple(outputs[count:part.results])

            state = (jnp.zeros((), jnp.int32), tuple(carry), tuple(old[v] for v in layout.written))
            (_, carried, written), stacked = lax.scan(advance, state, tuple(columns), reverse=self.reverse)
            return tuple(carried) + tuple(stacked) + tuple(written)
        return self._finish(fn, avals, layout, (part,))
