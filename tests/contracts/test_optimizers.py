# SPDX-License-Identifier: Apache-2.0
"""What every optimizer promises: it descends, its configuration goes round, dtypes stay, the third step compiles nothing."""
import json

import numpy as np
import pytest

import fitloom as tf
from fitloom import engine, optimizers

CLASSES = sorted((cls for cls in vars(optimizers).values() if isinstance(cls, type)
                  and issubclass(cls, optimizers.Optimizer) and cls is not optimizers.Optimizer),
                 key=lambda cls: cls.__name__)


def make(cls):
    if cls is optimizers.LossScaleOptimizer:
        return cls("adam", initial_scale=1.0)
    if cls is optimizers.MultiOptimizer:
        return cls(optimizers.OptimizerMap("adam", {"other": "sgd"}))
    return cls()


def test_all_are_found():
    assert len(CLASSES) == 16


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_contract(cls):
    optimizer = make(cls)
    config = optimizer.get_config()
    json.dumps(config)
    assert cls.from_config(config).get_config() == config
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert type(again) is cls and again.get_config() == config
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 3)).astype("float32")
    w = tf.keras.Variable(np.zeros((4, 3)), dtype="float32", name="kernel")
    b = tf.keras.Variable(np.zeros(3), dtype="float32", name="bias")

    def distance():
        return tf.reduce_mean(tf.square(w + b - target))

    losses, programs = [], None
    for step in range(12):
        if step == 6:
            programs = engine.STATISTICS["programs"]
        with tf.GradientTape() as tape:
            loss = distance()
        optimizer.apply_gradients(zip(tape.gradient(loss, [w, b]), [w, b]))
        losses.append(float(loss))
    assert engine.STATISTICS["programs"] == programs
    assert losses[-1] < losses[0]
    assert w.dtype == b.dtype == "float32"
    assert int(optimizer.iterations) == 12
    # The state's dtypes are those of Keras: counters int32, everything else as the variables.
    assert {v.dtype for v in optimizer.variables} <= {"int32", "float32"}
    assert optimizer.variables[0].name == "iteration" and optimizer.variables[1].name == "learning_rate"
