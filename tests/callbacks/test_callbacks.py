# SPDX-License-Identifier: Apache-2.0
"""Every callback, by what it does to a run."""
import csv
import http.server
import json
import os
import sys
import threading
import types

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
callbacks = keras.callbacks
X = np.random.default_rng(0).random((32, 4), np.float32)
Y = X.sum(1, keepdims=True)


def model(rate=0.01, **settings):
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    made.compile(**{"optimizer": keras.optimizers.SGD(rate), "loss": "mse", "metrics": ["mae"], **settings})
    return made


def fit(made, *listen, epochs=3, **settings):
    return made.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, callbacks=list(listen), **settings)


class Feed(callbacks.Callback):
    """Put chosen values into the logs before the callback under test sees them."""

    def __init__(self, name, values):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


# -- the list, the logs

def test_logs_are_a_dict_of_floats():
    seen = []

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((dict(logs), {**logs}, logs.copy(), json.dumps(logs), f"{logs['loss']:.3f}", logs.get("mae")))

    fit(model(), Look(), epochs=1)
    for first, second, third, text, _, mae in seen:
        assert first == second == third == json.loads(text) and type(first["loss"]) is float and mae == first["mae"]


def test_a_callback_without_batch_hooks_does_not_ask_for_batches():
    listen = callbacks.CallbackList([callbacks.EarlyStopping(), callbacks.History()], add_progbar=True)
    assert not listen.wants_every_batch("train") and listen.listeners("train", "begin") == []
    listen.append(callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None))
    assert listen.wants_every_batch("train") and not listen.wants_every_batch("test")


def test_old_batch_hooks_are_called():
    seen = []

    class Old(callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append(batch)

    fit(model(), Old(), epochs=1)
    assert seen == [0, 1, 2, 3]


def test_params_and_model():
    class Look(callbacks.Callback):
        pass

    look, made = Look(), model()
    fit(made, look)
    assert look.params == {"verbose": 0, "epochs": 3, "steps": 4} and look.model is made


def test_lambda_callback_and_one_callback_alone():
    seen = []
    one = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch),
                                   on_train_batch_begin=lambda batch, logs: seen.append("b"),
                                   on_test_begin=lambda logs: seen.append("t"))
    model().fit(X, Y, verbose=0, callbacks=one, validation_data=(X, Y))
    assert seen == ["b", "t", 0]


# -- monitors

@pytest.mark.parametrize("values, settings, epochs", [
    ([3, 2, 2, 2, 2, 2], dict(patience=2), 4), ([3, 2, 1, 0, -1, -2], dict(patience=0), 6),
    ([1, 2, 2, 2, 2, 2], dict(patience=1, mode="max"), 3), ([3, 2.95, 2.9, 2.8, 1, 1], dict(patience=2, min_delta=0.5), 3),
    ([3, 2, 1, 1, 1, 1], dict(patience=2, baseline=0.5), 4), ([1, 1, 1, 1, 0, 0], dict(start_from_epoch=3), 6)])
def test_early_stopping(values, settings, epochs):
    stop = callbacks.EarlyStopping(monitor="fed", **settings)
    assert len(fit(model(), Feed("fed", values), stop, epochs=6).epoch) == epochs


def test_early_stopping_restores_the_best_weights():
    made, kept = model(0.1), []
    keep = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(made.get_weights()))
    fit(made, Feed("fed", [3, 1, 2, 2, 2]), keep,
        callbacks.EarlyStopping("fed", patience=2, restore_best_weights=True), epochs=5)
    assert len(kept) == 4
    np.testing.assert_array_equal(made.get_weights()[0], kept[1][0])


