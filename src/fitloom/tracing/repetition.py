# SPDX-License-Identifier: Apache-2.0
"""A loop of unknown length on the device, with derivatives.

XLA's memory is fixed, so the states that a backward pass needs cannot be stored one by one. Instead a buffer keeps a
few of them, evenly spaced: whenever it is full, every second one is dropped and the distance doubles. The backward pass
goes from the last kept state to the first, computes the states of that stretch again into a second buffer, and takes
the pullback of each step. Up to KEPT * KEPT steps a gradient costs two more forward passes; beyond, the stretches are
computed more than twice, and the result is still exact.

The loops that do this are such loops themselves, so there are derivatives of any order, and forward mode.
"""
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.ops.kernels.derivatives import linear_map

KEPT = 64                    # states in a buffer
LEAST_KEPT = 16              # the same where states are big
BUFFER_BYTES = 1 << 28       # what a buffer may take before it has fewer places


def repeat_while(test, advance, state, outer):
    """Return the state after `state = advance(state, outer)` while `test(state, outer)` holds.

    Args:
        test: (tuple of arrays, tuple of arrays) -> a scalar bool. It must not close over values that are traced.
        advance: the same -> a tuple of arrays like `state`.
        state: arrays of any dtypes.
        outer: arrays that stay the same; they can be differentiated.
    """
    state, outer = tuple(state), tuple(outer)
    floats = [i for i, a in enumerate(state) if jnp.issubdtype(a.dtype, jnp.inexact)]

    @jax.custom_jvp
    def run(state, outer):
        return lax.while_loop(lambda s: test(s, outer), lambda s: tuple(advance(s, outer)), state)

    def rule(primals, tangents):
        state, outer = primals
        moving = [i for i, t in enumerate(tangents[1]) if not _is_zero(t)]
        loop = _Loop(test, advance, floats, moving)
        result, kept = loop.forward(state, outer)
        along = [jnp.zeros(a.shape, a.dtype) for a in result]
        if moving or not all(map(_is_zero, tangents[0])):
            vectors = (tuple(jnp.zeros_like(state[i]) if _is_zero(tangents[0][i]) else tangents[0][i] for i in floats),
                       tuple(tangents[1][i] for i in moving))
            for i, tangent in zip(floats, linear_map(loop.tangent, loop.transpose, (state, outer, kept), vectors)):
                along[i] = tangent
        return result, tuple(t if i in floats else np.zeros(t.shape, jax.dtypes.float0) for i, t in enumerate(along))

    run.defjvp(rule, symbolic_zeros=True)
    return run(state, outer) if floats else lax.while_loop(lambda s: test(s, outer),
                                                           lambda s: tuple(advance(s, outer)), state)


def repeat(count, advance, state, outer):
    """Return the state after `state = advance(i, state, outer)` for i = 0 ... count - 1; `count` is an int32 array."""
    def step(indexed, given):
        return (indexed[0] + 1, *advance(indexed[0], indexed[1:], given[1:]))
    return repeat_while(lambda s, o: s[0] < o[0], step, (jnp.int32(0), *state), (jnp.int32(count), *outer))[1:]


def _is_zero(tangent):
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero) or tangent.dtype == jax.dtypes.float0


def _replaced(whole, places, parts):
    whole = list(whole)
    for place, part in zip(places, parts):
        whole[place] = part
    return tuple(whole)


def _at(buffer, index):
    return tuple(lax.dynamic_index_in_dim(b, index, keepdims=False) for b in buffer)


def _put(buffer, index, state):
    return tuple(lax.dynamic_update_index_in_dim(b, a, index, 0) for b, a in zip(buffer, state))


