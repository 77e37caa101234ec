# SPDX-License-Identifier: Apache-2.0
"""The tape's arguments, jacobians, forward mode, custom gradients, recomputation."""
import numpy as np
import pytest

import fitloom as tf


def test_second_gradient_of_a_plain_tape_is_refused():
    x = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="persistent=True"):
        tape.gradient(y, x)


def test_unconnected_gradients():
    x, other = tf.Variable(2.0), tf.Variable([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        y = x * x
    assert tape.gradient(y, other) is None
    assert tape.gradient(y, other, unconnected_gradients="zero").numpy().tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="unconnected_gradients"):
        tape.gradient(y, x, unconnected_gradients="nothing")


def test_sources_in_any_structure():
    a, b = tf.Variable(2.0), tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = a * a * b
    gradient = tape.gradient(y, {"a": a, "rest": [b]})
    assert float(gradient["a"]) == 12.0
    assert float(gradient["rest"][0]) == 4.0


def test_jacobian_and_batch_jacobian():
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * x
    full = tape.jacobian(y, x).numpy()
    assert full.shape == (2, 2, 2, 2)
    rows = tape.batch_jacobian(y, x).numpy()
    np.testing.assert_allclose(rows, [np.diag([3.0, 12.0]), np.diag([27.0, 48.0])])
    np.testing.assert_allclose(full[0, :, 0, :], rows[0])


def test_forward_accumulator():
    x = tf.constant([1.0, 2.0])
    with tf.autodiff.ForwardAccumulator(x, tf.constant([1.0, 0.0])) as accumulator:
        y = tf.reduce_sum(x * x * x)
    assert float(accumulator.jvp(y)) == 3.0


def test_reset_and_stop_recording():
    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = x * x
        tape.reset()
        z = x * 2.0
    assert tape.gradient(z, x).numpy() == 2.0
    with tf.GradientTape() as tape:
        y = x * x
        with tape.stop_recording():
            hidden = y * 5.0
        z = y + hidden
    assert tape.gradient(z, x).numpy() == 6.0


def test_watched_variables():
    a, b, frozen = tf.Variable(1.0), tf.Variable(2.0), tf.Variable(3.0, trainable=False)
    with tf.GradientTape() as tape:
        a * frozen + 1.0
    assert [v is a for v in tape.watched_variables()] == [True]
    assert b is not None


def test_custom_gradient_with_variables():
    w = tf.Variable(2.0)

    @tf.custom_gradient
    def scaled(x):
        y = x * w

        def gradient(upstream, variables=None):
            return upstream * 10.0, [upstream * 100.0]
        return y, gradient

    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = scaled(x)
    dx, dw = tape.gradient(y, [x, w])
    assert (float(y), float(dx), float(dw)) == (6.0, 10.0, 100.0)


def test_custom_gradient_inside_a_function_and_fit_step():
    @tf.custom_gradient
    def straight(x):
        return tf.round(x), lambda upstream: upstream

    @tf.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = straight(x * 2.0)
        return tape.gradient(y, x)

    assert float(slope(tf.constant(0.7))) == 2.0


def test_recompute_grad_gives_the_same_gradient():
    w = tf.Variable([[0.5, -0.3], [0.2, 0.1]])
    x = tf.constant([[1.0, 2.0]])

    def block(x):
        return tf.tanh(tf.tanh(x @ w) @ w)

    results = []
    for function in (block, tf.recompute_grad(block)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(x))
        results.append(tape.gradient(loss, w).numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_third_derivative():
    x = tf.Variable(2.0)
    with tf.GradientTape() as third, tf.GradientTape() as second, tf.GradientTape() as first:
        y = x ** 4.0
        d1 = first.gradient(y, x)
        d2 = second.gradient(d1, x)
    np.testing.assert_allclose(float(third.gradient(d2, x)), 48.0, rtol=1e-6)


def test_gradient_of_an_integer_is_none():
    v = tf.Variable(3)
    with tf.GradientTape() as tape:
        y = v * 2
    assert tape.gradient(y, v) is None


def test_target_made_outside_explains_itself():
    with pytest.raises(TypeError, match="target must be a tensor"), tf.GradientTape() as tape:
        tape.gradient(3.0, tf.Variable(1.0))


def test_identity_is_a_value_of_its_own():
    x = tf.constant(10.0)
    same = tf.identity(x)
    with tf.GradientTape() as tape:
        tape.watch([x, same])
        y = x * 2.0 + same * 3.0
    assert [float(g) for g in tape.gradient(y, [x, same])] == [2.0, 3.0]


def test_gradients_have_the_structure_of_the_sources_and_text_has_none():
    x, text = tf.constant(3.0), tf.constant("a")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, text])
        y = x * x
    assert isinstance(tape.gradient(y, (x,)), tuple) and isinstance(tape.gradient(y, [x]), list)
    found = tape.gradient([y, text], [x, text])
    assert float(found[0]) == 6.0 and found[1] is None
    with pytest.raises(ValueError, match="Unknown value for unconnected_gradients: 'nonsense'"):
        tape.gradient(y, x, unconnected_gradients="nonsense")


def test_reset_forgets_the_variables_too():
    v = tf.Variable(1.0)
    with tf.GradientTape() as tape:
        y = v * v
        tape.reset()
        assert tape.watched_variables() == ()
        y = y + v * v
        assert tape.watched_variables() == (v,)
    assert float(tape.gradient(y, v)) == 2.0


def test_second_derivatives_use_the_gradients_given():
    @tf.custom_gradient
    def f(x):
        def first(upstream):
            @tf.custom_gradient
            def slope(_):
                return -1.1, lambda more: -2.1 * more
            return upstream * slope(x)
        return x + 10.0, first

    x = tf.constant(1.0)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = f(x) ** 4.0
        slope = inner.gradient(y, x)
    np.testing.assert_allclose(slope, 4 * 11.0 ** 3 * -1.1, rtol=1e-6)
    np.testing.assert_allclose(outer.gradient(slope, x), 12 * 11.0 ** 2 * 1.21 + 4 * 11.0 ** 3 * -2.1, rtol=1e-6)


def test_a_gradient_function_inside_tf_function_may_use_what_is_around_it():
    weight = tf.Variable(2.0)

    @tf.function
    def call(x):
        @tf.custom_gradient
        def squared():
            def gradient(upstream, variables=None):
                return (), [tf.reduce_sum(upstream * x * x)]
            return weight * x * x, gradient
        return squared()

    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        y = call(x)
    assert float(tape.gradient(y, weight)) == 5.0


def test_custom_gradients_take_structures():
    @tf.custom_gradient
    def total(parts, scale):
        def gradient(upstream):
            return {"a": upstream * 2, "b": [upstream * 3, None]}, None
        return (parts["a"] + parts["b"][0] + parts["b"][1]) * scale, gradient

    parts = {"a": tf.constant(1.0), "b": [tf.constant(2.0), tf.constant(3.0)]}
    with tf.GradientTape() as tape:
        tape.watch(parts)
        y = total(parts, tf.constant(1.0))
    found = tape.gradient(y, parts)
    assert float(y) == 6 and float(found["a"]) == 2 and float(found["b"][0]) == 3 and not found["b"][1]
