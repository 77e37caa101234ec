# SPDX-License-Identifier: Apache-2.0
"""Optimizers say for each variable why its gradient is None."""
import numpy as np
import pytest

import fitloom as tf


def message(compute, tape_options=None, **variable_options):
    """The error that an optimizer raises for the loss that `compute(v)` makes under a tape."""
    v = tf.Variable([1.0, 2.0], name="v", **variable_options)
    with tf.GradientTape(**(tape_options or {})) as tape:
        loss = compute(v)
    with pytest.raises(ValueError, match="No gradients provided for any variable") as caught:
        tf.keras.optimizers.SGD(0.1).apply_gradients([(tape.gradient(loss, v), v)])
    return str(caught.value)


CASES = {
    "never uses it": lambda v: tf.reduce_sum(tf.constant([1.0])),
    "through tf.stop_gradient at test_reasons.py": lambda v: tf.reduce_sum(tf.stop_gradient(v * 2.0)),
    "through NumPy or Python numbers": lambda v: tf.constant((v * 2.0).numpy()),
    "goes through .numpy()": lambda v: tf.reduce_sum(tf.constant((v * 2.0).numpy()) * 2.0),
    "through 'argmax'": lambda v: tf.cast(tf.argmax(v), tf.float32) * 2.0,
    "through 'cast'": lambda v: tf.cast(tf.cast(v, tf.int32), tf.float32),
    "through 'greater'": lambda v: tf.where(v > 0.0, 1.0, 2.0),
    "target has dtype int32": lambda v: tf.cast(v, tf.int32),
}


@pytest.mark.parametrize("words", CASES)
def test_reason(words):
    text = message(CASES[words])
    assert words in text and "'v" in text


def test_not_watched():
    assert "not trainable" in message(lambda v: v * 2.0, trainable=False)
    assert "watch_accessed_variables=False" in message(lambda v: v * 2.0, {"watch_accessed_variables": False})


def test_used_outside_the_tape():
    v = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.constant([1.0]) * 2.0)
        with tape.stop_recording():
            y = y + tf.reduce_sum(v * 2.0)
        y = y * 2.0
    with pytest.raises(ValueError, match="only outside the tape"):
        tf.keras.optimizers.SGD(0.1).apply_gradients([(tape.gradient(y, v), v)])


def test_target_computed_outside():
    v = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        tf.reduce_sum(v * 2.0)
    y = tf.reduce_sum(v * v)
    with pytest.raises(ValueError, match="target was not computed inside the tape"):
        tf.keras.optimizers.SGD(0.1).apply_gradients([(tape.gradient(y, v), v)])


def test_integer_variable():
    v = tf.Variable([1, 2])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.cast(v, tf.float32))
    with pytest.raises(ValueError, match="dtype is int32"):
        tf.keras.optimizers.SGD(0.1).apply_gradients([(tape.gradient(y, v), v)])


def test_some_are_none_and_in_a_function():
    used, unused, frozen = tf.Variable(1.0, name="used"), tf.Variable(1.0, name="unused"), tf.Variable(1.0, name="stopped")
    optimizer = tf.keras.optimizers.SGD(0.1)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = used * used + tf.stop_gradient(frozen * 2.0)
        variables = [used, unused, frozen]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    with pytest.warns(UserWarning, match="'unused.*never uses it.*'stopped.*tf.stop_gradient"):
        step()
    np.testing.assert_allclose(float(used), 0.8)
    assert (float(unused), float(frozen)) == (1.0, 1.0)


def test_layer_that_was_not_called():
    first, second = tf.keras.layers.Dense(2), tf.keras.layers.Dense(2)
    x = tf.ones((1, 2))
    first(x), second(x)
    variables = first.trainable_variables + second.trainable_variables
    optimizer = tf.keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(first(x))
    gradients = tape.gradient(loss, variables)
    with pytest.warns(UserWarning, match=r"kernel.*bias.*(never uses it|only outside the tape)"):
        optimizer.apply_gradients(zip(gradients, variables))
