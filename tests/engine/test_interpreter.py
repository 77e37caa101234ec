# SPDX-License-Identifier: Apache-2.0
"""Computations run one operation at a time give what the compiled ones give."""
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fitloom.engine.avals import aval
from fitloom.engine.interpreter import MOST, MOST_PRODUCTS, TooSlowError, Uncompiled, interpret, on_host

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=(5, 4)).astype(np.float32)
INTS, ROWS = np.array([7, -7, 5, 0, -3]), np.array([0, 3, 1, 9, -2])


def _loss(w, x):
    def step(state, row):
        state = jnp.tanh(state @ w + row)
        return state, jnp.sum(jax.nn.relu(state))
    state, rows = lax.scan(step, x[0], x, reverse=True)
    return jnp.mean(rows) + jax.nn.logsumexp(state)


CASES = {
    "arithmetic": (lambda x, y: (x / y, x % y, jnp.abs(x) ** y, x ** 3, x ** -2, lax.rsqrt(jnp.abs(x)), jnp.sign(x),
                                 lax.clamp(np.float32(-0.5), x, np.float32(0.5)), jnp.where(x > y, x, y)), X, Y),
    "integers": (lambda a: (lax.div(a, jnp.full_like(a, 2)), lax.rem(a, jnp.full_like(a, 4)), a // 2, a << 2,
                            lax.shift_right_logical(a, jnp.full_like(a, 1)), a & 3, ~a, -a,
                            lax.div(a, jnp.zeros_like(a)), a.astype(jnp.float32), a.astype(bool)), INTS),
    "numbers to integers": (lambda x: ((x * 1e12).astype(jnp.int32), (x / 0).astype(jnp.int32), (x * 1e3).astype(jnp.uint8),
                                      (x * 5).astype(jnp.int64), (0 * x / 0).astype(jnp.int32)), X),
    "rounding": (lambda x: (jnp.round(x * 4) / 4, lax.round(x * 4), jnp.floor(x), jnp.ceil(x)), X),
    "shapes": (lambda x: (x[::-1, 1:3], x[1:4:2].T, jnp.pad(x, ((1, 2), (0, 1)), constant_values=3.0),
                          lax.pad(x, np.float32(0), ((1, 0, 2), (0, 0, 0))), lax.pad(x, np.float32(0), ((-1, 0, 0), (0, -1, 0))),
                          jnp.concatenate([x, x], 1), jnp.stack(jnp.split(x, 2, 1)), jnp.arange(4) + x,
                          lax.dynamic_slice(x, (4, -1), (2, 2)),
                          lax.dynamic_update_slice(x, x[:2, :2], (9, 1))), X),
    "reductions": (lambda x: (x.sum(), x.sum(0), x.max(1), x.min(), x.prod(1), (x > 0).all(0), (x > 0).any(),
                              x.argmax(1), x.argmin(), jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True),
                              lax.cummax(x, 1), jnp.cumprod(x, 0), jnp.sort(x, 0), jnp.argsort(x, 1)), X),
    "empty": (lambda x: (x[:0].sum(0), x[:0] + 1, x[:0] @ x.T, jnp.concatenate([x[:0], x])), X),
    "products": (lambda x, y: (x @ y.T, jnp.einsum("ij,ij->i", x, y), jnp.einsum("ij,kj->kij", x, y), jnp.vdot(x, y),
                               jnp.einsum("ij,il->ijl", x, y), x.astype(jnp.bfloat16) @ y.T.astype(jnp.bfloat16)),
                 X, Y),
    "gather": (lambda x, i: (x[i], x[i, i], x[:, i], jnp.take(x, i, axis=1, mode="fill"),
                             jnp.take(x, i, axis=0, mode="clip"), jnp.take_along_axis(x, i[:, None] % 4, 1),
                             jnp.take(INTS, i, mode="fill"), jnp.take(INTS, i, mode="fill", fill_value=5)), X, ROWS),
    "scatter": (lambda x, i: (x.at[i].add(2.0), x.at[:, i].add(1.0), x.at[i % 5, i % 4].add(x[:, 0]), x.at[i].set(0.0),
                              x.at[i].max(0.1), x.at[i].add(1.0, mode="clip")), X, ROWS),
    "gather's gradient": (jax.grad(lambda x, i: jnp.sum(jnp.take_along_axis(x, i[:, None] % 4, 1) ** 2)
                                   + jnp.sum(x[i] ** 2)), X, ROWS),
    "control flow": (lambda x: (lax.cond(x[0, 0] > 9, jnp.sin, jnp.cos, x),
                                lax.switch(7, [jnp.sin, jnp.cos, jnp.tanh], x),
                                lax.while_loop(lambda s: s[0] < 7, lambda s: (s[0] + 1, s[1] * 1.5), (0, x))[1],
                                lax.fori_loop(0, 5, lambda i, s: s + i, x)), X),
    "a recurrent loss": (jax.value_and_grad(_loss, argnums=(0, 1)), X[:4] * 0.3, X),
    "own derivatives": (jax.grad(lambda x: jnp.sum(jax.nn.gelu(x) * jax.nn.silu(x) + jax.nn.softmax(x))
                                 + jnp.linalg.norm(jax.checkpoint(jnp.sin)(x))), X),
    "random": (lambda x: (jax.random.normal(jax.random.key(3), x.shape), jax.random.permutation(jax.random.key(1), x)),
               X),
    "convolution": (jax.grad(lambda x: jnp.sum(lax.conv(x[None, None], x[None, None, :2, :2], (1, 1), "SAME") ** 2)), X),
    "complex": (lambda x: (jnp.fft.fft(x), jnp.abs(x + 1j), jnp.real((x + 2j) * (x - 1j)), jnp.conj(x + 1j)), X),
}


