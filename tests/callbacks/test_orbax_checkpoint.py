# SPDX-License-Identifier: Apache-2.0
"""OrbaxCheckpoint, with the package and without it."""
import sys

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((32, 4), np.float32)


def test_a_clear_error_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match="pip install orbax-checkpoint"):
        keras.callbacks.OrbaxCheckpoint("folder")


@pytest.mark.filterwarnings("ignore")
def test_saves_and_restores(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    checkpoint = keras.callbacks.OrbaxCheckpoint(tmp_path, max_to_keep=2)
    model.fit(X, X.sum(1), epochs=3, verbose=0, callbacks=[checkpoint])
    expected = [v.numpy() for v in model.variables + model.optimizer.variables]
    model.fit(X, X.sum(1), epochs=1, verbose=0)
    checkpoint.restore()
    for left, right in zip(expected, model.variables + model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(left, right.numpy())
    assert checkpoint.manager.all_steps() == [1, 2]
