# SPDX-License-Identifier: Apache-2.0
"""Metrics: exact averages, masks, padded rows, accuracy by shapes, custom metrics, errors."""
import pickle

import numpy as np
import pytest

import fitloom as tf
from fitloom import engine, metrics

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.uniform(size=shape).astype("float32")


@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryAccuracy", "AUC", "Precision", "RootMeanSquaredError"])
def test_any_batch_size_gives_the_same_number(name):
    y_true, y_pred = (numbers(20, 1) > 0.5).astype("float32"), numbers(20, 1)
    results = []
    for size in (1, 7, 20):
        metric = getattr(tf.keras.metrics, name)()
        for start in range(0, 20, size):
            metric.update_state(y_true[start:start + size], y_pred[start:start + size])
        results.append(float(metric.result()))
    np.testing.assert_allclose(results, results[0], rtol=1e-5)


@pytest.mark.parametrize("name", ["MeanSquaredError", "CategoricalAccuracy", "AUC", "Recall", "F1Score", "MeanIoU",
                                  "R2Score", "TopKCategoricalAccuracy"])
def test_rows_of_weight_zero_do_not_count(name):
    settings = {"num_classes": 4, "sparse_y_true": False, "sparse_y_pred": False} if name == "MeanIoU" else {}
    y_true, y_pred = np.eye(4, dtype="float32")[RNG.integers(0, 4, 8)], numbers(8, 4)
    whole, padded = getattr(tf.keras.metrics, name)(**settings), getattr(tf.keras.metrics, name)(**settings)
    whole.update_state(y_true[:5], y_pred[:5])
    weights = np.array([1, 1, 1, 1, 1, 0, 0, 0], "float32")
    if name != "F1Score" and name not in ("MeanIoU", "AUC", "Recall"):
        y_pred[5:] = np.nan if name == "MeanSquaredError" else y_pred[5:]
    padded.update_state(y_true, y_pred, weights)
    np.testing.assert_allclose(padded.result().numpy(), whole.result().numpy(), rtol=1e-5)


