# SPDX-License-Identifier: Apache-2.0
"""Scripts that do very much between two reads."""
import numpy as np

from fitloom import keras


def test_model_called_after_many_assignments():
    """set_weights of a deep model passes the cap on a trace's length; the call after it runs operation by operation."""
    model = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(4, kernel_initializer="identity")
                                                   for _ in range(400)]])
    model.set_weights(model.get_weights())
    x = np.arange(8, dtype="float32").reshape(2, 4)
    np.testing.assert_allclose(model(x).numpy(), x)
