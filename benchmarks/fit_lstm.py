# SPDX-License-Identifier: Apache-2.0
"""How fast is an LSTM? 64 steps of 32 features, 128 units, batch 64."""

import numpy as np

import harness
import learning


def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2048, 64, 32)).astype("float32"), rng.integers(0, 10, 2048).astype("int32")


def build_keras(keras):
    layers = keras.layers
    return keras.Sequential([keras.Input((64, 32)), layers.LSTM(128), layers.Dense(10)])


def build_torch(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(32, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x):
            outputs, _ = self.lstm(x)
            return self.head(outputs[:, -1])

    return Model()


PROBLEM = learning.Problem("lstm", __doc__, arrays, 64, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