def test_mask_of_the_outputs():
    y_true, y_pred = numbers(2, 3, 2), numbers(2, 3, 2)
    mask = np.array([[True, True, False], [True, False, False]])
    tensor = tf.constant(y_pred)
    engine.set_mask(tensor, tf.constant(mask))
    metric = tf.keras.metrics.MeanSquaredError()
    metric.update_state(y_true, tensor)
    expected = ((y_true - y_pred) ** 2).mean(-1)
    assert np.isclose(float(metric.result()), expected[mask].mean(), rtol=1e-5)
    metric.reset_state()
    metric.update_state(y_true, tensor, np.array([1.0, 3.0]))
    weights = mask * np.array([[1.0], [3.0]])
    assert np.isclose(float(metric.result()), (expected * weights).sum() / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("true_shape, pred_shape, expected", [
    ((8, 1), (8, 1), "BinaryAccuracy"), ((8,), (8, 1), "BinaryAccuracy"), ((8,), (8, 10), "SparseCategoricalAccuracy"),
    ((8, 1), (8, 10), "SparseCategoricalAccuracy"), ((8, 10), (8, 10), "CategoricalAccuracy"),
    ((8, 5), (8, 5, 10), "SparseCategoricalAccuracy"), ((8, 5, 10), (8, 5, 10), "CategoricalAccuracy"),
])
def test_what_accuracy_means(true_shape, pred_shape, expected):
    metric = metrics.resolve_accuracy(true_shape, pred_shape, name="acc")
    assert type(metric).__name__ == expected and metric.name == "acc"
    crossentropy = expected.replace("Accuracy", "Crossentropy")
    assert type(metrics.resolve_crossentropy(true_shape, pred_shape)).__name__ == crossentropy


def test_custom_metric_with_its_own_python():
    class Counter(tf.keras.metrics.Metric):
        def __init__(self, name="counter", **kwargs):
            super().__init__(name=name, **kwargs)
            self.seen = self.add_weight("seen", initializer="zeros")
            self.inner = tf.keras.metrics.Mean()
            self.calls = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.calls += 1
            self.seen.assign_add(tf.cast(tf.shape(y_true)[0], "float32"))
            self.inner.update_state(y_pred)

        def result(self):
            return {"seen": self.seen.value, "mean": self.inner.result()}

    metric = Counter()
    metric(np.zeros(3), np.ones(3))
    found = metric(np.zeros(2), np.ones(2))
    assert float(found["seen"]) == 5.0 and float(found["mean"]) == 1.0 and metric.calls == 2
    assert [v.path for v in metric.variables] == ["counter/seen", "mean/total", "mean/count"]
    metric.reset_state()
    assert all(float(v) == 0 for v in metric.variables)


def test_variables_before_super_init():
    class Wrong(tf.keras.metrics.Metric):
        def __init__(self):
            self.add_weight()

    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Wrong()


def test_function_as_a_metric_runs_as_python():
    calls = []

    def largest(y_true, y_pred):
        calls.append(1)
        return tf.reduce_max(y_pred, axis=-1)

    metric = tf.keras.metrics.MeanMetricWrapper(largest, name="largest")
    for _ in range(2):
        metric.update_state(np.zeros((2, 3)), np.ones((2, 3)))
    assert float(metric.result()) == 1.0 and len(calls) == 2


def test_update_is_one_program_with_the_second_call():
    metric, x = tf.keras.metrics.AUC(), numbers(16, 1)
    for _ in range(3):
        metric.update_state(x > 0.5, x)
        float(metric.variables[0][0])
    before = engine.STATISTICS["programs"]
    metric.update_state(x > 0.5, x)
    float(metric.variables[0][0])
    assert engine.STATISTICS["programs"] == before


def test_stateless():
    metric = tf.keras.metrics.Mean()
    metric.update_state([1.0, 3.0])
    values = metric.stateless_update_state([v.value for v in metric.variables], [5.0, 7.0])
    assert [float(v) for v in values] == [16.0, 4.0]
    assert float(metric.stateless_result(values)) == 4.0
    assert float(metric.result()) == 2.0                # untouched
    assert [float(v) for v in metric.stateless_reset_state()] == [0.0, 0.0]


def test_iou_counts_beyond_the_integers_of_float32():
    metric = tf.keras.metrics.MeanIoU(2)
    metric.total_confusion_matrix.assign([[2.0 ** 24, 0.0], [0.0, 1.0]])
    for _ in range(3):
        metric.update_state([0], [0])
    assert metric.total_confusion_matrix.numpy()[0, 0] == 2.0 ** 24 + 3
    as_in_files_of_keras = tf.keras.metrics.MeanIoU(2, dtype="int32")
    as_in_files_of_keras.update_state([0, 1], [0, 0])
    assert np.isclose(float(as_in_files_of_keras.result()), 0.25)


def test_names_are_unique():
    first, second = tf.keras.metrics.Precision(), tf.keras.metrics.Precision()
    assert second.name.startswith("precision_") and first.name != second.name
    assert tf.keras.metrics.MeanSquaredError().name == "mean_squared_error"


def test_result_before_any_batch():
    for name in ("Mean", "AUC", "Precision", "F1Score", "R2Score", "CosineSimilarity"):
        assert float(getattr(tf.keras.metrics, name)().result()) == 0.0


def test_float64_dtype():
    metric = tf.keras.metrics.MeanSquaredError(dtype="float64")
    metric.update_state(np.zeros((2, 1)), np.ones((2, 1)))
    assert metric.result().dtype == "float64"


def test_precision_top_k_breaks_ties_by_position():
    metric = tf.keras.metrics.Precision(top_k=2)
    metric.update_state([[1.0, 0.0, 1.0]], [[0.5, 0.5, 0.5]])
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize("make, match", [
    (lambda: tf.keras.metrics.AUC(num_thresholds=1), "num_thresholds"),
    (lambda: tf.keras.metrics.AUC(curve="roc2"), "ROC"),
    (lambda: tf.keras.metrics.Precision(thresholds=[0.5, 2]), "Received: .2."),
    (lambda: tf.keras.metrics.FBetaScore(beta=-1.0), "beta"),
    (lambda: tf.keras.metrics.R2Score(class_aggregation="mean"), "class_aggregation"),
    (lambda: tf.keras.metrics.IoU(2, [5]), "target_class_ids"),
    (lambda: tf.keras.metrics.BinaryAccuracy(threshold=1.5), "threshold"),
    (lambda: tf.keras.metrics.PrecisionAtRecall(2.0), "recall"),
    (lambda: tf.keras.metrics.Precision(class_id=7)(np.ones((2, 3)), np.ones((2, 3))), "class_id"),
    (lambda: tf.keras.metrics.F1Score()(np.ones(3), np.ones(3)), "2D"),
    (lambda: tf.keras.metrics.MeanSquaredError()(np.ones((3, 3)), np.ones((3, 2))), "same shape"),
    (lambda: tf.keras.metrics.MeanSquaredLogarithmicError()(np.ones((3, 1)), np.ones((3, 2))), "same shape"),
    (lambda: tf.keras.metrics.Mean()(np.ones(3), sample_weight=np.ones((4,))), "4"),
    (lambda: tf.keras.metrics.get("acuracy"), "accuracy"),
])
def test_errors(make, match):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=match):
        make()


def test_get():
    assert isinstance(tf.keras.metrics.get("mse"), tf.keras.metrics.MeanSquaredError)
    assert isinstance(tf.keras.metrics.get("AUC"), tf.keras.metrics.AUC)
    assert isinstance(tf.keras.metrics.get("binary_accuracy"), tf.keras.metrics.BinaryAccuracy)
    assert tf.keras.metrics.get(None) is None
    assert tf.keras.metrics.get(abs) is abs


def test_pickle():
    metric = tf.keras.metrics.MeanAbsoluteError(name="m")
    metric.update_state([[0.0]], [[2.0]])
    assert float(pickle.loads(pickle.dumps(metric)).result()) == 2.0


def test_one_target_for_several_outputs_is_said():
    with pytest.warns(UserWarning, match="one target a row"):
        found = tf.keras.metrics.MeanSquaredError()(np.ones((3, 1)), np.zeros((3, 2)))
    assert float(found) == 1.0
