# SPDX-License-Identifier: Apache-2.0
"""`keras.StatelessScope`: variables with other values for a while."""
import jax
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras


def test_values_hold_inside_and_assignments_stay_inside():
    a, b, out = (keras.Variable(np.zeros(2)) for _ in range(3))
    with keras.StatelessScope(state_mapping=[(a, tf.ones(2)), (b, np.ones(2))]) as scope:
        out.assign(a + b)
        inside = out + 0.0
        scope.add_update((b, [5.0, 5.0]))
        later = b * 2.0
    assert inside.numpy().tolist() == [2.0, 2.0] and later.numpy().tolist() == [10.0, 10.0]
    assert out.numpy().tolist() == [0.0, 0.0]
    assert scope.get_current_value(out).numpy().tolist() == [2.0, 2.0]
    assert scope.get_current_value(keras.Variable(1.0)) is None
    out.assign(scope.get_current_value(out))
    assert out.numpy().tolist() == [2.0, 2.0]


def test_layers_and_jax_transformations_work_inside():
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 2))

    def loss(kernel):
        with keras.StatelessScope([(layer.kernel, kernel)]):
            return tf.reduce_sum(layer(tf.constant([[1.0, 2.0]])) ** 2).array

    kernel = np.ones((2, 1), "float32")
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(kernel), [[6.0], [12.0]], rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match="must be Variable"):
        keras.StatelessScope([("name", 1.0)])
    with pytest.raises(ValueError, match="shape"):
        keras.StatelessScope([(keras.Variable(np.zeros(2)), tf.ones(3))])
    with pytest.raises(NotImplementedError, match="return_losses"):
        keras.StatelessScope(collect_losses=True)
