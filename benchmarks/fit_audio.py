# SPDX-License-Identifier: Apache-2.0
"""How fast is convolution along time? Five strided Conv1D on 8,000 samples of sound, batch 32."""

import numpy as np

import harness
import learning

BLOCKS = ((32, 16, 8), (64, 5, 2), (64, 5, 2), (128, 3, 2), (128, 3, 2))  # (filters, width, stride)


def arrays():
    rng = np.random.default_rng(0)
    return learning.normal(rng, 512, 8000, 1), learning.class_numbers(rng, 512, 12)


def build_keras(keras):
    layers = keras.layers
    convolutions = [layers.Conv1D(filters, width, stride, activation="relu") for filters, width, stride in BLOCKS]
    return keras.Sequential(
        [keras.Input((8000, 1)), *convolutions, layers.GlobalMaxPooling1D(), layers.Dropout(0.3), layers.Dense(12)]
    )


def build_torch(torch):
    nn = torch.nn
    layers, channels = [], 1
    for filters, width, stride in BLOCKS:
        layers += [nn.Conv1d(channels, filters, width, stride), nn.ReLU()]
        channels = filters

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.3))
            self.head = nn.Linear(128, 12)

        def forward(self, sound):
            return self.head(self.body(sound.transpose(1, 2)))

    return Model()


PROBLEM = learning.Problem("audio", __doc__, arrays, 32, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
