# SPDX-License-Identifier: Apache-2.0
"""How fast is a U-Net? Two levels down and, by transposed convolutions, up; classes of pixels, 64x64x3, batch 8."""

import numpy as np

import harness
import learning

WIDTHS = (16, 32)


def arrays():
    rng = np.random.default_rng(0)
    return learning.normal(rng, 96, 64, 64, 3), learning.class_numbers(rng, (96, 64, 64), 4)


def build_keras(keras):
    layers = keras.layers

    def twice(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        return x

    inputs = x = keras.Input((64, 64, 3))
    levels = []
    for filters in WIDTHS:
        x = twice(x, filters)
        levels.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = twice(x, 64)
    for filters, level in zip(reversed(WIDTHS), reversed(levels)):
        x = layers.Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = twice(layers.Concatenate()([level, x]), filters)
    return keras.Model(inputs, layers.Conv2D(4, 1)(x))


def build_torch(torch):
    nn = torch.nn

    def twice(channels, filters):
        return nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU()
        )

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList([twice(3, 16), twice(16, 32)])
            self.bottom, self.pool, self.head = twice(32, 64), nn.MaxPool2d(2), nn.Conv2d(16, 4, 1)
            self.larger = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)])
            self.up = nn.ModuleList([twice(64, 32), twice(32, 16)])

        def forward(self, x):
            levels = []
            for block in self.down:
                x = block(x)
                levels.append(x)
                x = self.pool(x)
            x = self.bottom(x)
            for larger, block in zip(self.larger, self.up):
                x = block(torch.cat([levels.pop(), larger(x)], dim=1))
            return self.head(x).permute(0, 2, 3, 1)

    return Model()


PROBLEM = learning.Problem("unet", __doc__, arrays, 8, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
