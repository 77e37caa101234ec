# SPDX-License-Identifier: Apache-2.0
"""Every metric against Keras 3 on JAX, over several batches, with and without weights."""

import keras
import numpy as np
import pytest

import fitloom as tf
from tolerances import PARITY

BATCHES, ROWS, CLASSES = 3, 8, 4


def binary(rng):
    return (rng.uniform(size=(ROWS, 1)) > 0.5).astype("float32"), rng.uniform(size=(ROWS, 1)).astype("float32")


def multi_label(rng):
    return (rng.uniform(size=(ROWS, CLASSES)) > 0.5).astype("float32"), \
        rng.uniform(size=(ROWS, CLASSES)).astype("float32")


def one_hot(rng):
    scores = rng.uniform(0.05, 1, size=(ROWS, CLASSES)).astype("float32")
    return np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, ROWS)], \
        scores / scores.sum(-1, keepdims=True)


def labels(rng):
    return rng.integers(0, CLASSES, ROWS).astype("int32"), one_hot(rng)[1]


def numbers(rng):
    return rng.normal(1, 1, (ROWS, 3)).astype("float32"), rng.normal(1, 1, (ROWS, 3)).astype("float32")


def classes(rng):
    return rng.integers(0, CLASSES, ROWS).astype("int32"), rng.integers(0, CLASSES, ROWS).astype("int32")


CASES = [
    ("Accuracy", {}, classes),
    ("BinaryAccuracy", {}, multi_label), ("BinaryAccuracy", {"threshold": 0.3}, binary),
    ("CategoricalAccuracy", {}, one_hot), ("SparseCategoricalAccuracy", {}, labels),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot), ("SparseTopKCategoricalAccuracy", {"k": 2}, labels),
    ("BinaryCrossentropy", {}, binary), ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, binary),
    ("CategoricalCrossentropy", {}, one_hot), ("CategoricalCrossentropy", {"label_smoothing": 0.1}, one_hot),
    ("SparseCategoricalCrossentropy", {}, labels), ("SparseCategoricalCrossentropy", {"from_logits": True}, labels),
    ("KLDivergence", {}, one_hot), ("Poisson", {}, multi_label), ("CosineSimilarity", {}, numbers),
    ("Hinge", {}, multi_label), ("SquaredHinge", {}, multi_label), ("CategoricalHinge", {}, one_hot),
    ("LogCoshError", {}, numbers), ("MeanAbsoluteError", {}, numbers), ("MeanSquaredError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers), ("MeanSquaredLogarithmicError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("PearsonCorrelation", {}, numbers), ("ConcordanceCorrelation", {}, numbers),
    ("PearsonCorrelation", {"axis": 0}, numbers),
    ("R2Score", {}, numbers), ("R2Score", {"class_aggregation": None}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}, numbers),
    ("TruePositives", {}, multi_label), ("FalsePositives", {"thresholds": [0.2, 0.8]}, multi_label),
    ("TrueNegatives", {"thresholds": 0.4}, binary), ("FalseNegatives", {}, multi_label),
    ("Precision", {}, multi_label), ("Precision", {"thresholds": [0.3, 0.7]}, multi_label),
    ("Precision", {"top_k": 2}, multi_label), ("Precision", {"class_id": 1}, multi_label),
    ("Precision", {"thresholds": list(np.linspace(0.05, 0.95, 12))}, binary),
    ("Precision", {"thresholds": [0.9, 0.13, 0.2, 0.3, 0.4, 0.45, 0.6, 0.65, 0.7, 0.77]}, binary),
    ("Recall", {}, multi_label), ("Recall", {"top_k": 2, "class_id": 2}, multi_label),
    ("Recall", {"thresholds": [0.3, 0.7]}, multi_label),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, binary),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6}, binary),
    ("PrecisionAtRecall", {"recall": 0.6}, binary), ("RecallAtPrecision", {"precision": 0.6}, binary),
    ("SensitivityAtSpecificity", {"specificity": 0.2, "num_thresholds": 1}, binary),
    ("PrecisionAtRecall", {"recall": 0.5, "class_id": 1, "num_thresholds": 30}, multi_label),
    ("AUC", {}, binary), ("AUC", {"curve": "PR"}, binary), ("AUC", {"from_logits": True}, binary),
    ("AUC", {"summation_method": "minoring"}, multi_label),
    ("AUC", {"summation_method": "majoring", "curve": "PR"}, multi_label),
    ("AUC", {"thresholds": [0.1, 0.5, 0.7]}, binary), ("AUC", {"num_thresholds": 2}, binary),
    ("AUC", {"multi_label": True}, multi_label), ("AUC", {"multi_label": True, "curve": "PR"}, multi_label),
    ("AUC", {"multi_label": True, "num_labels": CLASSES, "label_weights": [1.0, 2.0, 0.5, 1.0]}, multi_label),
    ("F1Score", {}, multi_label), ("F1Score", {"average": "micro", "threshold": 0.5}, multi_label),
    ("F1Score", {"average": "macro"}, one_hot), ("F1Score", {"average": "weighted", "threshold": 0.4}, multi_label),
    ("FBetaScore", {"beta": 2.0, "average": "macro"}, one_hot),
    ("IoU", {"num_classes": CLASSES, "target_class_ids": [0, 2], "dtype": "float32"}, classes),
    ("IoU", {"num_classes": CLASSES, "target_class_ids": [0, 2], "ignore_class": 1, "dtype": "float32"}, classes),
    ("MeanIoU", {"num_classes": CLASSES, "dtype": "float32"}, classes), ("BinaryIoU", {"dtype": "float32"}, binary),
    ("OneHotIoU", {"num_classes": CLASSES, "target_class_ids": [1], "dtype": "float32"}, one_hot),
    ("OneHotMeanIoU", {"num_classes": CLASSES, "dtype": "float32"}, one_hot),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name, settings, make", CASES)
