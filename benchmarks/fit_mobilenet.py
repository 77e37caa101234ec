# SPDX-License-Identifier: Apache-2.0
"""How fast are depthwise convolutions? Five separable blocks with BatchNormalization on 32x32x3, batch 64."""

import numpy as np

import harness
import learning

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))  # (filters, stride)


def arrays():
    rng = np.random.default_rng(0)
    return learning.normal(rng, 512, 32, 32, 3), learning.class_numbers(rng, 512, 10)


def build_keras(keras):
    layers = keras.layers

    def normalized(x):
        return layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))

    inputs = keras.Input((32, 32, 3))
    x = normalized(layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs))
    for filters, stride in BLOCKS:
        x = normalized(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        x = normalized(layers.Conv2D(filters, 1, use_bias=False)(x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def build_torch(torch):
    nn = torch.nn

    def block(channels, filters, stride):
        return [
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU6(), nn.Conv2d(channels, filters, 1, bias=False),
            nn.BatchNorm2d(filters), nn.ReLU6(),
        ]  # fmt: skip

    channels = [32, *(filters for filters, _ in BLOCKS)]
    body = [block(before, filters, stride) for before, (filters, stride) in zip(channels, BLOCKS)]
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(),
        *(layer for layers in body for layer in layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


PROBLEM = learning.Problem("mobilenet", __doc__, arrays, 64, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
