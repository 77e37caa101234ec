# SPDX-License-Identifier: Apache-2.0
"""`K.rnn`, and layers that only Keras 2 has."""
import numpy as np
import pytest

import fitloom as tf
from fitloom.keras import backend as K

L = tf.keras.layers
X = np.arange(12, dtype="float32").reshape(2, 3, 2)


def add(x, states):
    return x + states[0], [x + states[0]]


def test_rnn_runs_over_the_steps():
    last, every, states = K.rnn(add, X, [np.zeros((2, 2), "float32")])
    np.testing.assert_array_equal(every, X.cumsum(1))
    np.testing.assert_array_equal(last, X.sum(1))
    np.testing.assert_array_equal(states[0], X.sum(1))
    back = K.rnn(add, X, [np.zeros((2, 2), "float32")], go_backwards=True)[1]
    np.testing.assert_array_equal(back, X[:, ::-1].cumsum(1))
    only = K.rnn(add, X.transpose(1, 0, 2), [np.zeros((2, 2), "float32")], time_major=True, return_all_outputs=False)[1]
    np.testing.assert_array_equal(only, X.sum(1)[None])


@pytest.mark.parametrize("zeros", [False, True])
def test_rnn_with_a_mask_and_constants(zeros):
    mask = np.array([[True, False, True], [False, True, True]])
    step = lambda x, states: (x * states[1], [states[0] + x])
    _, every, states = K.rnn(step, X, [np.zeros((2, 2), "float32")], mask=mask, constants=[tf.constant(2.0)],
                             zero_output_for_mask=zeros)
    expected = 2 * X * mask[..., None]
    if not zeros:
        expected[0, 1] = expected[0, 0]
    np.testing.assert_array_equal(every, expected)
    np.testing.assert_array_equal(states[0], (X * mask[..., None]).sum(1))


def test_rnn_in_the_call_of_a_layer():
    class Energy(L.Layer):
        def call(self, inputs):
            states, queries = inputs
            step = lambda q, _: (tf.nn.softmax(K.sum(states * K.expand_dims(q, 1), axis=-1)), [])
            return K.rnn(step, queries, [])[1]

    model = tf.keras.Model(inputs := [tf.keras.Input((4, 2)), tf.keras.Input((3, 2))], Energy()(inputs))
    assert model.output_shape[1:] == (3, 4)
    np.testing.assert_allclose(model.predict([np.ones((2, 4, 2)), X], verbose=0), np.full((2, 3, 4), 0.25))


def test_locally_connected_layers_have_a_kernel_for_each_place():
    layer, x = L.LocallyConnected2D(2, (3, 2), strides=(2, 1)), np.random.default_rng(0).normal(size=(2, 7, 4, 3))
    found, kernel = layer(x), layer.kernel.numpy()
    assert kernel.shape == (3 * 3, 3 * 2 * 3, 2) and layer.bias.shape == (3, 3, 2)
    window = x[:, 2:5, 1:3].reshape(2, -1)
    np.testing.assert_allclose(found[:, 1, 1], window @ kernel[4], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="implementation"):
        L.LocallyConnected1D(2, 3, padding="same")
    same = L.LocallyConnected1D(2, 3, padding="same", implementation=2, data_format="channels_first")
    assert same(x[:, 0]).shape == (2, 2, 3) == same.compute_output_shape((2, 4, 3))


def test_random_sizes_stretch_in_training():
    x = np.ones((2, 10, 8, 3), "float32")
    assert L.RandomHeight((0.5, 0.5))(x, training=True).shape == (2, 15, 8, 3)
    assert L.RandomWidth((-0.5, -0.5))(x, training=True).shape == (2, 10, 4, 3)
    assert L.RandomWidth(0.5)(x, training=False).shape == x.shape
    assert L.RandomHeight(0.2).compute_output_shape((None, 10, 8, 3)) == (None, None, 8, 3)
    with pytest.raises(ValueError, match="larger than -1"):
        L.RandomHeight(2)
