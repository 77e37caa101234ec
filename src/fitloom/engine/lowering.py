# SPDX-License-Identifier: Apache-2.0
"""From recorded entries to one jax computation; the gradient as an instruction over entries.

An entry is (instruction, input slots, first output slot). Slots are numbers; an environment maps them to arrays.
"""
import jax
import jax.numpy as jnp
from jax import lax

from fitloom.engine.instruction import Instruction, conjugated


def evaluate(entries, environment, wanted, bumps=None):
    """Compute the `wanted` slots in `environment`.

    Entries are pure, so order is free where data allows it. A Gradient computes the entries it covers itself (inside
    jax.vjp), therefore it is moved up to where its inputs are ready, and the covered entries are not run twice.
    `bumps` adds a zero to a slot, through which a gradient with respect to an intermediate value is taken.
    """
    for instruction, slots, start in _needed(_scheduled(entries), environment, wanted):
        if instruction.gradient:
            outputs = instruction.lower(environment, bumps)
        else:
            outputs = instruction.fn(*[environment[k] for k in slots])
            if instruction.writes:
                kept = instruction.results
                outputs = list(outputs[:kept]) + [lax.stop_gradient(x) for x in outputs[kept:]]
        for slot, array in enumerate(outputs, start):
            environment[slot] = array + bumps[slot] if bumps and slot in bumps else array


def _scheduled(entries):
    if not any(e[0].gradient for e in entries):
        return entries
    made_at = {}
    for position, (instruction, _, start) in enumerate(entries):
        for slot in range(start, start + len(instruction.outputs)):
            made_at[slot] = position
    # (position, tie) sorts a moved Gradient behind the last producer of its inputs and before everything later
    keyed = []
    for position, entry in enumerate(entries):
        if entry[0].gradient:
            last = max((made_at.get(k, -1) for k in entry[1]), default=-1)
            keyed.append(((last, 1, position), entry))
        else:
            keyed.append(((position, 0, position), entry))
    # a Gradient that reads another Gradient's results must stay behind it even after the other moved up
    keyed.sort(key=lambda pair: pair[0])
    ordered = [entry for _, entry in keyed]
    return ordered if _respects_data(ordered) else entries


def _respects_data(ordered):
    made, produced = set(), {e[2] + q for e in ordered for q in range(len(e[0].outputs))}
    for instruction, slots, start in ordered:
        if any(k in produced and k not in made for k in slots):
            return False
        made.update(range(start, start + len(instruction.outputs)))
        if instruction.gradient:
            made |= instruction.produced
    return True


def _needed(entries, environment, wanted):
    needed, kept = {k for k in wanted if k not in environment}, []
    covered = set().union(*[e[0].produced for e in entries if e[0].gradient])     # a Gradient runs them, effects too
    for entry in reversed(entries):
        instruction, slots, start = entry
        outputs = range(start, start + len(instruction.outputs))
        runs = instruction.effects and not (outputs and start in covered)
        if not runs and not any(k in needed for k in outputs):
            continue
        kept.append(entry)
        needed.difference_update(outputs)
        if instruction.gradient:
            needed -= instruction.produced
        needed.update(k for k in slots if k not in environment)
    # What stands behind the Gradient that covers it is computed already. Without effects that may be left to XLA.
    if not any(e[0].effects for e in kept):
        return kept[::-1]
    computed, left = set(), []
    for entry in reversed(kept):
        instruction, _, start = entry
        if instruction.gradient:
            computed |= instruction.produced
        elif instruction.effects and instruction.outputs and start in computed:
            continue
        left.append(entry)
    return left


