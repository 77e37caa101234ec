# SPDX-License-Identifier: Apache-2.0
"""LSTM, GRU and simple recurrent layers over a whole sequence.

With the standard activations LSTM and GRU have a backward pass of their own: activated gates
are stored, one tanh serves all gates (sigmoid(z) = (1 + tanh(z / 2)) / 2), and the weight
gradients are one matrix product after the loop (34 -> 14 ms for 64 steps of 128 units, batch
64, two cores); the native kernels do the same (5.8 ms). Other activations run as a plain scan.

Sequences are `(batch, time, features)`; states `(batch, units)`. Outputs stand in the order in
which they were computed: with `reverse=True` the first output belongs to the last time step,
as in Keras. Where the mask is False a step leaves the states as they are and repeats the
output before it (zeros before the first valid step).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels.derivatives import with_backward
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

Activation = Callable[[jax.Array], jax.Array]


def lstm(
    x: jax.Array,
    h0: jax.Array,
    c0: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None = None,
    reverse: bool = False,
    activation: Activation | None = None,
    recurrent_activation: Activation | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Run a long short-term memory layer.

    With the columns of the kernels in the order i, f, g, o and z = x W + h R + b:
    `c' = sigmoid(f) * c + sigmoid(i) * tanh(g)`, `h' = sigmoid(o) * tanh(c')`.

    Args:
        x: `(batch, time, features)`.
        h0, c0: `(batch, units)`, the first output and cell state.
        kernel: `(features, 4 * units)`.
        recurrent_kernel: `(units, 4 * units)`.
        bias: `(4 * units,)` or None.
        mask: `(batch, time)` booleans or None.
        reverse: Begin with the last time step.
        activation: In place of tanh, or None.
        recurrent_activation: In place of sigmoid, or None.

    Returns:
        `(sequence (batch, time, units), last h, last c)`.
    """
    if activation is None and recurrent_activation is None:
        x, mask = _in_order(x, mask, reverse)
        hidden, cell = _lstm(x, h0, c0, kernel, recurrent_kernel, bias, mask)
    else:
        x, mask = _time_major(x, mask, reverse)
        outer = jnp.tanh if activation is None else activation
        inner = jax.nn.sigmoid if recurrent_activation is None else recurrent_activation

        def step(states, z):
            h, c = states
            i, f, g, o = jnp.split(z + h @ recurrent_kernel, 4, axis=-1)
            c = inner(f) * c + inner(i) * outer(g)
            return inner(o) * outer(c), c

        hidden, (_, cell) = _scan(step, (h0, c0), _project(x, kernel, bias), mask)
        hidden, mask = _batch_major(hidden, mask)
    return _outputs(hidden, mask), _last(hidden, h0), cell


