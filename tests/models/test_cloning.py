# SPDX-License-Identifier: Apache-2.0
"""`clone_model` and its functions."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


def functional():
    i = keras.Input((4,), name="i")
    shared = layers.Dense(4, name="shared")
    return keras.Model(i, layers.Add(name="add")([shared(i), shared(shared(i)), i * 2.0]), name="net")


def sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu"), layers.Dropout(0.1)], name="seq")


def deferred():
    return keras.Sequential([layers.Dense(3)])


@pytest.mark.parametrize("make", [functional, sequential, deferred])
def test_same_architecture_new_weights(make):
    model = make()
    copy = keras.models.clone_model(model)
    x = np.ones((2, 4), "float32")
    mine, theirs = model(x), copy(x)
    assert type(copy) is type(model) and copy.name == model.name
    assert all(a is not b for a, b in zip(model.weights, copy.weights))
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-6)
    assert mine.shape == theirs.shape


def test_clone_function_may_change_or_share_layers():
    model = functional()
    shared = keras.models.clone_model(model, clone_function=lambda layer: layer)
    assert shared.weights[0] is model.weights[0]

    def narrow(layer):
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            config["activation"] = "tanh"
        return type(layer).from_config(config)

    changed = keras.models.clone_model(sequential(), clone_function=narrow)
    assert changed.layers[0].activation.__name__ == "tanh"


def test_call_function_sees_every_call():
    calls = []

    def call(layer, *args, **kwargs):
        calls.append(layer.name)
        return layer(*args, **kwargs)

    keras.models.clone_model(functional(), call_function=call, clone_function=lambda layer: layer)
    assert calls.count("shared") == 3 and "add" in calls
    with pytest.raises(ValueError, match="call_function"):
        keras.models.clone_model(sequential(), call_function=call)


def test_recursive():
    inner = sequential()
    i = keras.Input((4,))
    model = keras.Model(i, inner(i))
    seen = []

    def note(layer):
        seen.append(type(layer).__name__)
        return type(layer).from_config(layer.get_config())

    keras.models.clone_model(model, clone_function=note, recursive=True)
    assert "Dense" in seen and "Sequential" not in seen


def test_input_tensors():
    given = keras.Input((4,), name="mine")
    copy = keras.models.clone_model(functional(), input_tensors=given)
    assert copy.input is given
    with pytest.raises(ValueError, match="KerasTensor"):
        keras.models.clone_model(functional(), input_tensors=np.ones((1, 4)))


def test_a_subclass_needs_its_configuration():
    class Sub(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    assert keras.models.clone_model(Sub(3))(np.ones((1, 2))).shape == (1, 3)
    with pytest.raises(ValueError, match="only supported"):
        keras.models.clone_model(Sub(3), recursive=True)


def test_the_compilation_is_copied():
    model = sequential()
    model.compile("adam", "mse")
    copy = keras.models.clone_model(model)
    assert copy.compiled and copy.optimizer is not model.optimizer
