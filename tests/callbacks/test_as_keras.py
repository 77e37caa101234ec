# SPDX-License-Identifier: Apache-2.0
"""Monitoring callbacks do what those of the real Keras do, for random sequences of logs and settings."""
import os
import random

import numpy as np
import pytest

import fitloom as tf

os.environ.setdefault("KERAS_BACKEND", "jax")
real = pytest.importorskip("keras")
X = np.random.default_rng(0).random((8, 2), np.float32)
pytestmark = pytest.mark.filterwarnings("ignore")     # of Keras itself


def run(keras, make, values, name):
    """Train with the log `name` replaced by `values`; return what is left at the end."""
    class Feed(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs[name] = values[epoch]

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    callback = make(keras.callbacks)
    history = model.fit(X, X[:, :1] * 0, epochs=len(values), verbose=0, callbacks=[Feed(), callback])
    return history, callback, float(np.asarray(model.optimizer.learning_rate))


def sequences(count):
    chance = random.Random(4)
    for _ in range(count):
        yield [round(chance.choice([1.0, 0.9, 0.5, 0.50001, 0.3]) + chance.choice([0, 0, 0.05]), 5) for _ in range(8)]


EARLY = [{"patience": 0}, {"patience": 2}, {"patience": 1, "min_delta": 0.1}, {"patience": 2, "baseline": 0.4},
         {"patience": 1, "start_from_epoch": 3}, {"patience": 1, "mode": "max"}]


@pytest.mark.parametrize("settings", EARLY, ids=str)
def test_early_stopping(settings):
    for values in sequences(2):
        found = [run(k, lambda c: c.EarlyStopping("fed", **{"mode": "min", **settings}), values, "fed") for k in (tf.keras, real)]
        ours, theirs = [(len(history.epoch), callback.stopped_epoch, callback.wait, callback.best_epoch)
                        for history, callback, _ in found]
        assert ours == theirs, (settings, values)


PLATEAU = [{"patience": 1}, {"patience": 0}, {"patience": 2, "cooldown": 2}, {"patience": 1, "min_lr": 0.04},
           {"patience": 1, "factor": 0.5, "min_delta": 0.2}, {"patience": 1, "mode": "max"}]


@pytest.mark.parametrize("settings", PLATEAU, ids=str)
def test_reduce_lr_on_plateau(settings):
    for values in sequences(2):
        found = [run(k, lambda c: c.ReduceLROnPlateau("fed", **{"mode": "min", **settings}), values, "fed") for k in (tf.keras, real)]
        (ours, _, rate), (theirs, _, other) = found
        assert rate == pytest.approx(other, rel=1e-6), (settings, values)
        assert ours.history["learning_rate"] == pytest.approx(theirs.history["learning_rate"], rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"mode": "max"}, {"initial_value_threshold": 0.6}], ids=str)
def test_model_checkpoint_saves_the_same_epochs(tmp_path, settings):
    for i, values in enumerate(sequences(2)):
        saved = []
        for label, keras in (("ours", tf.keras), ("theirs", real)):
            folder = tmp_path / f"{label}{i}"
            run(keras, lambda c: c.ModelCheckpoint(
                str(folder / "{epoch}-{fed:.2f}.keras"), "fed", save_best_only=True, **{"mode": "min", **settings}),
                values, "fed")
            saved.append(sorted(os.listdir(folder)) if folder.exists() else [])
        assert saved[0] == saved[1], (settings, values)


def test_learning_rate_schedules_and_csv(tmp_path):
    tables = []
    for label, keras in (("ours", tf.keras), ("theirs", real)):
        path = tmp_path / label
        history, _, rate = run(keras, lambda c: c.LearningRateScheduler(lambda epoch, lr: lr * 0.5), [1.0] * 3, "fed")
        run(keras, lambda c: c.CSVLogger(str(path), separator=";"), [1.0, 2.0], "fed")
        tables.append((history.history["learning_rate"], rate, path.read_text().splitlines()[0].split(";")[:3],
                       [line.split(";")[:2] for line in path.read_text().splitlines()]))
    assert tables[0] == tables[1]
