# SPDX-License-Identifier: Apache-2.0
"""Xception (Chollet 2016, arXiv:1610.02357)."""
from fitloom import layers
from fitloom.applications import imagenet


def _normalized(x, name=None):
    return layers.BatchNormalization(axis=imagenet.channel_axis(), name=name)(x)


def _separable(x, filters, name):
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, f"{name}_bn")


def _halved(x, filters, last, block, relu_first=True):
    """Two separable convolutions and a pooling beside a projected shortcut."""
    shortcut = _normalized(layers.Conv2D(last, 1, strides=2, padding="same", use_bias=False)(x))
    if relu_first:
        x = layers.Activation("relu", name=f"{block}_sepconv1_act")(x)
    x = _separable(x, filters, f"{block}_sepconv1")
    x = _separable(layers.Activation("relu", name=f"{block}_sepconv2_act")(x), last, f"{block}_sepconv2")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{block}_pool")(x)
    return layers.add([x, shortcut])


def Xception(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name="xception"):
    """Return Xception (22.9 million parameters). As `keras.applications.Xception`; at least 71 x 71 pixels."""
    image = imagenet.image_input(299, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes, minimum=71)
    x = layers.Conv2D(32, 3, strides=2, use_bias=False, name="block1_conv1")(image)
    x = layers.Activation("relu", name="block1_conv1_act")(_normalized(x, "block1_conv1_bn"))
    x = layers.Conv2D(64, 3, use_bias=False, name="block1_conv2")(x)
    x = layers.Activation("relu", name="block1_conv2_act")(_normalized(x, "block1_conv2_bn"))
    x = _halved(x, 128, 128, "block2", relu_first=False)
    x = _halved(x, 256, 256, "block3")
    x = _halved(x, 728, 728, "block4")
    for block in range(5, 13):
        shortcut = x
        for i in range(1, 4):
            x = layers.Activation("relu", name=f"block{block}_sepconv{i}_act")(x)
            x = _separable(x, 728, f"block{block}_sepconv{i}")
        x = layers.add([x, shortcut])
    x = _halved(x, 728, 1024, "block13")
    for i, filters in enumerate((1536, 2048), 1):
        x = layers.Activation("relu", name=f"block14_sepconv{i}_act")(_separable(x, filters, f"block14_sepconv{i}"))
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation, names=(None, None))
    return imagenet.finish(
        name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
        files=imagenet.both_files("xception", "xception_weights_tf_dim_ordering_tf_kernels",
                                  "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"))
