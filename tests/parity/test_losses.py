# SPDX-License-Identifier: Apache-2.0
"""Every loss against Keras 3 on JAX: functions, classes with every reduction and weights, gradients."""

import keras
import numpy as np
import pytest

import fitloom as tf
from tolerances import PARITY

PROBABILITIES = ["binary_crossentropy", "binary_focal_crossentropy", "kl_divergence", "dice", "tversky", "poisson"]
NUMBERS = ["mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
           "mean_squared_logarithmic_error", "huber", "log_cosh", "cosine_similarity", "hinge", "squared_hinge",
           "categorical_hinge"]
ONE_HOT = ["categorical_crossentropy", "categorical_focal_crossentropy"]
LABELS = ["sparse_categorical_crossentropy", "categorical_generalized_cross_entropy"]


def data(name, shape=(6, 5), seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.05, 0.95, shape).astype("float32")
    if name in NUMBERS:
        return rng.normal(1, 1, shape).astype("float32"), rng.normal(1, 1, shape).astype("float32")
    if name in ONE_HOT:
        return np.eye(shape[-1], dtype="float32")[rng.integers(0, shape[-1], shape[:-1])], scores
    if name in LABELS:
        return rng.integers(0, shape[-1], shape[:-1]).astype("int32"), scores
    return (rng.uniform(size=shape) > 0.5).astype("float32"), scores


FUNCTIONS = [(name, {}) for name in PROBABILITIES + NUMBERS + ONE_HOT] + [
    ("sparse_categorical_crossentropy", {}),
    ("sparse_categorical_crossentropy", {"from_logits": True}),
    ("sparse_categorical_crossentropy", {"ignore_class": 2}),
    ("categorical_generalized_cross_entropy", {"q": 0.3}),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("binary_crossentropy", {"axis": 0}),
    ("binary_focal_crossentropy", {"apply_class_balancing": True, "from_logits": True, "gamma": 1.5, "alpha": 0.4}),
    ("categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.2}),
    ("categorical_crossentropy", {"axis": 0}),
    ("categorical_focal_crossentropy", {"from_logits": True, "label_smoothing": 0.1, "gamma": 1.0}),
    ("huber", {"delta": 0.4}), ("cosine_similarity", {"axis": 0}), ("dice", {"axis": -1}),
    ("tversky", {"alpha": 0.3, "beta": 0.8, "axis": 1}),
]


@pytest.mark.parametrize("name, settings", FUNCTIONS)
def test_function(name, settings):
    y_true, y_pred = data(name)
    ours = getattr(tf.keras.losses, name)(y_true, y_pred, **settings)
    theirs = getattr(keras.losses, name)(y_true, y_pred, **settings)
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), **PARITY)
    assert ours.dtype == "float32"


CLASSES = {
    "BinaryCrossentropy": "binary_crossentropy", "BinaryFocalCrossentropy": "binary_focal_crossentropy",
    "CategoricalCrossentropy": "categorical_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
    "CategoricalGeneralizedCrossEntropy": "categorical_generalized_cross_entropy",
    "CategoricalHinge": "categorical_hinge", "CosineSimilarity": "cosine_similarity", "Dice": "dice",
    "Hinge": "hinge", "Huber": "huber", "KLDivergence": "kl_divergence", "LogCosh": "log_cosh",
    "MeanAbsoluteError": "mean_absolute_error", "MeanAbsolutePercentageError": "mean_absolute_percentage_error",
    "MeanSquaredError": "mean_squared_error", "MeanSquaredLogarithmicError": "mean_squared_logarithmic_error",
    "Poisson": "poisson", "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "SquaredHinge": "squared_hinge", "Tversky": "tversky",
}
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", None]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_class(name, reduction):
    y_true, y_pred = data(CLASSES[name])
    ours, theirs = getattr(tf.keras.losses, name), getattr(keras.losses, name)
    for weights in (None, np.array([0, 1, 2, 0.5, 1, 3], "float32")):
        if name in ("Dice", "Tversky") and weights is not None and reduction is None:
            continue
        np.testing.assert_allclose(ours(reduction=reduction)(y_true, y_pred, sample_weight=weights).numpy(),
                                   np.asarray(theirs(reduction=reduction)(y_true, y_pred, sample_weight=weights)),
                                   **PARITY)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"Dice", "Tversky"}))
