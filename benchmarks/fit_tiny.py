# SPDX-License-Identifier: Apache-2.0
"""How much does a step cost when there is almost nothing to compute? Dense 64 on 20 features, batch 32."""

import numpy as np

import harness
import learning


def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8192, 20)).astype("float32"), rng.integers(0, 3, 8192).astype("int32")


def build_keras(keras):
    layers = keras.layers
    return keras.Sequential([keras.Input((20,)), layers.Dense(64, activation="relu"), layers.Dense(3)])


def build_torch(torch):
    nn = torch.nn
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))


PROBLEM = learning.Problem("tiny", __doc__, arrays, 32, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
