# SPDX-License-Identifier: Apache-2.0
"""Tracebacks show the user's lines."""
import traceback

import numpy as np
import pytest

import fitloom as tf

X = np.ones((4, 3), "float32")


@pytest.fixture(autouse=True)
def filtering():
    tf.debugging.enable_traceback_filtering()
    yield
    tf.debugging.disable_traceback_filtering()


def own_mistake(*_):
    raise RuntimeError("mine")


def wrong_shapes(x):
    return tf.matmul(x, x)


def fit(loss="mse", x=X):
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(3)])
    model.compile("sgd", loss)
    model.fit(x, X, verbose=0)


def frames(call):
    """Return the error that a call raises, and the (file is this one, function) of its traceback below the call."""
    with pytest.raises(Exception) as raised:
        call()
    entries = traceback.extract_tb(raised.value.__traceback__)
    return raised.value, [(entry.filename == __file__, entry.name) for entry in entries][2:]


@pytest.mark.parametrize("call", [
    lambda: fit(own_mistake), lambda: tf.function(own_mistake)(1), lambda: next(iter(
        tf.data.Dataset.range(1).map(own_mistake)))], ids=["fit", "function", "map"])
def test_only_the_users_lines(call):
    error, found = frames(call)
    assert str(error) == "mine" and "JAX" not in str(getattr(error, "__notes__", ""))
    assert found[-1] == (True, "own_mistake")
    assert sum(not own for own, _ in found) <= 1, found


def test_the_line_that_raised_stays_and_nothing_else_of_ours():
    for call in (lambda: fit(x=X[:2]), lambda: tf.function(wrong_shapes)(X),
                 lambda: tf.keras.layers.Lambda(wrong_shapes)(X)):
        _, found = frames(call)
        assert [own for own, _ in found] == [True] * (len(found) - 1) + [False], found


def test_all_frames_on_request_and_of_our_own_faults(monkeypatch):
    short = len(frames(lambda: fit(x=X[:2]))[1])
    tf.debugging.disable_traceback_filtering()
    assert not tf.debugging.is_traceback_filtering_enabled()
    assert len(frames(lambda: fit(x=X[:2]))[1]) > short
    tf.debugging.enable_traceback_filtering()
    monkeypatch.setattr("fitloom.trainer.loop.batches.open_source", lambda *_: {}.popitem)
    monkeypatch.setattr("fitloom.trainer.loop.preparing.prepare", lambda model, source, mode: None)
    monkeypatch.setattr("fitloom.trainer.loop.config.max_epochs", {}.popitem)
    error, found = frames(fit)
    assert isinstance(error, KeyError) and len(found) > short