class Gradient(Instruction):
    """The instruction a tape records: reverse mode over the entries it covers, their values computed once.

    Args:
        entries: the covered entries, from sources to targets.
        targets: slots to differentiate.
        groups: for each source, the slots whose cotangents add up (a variable's versions).
        cotangents: for each target a slot, or None for ones.
        source_avals: what the sources look like.
        known: avals of slots made outside the covered entries.
        jacobian: None, 'full' or 'batch'.
    """

    __slots__ = ("entries", "targets", "groups", "cotangents", "slots", "produced", "source_avals", "jacobian")
    gradient = True

    def __init__(self, entries, targets, groups, cotangents, source_avals, target_avals, known, jacobian=None):
        self.entries, self.targets, self.groups, self.cotangents = entries, targets, groups, cotangents
        self.source_avals, self.jacobian = source_avals, jacobian
        avals = {}
        for instruction, slots, start in entries:
            avals.update(zip(slots, instruction.inputs))
            avals.update(zip(range(start, start + len(instruction.outputs)), instruction.outputs))
        for group, source in zip(groups, source_avals):
            for slot in group:
                avals.setdefault(slot, source)
        for slot, target in zip(targets, target_avals):
            avals.setdefault(slot, target)
        for slot in cotangents:
            if slot is not None:
                avals.setdefault(slot, known[slot])
        self.produced = {start + q for instruction, _, start in entries for q in range(len(instruction.outputs))}
        self.slots = tuple(k for k in avals if k not in self.produced)
        outputs = [jax.ShapeDtypeStruct(self._shape(s, target_avals), s.dtype) for s in source_avals]
        super().__init__(self._lower_flat, "gradient", tuple(avals[k] for k in self.slots), outputs=outputs,
                         effects=any(instruction.effects for instruction, _, _ in entries))

    def _shape(self, source, target_avals):
        if self.jacobian == "full":
            return target_avals[0].shape + source.shape
        if self.jacobian == "batch":
            return target_avals[0].shape + source.shape[1:]
        return source.shape

    def _lower_flat(self, *arrays):
        return self.lower(dict(zip(self.slots, arrays)), None)

    def lower(self, environment, bumps):
        """Return one array a source; the covered values appear in `environment`."""
        avals = {k: a for group, a in zip(self.groups, self.source_avals) for k in group}
        flat = list(avals)                                   # a slot may serve several sources
        primals = [jnp.zeros(a.shape, a.dtype) if k in self.produced else environment[k] for k, a in avals.items()]
        outside = {k: environment[k] for k in self.slots}
        wanted = tuple(self.produced | set(self.targets))

        def forward(*sources):
            inner, shifts = dict(outside), dict(bumps or {})
            for slot, array in zip(flat, sources):
                if slot in self.produced:
                    shifts[slot] = shifts[slot] + array if slot in shifts else array
                else:
                    inner[slot] = array
            evaluate(self.entries, inner, wanted, shifts)
            return tuple(inner[k] for k in self.targets), {k: inner[k] for k in self.produced}

        values, pull, computed = jax.vjp(forward, *primals, has_aux=True)
        environment.update(computed)
        if self.jacobian:
            cotangents = self._rows(values[0], pull)
        else:
            cotangents = pull(tuple(jnp.ones_like(v) if c is None else conjugated(environment[c].astype(v.dtype))
                                    for v, c in zip(values, self.cotangents)))
        by_slot, summed = dict(zip(flat, cotangents)), []
        for group in self.groups:
            total = by_slot[group[0]]
            for slot in group[1:]:
                total = total + by_slot[slot]
            summed.append(conjugated(total))
        return tuple(summed)

    def _rows(self, value, pull):
        if self.jacobian == "batch":
            # Rows of the batch do not mix, so one pullback serves column j of every example.
            batch, width = value.shape[0], value[0].size if value.shape[0] else 0
            basis = jnp.eye(width, dtype=value.dtype).reshape((width,) + value.shape[1:])
            rows = jax.vmap(lambda c: pull((jnp.broadcast_to(c, (batch,) + c.shape),)))(basis)
            return [jnp.moveaxis(r, 0, 1).reshape(value.shape + r.shape[2:]) for r in rows]
        basis = jnp.eye(value.size, dtype=value.dtype).reshape((value.size,) + value.shape)
        rows = jax.vmap(lambda c: pull((c,)))(basis)
        return [r.reshape(value.shape + r.shape[1:]) for r in rows]