@pytest.mark.parametrize("name", CASES)
def test_an_interpreted_computation_gives_what_the_compiled_one_gives(name):
    function, *arrays = CASES[name]
    expected = jax.tree.leaves(jax.jit(function)(*arrays))
    found = interpret(jax.make_jaxpr(function)(*arrays), arrays)
    assert [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in expected]
    for a, b in zip(found, expected):
        tolerance = 2e-2 if a.dtype == jnp.bfloat16 else 2e-5
        np.testing.assert_allclose(np.asarray(a, np.complex128), np.asarray(b, np.complex128), tolerance, tolerance)


def test_an_interpreted_computation_can_be_limited():
    forever = jax.make_jaxpr(lambda x: lax.while_loop(lambda s: s[0, 0] < 1e9, lambda s: s * 1.0, x))(X)
    with pytest.raises(TooSlowError):
        interpret(forever, [X], deadline=time.perf_counter() + 0.05)


@pytest.mark.parametrize("function, shape, runs", [
    (lambda x: jnp.tanh(x @ x.T) + jnp.zeros(()), (5, 4), True),
    (lambda x: x + 1, (MOST + 1,), False),                                       # big
    (lambda x: x @ x.T, (2, MOST_PRODUCTS), False),                              # big
    (lambda x: jnp.linalg.qr(x)[0], (5, 4), False),                              # NumPy lacks it
    (lambda x: lax.while_loop(lambda s: s[0] < 9, lambda s: s + 1, x), (2,), False),
    (lambda x: lax.scan(lambda s, r: (s + r, s), x[0], x)[0], (9,), True),
    (lambda x: lax.scan(lambda s, r: (s + r, s), x[0], x)[0], (900,), False),    # long
])
def test_what_runs_on_numpy_in_eager_mode_depends_on_shapes_only(function, shape, runs):
    found = on_host(function, [aval(shape, np.dtype(np.float32))])
    assert (found is not None) == runs
    if runs:
        x = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        np.testing.assert_allclose(found(x)[0], jax.jit(function)(x), 1e-5, 1e-6)


def test_an_uncompiled_function_of_structures():
    traced = []

    def step(state, batch, nothing):
        traced.append(1)
        x, key = batch["x"], batch["key"]
        noise = jax.random.normal(jax.random.key(key), x.shape, np.float32)
        return {"sum": jnp.sum(x, dtype=np.float32)}, [state[0] + x + noise, state[1]], nothing
    run, compiled = Uncompiled(step), jax.jit(step)
    for x in (X, Y, X[:2]):
        arguments = [[np.zeros_like(x), jnp.ones(())], {"x": x, "key": np.uint32(3)}, None]
        for a, b in zip(jax.tree.leaves(run(*arguments)), jax.tree.leaves(compiled(*arguments)), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    assert len(traced) == 4                      # twice each: two shapes
