# SPDX-License-Identifier: Apache-2.0
"""A training run that tests/e2e/test_crash.py kills and starts again.

python crash_script.py FOLDER SAVE_FREQ RESULT DATA: DATA is 'arrays', 'pipeline' (tf.data) or 'generator'. Each step
that was executed is a line of RESULT.steps, over all runs.
"""
import hashlib
import json
import os
import sys
import time

import numpy as np

import fitloom as tf

keras = tf.keras
folder, save_freq, result, kind = sys.argv[1:5]
save_freq = save_freq if save_freq == "epoch" else int(save_freq)

keras.utils.set_random_seed(11)
rng = np.random.default_rng(0)
x = rng.random((96, 6), np.float32)
y = x.sum(1, keepdims=True)


def augmented():
    while True:                            # an endless generator with NumPy's global random numbers
        rows = np.random.permutation(96)[:12]
        yield x[rows] + np.random.normal(0, 0.01, (12, 6)).astype("float32"), y[rows]


held_back = (x[:24], y[:24])
if kind == "arrays":
    data = {"x": x, "y": y, "batch_size": 12}
elif kind == "pipeline":
    def jitter(a, b):
        return a + tf.random.normal(tf.shape(a), stddev=0.01), b
    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40).map(jitter).batch(12).prefetch(2)
    data = {"x": pipeline}
    held_back = tf.data.Dataset.from_tensor_slices(held_back).shuffle(24).batch(7)
else:
    data = {"x": augmented(), "steps_per_epoch": 8}


executed = os.open(f"{result}.steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Own(keras.callbacks.Callback):
    """A user's callback: it counts, and it draws random numbers."""

    def __init__(self):
        super().__init__()
        self.seen, self.drawn, self.log = 0, 0.0, []

    def on_train_batch_end(self, batch, logs=None):
        os.write(executed, b"%d\n" % (8 * self._epoch + batch + 1))
        self.seen += 1
        self.drawn += float(np.random.random())
        time.sleep(0.004)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self.log.append(["begin", epoch])

    def on_epoch_end(self, epoch, logs=None):
        self.log.append([epoch, logs["loss"]])

    def on_test_batch_end(self, batch, logs=None):
        time.sleep(0.002)


model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, activation="relu"),
                          keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(use_ema=True), loss="mse", metrics=["mae"])
own, stopping = Own(), keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.05)
history = model.fit(
    **data, epochs=12, verbose=0, validation_data=held_back, checkpoint_dir=folder, resume="auto",
    save_freq=save_freq, callbacks=[own, plateau, stopping, keras.callbacks.CSVLogger(f"{result}.csv")])
digest = hashlib.sha256()
for variable in model.variables + model.optimizer.variables:
    digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
with open(f"{result}.csv") as file:
    table = file.read()
with open(result, "w") as file:
    json.dump({"digest": digest.hexdigest(), "history": history.history, "epochs": history.epoch, "seen": own.seen,
               "drawn": own.drawn, "log": own.log, "stopped": stopping.stopped_epoch, "csv": table}, file)
