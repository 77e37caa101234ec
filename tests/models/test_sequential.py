# SPDX-License-Identifier: Apache-2.0
"""`Sequential`: built at once, later, grown, shrunk, written down."""
import copy
import json

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


def test_with_an_input_the_weights_exist_at_once():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(2)], name="mlp")
    assert model.built and model.output_shape == (None, 2)
    assert [w.path for w in model.weights] == ["mlp/dense/kernel", "mlp/dense/bias", "mlp/dense_1/kernel",
                                               "mlp/dense_1/bias"] or len(model.weights) == 4
    assert len(model.layers) == 2


def test_deferred():
    model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
    assert not model.built and model.weights == []
    with pytest.raises(AttributeError, match="no defined"):
        model.output_shape
    assert model(np.ones((5, 4))).shape == (5, 2)
    assert model.built and len(model.weights) == 4
    assert model(np.ones((7, 4))).shape == (7, 2)
    model = keras.Sequential([layers.Dense(3)])
    model.build((None, 4))
    assert model.weights[0].shape == (4, 3)


def test_input_shape_in_the_first_layer():
    model = keras.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(1)])
    assert model.built and model.input_shape == (None, 4)
    model = keras.Sequential()
    model.add(layers.Dense(3, input_dim=4))
    model.add(layers.Dense(1))
    assert model.output_shape == (None, 1)


def test_add_and_pop():
    model = keras.Sequential([keras.Input((4,))])
    for units in (5, 3, 2):
        model.add(layers.Dense(units))
    assert model.output_shape == (None, 2) and len(model.weights) == 6
    x = np.ones((1, 4), "float32")
    expected = model.layers[1](model.layers[0](x))
    last = model.pop()
    assert last.units == 2 and model.output_shape == (None, 3) and len(model.weights) == 4
    np.testing.assert_allclose(model(x), expected, rtol=1e-6)
    model.add(layers.Dense(7))
    assert model(x).shape == (1, 7)


def test_features_from_every_layer():
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(2, 3, activation="relu", name="c"),
                              layers.Flatten(), layers.Dense(2)])
    extractor = keras.Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
    shapes = [tuple(f.shape) for f in extractor(np.ones((2, 6, 6, 1)))]
    assert shapes == [(2, 4, 4, 2), (2, 32), (2, 2)]
    assert keras.Model(model.inputs, model.get_layer("c").output).output_shape == (None, 4, 4, 2)


def test_models_within():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model = keras.Sequential([inner, layers.Dense(1)])
    assert model.built and model(np.ones((2, 4))).shape == (2, 1)
    assert inner.weights[0] is model.weights[0]


def test_clear_errors():
    with pytest.raises(ValueError, match="Only instances of `keras.Layer`"):
        keras.Sequential([len])
    with pytest.raises(ValueError, match=r"Call it: Dense\(...\)"):
        keras.Sequential([layers.Dense])
    with pytest.raises(ValueError, match="unique names"):
        keras.Sequential([layers.Dense(1, name="a"), layers.Dense(1, name="a")])
    with pytest.raises(TypeError, match="list of layers"):
        keras.Sequential(layers.Dense(1))
    with pytest.raises(ValueError, match="no layers"):
        keras.Sequential().build((None, 2))
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="different Input"):
        model.add(keras.Input((3,)))
    with pytest.raises(ValueError, match=r"value 2.*\(1, 3\)|expected shape"):
        model(np.ones((1, 3)))


def test_round_trip_and_copies():
    model = keras.Sequential([layers.Dense(3, activation="relu"), layers.Dropout(0.2), layers.Dense(1)])
    config = json.loads(json.dumps(model.get_config()))
    assert not keras.Sequential.from_config(config).built
    x = np.ones((2, 4), "float32")
    model(x)
    again = keras.Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert again.built
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)
    np.testing.assert_allclose(copy.deepcopy(model)(x), model(x), rtol=1e-6)


def test_masks_pass_through_a_deferred_model():
    model = keras.Sequential([layers.Embedding(5, 2, mask_zero=True), layers.LSTM(3)])
    assert model(np.array([[1, 2, 0, 0]])).shape == (1, 3)
    np.testing.assert_allclose(model(np.array([[1, 2, 0, 0]])), model(np.array([[1, 2]])), rtol=1e-5)


def test_several_positional_arguments_are_refused():
    class Two(layers.Layer):
        def call(self, a, b):
            return a + b

    with pytest.raises(ValueError, match="single required positional argument"):
        keras.Sequential([keras.Input((2,)), Two()])
