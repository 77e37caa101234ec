# SPDX-License-Identifier: Apache-2.0
"""A sequence in, a number out: an LSTM forecasts a noisy season, from windows that `tf.data` cuts."""

import numpy as np

import fitloom as tf

WINDOW, AHEAD = 48, 6  # hours that the model sees, hours that it looks ahead


def series(hours, rng):
    """Return a day's wave and a week's wave with noise, one value an hour."""
    hour = np.arange(hours)
    daily, weekly = np.sin(2 * np.pi * hour / 24), np.sin(2 * np.pi * hour / 168)
    return (daily * (1 + 0.5 * weekly) + 0.1 * rng.normal(size=hours)).astype("float32")


def windows(values, shuffle=False):
    """Return a dataset of (48 hours, the value 6 hours after the last of them)."""
    return tf.keras.utils.timeseries_dataset_from_array(
        values[:-AHEAD, None],
        targets=values[WINDOW + AHEAD - 1 :],  # target i belongs to the window that starts at i
        sequence_length=WINDOW,
        batch_size=64,
        shuffle=shuffle,
    )


def main():
    tf.keras.utils.set_random_seed(1)
    values = series(24 * 7 * 20, np.random.default_rng(1))
    cut = int(0.8 * len(values))  # the future is not in the training data
    train, test = windows(values[:cut], shuffle=True), windows(values[cut:])
    for x_batch, y_batch in train.take(1):
        print("a batch:", x_batch.shape, "->", y_batch.shape)

    model = tf.keras.Sequential(
        [
            tf.keras.Input((WINDOW, 1)),
            tf.keras.layers.LSTM(32),
            tf.keras.layers.Dense(1),
        ]
    )
    model.compile(tf.keras.optimizers.Adam(5e-3), "mse", metrics=["mae"])
    stop = tf.keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    model.fit(train, epochs=10, validation_data=test, callbacks=[stop], verbose=2)

    error = model.evaluate(test, verbose=0, return_dict=True)["mae"]
    # What a forecast has to beat: the value of the same hour of the day before.
    naive = np.abs(values[cut + 24 :] - values[cut:-24]).mean()
    noise = 0.1 * (2 / np.pi) ** 0.5
    print(f"mean error {error:.3f}; 'as yesterday' {naive:.3f}; the noise alone makes {noise:.3f}")
    assert error < 0.75 * naive


if __name__ == "__main__":
    main()