def test_gradient(name):
    import jax
    y_true, y_pred = data(CLASSES[name])
    theirs = jax.grad(lambda p: getattr(keras.losses, name)()(y_true, p))(y_pred)
    x = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = getattr(tf.keras.losses, name)()(y_true, x)
    np.testing.assert_allclose(tape.gradient(loss, x).numpy(), np.asarray(theirs), **PARITY)


def test_sequences_with_weights_for_each_step():
    y_true, y_pred = data("sparse_categorical_crossentropy", (3, 4, 5))
    weights = np.random.default_rng(1).uniform(size=(3, 4)).astype("float32")
    for reduction in REDUCTIONS:
        ours = tf.keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
        theirs = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
        np.testing.assert_allclose(ours(y_true, y_pred, weights).numpy(), np.asarray(theirs(y_true, y_pred, weights)),
                                   **PARITY)


def test_ignored_class_does_not_count():
    y_true, y_pred = data("sparse_categorical_crossentropy")
    y_true[:2] = 7
    for reduction in ("sum_over_batch_size", "sum"):
        ours = tf.keras.losses.SparseCategoricalCrossentropy(ignore_class=7, reduction=reduction)
        theirs = keras.losses.SparseCategoricalCrossentropy(ignore_class=7, reduction=reduction)
        np.testing.assert_allclose(float(ours(y_true, y_pred)), float(theirs(y_true, y_pred)), **PARITY)


@pytest.mark.parametrize("labels", [[0, 1, 0, 1], [0, 1, 0, 3], [0, 1, 2, 3]])
def test_circle(labels):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(4, 3)).astype("float32")
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = np.array(labels)
    ours, theirs = tf.keras.losses.Circle(), keras.losses.Circle()
    np.testing.assert_allclose(float(ours(labels, embeddings)), float(theirs(labels, embeddings)), **PARITY)
    references = {"ref_labels": np.array([0, 1, 3]), "ref_embeddings": embeddings[[1, 2, 3]]}
    np.testing.assert_allclose(
        tf.keras.losses.circle(labels, embeddings, remove_diagonal=False, **references).numpy(),
        np.asarray(keras.losses.circle(labels, embeddings, remove_diagonal=False, **references)), **PARITY)


def test_ctc():
    rng = np.random.default_rng(0)
    labels, logits = np.array([[1, 2, 2], [1, 3, 0]]), rng.normal(size=(2, 7, 5)).astype("float32")
    np.testing.assert_allclose(tf.keras.losses.ctc(labels, logits).numpy(),
                               np.asarray(keras.losses.ctc(labels, logits)), **PARITY)


def test_extreme_probabilities_are_clipped():
    for name in ("binary_crossentropy", "categorical_crossentropy"):
        y_true, y_pred = np.array([[1.0, 0.0]], "float32"), np.array([[0.0, 1.0]], "float32")
        np.testing.assert_allclose(getattr(tf.keras.losses, name)(y_true, y_pred).numpy(),
                                   np.asarray(getattr(keras.losses, name)(y_true, y_pred)), **PARITY)


def test_every_public_name_exists():
    missing = [name for name in dir(keras.losses) if not name.startswith("_") and not hasattr(tf.keras.losses, name)]
    assert not missing


@pytest.mark.parametrize("name", CLASSES)
def test_config_has_the_keys_of_keras(name):
    ours, theirs = getattr(tf.keras.losses, name)().get_config(), getattr(keras.losses, name)().get_config()
    assert ours == theirs
    # Keras forgets some settings; ours keeps them where they differ from the default
    assert tf.keras.losses.Huber(0.5).get_config()["delta"] == 0.5
    assert tf.keras.losses.CosineSimilarity(axis=1).get_config()["axis"] == 1
