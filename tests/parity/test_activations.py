# SPDX-License-Identifier: Apache-2.0
"""Activations, regularizers and constraints against Keras on JAX: values and derivatives."""
import numpy as np
import pytest

import fitloom as tf

keras = pytest.importorskip("keras")
import jax  # noqa: E402

ACTIVATIONS = {
    "celu": {"alpha": 0.7}, "elu": {"alpha": 0.7}, "exponential": {}, "gelu": {"approximate": True}, "glu": {},
    "hard_shrink": {"threshold": 0.4}, "hard_sigmoid": {}, "hard_silu": {}, "hard_tanh": {},
    "leaky_relu": {"negative_slope": 0.1}, "linear": {}, "log_sigmoid": {}, "log_softmax": {"axis": 0}, "mish": {},
    "relu": {"negative_slope": 0.1, "max_value": 1.5, "threshold": 0.3}, "relu6": {}, "selu": {}, "sigmoid": {},
    "silu": {}, "soft_shrink": {"threshold": 0.4}, "softmax": {"axis": 0}, "softplus": {}, "softsign": {},
    "sparse_plus": {}, "sparse_sigmoid": {}, "squareplus": {"b": 3}, "tanh": {}, "tanh_shrink": {},
    "threshold": {"threshold": 0.1, "default_value": -0.5},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("defaults", [True, False])
def test_activation_equals_keras(name, defaults, rng):
    arguments = ACTIVATIONS[name] if name == "threshold" or not defaults else {}
    x = (rng.normal(size=(6, 8)) * 2).astype("float32")
    ours, theirs = getattr(tf.keras.activations, name), getattr(keras.activations, name)
    weights = rng.normal(size=ours(x, **arguments).shape).astype("float32")

    def reference(v):
        y = theirs(v, **arguments)
        return (y * weights).sum(), y

    expected_gradient, expected = jax.jit(jax.grad(reference, has_aux=True))(x)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        y = ours(tensor, **arguments)
        loss = tf.reduce_sum(y * weights)
    np.testing.assert_allclose(y.numpy(), np.asarray(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, tensor).numpy(), np.asarray(expected_gradient), rtol=1e-5,
                               atol=2e-6)


def test_sparsemax_is_the_nearest_point_of_the_simplex(rng):
    # Keras 3.15 on JAX returns rows that do not sum to 1, so it is compared with its definition.
    x = rng.normal(size=(5, 7)).astype("float32")
    y = tf.keras.activations.sparsemax(x).numpy()
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-5)
    for row, point in zip(x, y):
        for _ in range(200):
            other = rng.dirichlet(np.ones(7))
            assert ((row - point) ** 2).sum() <= ((row - other) ** 2).sum() + 1e-6


def test_every_activation_of_keras_is_here():
    theirs = {name for name in dir(keras.activations) if name[0] != "_"}
    assert theirs <= set(dir(tf.keras.activations))


@pytest.mark.parametrize("make", [
    lambda r: r.L1(0.1), lambda r: r.L2(0.1), lambda r: r.L1L2(0.1, 0.2), lambda r: r.get("l2"),
    lambda r: r.OrthogonalRegularizer(0.1), lambda r: r.OrthogonalRegularizer(0.1, mode="columns")])
def test_regularizer_equals_keras(make, rng):
    x = rng.normal(size=(4, 5)).astype("float32")
    ours, theirs = make(tf.keras.regularizers), make(keras.regularizers)
    np.testing.assert_allclose(float(ours(tf.constant(x))), float(theirs(keras.ops.convert_to_tensor(x))), rtol=1e-5)
    assert {k: pytest.approx(v) for k, v in ours.get_config().items()} == theirs.get_config()


@pytest.mark.parametrize("make", [
    lambda c: c.MaxNorm(1.0), lambda c: c.MaxNorm(1.0, axis=1), lambda c: c.NonNeg(), lambda c: c.UnitNorm(axis=(0, 1)),
    lambda c: c.MinMaxNorm(0.5, 0.9, rate=0.7), lambda c: c.get("max_norm")])
def test_constraint_equals_keras(make, rng):
    x = rng.normal(size=(4, 5)).astype("float32")
    ours, theirs = make(tf.keras.constraints), make(keras.constraints)
    np.testing.assert_allclose(ours(tf.constant(x)).numpy(), np.asarray(theirs(x)), rtol=1e-5, atol=1e-7)
    assert ours.get_config() == theirs.get_config()
