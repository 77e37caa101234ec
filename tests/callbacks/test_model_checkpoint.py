# SPDX-License-Identifier: Apache-2.0
"""ModelCheckpoint with every kind of file."""
import os

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((32, 4), np.float32)
Y = X.sum(1, keepdims=True)


def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)])
    made.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return made


def fit(made, *callbacks, epochs=3, **settings):
    return made.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, validation_split=0.25, callbacks=list(callbacks),
                    **settings)


def test_the_mission_word_for_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = tf.keras.callbacks.ModelCheckpoint("best_model.h5", save_best_only=True)
    made = model()
    history = fit(made, checkpoint)
    best = int(np.argmin(history.history["val_loss"]))
    loaded = tf.keras.models.load_model("best_model.h5")
    found = loaded.evaluate(X[24:], Y[24:], verbose=0)
    np.testing.assert_allclose(found, [history.history[name][best] for name in ("val_loss", "val_mae")], rtol=1e-5)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_format(tmp_path, name, asynchronous):
    made, path = model(), tmp_path / name
    fit(made, keras.callbacks.ModelCheckpoint(path, save_weights_only=name.endswith(".weights.h5"),
                                              async_save=asynchronous))
    if name.endswith(".weights.h5"):
        again = model()
        again.load_weights(path)
    else:
        again = keras.models.load_model(path)
    for left, right in zip(made.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert os.listdir(tmp_path) == [name]


def test_asynchronous_files_hold_the_weights_of_their_moment(tmp_path):
    made, weights = model(), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(made.get_weights()))
    fit(made, note, keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True,
                                                    async_save=True, max_to_keep=2), epochs=4)
    assert sorted(os.listdir(tmp_path)) == ["3.weights.h5", "4.weights.h5"]
    again = model()
    for epoch in (3, 4):
        again.load_weights(tmp_path / f"{epoch}.weights.h5")
        for left, right in zip(weights[epoch - 1], again.get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)


def test_an_error_of_the_thread_is_raised(tmp_path, monkeypatch):
    from fitloom.saving import atomic

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(atomic, "write", full)
    with pytest.raises(OSError, match="No space left"):
        fit(model(), keras.callbacks.ModelCheckpoint(tmp_path / "x.keras", async_save=True))


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "x.keras").mkdir()
    with pytest.raises(OSError, match="Please specify a non-directory filepath"):
        fit(model(), keras.callbacks.ModelCheckpoint(tmp_path / "x.keras"))


def test_resume_knows_the_best_and_the_files(tmp_path):
    def checkpoint():
        return keras.callbacks.ModelCheckpoint(tmp_path / "m" / "{epoch}.keras", save_best_only=True, max_to_keep=2)
    made = model()
    first = checkpoint()
    fit(made, first, epochs=3, checkpoint_dir=tmp_path / "run")
    second = checkpoint()
    fit(model(), second, epochs=3, checkpoint_dir=tmp_path / "run")
    assert second.best == first.best and second._saved == first._saved


def test_subclasses_override_how_a_model_is_saved(tmp_path):
    seen = []

    class Own(tf.keras.callbacks.ModelCheckpoint):
        def _save_model(self, epoch, batch, logs):
            super()._save_model(epoch, batch, logs)
            seen.append((self._current_epoch, os.path.basename(self._get_file_path(epoch, batch, logs))))

    fit(model(), Own(os.fspath(tmp_path / "{epoch}.keras")), epochs=2)
    assert seen == [(0, "1.keras"), (1, "2.keras")] and sorted(os.listdir(tmp_path)) == ["1.keras", "2.keras"]