def test_reduce_lr_on_plateau():
    made = model(1e-3)
    reduce = callbacks.ReduceLROnPlateau("fed", factor=0.1, patience=2, cooldown=1, min_lr=5e-6, min_delta=0)
    history = fit(made, Feed("fed", [1] * 12), reduce, epochs=12).history["learning_rate"]
    assert history[0] == pytest.approx(1e-3) and history[-1] == pytest.approx(5e-6)
    assert float(made.optimizer.learning_rate) == pytest.approx(5e-6)
    with pytest.raises(ValueError, match="factor >= 1.0"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_auto_mode_knows_which_way_is_better():
    stop = callbacks.EarlyStopping("val_accuracy")
    stop.set_model(model())
    assert stop._direction() == "max"
    stop = callbacks.EarlyStopping("val_loss")
    stop.set_model(model())
    assert stop._direction() == "min"


@pytest.mark.parametrize("make", [
    lambda name: callbacks.EarlyStopping(name), lambda name: callbacks.ReduceLROnPlateau(name),
    lambda name: callbacks.ModelCheckpoint("unused.keras", name, save_best_only=True)])
def test_a_monitor_that_never_appears_is_an_error(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="monitors 'val_loss'.*no validation"):
        fit(model(), make("val_loss"))
    with pytest.raises(ValueError, match="Did you mean 'val_mae'"):
        fit(model(), make("val_mea"), validation_data=(X, Y))
    with pytest.raises(ValueError, match="Did you mean 'loss'"):
        fit(model(), make("lo"))
    with pytest.raises(ValueError, match="Did you mean 'val_mae'"):
        fit(model(), make("val_m"), validation_data=(X, Y))
    fit(model(), callbacks.EarlyStopping("val_loss"), validation_data=(X, Y), validation_freq=2)


# -- learning rates

def test_learning_rate_scheduler():
    made = model()
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5 if epoch else 0.2)
    assert fit(made, schedule).history["learning_rate"] == pytest.approx([0.2, 0.1, 0.05])
    assert fit(model(), callbacks.LearningRateScheduler(lambda epoch: 0.3)).history["learning_rate"][0] == \
        pytest.approx(0.3)
    with pytest.raises(ValueError, match="should be a float"):
        fit(model(), callbacks.LearningRateScheduler(lambda epoch, rate: None))


def test_terminate_on_nan():
    made = model(1e38)
    history = fit(made, callbacks.TerminateOnNaN(), epochs=50)
    assert len(history.epoch) < 50
    with pytest.raises(RuntimeError, match="NaN or Inf"):
        fit(model(1e38), callbacks.TerminateOnNaN(raise_error=True), epochs=50)


def test_swap_ema_weights():
    made = model(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    seen = {}
    look = callbacks.LambdaCallback(on_test_begin=lambda logs: seen.update(test=made.get_weights()[0]),
                                    on_epoch_end=lambda epoch, logs: seen.update(train=made.get_weights()[0]))
    swap = callbacks.SwapEMAWeights()
    fit(made, swap, look, validation_data=(X, Y), epochs=1)
    assert not np.allclose(seen["test"], seen["train"])
    with pytest.raises(ValueError, match="use_ema=True"):
        fit(model(), callbacks.SwapEMAWeights(), validation_data=(X, Y))


def test_each_optimizer_of_several_keeps_a_rate_of_its_own():
    first, second = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.01)
    optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(second, {".*kernel": first}))
    made = model(optimizer=optimizer)
    fit(made, callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2), epochs=1)
    assert [float(one.learning_rate) for one in (first, second)] == pytest.approx([0.05, 0.005])
    plateau = callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_lr=0.002)
    plateau.set_model(made)
    plateau.on_train_begin()
    for epoch in range(4):
        plateau.on_epoch_end(epoch, {"loss": 1.0})
    assert [float(one.learning_rate) for one in (first, second)] == pytest.approx([0.002, 0.002])