def test_metric(name, settings, make, weighted):
    rng = np.random.default_rng(len(name))
    ours, theirs = getattr(tf.keras.metrics, name)(**settings), getattr(keras.metrics, name)(**settings)
    for _ in range(BATCHES):
        y_true, y_pred = make(rng)
        weights = rng.integers(0, 4, (CLASSES if settings.get("axis") == 0 else ROWS,)).astype("float32")
        weights = weights[:3] if settings.get("axis") == 0 else weights
        if name == "R2Score":
            weights = weights[:, None] + 1   # Keras counts rows of weight 0 as samples
        weights = weights if weighted else None
        ours.update_state(y_true, y_pred, sample_weight=weights)
        theirs.update_state(y_true, y_pred, sample_weight=weights)
        np.testing.assert_allclose(ours.result().numpy(), np.asarray(theirs.result()), **PARITY)
    expected = {v.path.split("/")[-1]: np.asarray(v) for v in theirs.variables}
    found = {v.path.split("/")[-1]: v.numpy() for v in ours.variables}
    assert list(found) == list(expected)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], err_msg=key, **PARITY)
    ours.reset_state()
    assert all((v.numpy() == 0).all() for v in ours.variables)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_values(name):
    rng = np.random.default_rng(0)
    ours, theirs = getattr(tf.keras.metrics, name)(), getattr(keras.metrics, name)()
    for weights in (None, rng.uniform(size=(4,)).astype("float32"), rng.uniform(size=(4, 5)).astype("float32")):
        values = rng.normal(size=(4, 5)).astype("float32")
        if name == "Sum" and weights is not None and weights.ndim == 1:
            continue
        ours.update_state(values, sample_weight=weights)
        theirs.update_state(values, sample_weight=weights)
    ours.update_state(3.0)
    theirs.update_state(3.0)
    found, expected = [float(v.numpy()) for v in ours.variables], [float(v) for v in theirs.variables]
    np.testing.assert_allclose(found, expected, **PARITY)


def test_every_public_name_exists():
    missing = [name for name in dir(keras.metrics) if not name.startswith("_") and not hasattr(tf.keras.metrics, name)]
    assert not missing


@pytest.mark.parametrize("name, settings, make", CASES)
def test_config_has_the_keys_of_keras(name, settings, make):
    ours, theirs = getattr(tf.keras.metrics, name)(**settings), getattr(keras.metrics, name)(**settings)
    config, expected = ours.get_config(), theirs.get_config()
    expected.pop("name")
    if expected.get("label_weights") is not None:
        expected["label_weights"] = np.asarray(expected["label_weights"]).tolist()
    assert set(expected) <= set(config)
    assert {k: config[k] for k in expected} == expected
    assert type(ours).from_config(config).get_config() == config
