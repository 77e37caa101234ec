# SPDX-License-Identifier: Apache-2.0
"""Gradients of losses against central differences in float64."""
import numpy as np
import pytest

import fitloom as tf
from tolerances import FINITE_DIFFERENCES

PROBABILITIES = ["BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy",
                 "CategoricalFocalCrossentropy", "KLDivergence", "Poisson", "Dice", "Tversky"]
NUMBERS = ["MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
           "Huber", "LogCosh", "CosineSimilarity", "Hinge", "SquaredHinge", "CategoricalHinge"]
LABELS = ["SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy", "Circle"]
CASES = [(name, {}) for name in PROBABILITIES + NUMBERS + LABELS] + [
    (name, {"from_logits": True}) for name in ("BinaryCrossentropy", "BinaryFocalCrossentropy",
                                               "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
                                               "SparseCategoricalCrossentropy")]


@pytest.mark.parametrize("name, settings", CASES)
def test_gradient(name, settings):
    rng = np.random.default_rng(1)
    y_pred = rng.uniform(0.1, 0.9, (3, 4))
    y_true = np.eye(4)[[2, 0, 2]] if name not in NUMBERS else rng.uniform(1, 2, (3, 4))
    y_true = np.array([2, 0, 2]) if name in LABELS else y_true
    if name == "Circle":
        y_pred /= np.linalg.norm(y_pred, axis=1, keepdims=True)
        settings = {"gamma": 2.0}
    loss = getattr(tf.keras.losses, name)(dtype="float64", **settings)
    x = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y_true, x)
    gradient = tape.gradient(value, x).numpy()
    step, expected = 1e-6, np.zeros_like(y_pred)
    for index in np.ndindex(y_pred.shape):
        high, low = y_pred.copy(), y_pred.copy()
        high[index] += step
        low[index] -= step
        expected[index] = (float(loss(y_true, tf.constant(high))) - float(loss(y_true, tf.constant(low)))) / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=FINITE_DIFFERENCES["rtol"], atol=1e-7)


def test_losses_of_symbolic_tensors():
    inputs, targets = tf.keras.Input((3,)), tf.keras.Input((3,))
    assert tuple(tf.keras.losses.MeanSquaredError()(targets, inputs).shape) == ()
    assert tuple(tf.keras.losses.mean_squared_error(targets, inputs).shape) == (None,)
    with pytest.raises(ValueError, match="same shape"):
        tf.keras.losses.Huber()(tf.keras.Input((1,)), inputs)