def test_swapping_on_epoch_leaves_the_averages_in_the_model():
    seen = {}
    look = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.update(end=made.get_weights()[0]))
    made = model(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    fit(made, callbacks.SwapEMAWeights(swap_on_epoch=True), look, validation_data=(X, Y), epochs=2)
    np.testing.assert_array_equal(made.get_weights()[0], seen["end"])


# -- files

def test_csv_logger(tmp_path):
    path = tmp_path / "sub" / "log.csv"
    history = fit(model(), callbacks.CSVLogger(path), validation_data=(X, Y)).history
    fit(model(), callbacks.CSVLogger(path, append=True), validation_data=(X, Y), epochs=1)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"] and len(rows) == 4
    assert float(rows[1]["loss"]) == history["loss"][1] and [row["epoch"] for row in rows] == ["0", "1", "2", "0"]


@pytest.fixture
def saving(tmp_path):
    """Skip as long as models cannot be saved."""
    try:
        model().save_weights(tmp_path / "try.weights.h5")
        os.remove(tmp_path / "try.weights.h5")
    except NotImplementedError as error:
        pytest.skip(str(error))


def test_model_checkpoint(tmp_path, saving):
    made = model()
    fit(made, callbacks.ModelCheckpoint(tmp_path / "w{epoch:02d}-{loss:.2f}.weights.h5", save_weights_only=True))
    assert sorted(os.listdir(tmp_path))[0].startswith("w01-") and len(os.listdir(tmp_path)) == 3
    best = tmp_path / "best.weights.h5"
    fit(made, Feed("fed", [2, 3, 4]), callbacks.ModelCheckpoint(best, "fed", save_best_only=True,
                                                               save_weights_only=True))
    first = best.stat().st_mtime_ns
    fit(made, Feed("fed", [2, 3, 4]), callbacks.ModelCheckpoint(best, "fed", save_best_only=True, mode="min",
                                                               save_weights_only=True, initial_value_threshold=1))
    assert best.stat().st_mtime_ns == first
    made.load_weights(best)


def test_model_checkpoint_by_batches_and_keep(tmp_path, saving):
    fit(model(), callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.weights.h5", save_weights_only=True,
                                           save_freq=3, max_to_keep=2), epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["3-1.weights.h5", "3-4.weights.h5"]


@pytest.mark.parametrize("arguments, message", [
    (dict(filepath="x.txt"), "must end in `.keras`"), (dict(filepath="x.h5", save_weights_only=True), ".weights.h5"),
    (dict(filepath="x.keras", save_freq="often"), "save_freq"), (dict(filepath="x.keras", save_freq=0), "save_freq")])
def test_model_checkpoint_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        callbacks.ModelCheckpoint(**arguments)


def test_remote_monitor():
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        fit(model(), callbacks.RemoteMonitor(f"http://127.0.0.1:{server.server_port}", send_as_json=True), epochs=1)
    finally:
        server.shutdown()
        server.server_close()
    path, body = received[0]
    assert path == "/publish/epoch/end/" and set(json.loads(body)) == {"epoch", "loss", "mae"}
    with pytest.warns(UserWarning, match="Could not reach"):
        fit(model(), callbacks.RemoteMonitor("http://127.0.0.1:9"), epochs=1)


# -- backup

class Crash(callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise InterruptedError("crash")


@pytest.mark.parametrize("save_freq", ["epoch", 3])
def test_backup_and_restore_is_bitwise(tmp_path, save_freq):
    def run(crash):
        keras.utils.set_random_seed(3)
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.3),
                                 keras.layers.Dense(1)])
        made.compile(optimizer="adam", loss="mse")
        listen = [callbacks.ReduceLROnPlateau("loss", patience=1),
                  callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)]
        history = fit(made, *listen, *([Crash(*crash)] if crash else []), epochs=5, validation_data=(X, Y))
        return made, history

    straight, history = run(None)
    assert not (tmp_path / "backup").exists()
    with pytest.raises(InterruptedError):
        run((1, 2))
    with pytest.raises(InterruptedError):
        run((3, 3))
    resumed, again = run(None)
    assert history.history == again.history and again.epoch == [0, 1, 2, 3, 4]
    for left, right in zip(straight.variables + straight.optimizer.variables,
                           resumed.variables + resumed.optimizer.variables):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


def test_backup_falls_back_when_the_newest_is_damaged(tmp_path):
    with pytest.raises(InterruptedError):
        fit(model(), callbacks.BackupAndRestore(tmp_path / "b"), Crash(2, 0))
    latest = tmp_path / "b" / "newest.safetensors"
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    latest.write_bytes(content[:-30])
    with pytest.warns(UserWarning, match="damaged"):
        history = fit(model(), callbacks.BackupAndRestore(tmp_path / "b"))
    assert history.epoch == [0, 1, 2]


def test_backup_of_another_model_is_refused(tmp_path):
    with pytest.raises(InterruptedError):
        fit(model(), callbacks.BackupAndRestore(tmp_path), Crash(1, 0))
    other = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)])
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match="another model"):
        fit(other, callbacks.BackupAndRestore(tmp_path))


@pytest.mark.parametrize("arguments", [dict(backup_dir=""), dict(backup_dir="x", save_freq="often")])
def test_backup_refuses(arguments):
    with pytest.raises(ValueError):
        callbacks.BackupAndRestore(**arguments)


def test_history_plot():
    pytest.importorskip("matplotlib")
    figure = fit(model(), validation_data=(X, Y)).plot()
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 2


def test_a_notebook_shows_a_plot_once(monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    history, shown = callbacks.History(), []
    history.epoch, history.history = [0], {"loss": [1.0]}
    monkeypatch.setattr("fitloom.callbacks.history.in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=shown.append))
    figure = history.plot()
    figure._ipython_display_()                       # the result of its cell
    assert shown == [figure] and not plt.fignum_exists(figure.number)


def test_history_plot_of_one_log_or_many():
    plt = pytest.importorskip("matplotlib.pyplot")
    history = callbacks.History()
    history.epoch, history.history = [3], {name: [1.0] for name in ("loss", "a", "b", "c")}
    (axis,) = history.plot("loss").axes
    assert axis.lines[0].get_xdata().tolist() == [4] and axis.lines[0].get_marker() == "o"
    many = history.plot()
    assert many.get_size_inches().tolist() == [15, 8]          # three in a row
    with pytest.raises(ValueError, match="Unknown log of this run 'los'. Did you mean 'loss'"):
        history.plot("los")
    plt.close("all")
