# SPDX-License-Identifier: Apache-2.0
"""How fast are convolution and BatchNormalization in a residual network? 32x32x3, three blocks, batch 64."""

import numpy as np

import harness
import learning

BLOCKS = ((32, 1), (64, 2), (128, 2))  # (filters, stride)


def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(512, 32, 32, 3)).astype("float32"), rng.integers(0, 10, 512).astype("int32")


def build_keras(keras):
    layers = keras.layers

    def convolution(x, filters, stride=1, size=3):
        return layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x)

    def normalized(x):
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(normalized(convolution(inputs, 32)))
    for filters, stride in BLOCKS:
        shortcut = x if stride == 1 else convolution(x, filters, stride, size=1)
        y = layers.ReLU()(normalized(convolution(x, filters, stride)))
        y = normalized(convolution(y, filters))
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def build_torch(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.shortcut = (
                nn.Identity() if stride == 1 else nn.Conv2d(channels, filters, 1, stride=stride, bias=False)
            )
            self.body = nn.Sequential(
                nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(filters),
                nn.ReLU(), nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters),
            )  # fmt: skip

        def forward(self, x):
            return torch.relu(self.shortcut(x) + self.body(x))

    channels = [32, *(filters for filters, _ in BLOCKS)]
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        *(Block(before, filters, stride) for before, (filters, stride) in zip(channels, BLOCKS)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


PROBLEM = learning.Problem("resnet", __doc__, arrays, 64, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
