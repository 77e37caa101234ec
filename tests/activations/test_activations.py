# SPDX-License-Identifier: Apache-2.0
import pytest

import fitloom as tf

activations = tf.keras.activations


def test_get():
    assert activations.get("relu") is activations.relu
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    function = lambda x: x
    assert activations.get(function) is function
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match="activation"):
        activations.get(3)


def test_serialize_is_the_name():
    assert activations.serialize(activations.relu) == "relu"
    assert activations.serialize(activations.swish) == "silu"
    assert activations.deserialize("gelu") is activations.gelu


def test_a_layer_as_activation():
    layer = tf.keras.layers.Dense(2, activation=tf.keras.layers.ReLU(), kernel_initializer="ones")
    assert layer(-tf.ones((1, 3))).numpy().tolist() == [[0, 0]]
    again = tf.keras.layers.Dense.from_config(layer.get_config())
    assert isinstance(again.activation, tf.keras.layers.ReLU)


def test_softmax_of_a_vector():
    assert activations.softmax(tf.constant([1.0, 1.0])).numpy().tolist() == [0.5, 0.5]
