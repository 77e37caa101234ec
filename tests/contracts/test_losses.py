# SPDX-License-Identifier: Apache-2.0
"""What every loss promises: its configuration goes round, bfloat16 and float64 work, the second call compiles nothing."""
import copy
import json
import pickle

import numpy as np
import pytest

import fitloom as tf
from fitloom import engine, losses
from fitloom.losses.classes import FunctionLoss

CLASSES = sorted((cls for cls in vars(losses).values() if isinstance(cls, type) and issubclass(cls, FunctionLoss)),
                 key=lambda cls: cls.__name__)


def batch(cls):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.1, 0.9, (4, 3)).astype("float32")
    if cls.__name__ in ("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy", "Circle"):
        return np.array([0, 1, 0, 2]), scores
    if cls.__name__ == "CTC":
        return np.array([[1, 2], [2, 0]]), rng.normal(size=(2, 6, 4)).astype("float32")
    return np.eye(3, dtype="float32")[[0, 1, 0, 2]], scores


def test_all_are_found():
    assert len(CLASSES) >= 22


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_contract(cls):
    loss, (y_true, y_pred) = cls(name="named", reduction="sum"), batch(cls)
    config = loss.get_config()
    assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is cls and again.get_config() == config
    assert repr(loss) == f"<{cls.__name__} name=named>"
    first = loss(y_true, y_pred)
    assert first.dtype == "float32" and first.shape == ()
    float(first)
    programs = engine.STATISTICS["programs"]
    assert float(loss(y_true, y_pred)) == float(first)
    assert engine.STATISTICS["programs"] == programs
    copies = [pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)]
    assert [float(other(y_true, y_pred)) for other in copies] == [float(first)] * 2
    total, count = loss.terms(y_true, y_pred)
    assert np.isclose(float(total) / float(count), float(first), rtol=1e-6)
    wide = cls(reduction="sum", dtype="float64")(y_true, y_pred.astype("float64"))
    assert wide.dtype == "float64" and np.isclose(float(wide), float(first), rtol=1e-4)
    assert cls(dtype="bfloat16")(y_true, y_pred).dtype == "bfloat16"
    tf.config.run_functions_eagerly(True)
    try:
        assert np.isclose(float(loss(y_true, y_pred)), float(first), rtol=1e-5)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_gradient_equals_finite_differences(cls):
    y_true, y_pred = batch(cls)
    y_pred = y_pred.astype("float64")
    y_true = y_true.astype("float64") if y_true.dtype.kind == "f" else y_true
    direction, step = np.random.default_rng(1).normal(size=y_pred.shape), 1e-6
    loss = cls(dtype="float64")
    x = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y_true, x)
    slope = float((tape.gradient(value, x).numpy() * direction).sum())
    values = [float(loss(y_true, tf.constant(y_pred + sign * step * direction))) for sign in (1, -1)]
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-8)
