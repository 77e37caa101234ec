# SPDX-License-Identifier: Apache-2.0
"""Every layer against Keras on JAX: the same weights, inputs and arguments give the same outputs and gradients."""
import numpy as np
import pytest
from parity.layer_cases import CASES, RECURRENT

import fitloom as tf

keras = pytest.importorskip("keras")
import jax  # noqa: E402

# Keras's variables implement NumPy 1's __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
RELATIVE, ABSOLUTE = 1e-5, 2e-6   # float32: sums in another order


def make_input(shape, rng):
    """Random input(s) for a case's shapes."""
    if isinstance(shape, list):
        return [make_input(s, rng) for s in shape]
    if shape[0] == "int":
        return rng.integers(0, shape[1], shape[2]).astype("int32")
    return rng.normal(size=shape).astype("float32")


def label(case):
    """Readable name of a case."""
    name, arguments, shape, call = case
    return "-".join([name, *(f"{k}={v}" for k, v in {**arguments, **call}.items())]).replace(" ", "")


def numpy(x):
    """A Keras variable or array as a NumPy array."""
    return np.array(np.asarray(getattr(x, "value", x)))


def listed(x):
    """One array or several, as a list."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


def close(ours, theirs, what):
    """Assert equality within float32's rounding, relative to the largest value."""
    ours, theirs = np.asarray(ours), numpy(theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} and {theirs.shape}"
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE, atol=ABSOLUTE * scale, err_msg=what)


def same_names(ours, theirs):
    """Assert that weights have the same names, shapes, dtypes and order; automatic numbers may differ."""
    def outline(weights):
        return [(w.path.split("/")[-1], tuple(w.shape), getattr(w.dtype, "name", w.dtype), w.trainable)
                for w in weights]
    assert outline(ours.weights) == outline(theirs.weights)
    assert outline(ours.trainable_weights) == outline(theirs.trainable_weights)


def copy_weights(theirs, ours, rng):
    """Give both layers the same, moved, weights."""
    values = []
    for w in theirs.weights:
        value = numpy(w)
        noise = rng.uniform(0.1, 0.5, size=value.shape).astype(value.dtype) if value.dtype.kind == "f" else 0
        values.append((value + noise).astype(value.dtype))
    theirs.set_weights(values)
    ours.set_weights(values)


def their_gradients(layer, arguments, weights):
    """Gradients of sum(weights * outputs) in Keras, for float inputs and trainable weights."""
    floats = [i for i, x in enumerate(arguments[0]) if x.dtype.kind == "f"]
    fixed = [numpy(v) for v in layer.non_trainable_variables]

    def loss(trainable, moving):
        inputs = list(arguments[0])
        for i, x in zip(floats, moving):
            inputs[i] = x
        outputs, _ = layer.stateless_call(trainable, fixed, arguments[1](inputs), **arguments[2])
        return sum((np.asarray(w) * y).sum() for w, y in zip(weights, listed(outputs)))
    start = [numpy(v) for v in layer.trainable_variables]
    return jax.grad(loss, argnums=(0, 1))(start, [arguments[0][i] for i in floats])


def compare(ours, theirs, x, call, rng, gradients=True):
    """Compare outputs, state and gradients of two built layers."""
    inputs = listed(x)
    join = (lambda xs: list(xs)) if isinstance(x, list) else (lambda xs: xs[0])
    before = [numpy(w) for w in theirs.weights]
    expected = listed(theirs(join(inputs), **call))
    found = listed(ours(join(inputs), **call))
    assert len(found) == len(expected)
    for mine, reference in zip(found, expected):
        assert mine.dtype.name == str(reference.dtype)
        close(mine, reference, "output")
    for mine, reference in zip(ours.weights, theirs.weights):
        close(mine.numpy(), reference, mine.path)
    if not gradients:
        return
    theirs.set_weights(before)
    ours.set_weights(before)
    weights = [rng.normal(size=np.shape(y)).astype("float32") for y in expected]
    of_weights, of_inputs = their_gradients(theirs, (inputs, join, call), weights)
    tensors = [tf.constant(v) for v in inputs]
    floats = [t for t in tensors if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        for t in floats:
            tape.watch(t)
        outputs = listed(ours(join(tensors), **call))
        loss = sum(tf.reduce_sum(tf.constant(w) * y) for w, y in zip(weights, outputs))
    mine = tape.gradient(loss, [*ours.trainable_weights, *floats], unconnected_gradients="zero")
    for variable, gradient, reference in zip(
            [w.path for w in ours.trainable_weights] + ["inputs"] * len(floats), mine, [*of_weights, *of_inputs]):
        gradient = tf.convert_to_tensor(gradient)
        close(gradient, reference, f"gradient of {variable}")


def plain(config):
    """A configuration with tuples as lists, without automatic names, in comparable form."""
    if isinstance(config, dict):
        return {k: plain(v) for k, v in config.items() if k not in ("name", "registered_name", "build_config")
                and not (k == "activity_regularizer" and v is None)}   # some of Keras's layers say it, some do not
    if isinstance(config, (list, tuple)):
        return [plain(v) for v in config]
    return config


@pytest.mark.parametrize("case", CASES, ids=label)
def test_layer_equals_keras(case, rng):
    name, arguments, shape, call = case
    x = make_input(shape, rng)
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments)
    theirs(x, **call)
    ours(x, **call)
    same_names(ours, theirs)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng)
    shapes = [tuple(v.shape) for v in x] if isinstance(x, list) else tuple(x.shape)
    if name != "ReversibleEmbedding":
        expected = theirs.compute_output_shape(shapes)   # sizes that Keras leaves open we may know
        found = ours.compute_output_shape(shapes)
        assert [m if n is None else n for m, n in zip(found, expected)] == list(found)
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("case", RECURRENT, ids=lambda c: c[0] + "".join(f"-{k}={v}" for k, v in c[1].items()))
def test_recurrent_layer_equals_keras(case, masked, rng):
    name, arguments = case
    x = make_input((2, 5, 4), rng)
    call = {"mask": np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)} if masked else {}
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments)
    theirs(x, **call)
    ours(x, **call)
    theirs.reset_state()
    ours.reset_state()
    same_names(ours, theirs)
    mine, reference = plain(ours.get_config()), plain(theirs.get_config())
    assert {k: v for k, v in mine.items() if k != "seed"} == {k: v for k, v in reference.items() if k != "seed"}
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng, gradients=not arguments.get("stateful"))
    if arguments.get("stateful"):
        compare(ours, theirs, x, call, rng, gradients=False)   # the second batch starts from the first's states
    assert ours.compute_output_shape((2, 5, 4)) == theirs.compute_output_shape((2, 5, 4))
    assert ours.compute_output_shape((None, None, 4)) == theirs.compute_output_shape((None, None, 4))
