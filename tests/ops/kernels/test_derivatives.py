# SPDX-License-Identifier: Apache-2.0
"""Hand-written backward passes: which code runs when, and that nothing else is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fitloom.engine import allocator
from fitloom.ops.kernels.derivatives import linear_map, with_backward

jax.config.update("jax_enable_x64", True)

_calls = []


def _forward(x, scale, number, *, power):
    _calls.append("forward")
    return (x**power) * scale * number, (x, scale, number)


def _backward(residuals, dy, *, power):
    _calls.append("backward")
    x, scale, number = residuals
    dscale = None if scale is None else jnp.sum(dy * x**power * number)
    return dy * power * x ** (power - 1) * scale * number, dscale, None


_function = with_backward(_forward, _backward)


def test_reverse_mode_runs_the_backward_pass_and_forward_mode_does_not():
    x, scale, number = jnp.arange(1.0, 4.0), jnp.asarray(2.0), jnp.asarray(3)
    _calls.clear()
    gradient = jax.grad(lambda x, s: _function(x, s, number, power=3).sum(), (0, 1))(x, scale)
    assert _calls.count("backward") == 1
    np.testing.assert_allclose(gradient[0], 18 * x**2)
    np.testing.assert_allclose(gradient[1], 3 * (x**3).sum())
    _calls.clear()
    np.testing.assert_allclose(jax.jvp(lambda x: _function(x, scale, number, power=3), (x,), (x,))[1], 18 * x**3)
    assert "backward" not in _calls


def test_higher_orders_and_maps():
    number = jnp.asarray(1)

    def f(x):
        return _function(x, jnp.asarray(1.0), number, power=4)

    x = jnp.arange(1.0, 4.0)
    np.testing.assert_allclose(jax.grad(jax.grad(jax.grad(f)))(2.0), 48.0)
    np.testing.assert_allclose(jax.hessian(f)(3.0), 108.0)
    np.testing.assert_allclose(jax.jacrev(f)(x), np.diag(4 * x**3))
    np.testing.assert_allclose(jax.jacfwd(f)(x), np.diag(4 * x**3))
    np.testing.assert_allclose(jax.vmap(jax.grad(f))(x), 4 * x**3)
    np.testing.assert_allclose(jax.grad(lambda x: jax.vmap(f)(x).sum())(x), 4 * x**3)
    np.testing.assert_allclose(jax.grad(jax.checkpoint(f))(2.0), 32.0)
    np.testing.assert_allclose(jax.linear_transpose(lambda t: jax.jvp(f, (2.0,), (t,))[1], 1.0)(1.0)[0], 32.0)


def test_vmap_of_the_backward_pass_keeps_it():
    """grad(vmap(f)) must not fall back to differentiating the forward pass."""
    _calls.clear()
    x = jnp.ones((2, 3))
    jax.grad(lambda x: jax.vmap(lambda x: _function(x, jnp.asarray(1.0), jnp.asarray(1), power=2).sum())(x).sum())(x)
    assert "backward" in _calls


def test_linear_maps_are_linear_in_residuals_too_where_they_are():
    def f(r, v):
        return linear_map(lambda r, v: r * v, lambda r, ct: r * ct, r, v)

    np.testing.assert_allclose(jax.grad(lambda r: jax.grad(lambda v: f(r, v) ** 2)(3.0))(5.0), 60.0)
    np.testing.assert_allclose(jax.grad(f, 0)(5.0, 3.0), 3.0)


def test_a_backward_pass_with_too_few_results_is_caught():
    wrong = with_backward(lambda x, y: (x * y, (x, y)), lambda residuals, dy: (dy,))
    with pytest.raises(TypeError, match="1 cotangents for 2 differentiable arguments"):
        jax.grad(lambda x, y: wrong(x, y), (0, 1))(1.0, 2.0)


def test_the_allocator_can_be_left_alone(monkeypatch):
    for name in ("FITLOOM_ALLOCATOR", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FITLOOM_ALLOCATOR", "system")
    assert allocator.keep_memory() is False
    monkeypatch.delenv("FITLOOM_ALLOCATOR")
    monkeypatch.setenv("MALLOC_ARENA_MAX_", "1")
    assert allocator.keep_memory() is False
