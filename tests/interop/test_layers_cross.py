# SPDX-License-Identifier: Apache-2.0
"""Every layer crosses between Keras and us, both ways, in `.keras` and `.h5` files; training goes on the same."""
import inspect

import keras as reference
import numpy as np
import pytest

import fitloom as tf
from interop import branches

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
STEPS = 5


def numpy(variable):
    return np.asarray(getattr(variable, "value", variable))


def assert_same(ours, theirs, what):
    ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=what)


def assert_same_state(a, b, optimizer=True):
    for x, y in zip(a.weights, b.weights, strict=True):
        assert_same(numpy(x), numpy(y), x.path)
    for x, y in zip(a.optimizer.variables if optimizer else (), b.optimizer.variables if optimizer else (),
                    strict=True):
        assert_same(numpy(x), numpy(y), x.path)


def train(model, x, y, steps=STEPS):
    return [float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(steps)]


@pytest.mark.parametrize("direction", ["from_keras", "to_keras"])
@pytest.mark.parametrize("group", branches.TRAINED)
def test_trained_layers(group, direction, tmp_path, rng):
    cases = branches.TRAINED[group]
    ours, theirs = (tf.keras, reference) if direction == "from_keras" else (reference, tf.keras)
    source = branches.make(theirs, cases)
    source.compile(theirs.optimizers.SGD(0.01, momentum=0.9), "mse")
    x = branches.data(cases, rng)
    y = rng.normal(size=source.predict_on_batch(x).shape).astype("float32")
    train(source, x, y, 2)
    copies = []
    for name in ("m.keras",) if group.startswith("not") else ("m.keras", "m.h5"):
        source.save(tmp_path / name)
        copies.append(ours.models.load_model(tmp_path / name))
        # Keras never restores the optimizer from .h5: it builds it for the model's own variables, of which it has none
        assert_same_state(copies[-1], source, optimizer=name == "m.keras" or direction == "from_keras")
    expected = source.predict_on_batch(x)
    for copy in copies:
        assert_same(copy.predict_on_batch(x), expected, "predict")
    np.testing.assert_allclose(train(copies[0], x, y), train(source, x, y), **TOLERANCE)
    assert_same_state(copies[0], source)


@pytest.mark.parametrize("direction", ["from_keras", "to_keras"])
@pytest.mark.parametrize("group", branches.RESTING)
def test_resting_layers(group, direction, tmp_path, rng):
    cases = branches.RESTING[group]
    ours, theirs = (tf.keras, reference) if direction == "from_keras" else (reference, tf.keras)
    source = branches.make(theirs, cases)
    x = branches.data(cases, rng)
    expected = source.predict_on_batch(x)
    for name in ("m.keras",) if group.startswith("not") else ("m.keras", "m.h5"):
        source.save(tmp_path / name)
        copy = ours.models.load_model(tmp_path / name)
        assert_same(copy.predict_on_batch(x), expected, "predict")


@pytest.mark.parametrize("direction", ["from_keras", "to_keras"])
def test_layers_that_only_load(direction, tmp_path):
    ours, theirs = (tf.keras, reference) if direction == "from_keras" else (reference, tf.keras)
    source = branches.make(theirs, branches.LOADED)
    source.save(tmp_path / "m.keras")
    assert_same_state(ours.models.load_model(tmp_path / "m.keras"), source, optimizer=False)


def test_every_layer_of_keras_is_here():
    names = {name for name, cls in vars(reference.layers).items()
             if inspect.isclass(cls) and issubclass(cls, reference.layers.Layer)}
    met = set()
    for case in branches.ALL:
        model_layers = branches.make(reference, [case]).layers
        for layer in model_layers:
            met |= {type(layer).__name__} | {type(child).__name__ for child in layer._flatten_layers()}
    abstract = {"Lambda", "RandomShear", "Layer", "Wrapper", "AbstractRNNCell", "InputLayer"}
    aliases = {"MaxPool1D", "MaxPool2D", "MaxPool3D", "AvgPool1D", "AvgPool2D", "AvgPool3D"}
    missing = {name for name in names if vars(reference.layers)[name].__name__ not in met}
    assert missing - abstract - branches.STRINGS - branches.NOT_OURS - branches.FOREIGN - aliases == set()
