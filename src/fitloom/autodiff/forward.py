# SPDX-License-Identifier: Apache-2.0
"""`tf.autodiff.ForwardAccumulator`: forward-mode differentiation of what was recorded."""
import jax
import jax.numpy as jnp

from fitloom.autodiff.tape import GradientTape
from fitloom.base import nest
from fitloom.engine.context import LOCK
from fitloom.engine.instruction import Instruction
from fitloom.engine.lowering import evaluate
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.tensor import Tensor


class ForwardAccumulator:
    """Compute Jacobian-vector products: d f(primals + t * tangents) / dt at t = 0.

    Args:
        primals: tensors or variables, any structure.
        tangents: the direction; the same structure.

    Example:
        >>> import fitloom as tf
        >>> x = tf.constant(3.0)
        >>> with tf.autodiff.ForwardAccumulator(x, tf.constant(1.0)) as accumulator:
        ...     y = x * x
        >>> float(accumulator.jvp(y))
        6.0
    """

    def __init__(self, primals, tangents):
        self.primals = nest.flatten(primals)
        tangents = nest.flatten(tangents)
        if len(self.primals) != len(tangents):
            raise ValueError(f"{len(self.primals)} primals need as many tangents, but received {len(tangents)}.")
        self.tangents = [convert_to_tensor(t, dtype_hint=p.dtype) for t, p in zip(tangents, self.primals)]
        for primal, tangent in zip(self.primals, self.tangents):
            if primal.aval.shape != tangent.aval.shape:
                raise ValueError(f"A tangent of shape {tangent.aval.shape} cannot stand for a primal of shape "
                                 f"{primal.aval.shape}.")
        self.tape = GradientTape(persistent=True)

    def __enter__(self):
        self.tape.__enter__()
        self.tape.watch(self.primals)
        return self

    def __exit__(self, *error):
        return self.tape.__exit__(*error)

    def jvp(self, primals, unconnected_gradients="none"):
        """Return the directional derivative of each tensor, in the structure given."""
        if unconnected_gradients not in ("none", "zero"):
            raise ValueError(f"unconnected_gradients must be 'none' or 'zero', not '{unconnected_gradients}'.")
        with LOCK:
            results = [self._jvp(t, unconnected_gradients) for t in nest.flatten(primals)]
        return nest.pack_sequence_as(primals, results)

    def _jvp(self, target, unconnected):
        trace = self.tape.trace
        slot = trace.slot(target)
        entries, needed = [], {slot}
        for entry in reversed(trace.entries()):
            instruction, slots, start = entry
            if any(start + q in needed for q in range(len(instruction.outputs))):
                entries.append(entry)
                needed.update(slots)
        entries.reverse()
        sources, tangents = [], []
        for primal, tangent in zip(self.primals, self.tangents):
            for each in self.tape._source(trace, primal):
                if each in needed:
                    sources.append(each)
                    tangents.append(trace.slot(tangent))
        if not sources:
            return None if unconnected == "none" else Tensor(jnp.zeros(target.aval.shape, target.aval.dtype))
        avals = {}
        for instruction, slots, _ in entries:
            avals.update(zip(slots, instruction.inputs))
        produced = {start + q for instruction, _, start in entries for q in range(len(instruction.outputs))}
        for source in sources:
            avals.setdefault(source, next(p.aval for p in self.primals if source in self.tape._source(trace, p)))
        inputs = [k for k in avals if k not in produced]
        count = len(inputs)

        def fn(*arrays):
            outside = dict(zip(inputs, arrays[:count]))

            def forward(*values):
                environment = dict(outside)
                environment.update(zip(sources, values))
                evaluate(entries, environment, (slot,))
                return environment[slot]
            return jax.jvp(forward, [outside[s] for s in sources], list(arrays[count:]))[1]

        direction_avals = tuple(avals[s] for s in sources)
        instruction = Instruction(fn, "jvp", tuple(avals[k] for k in inputs) + direction_avals)
        return trace.emit(instruction, tuple(inputs) + tuple(tangents))[0]
