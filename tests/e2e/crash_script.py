# SPDX-License-Identifier: Apache-2.0
"""A training run that tests/e2e/test_crash.py kills and starts again: python crash_script.py FOLDER SAVE_FREQ RESULT."""
import hashlib
import json
import sys
import time

import numpy as np

import fitloom as tf

keras = tf.keras
folder, save_freq, result = sys.argv[1], sys.argv[2], sys.argv[3]
save_freq = save_freq if save_freq == "epoch" else int(save_freq)

keras.utils.set_random_seed(11)
rng = np.random.default_rng(0)
x = rng.random((96, 6), np.float32)
y = x.sum(1, keepdims=True)

model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, activation="relu"),
                          keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model.compile(optimizer="adam", loss="mse", metrics=["mae"])
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.004))
history = model.fit(x, y, epochs=12, batch_size=12, verbose=0, validation_data=(x[:24], y[:24]), callbacks=[
    slow, keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.05),
    keras.callbacks.EarlyStopping("val_loss", patience=9),
    keras.callbacks.BackupAndRestore(folder, save_freq=save_freq)])
digest = hashlib.sha256()
for variable in model.variables + model.optimizer.variables:
    digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
with open(result, "w") as file:
    json.dump({"digest": digest.hexdigest(), "history": history.history, "epochs": history.epoch}, file)