class _Loop:
    """The derivatives of one loop: `floats` are the differentiable states, `moving` the outer arrays that count."""

    def __init__(self, test, advance, floats, moving):
        self.test, self.advance, self.floats, self.moving = test, advance, floats, moving

    # -- forward, with some of the states

    def forward(self, state, outer):
        """Return the last state and (number of steps, distance of the kept states, buffer of the kept states)."""
        size = max(sum(a.size * a.dtype.itemsize for a in state), 1)
        places = KEPT if size * KEPT <= BUFFER_BYTES else LEAST_KEPT
        buffer = tuple(jnp.zeros((places, *a.shape), a.dtype) for a in state)
        width = len(state)

        def thinned(buffer):
            return tuple(jnp.concatenate([b[::2], jnp.zeros_like(b[:places // 2])]) for b in buffer)

        def stretch(carried, outer):
            steps, distance, kept = carried[:3]
            state, buffer = carried[3:3 + width], carried[3 + width:]
            full = kept == places
            buffer = lax.cond(full, thinned, lambda b: b, tuple(buffer))
            kept, distance = jnp.where(full, places // 2, kept), jnp.where(full, 2 * distance, distance)
            buffer = _put(buffer, kept, state)

            def step(counted, given):
                return (counted[0] + 1, *self.advance(counted[1:], given[1:]))
            done, *state = repeat_while(lambda s, o: (s[0] < o[0]) & self.test(s[1:], o[1:]), step,
                                        (jnp.int32(0), *state), (distance, *outer))
            return (steps + done, distance, kept + 1, *state, *buffer)

        start = (jnp.int32(0), jnp.int32(1), jnp.int32(0), *state, *buffer)
        steps, distance, _, *rest = repeat_while(lambda s, o: self.test(s[3:3 + width], o), stretch, start, outer)
        return tuple(rest[:width]), (steps, distance, tuple(rest[width:]))

    def tangent(self, residuals, vectors):
        """Forward mode: state and tangent go through the loop together."""
        (state, outer, _), (along, along_outer), width = residuals, vectors, len(residuals[0])
        floats, moving, count = self.floats, self.moving, len(residuals[1])

        def step(pair, given):
            state, outer = pair[:width], given[:count]

            def chosen(parts, outer_parts):
                return tuple(self.advance(_replaced(state, floats, parts), _replaced(outer, moving, outer_parts)))
            result, tangents = jax.jvp(chosen, (tuple(state[i] for i in floats), tuple(outer[i] for i in moving)),
                                       (tuple(pair[width:]), tuple(given[count:])))
            return (*result, *(tangents[i] for i in floats))
        final = repeat_while(lambda s, o: self.test(s[:width], o[:count]), step, (*state, *along),
                             (*outer, *along_outer))
        return tuple(final[width:])

    # -- backward

    def transpose(self, residuals, cotangents):
        """Reverse mode: return the cotangents of the floating states and of the moving outer arrays."""
        state, outer, (steps, distance, buffer) = residuals
        inputs, floats = len(outer), len(self.floats)
        places = buffer[0].shape[0]
        grads = tuple(jnp.zeros_like(outer[i]) for i in self.moving)

        def stretch(index, carried, given):
            outer, (steps, distance), buffer = given[:inputs], given[inputs:inputs + 2], given[inputs + 2:]
            index = (steps + distance - 1) // distance - 1 - index
            length = jnp.minimum(distance, steps - index * distance)
            return self._stretch(_at(buffer, index), length, carried, outer, places)

        carried = repeat((steps + distance - 1) // distance, stretch, (*cotangents, *grads),
                         (*outer, steps, distance, *buffer))
        return tuple(carried[:floats]), tuple(carried[floats:])

    def _stretch(self, state, length, carried, outer, places):
        """Go back through `length` steps that begin with `state`."""
        width, inputs = len(state), len(outer)
        apart = (length + places - 1) // places              # 1 up to `places` steps
        parts = (length + apart - 1) // apart
        blank = tuple(jnp.zeros((places, *a.shape), a.dtype) for a in state)

        def ahead(_, state, outer):
            return self.advance(state, outer)

        def fill(index, both, given):
            state, buffer = both[:width], _put(both[width:], index, both[:width])
            return (*repeat(given[0], ahead, state, given[1:]), *buffer)
        buffer = repeat(parts, fill, (*state, *blank), (apart, *outer))[width:]

        def part(index, carried, given):
            outer, (length, apart, parts), buffer = given[:inputs], given[inputs:inputs + 3], given[inputs + 3:]
            index = parts - 1 - index
            begin, many = _at(buffer, index), jnp.minimum(apart, length - index * apart)

            def back(i, carried, given):
                many, begin, outer = given[0], given[1:1 + width], given[1 + width:]
                return self._back(repeat(many - 1 - i, ahead, begin, outer), outer, carried)
            return repeat(many, back, carried, (many, *begin, *outer))
        return repeat(parts, part, carried, (*outer, length, apart, parts, *buffer))

    def _back(self, state, outer, carried):
        """One step: the pullback at `state`, and what it adds to the gradients of the outer arrays."""
        count = len(self.floats)

        def chosen(parts, outer_parts):
            result = self.advance(_replaced(state, self.floats, parts), _replaced(outer, self.moving, outer_parts))
            return tuple(result[i] for i in self.floats)
        pull = jax.vjp(chosen, tuple(state[i] for i in self.floats), tuple(outer[i] for i in self.moving))[1]
        cotangents, grads = pull(tuple(carried[:count]))
        return (*cotangents, *(a + b for a, b in zip(carried[count:], grads)))
