# SPDX-License-Identifier: Apache-2.0
"""Runs that break and go on end with the bits of runs that do not: models, data and callbacks of every kind."""
import os
import signal
import threading

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((40, 4), np.float32)
Y = X.sum(1, keepdims=True)


class Break(keras.callbacks.Callback):
    """Raise once at (epoch, batch); or send a signal at a batch of the validation."""

    def __init__(self, epoch, batch=None, test_batch=None, number=None):
        super().__init__()
        self.where, self.epoch, self.number = (epoch, batch, test_batch), 0, number

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def _now(self):
        if self.number is None:
            raise InterruptedError
        os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, batch, logs=None):
        if self.where == (self.epoch, batch, None):
            self._now()

    def on_test_batch_end(self, batch, logs=None):
        if self.where == (self.epoch, None, batch):
            self._now()


def dense(optimizer="adam", **settings):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.3),
                              keras.layers.Dense(1)])
    model.compile(optimizer=optimizer, loss="mse", metrics=["mae"], **settings)
    return model


class Gan(keras.Model):
    """Two optimizers, built in the first step; logs of its own; a plain variable."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(3), keras.layers.Dense(1)
        self.seen = tf.Variable(0, trainable=False)

    def compile(self, one, two):
        super().compile()
        self.one, self.two = one, two

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((self.second(tf.nn.dropout(self.first(x), 0.2)) - y) ** 2)
        self.one.apply_gradients(zip(tape.gradient(loss, self.first.trainable_variables),
                                     self.first.trainable_variables))
        self.two.apply_gradients(zip(tape.gradient(loss, self.second.trainable_variables),
                                     self.second.trainable_variables))
        self.seen.assign_add(1)
        return {"own_loss": loss}

    def call(self, x):
        return self.second(self.first(x))


def gan():
    model = Gan()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.RMSprop(0.01))
    model(X[:1])
    return model


def scaled():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), dynamic_growth_steps=3), "mse")
        return model
    finally:
        keras.mixed_precision.set_global_policy("float32")


def several():
    chosen = keras.optimizers.OptimizerMap("sgd", {".*kernel": keras.optimizers.Adam(use_ema=True)})
    return dense(keras.optimizers.MultiOptimizer(chosen))


class Pieces(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return X[8 * i:8 * i + 8], Y[8 * i:8 * i + 8]


def endless():
    while True:
        rows = np.random.permutation(40)[:8]
        yield X[rows], Y[rows]


def pipeline():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(20).batch(8)


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 8},
    "rest of an order": lambda: {"x": X, "y": Y, "batch_size": 8, "steps_per_epoch": 3},
    "pieces": lambda: {"x": Pieces(), "shuffle": True},
    "pieces and steps": lambda: {"x": Pieces(), "steps_per_epoch": 3},
    "endless": lambda: {"x": endless(), "steps_per_epoch": 4},
    "pipeline": lambda: {"x": pipeline()},
    "mapped": lambda: {"x": pipeline().map(lambda x, y: (x + tf.random.normal(tf.shape(x)) * 0.01, y)).prefetch(2)},
    "repeated": lambda: {"x": pipeline().repeat(), "steps_per_epoch": 4},
}


def run(folder, data, make, breaks=None, epochs=3, callbacks=(), held_back=None, **settings):
    keras.utils.set_random_seed(3)
    model = make()
    if held_back is not None:
        settings["validation_data"] = held_back()
    listen = [*(one() for one in callbacks), *([breaks] if breaks else [])]
    history = model.fit(**DATA[data](), epochs=epochs, verbose=0, checkpoint_dir=folder, callbacks=listen, **settings)
    return model, history


def assert_same(left, right):
    assert left[1].history == right[1].history and left[1].epoch == right[1].epoch
    optimizers = [[getattr(m, name) for name in ("optimizer", "one", "two") if getattr(m, name, None) is not None]
                  for m, _ in (left, right)]
    for a, b in zip([*left[0].variables, *(v for o in optimizers[0] for v in o.variables)],
                    [*right[0].variables, *(v for o in optimizers[1] for v in o.variables)], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.filterwarnings("ignore:Your input ran out")
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_data(tmp_path, data, save_freq):
    settings = {"save_freq": save_freq, "held_back": pipeline if data == "pipeline" else lambda: (X[:9], Y[:9])}
    expected = run(tmp_path / "a", data, dense, **settings)
    for place in ((1, 1), (2, 1)):
        with pytest.raises(InterruptedError):
            run(tmp_path / "b", data, dense, Break(*place), **settings)
    assert_same(run(tmp_path / "b", data, dense, **settings), expected)


@pytest.mark.parametrize("make", [gan, scaled, several])
def test_models(tmp_path, make):
    expected = run(tmp_path / "a", "arrays", make, save_freq=2)
    with pytest.raises(InterruptedError):
        run(tmp_path / "b", "arrays", make, Break(1, 3), save_freq=2)
    assert_same(run(tmp_path / "b", "arrays", make, save_freq=2), expected)


@pytest.mark.parametrize("callbacks", [
    [lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    [lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)],
    [lambda: keras.callbacks.EarlyStopping("loss", patience=1, min_delta=10.0, restore_best_weights=True)]])
@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_callbacks(tmp_path, callbacks, save_freq):
    def make():
        return dense(keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=None))
    expected = run(tmp_path / "a", "arrays", make, callbacks=callbacks, save_freq=save_freq)
    with pytest.raises(InterruptedError):
        run(tmp_path / "b", "arrays", make, Break(1, 3), callbacks=callbacks, save_freq=save_freq)
    assert_same(run(tmp_path / "b", "arrays", make, callbacks=callbacks, save_freq=save_freq), expected)
    # a run that ended: once more to the same end, without a step
    assert_same(run(tmp_path / "b", "arrays", make, callbacks=callbacks, save_freq=save_freq), expected)


def test_a_model_that_runs_eagerly(tmp_path):
    def make():
        return dense(run_eagerly=True)
    expected = run(tmp_path / "a", "arrays", make, save_freq=2, epochs=2)
    with pytest.raises(InterruptedError):
        run(tmp_path / "b", "arrays", make, Break(1, 3), save_freq=2, epochs=2)
    assert_same(run(tmp_path / "b", "arrays", make, save_freq=2, epochs=2), expected)


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(tmp_path, "arrays", dense, Break(epoch=1, batch=1, number=signal.SIGINT))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore:Your input ran out")
@pytest.mark.parametrize("data, place, number, raised", [
    ("arrays", {"epoch": 1, "batch": 1}, signal.SIGINT, KeyboardInterrupt),
    ("mapped", {"epoch": 1, "batch": 1}, signal.SIGTERM, SystemExit),
    *((data, {"epoch": 1, "test_batch": 1}, signal.SIGTERM, SystemExit)
      for data in ("arrays", "pipeline", "mapped", "pieces", "pieces and steps", "endless"))])
def test_signals_in_training_and_validation(tmp_path, number, raised, place, data, capsys):
    given = {"validation_data": (X[:20], Y[:20]), "validation_batch_size": 8}
    expected = run(tmp_path / "a", data, dense, **given)
    with pytest.raises(raised):
        run(tmp_path / "b", data, dense, Break(**place, number=number), **given)
    assert f"{signal.Signals(number).name}: saved" in capsys.readouterr().err
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    from fitloom.saving import checkpoint_file
    state = checkpoint_file.read(tmp_path / "b" / "newest.safetensors")
    assert (state["epoch"], state["step"]) == (
        1, 2 if "batch" in place else {"endless": 4, "pieces and steps": 2}.get(data, 5))         # no step is lost
    assert_same(run(tmp_path / "b", data, dense, **given), expected)


def test_a_users_callback_goes_on(tmp_path):
    class Own(keras.callbacks.Callback):
        def __init__(self, setting=1):
            super().__init__()
            self.setting, self.seen, self.rows, self.lock = setting, 0, {}, threading.Lock()

        def on_epoch_begin(self, epoch, logs=None):
            self.rows[epoch] = np.zeros(2)

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            self.rows[max(self.rows)][0] += 1
    first, second = Own(), Own(setting=2)
    with pytest.raises(InterruptedError):
        run(tmp_path, "arrays", dense, Break(1, 3), callbacks=[lambda: first], save_freq=2)
    run(tmp_path, "arrays", dense, callbacks=[lambda: second], save_freq=2)
    assert second.seen == 15 and second.setting == 2
    assert {epoch: row[0] for epoch, row in second.rows.items()} == {0: 5, 1: 5, 2: 5}


def test_arguments(tmp_path, capsys):
    with pytest.raises(ValueError, match="needs checkpoint_dir"):
        dense().fit(X, Y, verbose=0, resume="auto")
    with pytest.raises(ValueError, match="'auto', 'must', 'never'"):
        dense().fit(X, Y, verbose=0, resume="yes", checkpoint_dir=tmp_path)
    with pytest.raises(tf.errors.NotFoundError, match="there is no checkpoint"):
        dense().fit(X, Y, verbose=0, resume="must", checkpoint_dir=tmp_path / "r")
    with pytest.raises(ValueError, match="not both"):
        dense().fit(X, Y, verbose=0, checkpoint_dir=tmp_path, callbacks=keras.callbacks.BackupAndRestore(tmp_path))
    run(tmp_path / "r", "arrays", dense, epochs=2)
    _, history = run(tmp_path / "r", "arrays", dense, epochs=3)
    assert history.epoch == [0, 1, 2]                        # more epochs than the run before had
    _, history = run(tmp_path / "r", "arrays", dense, epochs=1, resume="never")
    assert history.epoch == [0]
    capsys.readouterr()
    dense().fit(X, Y, batch_size=8, epochs=2, verbose=2, checkpoint_dir=tmp_path / "r")
    assert "goes on with epoch 2" in capsys.readouterr().out


def test_other_data_and_other_models(tmp_path):
    run(tmp_path, "arrays", dense, epochs=1)
    with pytest.warns(UserWarning, match="rows was 40, is 20"):
        dense().fit(X[:20], Y[:20], batch_size=8, epochs=2, verbose=0, checkpoint_dir=tmp_path)
    with pytest.raises(InterruptedError):
        run(tmp_path / "b", "arrays", dense, Break(0, 3), save_freq=2)
    with pytest.raises(ValueError, match="middle of an epoch over other data"):
        dense().fit(X + 1, Y, batch_size=8, verbose=0, checkpoint_dir=tmp_path / "b")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dense(1)])
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="belongs to another model"):
        other.fit(X, Y, batch_size=8, verbose=0, checkpoint_dir=tmp_path)


def test_an_unwritable_folder_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("x")
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    for make in (keras.callbacks.BackupAndRestore, keras.callbacks.TensorBoard,
                 lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
                 lambda folder: keras.callbacks.ModelCheckpoint(folder / "best.keras")):
        callback = make(tmp_path / "file" / "b")
        with pytest.raises(OSError) as caught:
            dense().fit(X, Y, verbose=0, callbacks=[count, callback])
        assert f"in the callback {type(callback).__name__}" in "".join(caught.value.__notes__)
    assert not steps


def test_every_callback_with_a_state_gets_it_back(tmp_path):
    from fitloom.saving import checkpoint_file
    made = {"LearningRateScheduler": (lambda epoch: 0.1,), "CSVLogger": (tmp_path / "log.csv",),
            "ModelCheckpoint": (tmp_path / "m.keras",), "BackupAndRestore": (tmp_path / "b",)}
    absent = {"Callback", "CallbackList", "MonitorCallback", "OrbaxCheckpoint", "RemoteMonitor", "SwapEMAWeights"}
    classes = [value for name, value in vars(keras.callbacks).items() if isinstance(value, type) and name not in absent]
    callbacks = [cls(*made.get(cls.__name__, ())) for cls in classes if cls.__name__ != "TensorBoard"]
    dense().fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), callbacks=callbacks)
    with_state = [callback for callback in callbacks if hasattr(callback, "get_state")]
    assert len(with_state) >= 5
    for callback in with_state:
        checkpoint_file.write(tmp_path / "state", callback.get_state())
        state = checkpoint_file.read(tmp_path / "state")
        fresh = type(callback)(*made.get(type(callback).__name__, ()))
        fresh.set_model(callback.model)
        fresh.on_train_begin()
        fresh.set_state(state)
        again = fresh.get_state()
        assert repr(again) == repr(callback.get_state()), type(callback)
