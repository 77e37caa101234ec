# SPDX-License-Identifier: Apache-2.0
"""What every layer promises: found by name, so a new layer without an example fails here."""
import inspect
import json

import numpy as np
import pytest

import fitloom as tf
from contracts.layer_examples import ELSEWHERE, EXAMPLES, call, inputs_of, make
from fitloom import engine
from fitloom.layers.dtype_policy import set_dtype_policy

NAMES = sorted(EXAMPLES)
layers = tf.keras.layers


def flat(outputs):
    """The outputs as a list of NumPy arrays."""
    return [np.asarray(y) for y in tf.nest.flatten(outputs)]


def test_every_layer_has_an_example():
    classes = {cls.__name__ for cls in vars(layers).values()
               if inspect.isclass(cls) and issubclass(cls, layers.Layer)}
    assert classes - set(ELSEWHERE) == set(EXAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name):
    layer = make(name, name="its_name")
    config = layer.get_config()
    json.dumps(config)
    again = type(layer).from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(config)
    assert again.name == "its_name"
    stored = layers.serialize(layer)
    assert type(layers.deserialize(stored)) is type(layer)
    assert stored["module"] == "keras.layers" and stored["registered_name"] is None


@pytest.mark.parametrize("name", NAMES)
def test_docstring_says_what_it_does(name):
    assert getattr(layers, name).__doc__.strip().endswith((".", "])", "0", "]"))


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_shape_equals_the_real_one(name):
    layer, inputs = make(name), inputs_of(name)
    symbols = [tf.keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in inputs]
    expected = [tuple(y.shape) for y in tf.nest.flatten(call(name, layer, symbols))]
    dtypes = [y.dtype for y in tf.nest.flatten(call(name, layer, symbols))]
    found = flat(call(name, layer, inputs))
    if name in ("RandomHeight", "RandomWidth"):           # one size is drawn
        expected = [tuple(n if m is None else m for n, m in zip(y.shape, shape)) for y, shape in zip(found, expected)]
    assert [y.shape for y in found] == expected
    assert [y.dtype.name for y in found] == dtypes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_dtype_is_kept(name, dtype):
    set_dtype_policy(dtype)   # so that layers inside wrappers follow too
    try:
        layer = make(name)
        outputs = flat(call(name, layer, inputs_of(name)))
    finally:
        set_dtype_policy(None)
    assert {y.dtype.name for y in outputs} == {dtype.removeprefix("mixed_")}
    kept = "float32" if dtype.startswith("mixed") else dtype
    assert {w.dtype for w in layer.trainable_weights} <= {kept}
    assert all(np.isfinite(y.astype("float32")).all() for y in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_eager(name):
    layer, inputs = make(name), [tf.constant(x) for x in inputs_of(name)]
    more = {"training": False} if name == "BatchNormalization" else {}
    recorded = flat(call(name, layer, inputs, **more))
    compiled = flat(tf.function(lambda *xs: call(name, layer, xs, **more))(*inputs))
    tf.config.run_functions_eagerly(True)
    try:
        eager = flat(call(name, layer, inputs, **more))
    finally:
        tf.config.run_functions_eagerly(False)
    for a, b, c in zip(recorded, compiled, eager):
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(b, c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_second_call_compiles_nothing(name):
    layer, inputs = make(name), [tf.constant(x) for x in inputs_of(name)]
    for _ in range(2):
        flat(call(name, layer, inputs))
    before = engine.STATISTICS["programs"]
    flat(call(name, layer, inputs))
    assert engine.STATISTICS["programs"] == before


@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_finite_differences(name):
    set_dtype_policy("float64")
    try:
        layer, inputs = make(name), inputs_of(name, "float64")
    finally:
        set_dtype_policy(None)
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=y.shape) for y in flat(call(name, layer, inputs))]
    variables = layer.trainable_weights
    for v in variables:
        v.assign(v.numpy() + rng.normal(size=v.shape) * 0.1)
    start = [v.numpy() for v in variables]
    kept = [v.numpy() for v in layer.non_trainable_weights]
    floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    if not variables and not floats:
        return

    def loss(tensors):
        outputs = tf.nest.flatten(call(name, layer, tensors))
        return sum(tf.reduce_sum(tf.constant(w) * y) for w, y in zip(weights, outputs))

    tensors = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch([tensors[i] for i in floats])
        value = loss(tensors)
    gradients = tape.gradient(value, [*variables, *[tensors[i] for i in floats]], unconnected_gradients="zero")
    directions = [rng.normal(size=np.shape(g)) for g in gradients]
    slope = sum(float((np.asarray(tf.convert_to_tensor(g)) * d).sum()) for g, d in zip(gradients, directions))
    step, values = 1e-6, []
    for sign in (1, -1):
        moved = list(inputs)
        for v, first, d in zip(variables, start, directions):
            v.assign(first + sign * step * d)
        for i, d in zip(floats, directions[len(variables):]):
            moved[i] = inputs[i] + sign * step * d
        for v, first in zip(layer.non_trainable_weights, kept):
            v.assign(first)
        values.append(float(loss([tf.constant(x) for x in moved])))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent_where_promised(name):
    layer, inputs = make(name), inputs_of(name)
    if not layer.per_example:
        return
    whole = flat(call(name, layer, inputs, **({"training": False} if "training" in EXAMPLES[name][2] else {})))
    first = flat(call(name, layer, [x[:1] for x in inputs]))
    for a, b in zip(whole, first):
        np.testing.assert_allclose(a[:1], b, rtol=2e-5, atol=2e-6)


def test_a_users_subclass_promises_nothing():
    class Mine(layers.Dense):
        pass
    assert layers.Dense.per_example and not Mine.per_example and not layers.BatchNormalization.per_example
