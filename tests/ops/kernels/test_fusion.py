# SPDX-License-Identifier: Apache-2.0
"""Convolution and pooling are joined where nobody else wants what is in between, and only there."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from fitloom.ops.kernels import convolution, fusion, normalization, platform, pooling

pytestmark = pytest.mark.skipif(not platform.native_enabled(), reason="no native kernels here")


def _arrays(rng):
    shapes = [(16, 12, 14, 3), (3, 3, 3, 9), (9,)]
    return [jnp.asarray(rng.normal(size=shape), "float32") for shape in shapes]


def _step(x, w, b, relu=True, window=2, more=lambda y: 0.0):
    def loss(w, b):
        y = convolution.conv_bias(x, w, b, relu=relu)
        p = pooling.max_pool(y, window)
        return jnp.sum(jnp.sin(p)) + more(y), (p, y)

    (value, (p, y)), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(w, b)
    return {"value": value, "pooled": p, "gradients": gradients}, y


def _only_pooled(*arrays, **settings):
    return _step(*arrays, **settings)[0]


def _names(function, *arrays):
    return [e.primitive.name for e in fusion.joined(jax.make_jaxpr(function)(*arrays).jaxpr).eqns]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("window", [2, 3])
def test_joined_steps_give_the_same(rng, relu, window):
    arrays = _arrays(rng)

    def step(x, w, b):
        return _only_pooled(x, w, b, relu=relu, window=window)

    names = _names(step, *arrays)
    assert "fitloom_conv_pool" in names and "fitloom_conv_pool_weight_gradient" in names
    assert "fitloom_conv_bias" not in names and "fitloom_max_pool_gradient" not in names
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max()),
        jax.jit(fusion.fused(step))(*arrays),
        jax.jit(step)(*arrays),
    )


def _images_gradient(x, w, b):
    return jax.grad(lambda x: pooling.max_pool(convolution.conv_bias(x, w, b, relu=True), 2).sum())(x)


REASONS = {
    "used again": functools.partial(_only_pooled, more=jnp.mean),
    "returned": _step,
    "gradient of the images": _images_gradient,
    "few images": _only_pooled,
    "by Winograd": _only_pooled,
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_else_is_wanted_keeps_them_apart(rng, reason):
    x, w, b = _arrays(rng)
    if reason == "few images":
        x = jnp.tile(x[:4], (1, 2, 2, 1))
    if reason == "by Winograd":
        x, w, b = jnp.tile(x, (1, 1, 1, 11)), jnp.tile(w, (1, 1, 11, 4)), jnp.tile(b, 4)
    step = REASONS[reason]
    names = _names(step, x, w, b)
    assert "fitloom_conv_bias" in names and "fitloom_max_pool" in names and "fitloom_conv_pool" not in names
    actual, expected = jax.jit(fusion.fused(step))(x, w, b), jax.jit(step)(x, w, b)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max()), actual, expected)


def test_a_forward_pass_for_the_metrics_is_not_a_second_one(rng):
    def step(x, w, b):
        results = _only_pooled(x, w, b)
        again = pooling.max_pool(convolution.conv_bias(x, w, b, relu=True), 2)
        return results, again.mean()

    arrays = _arrays(rng)
    names = _names(step, *arrays)
    assert names.count("fitloom_conv_pool") == 1 and "fitloom_conv_bias" not in names
    assert "custom_jvp_call" not in names
    actual, expected = jax.jit(fusion.fused(step))(*arrays), jax.jit(step)(*arrays)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max()), actual, expected)


def test_other_platforms_get_the_parts(rng):
    arrays = _arrays(rng)
    actual = jax.jit(fusion.fused(_only_pooled))(*arrays)
    closed = jax.make_jaxpr(fusion.fused(_only_pooled))(*arrays)
    with platform.native(False):
        plain = jax.jit(jax.extend.core.jaxpr_as_fun(closed)).lower(*arrays)
    assert "custom_call_target" not in plain.as_text() and "fitloom" not in plain.as_text()
    expected = jax.tree.leaves(plain.compile()(*arrays))
    for a, e in zip(jax.tree.leaves(actual), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())


def _normalized(x, w, b, activation=jax.nn.relu, more=lambda y: 0.0):
    given = convolution.conv(x, w, padding="same")
    y = normalization.batch_norm_inference(given, jnp.cos(b), jnp.abs(b), b + 1, b, (0, 1, 2), 1e-3)
    return activation(y), more(given)


@pytest.mark.parametrize("winograd", [False, True])
def test_scale_and_offset_go_into_the_convolution(rng, winograd):
    x, w, b = _arrays(rng)
    if winograd:
        x, w, b = jnp.tile(x, (1, 1, 1, 11)), jnp.tile(w, (1, 1, 11, 4)), jnp.tile(b, 4)
    names = _names(_normalized, x, w, b)
    assert "fitloom_conv_bias" in names and "fitloom_conv" not in names and "max" not in names
    actual, expected = jax.jit(fusion.fused(_normalized))(x, w, b)[0], jax.jit(_normalized)(x, w, b)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


def test_scale_and_offset_before_a_pooling_are_joined_with_both(rng):
    def pooled(x, w, b):
        return pooling.max_pool(_normalized(x, w, b)[0], 2)

    arrays = _arrays(rng)
    names = _names(pooled, *arrays)
    assert "fitloom_conv_pool" in names and "fitloom_conv_bias" not in names
    actual, expected = jax.jit(fusion.fused(pooled))(*arrays), jax.jit(pooled)(*arrays)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("settings", [{"more": jnp.mean}, {"activation": jnp.tanh}], ids=["used again", "other pass"])
def test_scale_and_offset_stay_where_a_pass_is_needed_anyway(rng, settings):
    names = _names(functools.partial(_normalized, **settings), *_arrays(rng))
    assert "fitloom_conv" in names and "fitloom_conv_bias" not in names


def test_numbers_that_are_not_for_channels_stay(rng):
    x, w, b = _arrays(rng)

    def by_row(x, w, b):
        y = convolution.conv(x, w, padding="same")
        return jax.nn.relu(y * jnp.arange(12.0, dtype="float32").reshape(1, 12, 1, 1) + b)

    assert "fitloom_conv" in _names(by_row, x, w, b)
