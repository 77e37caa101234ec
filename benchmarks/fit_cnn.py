# SPDX-License-Identifier: Apache-2.0
"""How fast are convolution and max-pooling? Two of each on 28x28x1, batch 128."""

import numpy as np

import harness
import learning


def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(4096, 28, 28, 1)).astype("float32"), rng.integers(0, 10, 4096).astype("int32")


def build_keras(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def build_torch(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10),
    )  # fmt: skip


PROBLEM = learning.Problem("cnn", __doc__, arrays, 128, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