def gru(
    x: jax.Array,
    h0: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None = None,
    reverse: bool = False,
    reset_after: bool = True,
    activation: Activation | None = None,
    recurrent_activation: Activation | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Run a gated recurrent unit layer.

    With the columns of the kernels in the order z, r, g:
    `h' = z * h + (1 - z) * tanh(g)`, z and r sigmoids of x W + h R + b, and
    `g = x Wg + bg + r * (h Rg + bg')` if `reset_after`, else `g = x Wg + bg + (r * h) Rg`.

    Args:
        x: `(batch, time, features)`.
        h0: `(batch, units)`, the first state.
        kernel: `(features, 3 * units)`.
        recurrent_kernel: `(units, 3 * units)`.
        bias: `(2, 3 * units)` (input and recurrent bias) if `reset_after`, else
            `(3 * units,)`; or None.
        mask: `(batch, time)` booleans or None.
        reverse: Begin with the last time step.
        reset_after: Apply the reset gate after the matrix product (as cuDNN does) or before.
        activation: In place of tanh, or None.
        recurrent_activation: In place of sigmoid, or None.

    Returns:
        `(sequence (batch, time, units), last h)`.
    """
    if reset_after:
        input_bias, recurrent_bias = (None, None) if bias is None else (bias[0], bias[1])
    else:
        input_bias, recurrent_bias = bias, None
    if activation is None and recurrent_activation is None and reset_after:
        x, mask = _in_order(x, mask, reverse)
        hidden = _gru(x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask)
        return _outputs(hidden, mask), _last(hidden, h0)
    x, mask = _time_major(x, mask, reverse)
    outer = jnp.tanh if activation is None else activation
    inner = jax.nn.sigmoid if recurrent_activation is None else recurrent_activation
    units = recurrent_kernel.shape[0]

    def step(states, projected):
        (h,) = states
        if reset_after:
            recurrent = h @ recurrent_kernel
            if recurrent_bias is not None:
                recurrent = recurrent + recurrent_bias
        else:
            recurrent = h @ recurrent_kernel[:, : 2 * units]
        gates = inner(projected[:, : 2 * units] + recurrent[:, : 2 * units])
        z, r = jnp.split(gates, 2, axis=-1)
        if reset_after:
            inside = r * recurrent[:, 2 * units :]
        else:
            inside = (r * h) @ recurrent_kernel[:, 2 * units :]
        candidate = outer(projected[:, 2 * units :] + inside)
        return (z * h + (1 - z) * candidate,)

    hidden, (last,) = _scan(step, (h0,), _project(x, kernel, input_bias), mask)
    return _outputs(*_batch_major(hidden, mask)), last


def simple_rnn(
    x: jax.Array,
    h0: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None = None,
    reverse: bool = False,
    activation: Activation | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Run a fully connected recurrent layer: `h' = tanh(x W + h R + b)`.

    Args:
        x: `(batch, time, features)`.
        h0: `(batch, units)`, the first state.
        kernel: `(features, units)`.
        recurrent_kernel: `(units, units)`.
        bias: `(units,)` or None.
        mask: `(batch, time)` booleans or None.
        reverse: Begin with the last time step.
        activation: In place of tanh, or None.

    Returns:
        `(sequence (batch, time, units), last h)`.
    """
    x, mask = _time_major(x, mask, reverse)
    function = jnp.tanh if activation is None else activation

    def step(states, projected):
        return (function(projected + states[0] @ recurrent_kernel),)

    hidden, (last,) = _scan(step, (h0,), _project(x, kernel, bias), mask)
    return _outputs(*_batch_major(hidden, mask)), last


def _in_order(x, mask, reverse):
    """Return x and the mask, as booleans, in the order of the steps."""
    if mask is not None:
        mask = mask.astype(bool)
    if reverse:
        x = jnp.flip(x, 1)
        mask = None if mask is None else jnp.flip(mask, 1)
    return x, mask


def _time_major(x, mask, reverse):
    """Return x as (time, batch, features) and the mask as (time, batch, 1), in running order."""
    x, mask = _in_order(x, mask, reverse)
    return jnp.swapaxes(x, 0, 1), _mask_column(mask)


def _mask_column(mask):
    return None if mask is None else jnp.expand_dims(jnp.swapaxes(mask, 0, 1), -1)


def _batch_major(hidden, mask):
    """Undo `_time_major` for the states and the mask."""
    mask = None if mask is None else jnp.swapaxes(jnp.squeeze(mask, -1), 0, 1)
    return jnp.swapaxes(hidden, 0, 1), mask


def _outputs(hidden, mask):
    """Return the outputs, given the states: there are none before the first valid step."""
    if mask is None:
        return hidden
    seen = lax.cummax(mask.astype(jnp.uint8), axis=1) > 0
    return jnp.where(jnp.expand_dims(seen, -1), hidden, jnp.zeros((), hidden.dtype))


def _last(hidden, first):
    return hidden[:, -1] if hidden.shape[1] else first


def _project(x, kernel, bias):
    projected = x @ kernel
    return projected if bias is None else projected + bias


def _scan(step, states, projected, mask):
    """Run `step(states, projected_t)`; return the first state at all times, and the last states."""

    def body(states, inputs):
        projected_t, valid = inputs
        new = step(states, projected_t)
        if valid is not None:
            new = tuple(jnp.where(valid, n, s) for n, s in zip(new, states, strict=True))
        return new, new[0]

    last, hidden = lax.scan(body, states, (projected, mask))
    return hidden, last


# The standard cells. Arrays are (batch, time, columns) outside and, in the references, time-major
# inside the loop. A mask is (batch, time), or empty where there is none: it is an operand of the
# native kernels.


def _half_scale(units, halves, dtype):
    """(0.5, ..., 1, ...): what a gate's input and tanh are scaled by, for gates named in order."""
    return jnp.repeat(jnp.array([0.5 if half else 1.0 for half in halves], dtype), units)


def _mask_operand(mask):
    return jnp.zeros((0,), bool) if mask is None else mask


def _mask_argument(operand):
    return operand if operand.ndim == 2 else None


def _bias_operand(bias, columns, dtype):
    return jnp.zeros((columns,), dtype) if bias is None else bias


def _accelerate(accelerated, reference, *operands):
    """Run the native version for float32, else the reference."""
    floats = [o for o in operands if jnp.issubdtype(o.dtype, jnp.floating)]
    if all(o.dtype == jnp.float32 for o in floats):
        return accelerated(*operands)
    return reference(*operands)


def _swapped(*arrays):
    return tuple(jnp.swapaxes(a, 0, 1) for a in arrays)


def _before(first, states):
    """The states before each step, time-major: `first`, then all but the last."""
    return jnp.concatenate([first[None], states])[:-1]


def _product(a, b):
    """The sum over the first two axes of the outer products of rows, as one matrix product."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def _like(*arrays):
    return tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)


def _lstm_states_reference(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    """Return the hidden states, the cell states, and the activated gates i, f, g, o."""
    units = recurrent_kernel.shape[0]
    # sigmoid(z) = tanh(z / 2) / 2 + 1 / 2: scale z beforehand, and the tanh afterwards.
    scale = _half_scale(units, (True, True, False, True), x.dtype)
    projected = (jnp.swapaxes(x, 0, 1) @ kernel + bias) * scale
    scaled_kernel = recurrent_kernel * scale

    def body(states, inputs):
        h, c = states
        projected_t, valid = inputs
        gates = jnp.tanh(projected_t + h @ scaled_kernel) * scale + (1 - scale)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        new_c = f * c + i * g
        new_h = o * jnp.tanh(new_c)
        if valid is not None:
            new_h, new_c = jnp.where(valid, new_h, h), jnp.where(valid, new_c, c)
        return (new_h, new_c), (new_h, new_c, gates)

    column = _mask_column(_mask_argument(mask))
    _, states = lax.scan(body, (h0, c0), (projected, column))
    return _swapped(*states)


def _lstm_states_native(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    states = jax.ShapeDtypeStruct((*x.shape[:2], h0.shape[1]), x.dtype)
    results = (states, states, jax.ShapeDtypeStruct((*x.shape[:2], kernel.shape[1]), x.dtype))
    return library.call("lstm", results, x, kernel, recurrent_kernel, bias, h0, c0, mask)


def _lstm_gradients_reference(
    x, h0, c0, kernel, recurrent_kernel, mask, hidden, cells, gates, dhidden, dlast_c
):
    """Return the gradients of x, h0, c0, kernel, recurrent_kernel and bias."""
    x, hidden, cells, gates, dhidden = _swapped(x, hidden, cells, gates, dhidden)
    transposed = recurrent_kernel.T

    def body(states, inputs):
        dh, dc = states
        dhidden_t, gates_t, before, after, valid = inputs
        dh = dh + dhidden_t
        passed_h, passed_c = dh, dc
        if valid is not None:
            zero = jnp.zeros((), dh.dtype)
            dh, dc = jnp.where(valid, dh, zero), jnp.where(valid, dc, zero)
        i, f, g, o = jnp.split(gates_t, 4, axis=-1)
        squashed = jnp.tanh(after)
        dc = dc + dh * o * (1 - squashed * squashed)
        da = jnp.concatenate(
            [
                dc * g * (i - i * i),
                dc * before * (f - f * f),
                dc * i * (1 - g * g),
                dh * squashed * (o - o * o),
            ],
            axis=-1,
        )
        back_h, back_c = da @ transposed, dc * f
        if valid is not None:
            back_h = back_h + jnp.where(valid, zero, passed_h)
            back_c = back_c + jnp.where(valid, zero, passed_c)
        return (back_h, back_c), da

    column = _mask_column(_mask_argument(mask))
    inputs = (dhidden, gates, _before(c0, cells), cells, column)
    (dh0, dc0), da = lax.scan(body, (jnp.zeros_like(h0), dlast_c), inputs, reverse=True)
    return (
        jnp.swapaxes(da @ kernel.T, 0, 1),
        dh0,
        dc0,
        _product(x, da),
        _product(_before(h0, hidden), da),
        jnp.sum(da, axis=(0, 1)),
    )


def _lstm_gradients_native(x, h0, c0, kernel, recurrent_kernel, mask, hidden, cells, gates, dhidden, dlast_c):
    operands = (recurrent_kernel, gates, cells, c0, dhidden, dlast_c, mask)
    da, dh0, dc0 = library.call("lstm_backward", _like(gates, h0, c0), *operands)
    row = jax.ShapeDtypeStruct(da.shape[-1:], da.dtype)
    results = (*_like(kernel, recurrent_kernel), row)
    weights = library.call("recurrent_gradients", results, x, h0, hidden, da)
    return da @ kernel.T, dh0, dc0, *weights


def _input_gradient_native(x, kernel, da):
    columns = da.shape[-1]
    results = (*_like(kernel), jax.ShapeDtypeStruct((columns,), da.dtype))
    flat_x, flat_da = x.reshape(-1, x.shape[-1]), da.reshape(-1, columns)
    return library.call("dense_gradient", results, flat_x, flat_da)


def _recurrent_gradient_native(h0, hidden, recurrent_kernel, da):
    nothing = jnp.zeros((*da.shape[:2], 0), da.dtype)
    results = (
        jax.ShapeDtypeStruct((0, da.shape[-1]), da.dtype),
        *_like(recurrent_kernel),
        jax.ShapeDtypeStruct(da.shape[-1:], da.dtype),
    )
    return library.call("recurrent_gradients", results, nothing, h0, hidden, da)[1:]


_lstm_states = Accelerated("lstm_states", _lstm_states_reference, _lstm_states_native)
_lstm_gradients = Accelerated("lstm_gradients", _lstm_gradients_reference, _lstm_gradients_native)


def _lstm_forward(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    full_bias = _bias_operand(bias, kernel.shape[1], kernel.dtype)
    operands = (x, h0, c0, kernel, recurrent_kernel, full_bias, _mask_operand(mask))
    hidden, cells, gates = _accelerate(_lstm_states, _lstm_states_reference, *operands)
    last_c = cells[:, -1] if cells.shape[1] else c0
    saved = (x, h0, c0, kernel, recurrent_kernel, bias, mask, hidden, cells, gates)
    return (hidden, last_c), saved


def _lstm_backward(residuals, cotangents):
    x, h0, c0, kernel, recurrent_kernel, bias, mask, hidden, cells, gates = residuals
    inputs = (x, h0, c0, kernel, recurrent_kernel, _mask_operand(mask), hidden, cells, gates)
    dx, dh0, dc0, dkernel, drecurrent, dbias = _accelerate(
        _lstm_gradients, _lstm_gradients_reference, *inputs, *cotangents
    )
    return dx, dh0, dc0, dkernel, drecurrent, None if bias is None else dbias, None


def _lstm_results_reference(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    """Return the hidden states and the last cell state."""
    hidden, cells, _ = _lstm_states_reference(x, h0, c0, kernel, recurrent_kernel, bias, mask)
    return hidden, cells[:, -1] if cells.shape[1] else c0


def _lstm_results_native(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    states = jax.ShapeDtypeStruct((*x.shape[:2], h0.shape[1]), x.dtype)
    operands = (x, kernel, recurrent_kernel, bias, h0, c0, mask)
    return library.call("lstm_inference", (states, *_like(c0)), *operands)


_lstm_results = Accelerated("lstm_results", _lstm_results_reference, _lstm_results_native)
# What `fusion` looks for, and puts in its place where only the hidden states are wanted.
lstm_primitive, lstm_results_primitive = _lstm_states.primitive, _lstm_results.primitive


_lstm = with_backward(_lstm_forward, _lstm_backward)


def _gru_states_reference(x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask):
    """Return the states, and z, r, the candidate, and its recurrent part before the reset."""
    units = recurrent_kernel.shape[0]
    scale = _half_scale(units, (True, True, False), x.dtype)
    projected = (jnp.swapaxes(x, 0, 1) @ kernel + input_bias) * scale
    scaled_kernel, scaled_bias = recurrent_kernel * scale, recurrent_bias * scale

    def body(h, inputs):
        projected_t, valid = inputs
        recurrent = h @ scaled_kernel + scaled_bias
        pair = jnp.tanh(projected_t[:, : 2 * units] + recurrent[:, : 2 * units]) * 0.5 + 0.5
        z, r = jnp.split(pair, 2, axis=-1)
        inside = recurrent[:, 2 * units :]
        candidate = jnp.tanh(projected_t[:, 2 * units :] + r * inside)
        new_h = candidate + z * (h - candidate)
        if valid is not None:
            new_h = jnp.where(valid, new_h, h)
        return new_h, (new_h, jnp.concatenate([pair, candidate, inside], axis=-1))

    _, states = lax.scan(body, h0, (projected, _mask_column(_mask_argument(mask))))
    return _swapped(*states)


def _gru_states_native(x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask):
    projected = x @ kernel + input_bias
    shape, units = x.shape[:2], h0.shape[1]
    results = (
        jax.ShapeDtypeStruct((*shape, units), x.dtype),
        jax.ShapeDtypeStruct((*shape, 4 * units), x.dtype),
    )
    operands = (projected, recurrent_kernel, recurrent_bias, h0, mask)
    return library.call("gru_forward", results, *operands)


def _gru_gradients_reference(x, h0, kernel, recurrent_kernel, mask, hidden, gates, dhidden):
    """Return the gradients of x, h0, kernel, recurrent_kernel and of the two biases."""
    x, hidden, gates, dhidden = _swapped(x, hidden, gates, dhidden)
    transposed = recurrent_kernel.T

    def body(dh, inputs):
        dhidden_t, gates_t, before, valid = inputs
        passed = dh + dhidden_t
        dh = passed
        if valid is not None:
            zero = jnp.zeros((), dh.dtype)
            dh = jnp.where(valid, dh, zero)
        z, r, candidate, inside = jnp.split(gates_t, 4, axis=-1)
        dz = dh * (before - candidate) * (z - z * z)
        dg = dh * (1 - z) * (1 - candidate * candidate)
        dr = dg * inside * (r - r * r)
        da = jnp.concatenate([dz, dr, dg], axis=-1)
        da_recurrent = jnp.concatenate([dz, dr, dg * r], axis=-1)
        back = dh * z + da_recurrent @ transposed
        if valid is not None:
            back = back + jnp.where(valid, zero, passed)
        return back, (da, da_recurrent)

    before = _before(h0, hidden)
    inputs = (dhidden, gates, before, _mask_column(_mask_argument(mask)))
    dh0, (da, da_recurrent) = lax.scan(body, jnp.zeros_like(h0), inputs, reverse=True)
    return (
        jnp.swapaxes(da @ kernel.T, 0, 1),
        dh0,
        _product(x, da),
        _product(before, da_recurrent),
        jnp.sum(da, axis=(0, 1)),
        jnp.sum(da_recurrent, axis=(0, 1)),
    )


def _gru_gradients_native(x, h0, kernel, recurrent_kernel, mask, hidden, gates, dhidden):
    columns = jax.ShapeDtypeStruct((*x.shape[:2], kernel.shape[1]), x.dtype)
    operands = (recurrent_kernel, gates, hidden, h0, dhidden, mask)
    da, da_recurrent, dh0 = library.call("gru_backward", (columns, columns, *_like(h0)), *operands)
    dkernel, dinput_bias = _input_gradient_native(x, kernel, da)
    drecurrent, drecurrent_bias = _recurrent_gradient_native(h0, hidden, recurrent_kernel, da_recurrent)
    return da @ kernel.T, dh0, dkernel, drecurrent, dinput_bias, drecurrent_bias


_gru_states = Accelerated("gru_states", _gru_states_reference, _gru_states_native)
_gru_gradients = Accelerated("gru_gradients", _gru_gradients_reference, _gru_gradients_native)


def _gru_results_reference(*operands):
    return _gru_states_reference(*operands)[:1]


def _gru_results_native(x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask):
    states = jax.ShapeDtypeStruct((*x.shape[:2], h0.shape[1]), x.dtype)
    operands = (x, kernel, recurrent_kernel, input_bias, recurrent_bias, h0, mask)
    return library.call("gru_inference", (states,), *operands)


_gru_results = Accelerated("gru_results", _gru_results_reference, _gru_results_native)
gru_primitive, gru_results_primitive = _gru_states.primitive, _gru_results.primitive


def _gru_forward(x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask):
    columns, dtype = kernel.shape[1], kernel.dtype
    biases = (_bias_operand(b, columns, dtype) for b in (input_bias, recurrent_bias))
    operands = (x, h0, kernel, recurrent_kernel, *biases, _mask_operand(mask))
    hidden, gates = _accelerate(_gru_states, _gru_states_reference, *operands)
    saved = (x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask, hidden, gates)
    return hidden, saved


def _gru_backward(residuals, dhidden):
    x, h0, kernel, recurrent_kernel, input_bias, recurrent_bias, mask, hidden, gates = residuals
    inputs = (x, h0, kernel, recurrent_kernel, _mask_operand(mask), hidden, gates, dhidden)
    *gradients, dinput_bias, drecurrent_bias = _accelerate(_gru_gradients, _gru_gradients_reference, *inputs)
    return (
        *gradients,
        None if input_bias is None else dinput_bias,
        None if recurrent_bias is None else drecurrent_bias,
        None,
    )


_gru = with_backward(_gru_forward, _gru_backward)
