# SPDX-License-Identifier: Apache-2.0
"""Work inside a function that jax is tracing: fit's step, tf.function, the body of a procedure.

Operations apply to tracers at once. While a tape is open or may still be asked, they are recorded instead, in the same
form as outside, so that the gradient is one vjp over the recorded entries.
"""
import jax
import jax.numpy as jnp
import numpy as np

from fitloom.engine.avals import aval
from fitloom.engine.context import CONTEXT
from fitloom.engine.lowering import evaluate
from fitloom.engine.seeds import high_half, next_host_seed
from fitloom.engine.tensor import Tensor, pending

_ODD = 0x9E3779B97F4A7C15


@jax.custom_jvp
def _versioned(new, old):
    """Return `new`: a gradient stops at an assignment, and goes on to the variable itself, as in TensorFlow."""
    return new


@_versioned.defjvp
def _(primals, tangents):
    return primals[0], tangents[1]


class InlineTrace:
    """The state of one traced function body.

    Args:
        bindings: variable -> array, the functional values of variables; updated by assignments.
        seed: uint64 scalar from which the body's seeds are derived, or None.
        parent: the enclosing inline trace, whose variables are visible.
        discover: record which variables outside `bindings` are touched, instead of treating them as constants.
        capture: turns a variable or tensor into an input of the body; then what comes from outside becomes
            an input.
        values: whether float tensors whose value is known become inputs, too.
    """

    __slots__ = ("bindings", "seed", "draws", "parent", "discovered", "written", "n", "outs", "log", "environment",
                 "slots", "tensors", "tapes", "nested", "finished", "pending_writes", "leaf_count", "capture",
                 "captured", "outer_traces", "values", "__weakref__", "_entries", "entered")
    inline = True
    ledger = None
    closed = False
    eager = False

    def __init__(self, bindings=None, seed=None, parent=None, discover=False, capture=None,
                 outer_traces=(), values=False):
        self.bindings, self.seed, self.draws, self.parent = dict(bindings or {}), seed, 0, parent
        self.discovered, self.written = ({} if discover else None), {}
        self.capture, self.captured, self.outer_traces, self.values = capture, {}, outer_traces, values
        self._restart()
        self.entered = []

    def _restart(self):
        self.n, self.leaf_count, self.outs, self._entries, self.log = 0, 0, [], [], []
        self.environment, self.slots, self.tensors, self.pending_writes = {}, {}, {}, {}
        self.tapes, self.nested, self.finished = [], 0, False

    def __enter__(self):
        self.entered.append(CONTEXT.trace)
        CONTEXT.trace = self
        return self

    def __exit__(self, *_):
        CONTEXT.trace = self.entered.pop()

    @property
    def recording(self):
        """Whether a tape needs what happens now."""
        return bool(self.tapes) and bool(self.live_tapes())

    def live_tapes(self):
        """Return the tapes that may still ask for a gradient."""
        return [t for t in (reference() for reference in self.tapes) if t is not None and not t.consumed]

    # -- variables

    def lookup(self, variable):
        """Return a variable's array here."""
        if variable in self.pending_writes:
            self.flush()
        array = self.bindings.get(variable)
        if array is not None:
            return array
        return self._outer(variable)

    def _outer(self, variable):
        if self.parent is not None:
            return self.parent.lookup(variable)
        if self.discovered is not None:
            self.discovered.setdefault(variable, None)
        if self.capture is not None:
            array = self.bindings[variable] = self.capture(variable)
            return array
        return variable.store.member(variable.index)

    def knows(self, variable):
        """Whether this trace or one around it binds the variable."""
        return (variable in self.bindings or variable in self.pending_writes
                or (self.parent is not None and self.parent.knows(variable)))

    def assign(self, variable, array):
        """Bind a new value."""
        if self.discovered is not None and variable not in self.bindings:
            self.discovered.setdefault(variable, None)
            if self.capture is not None:
                self.lookup(variable)                        # the old value is an input all the same
        self.written[variable] = None
        if self.values and variable in self.bindings and jnp.issubdtype(array.dtype, jnp.inexact):
            array = _versioned(array, self.bindings[variable])
        self.bindings[variable] = array

    def write(self, variables, start, stores=None, slots=None):
        """Give variables the versions start, start + 1, ... (while recording)."""
        self.log.append((tuple(variables), start))
        for slot, variable in enumerate(variables, start):
            if self.discovered is not None and variable not in self.bindings:
                self.discovered.setdefault(variable, None)
            self.slots[variable] = slot
            self.pending_writes[variable] = slot
            self.written[variable] = None

    def versions(self, variable):
        """Return every slot the variable has had while recording, oldest first."""
        found = [] if variable not in self.slots else [self.slots[variable]]
        first = self.tensors.get(variable)
        if first is not None and first not in found:
            found.insert(0, first)
        for variables, start in self.log:
            for slot, each in enumerate(variables, start):
                if each is variable and slot not in found:
                    found.append(slot)
        return tuple(found)

    # -- seeds

    def draw_seed(self, own_seed=None):
        """Return a seed derived from the body's own seed (a tracer), or a fresh host seed."""
        self.draws += 1
        if self.seed is None:
            if self.parent is not None:
                return self.parent.draw_seed(own_seed)
            return Tensor(np.asarray(next_host_seed(own_seed), np.uint64))
        derived = self.seed + jnp.uint64((self.draws - 1) * _ODD & ((1 << 64) - 1))
        if own_seed is not None:
            # the high half from the caller's own seed, the low half stays the counter
            high = high_half(int(own_seed))
            derived = (derived & jnp.uint64(0xFFFFFFFF)) | jnp.uint64(high << 32)
        return Tensor(derived)

    def draw(self, own_seed=None):
        """Return the slot of a fresh seed."""
        return self.leaf(self.draw_seed(own_seed).array)

    # -- recording, while a tape is live

    def leaf(self, value, holder=None):
        """Add an input; return its slot."""
        self.leaf_count += 1
        self.environment[-self.leaf_count] = value
        return -self.leaf_count

    def slot(self, value):
        """Return the slot of a Tensor or Variable."""
        if value.__class__ is Tensor:
            if value.trace is self and value._value is None:
                return value.slot
            if value.trace is self and value.slot in self.environment:
                return value.slot
            found = self.tensors.get(value)
            if found is None:
                found = self.tensors[value] = self.leaf(self.array_of(value))
            return found
        found = self.slots.get(value)
        if found is None:
            found = self.slots[value] = self.tensors[value] = self.leaf(self.lookup(value))
        return found

    def where(self, variable):
        """Return the current slot of a variable, or None when it was not used while recording."""
        return self.slots.get(variable)

    def number(self, value, dtype):
        """Return (slot, aval) of a Python number as an array of `dtype`."""
        return self.leaf(np.asarray(value, dtype)), aval((), dtype)

    def emit(self, instruction, slots):
        """Append one entry; return the list of its result tensors."""
        start = self.n
        self.n += len(instruction.outputs)
        self._entries.append((instruction, slots, start))
        results = [pending(self, start + q, instruction.outputs[q]) for q in range(instruction.results)]
        self.outs += results
        return results

    def entries(self):
        """Return the entries recorded so far."""
        return self._entries

    def array_of(self, tensor):
        """Return a tensor's array here; one that belongs to an enclosing computation becomes an input."""
        if self.capture is None:
            return tensor.array if self.parent is None else self.parent.array_of(tensor)
        trace, value = tensor.trace, tensor._value
        if trace is self:
            return tensor.array
        if isinstance(value, jax.core.Tracer):
            if value._trace not in self.outer_traces:
                return value
        elif not (trace is not None and value is None or self.values and tensor.aval.inexact):
            return tensor.array
        found = self.captured.get(tensor)
        if found is None:
            found = self.captured[tensor] = self.capture(tensor)
        return found

    def flush(self, detach=False):
        """Evaluate what was recorded (trace-time only: jax drops what nobody uses)."""
        wanted = [t.slot for t in self.outs if t._value is None] + list(self.pending_writes.values())
        evaluate(self._entries, self.environment, wanted)
        for tensor in self.outs:
            if tensor._value is None:
                tensor._value = self.environment[tensor.slot]
        for variable, slot in self.pending_writes.items():
            self.bindings[variable] = self.environment[slot]
        self.pending_writes = {}
        if not self.live_tapes():
            for tensor in self.outs:
                tensor.trace = None
            self._restart()

    def close(self):
        """Finish the body: evaluate, and let tapes go."""
        if self._entries:
            self.flush()
