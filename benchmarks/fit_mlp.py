# SPDX-License-Identifier: Apache-2.0
"""How fast are dense layers? 784-512-dropout 0.2-512-10, batch 128."""

import numpy as np

import harness
import learning


def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20000, 784)).astype("float32"), rng.integers(0, 10, 20000).astype("int32")


def build_keras(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )


def build_torch(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


PROBLEM = learning.Problem("mlp", __doc__, arrays, 128, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
