# SPDX-License-Identifier: Apache-2.0
"""Why a gradient is None: one sentence for each source, written when it happens and shown by optimizers."""
import os

from fitloom.engine.tensor import Tensor

_STOPS = {"stop": "tf.stop_gradient", "assign": "an assignment, through which gradients do not flow"}


def note(tape, trace, targets, target_slots, flat, connected):
    """Remember for each variable without a gradient why it has none."""
    found = None
    for source, has_one in zip(flat, connected):
        if not has_one and source.__class__ is not Tensor:
            if found is None:
                found = _Search(tape, trace, targets, target_slots)
            source._no_gradient = found.reason(source)


def why_none(variable):
    """Return why the last gradient of a variable was None, or ''."""
    return getattr(variable, "_no_gradient", "")


class _Search:
    """The entries that one call of `gradient` looks at."""

    def __init__(self, tape, trace, targets, target_slots):
        self.tape, self.trace, self.targets, self.target_slots = tape, trace, targets, set(target_slots)
        entries = trace.entries()
        lines = [""] * len(entries) if trace.inline else (trace.node.lines() + [""] * len(entries))[:len(entries)]
        segments = list(tape.segments) + ([(tape.start, trace.n)] if tape.recording else [])
        self.everywhere = list(zip(entries, lines))
        self.inside = [(e, line) for e, line in self.everywhere if any(a <= e[2] < b for a, b in segments)]
        self.made = {e[2] + q for e, _ in self.inside for q in range(len(e[0].outputs))}

    def reason(self, variable):
        """Return one sentence without a full stop."""
        tape, target = self.tape, self.targets[0]
        if not variable.aval.inexact:
            return f"its dtype is {variable.aval.dtype}, and only floating-point variables have gradients"
        if not any(t.aval.inexact for t in self.targets):
            return f"the target has dtype {target.aval.dtype} and cannot be differentiated"
        if not self.target_slots & self.made:
            return ("the target was not computed inside the tape's `with` block (or went through NumPy or Python "
                    "numbers, which makes it a constant)")
        slots = set(self.trace.versions(variable))
        if not any(slots & set(e[1]) for e, _ in self.inside):
            if any(slots & set(e[1]) for e, _ in self.everywhere):
                return "it is used only outside the tape's `with` block (or inside stop_recording)"
            return "the computation of the target never uses it"
        watched = any(w is variable for w in tape.watched)
        if not watched and not tape.automatic:
            return "the tape was made with watch_accessed_variables=False and did not watch it"
        if not watched and not variable.trainable:
            return "it is not trainable, so tapes do not watch it by themselves: use tape.watch(variable)"
        return self._stopped(slots)

    def _stopped(self, slots):
        flows, reaches, stops = set(slots), set(slots), []
        for (instruction, inputs, start), line in self.inside:
            if not flows.intersection(inputs):
                continue
            arrives, through = bool(reaches.intersection(inputs)), False
            for q, positions in enumerate(instruction.dependencies):
                flows.add(start + q)
                if any(inputs[p] in reaches for p in positions):
                    reaches.add(start + q)
                    through = True
            if arrives and not through:
                stops.append((instruction, line, range(start, start + len(instruction.outputs))))
        if not self.target_slots & flows:
            return ("it is used, but the target does not depend on it (what goes through .numpy(), float() or a new "
                    "tf.constant is a constant)")
        for instruction, line, _ in stops:
            at = f" at {os.path.basename(line)}" if line else ""
            kind = instruction.outputs[0].dtype.kind if instruction.outputs else "f"
            if instruction.name in _STOPS:
                return f"the way to the target goes through {_STOPS[instruction.name]}{at}"
            if kind not in "fcV":
                return (f"the way to the target goes through '{instruction.name}'{at}, whose result has dtype "
                        f"{instruction.outputs[0].dtype}")
            return f"the way to the target goes through '{instruction.name}'{at}, which has no gradient"
        return "no differentiable operation connects it with the target"
