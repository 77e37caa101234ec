# SPDX-License-Identifier: Apache-2.0
"""Train a small convolutional network on real handwritten digits, and draw what it learned.

Run it with `make train`, or `python examples/digits.py`. It takes a few seconds on a laptop.
"""

from pathlib import Path

import numpy as np

import fitloom as tf

TARGET_ACCURACY = 0.98


def build_model():
    """Two convolutions find strokes, two dense layers read them; dropout keeps them from learning by heart."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )


def draw(history, images, labels, probabilities, path):
    """Write the training curves, and some test scans with what the model takes them for."""
    import matplotlib.pyplot as plt  # from the extra `plot`

    plt.switch_backend("agg")  # no window: this also runs where there is no screen
    figure = plt.figure(figsize=(11, 6), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    for axes, name in zip(upper.subplots(1, 2), ("loss", "accuracy")):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], label="training")
        axes.plot(epochs, history[f"val_{name}"], label="validation")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
    predicted = probabilities.argmax(axis=-1)
    # Mistakes first, then the least certain: they tell more than those it is sure of.
    order = sorted(range(len(labels)), key=lambda n: (predicted[n] == labels[n], probabilities[n].max()))
    for axes, n in zip(lower.subplots(2, 10).flat, order):
        axes.imshow(images[n].squeeze(), cmap="gray_r")
        right = predicted[n] == labels[n]
        title = f"{predicted[n]} ({probabilities[n].max():.0%})" + ("" if right else f"\nis {labels[n]}")
        axes.set_title(title, color="black" if right else "red", fontsize=8)
        axes.axis("off")
    lower.suptitle("Hardest test scans: predicted digit and certainty")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    x_train, x_test = x_train[..., None], x_test[..., None]  # (n, 8, 8, 1): one channel
    # The scans are in the order in which people wrote them, so every tenth one, not the last ones, validate.
    is_validation = np.arange(len(x_train)) % 10 == 0
    x_validation, y_validation = x_train[is_validation], y_train[is_validation]
    x_train, y_train = x_train[~is_validation], y_train[~is_validation]

    model = build_model()
    model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x_train, y_train, batch_size=32, epochs=30, validation_data=(x_validation, y_validation)
    ).history

    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test loss {loss:.4f}, test accuracy {accuracy:.2%} on {len(x_test)} scans the model has not seen.")

    picture = Path("output") / "digits.png"
    draw(history, x_test, y_test, model.predict(x_test, verbose=0), picture)
    print(f"Training curves and predictions: {picture.resolve()}")

    assert accuracy >= TARGET_ACCURACY, f"expected a test accuracy of at least {TARGET_ACCURACY:.0%}"


if __name__ == "__main__":
    main()
