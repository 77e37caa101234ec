# SPDX-License-Identifier: Apache-2.0
"""What every metric promises: configuration round trip, reset, float results, eager equal to recorded."""
import inspect
import json

import numpy as np
import pytest

import fitloom as tf
from fitloom import metrics

CLASSES = sorted((cls for cls in vars(metrics).values() if isinstance(cls, type) and issubclass(cls, metrics.Metric)
                  and cls not in (metrics.Metric, metrics.MeanMetricWrapper)), key=lambda cls: cls.__name__)
REQUIRED = {"num_classes": 3, "target_class_ids": [0, 1], "specificity": 0.5, "sensitivity": 0.5, "recall": 0.5,
            "precision": 0.5}


def make(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return cls(**{p.name: REQUIRED[p.name] for p in parameters if p.default is p.empty})


def batch(cls):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.1, 0.9, (6, 3)).astype("float32")
    labels = np.array([0, 1, 0, 2, 1, 1])
    if cls in (metrics.Mean, metrics.Sum):
        return (scores[:, 0],)
    if cls.__name__.startswith("Sparse"):
        return labels, scores
    if cls in (metrics.IoU, metrics.MeanIoU, metrics.Accuracy):
        return labels, np.array([0, 1, 1, 2, 1, 0])
    if cls is metrics.BinaryIoU:
        return (scores > 0.5).astype("int32"), scores
    return np.eye(3, dtype="float32")[labels], scores


def test_all_are_found():
    assert len(CLASSES) >= 43


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_contract(cls):
    metric, data = make(cls), batch(cls)
    config = metric.get_config()
    assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
    again = metrics.deserialize(metrics.serialize(metric))
    assert type(again) is cls and again.get_config() == config
    metric.update_state(*data)
    once = metric.result().numpy()
    assert once.dtype == "float32" and np.isfinite(once).all()
    metric.reset_state()
    assert all((v.numpy() == 0).all() for v in metric.variables)
    metric.update_state(*data)
    np.testing.assert_array_equal(metric.result().numpy(), once)
    weighted = make(cls)
    weighted.update_state(*data, sample_weight=np.ones((6, 1) if cls is metrics.R2Score else 6, "float32"))
    np.testing.assert_allclose(weighted.result().numpy(), once, rtol=1e-6, atol=1e-7)
    tf.config.run_functions_eagerly(True)
    try:
        eager = make(cls)
        eager.update_state(*data)
        np.testing.assert_allclose(eager.result().numpy(), once, rtol=1e-5)
    finally:
        tf.config.run_functions_eagerly(False)
    assert all(v.path == f"{metric.name}/{v.name}" and not v.trainable for v in metric.variables)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_inside_tf_function(cls):
    metric, traced, data = make(cls), make(cls), [tf.constant(x) for x in batch(cls)]
    metric.update_state(*data)
    if not traced.variables or len(traced.variables) != len(metric.variables):
        traced.update_state(*data)      # variables are made by the first call, outside
        traced.reset_state()

    @tf.function
    def step(*data):
        traced.update_state(*data)
        return traced.result()

    np.testing.assert_allclose(step(*data).numpy(), metric.result().numpy(), rtol=1e-5)
