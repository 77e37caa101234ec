# SPDX-License-Identifier: Apache-2.0
"""Small forms that the documentation of TensorFlow and Keras shows."""
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


def test_softmax_of_a_vector():
    np.testing.assert_allclose(layers.Softmax()(np.array([1.0, 2.0, 1.0])), [0.21194157, 0.5761169, 0.21194157], rtol=1e-5)


def test_unit_normalization_of_whole_numbers():
    x = np.arange(6).reshape(2, 3)
    assert float(np.sum(np.asarray(layers.UnitNormalization()(x))[0] ** 2)) == pytest.approx(1, rel=1e-5)


def test_loop_over_one_value():
    assert int(tf.keras.ops.fori_loop(0, 10, lambda i, s: s + i, 0)) == 45


def test_kaiser_window():
    np.testing.assert_allclose(tf.keras.ops.kaiser(5, beta=14.0), np.kaiser(5, 14.0), rtol=1e-5)


def test_concrete_function_of_unknown_rank():
    @tf.function
    def power(a, b):
        return a ** b
    square = power.get_concrete_function(a=tf.TensorSpec(None, tf.float32), b=2)
    assert float(square(tf.constant(10.0))) == 100


def test_polynomial_of_whole_numbers():
    assert float(tf.math.polyval([tf.constant(2.0), tf.constant(1.0)], tf.constant(3.0))) == 7


def test_max_pool_with_explicit_padding():
    x = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    made = tf.nn.max_pool2d(x, ksize=(2, 2), strides=(2, 2), padding=[[0, 0], [1, 1], [1, 1], [0, 0]])
    assert made.numpy()[0, :, :, 0].tolist() == [[0, 2, 3], [8, 10, 11], [12, 14, 15]]


def test_class_activation_map():
    """The last layer's softmax is taken away, then the gradient of a class is taken for an inner layer."""
    model = tf.keras.Sequential([tf.keras.Input((6, 6, 1)), layers.Conv2D(2, 3, name="inner"), layers.Flatten(),
                                 layers.Dense(3, activation="softmax")])
    x = np.random.default_rng(0).uniform(size=(1, 6, 6, 1))
    assert float(tf.reduce_sum(model(x))) == pytest.approx(1, rel=1e-5)
    model.layers[-1].activation = None
    both = tf.keras.Model(model.inputs, [model.get_layer("inner").output, model.output])
    with tf.GradientTape() as tape:
        inner, classes = both(x)
        score = classes[:, tf.argmax(classes[0])]
    assert abs(float(tf.reduce_sum(classes)) - 1) > 1e-3
    assert tape.gradient(score, inner).shape == inner.shape


def test_average_of_whole_numbers():
    assert layers.Average()([np.array([[1, 2]]), np.array([[2, 2]])]).numpy().tolist() == [[1.5, 2.0]]
    assert tf.SparseTensorSpec([2, 2]).value_type is tf.SparseTensor
