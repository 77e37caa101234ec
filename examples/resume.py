# SPDX-License-Identifier: Apache-2.0
"""A run that is killed with `kill -9` in the middle of an epoch goes on, and ends with the same bits.

This script starts itself three times: without an interruption, killed, and started again.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile

import fitloom as tf

EPOCHS = 4


def train(folder, kill_at=None):
    """Train with checkpoints in `folder`; with `kill_at`, die at that batch as in a power cut."""
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), _ = tf.keras.datasets.digits.load_data()
    dataset = tf.data.Dataset.from_tensor_slices((x_train / 16.0, y_train)).shuffle(len(x_train)).batch(32)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Dropout(0.3),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    class PowerCut(tf.keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if self.batches == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)  # no goodbye, no clean-up

    # This line is the whole of it. Start the script again, and it goes on.
    history = model.fit(
        dataset,
        epochs=EPOCHS,
        checkpoint_dir=folder,
        resume="auto",
        save_freq=20,
        callbacks=[PowerCut()] if kill_at else [],
    )

    digest = hashlib.sha256()
    for variable in model.variables + model.optimizer.variables:
        digest.update(variable.numpy().tobytes())
    digest.update(repr(history.history).encode())
    print("RESULT", digest.hexdigest(), f"accuracy {history.history['accuracy'][-1]:.4f}")


def start(*arguments):
    """Run this script in a process of its own; return its exit status and its last line."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    return done.returncode, done.stdout.strip().splitlines()[-1]


def main():
    with tempfile.TemporaryDirectory() as folder:
        print("--- a run that nothing interrupts")
        status, straight = start(f"{folder}/straight")
        assert status == 0
        print("--- a run that is killed at batch 110, in its third epoch")
        status, _ = start(f"{folder}/run", "110")
        assert status == -signal.SIGKILL
        print("--- the same command again")
        status, resumed = start(f"{folder}/run")
        assert status == 0
    print(straight, resumed, sep="\n")
    assert straight == resumed, "weights, optimizer and history must be the same to the last bit"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        main()
