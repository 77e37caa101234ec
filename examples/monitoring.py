# SPDX-License-Identifier: Apache-2.0
"""See a run: TensorBoard's curves, histograms and images, values of your own, and plots without a server.

Afterwards: `tensorboard --logdir logs/`; in a notebook `%load_ext tensorboard`, `%tensorboard --logdir logs/`.
"""

import time
from pathlib import Path

import numpy as np

import fitloom as tf


class Mistakes(tf.keras.callbacks.Callback):
    """Write the scans that the model takes for something else, and the learning rate, once an epoch."""

    def __init__(self, folder, images, labels):
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder))
        self.images, self.labels = images, labels

    def on_epoch_end(self, epoch, logs=None):
        wrong = self.model.predict(self.images, verbose=0).argmax(axis=-1) != self.labels
        with self.writer.as_default(step=epoch):
            tf.summary.image("mistakes", self.images[wrong][:8, ..., None] / 16.0, max_outputs=8)
            tf.summary.scalar("mistakes", wrong.sum())
            tf.summary.scalar("learning rate", self.model.optimizer.learning_rate)

    def on_train_end(self, logs=None):
        self.writer.close()


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Rescaling(1 / 16),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    folder = Path("logs") / time.strftime("%Y%m%d-%H%M%S")
    history = model.fit(
        x_train,
        y_train,
        epochs=10,
        validation_data=(x_test, y_test),
        callbacks=[
            tf.keras.callbacks.TensorBoard(folder, histogram_freq=5, update_freq=20),
            tf.keras.callbacks.ReduceLROnPlateau(patience=2),
            tf.keras.callbacks.CSVLogger(folder / "epochs.csv"),
            Mistakes(folder / "mistakes", x_test, y_test),
        ],
    )

    # Every number of every epoch is in `history.history`; `plot` draws it.
    best = int(np.argmin(history.history["val_loss"]))
    print(f"best epoch {best + 1}: validation loss {history.history['val_loss'][best]:.4f}")
    history.plot().savefig(folder / "curves.png")

    print("written:")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(f"  {path} {path.stat().st_size:,} bytes")
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 3  # train, validation, mistakes
    assert (folder / "curves.png").stat().st_size > 10_000
    assert history.history["val_accuracy"][-1] > 0.9


if __name__ == "__main__":
    main()
