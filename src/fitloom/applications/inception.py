# SPDX-License-Identifier: Apache-2.0
"""Inception V3 (Szegedy et al. 2015, arXiv:1512.00567) and Inception-ResNet V2 (2016, arXiv:1602.07261)."""
from fitloom import layers
from fitloom.applications import imagenet
from fitloom.base import registry

V3 = "inception_v3_weights_tf_dim_ordering_tf_kernels"
RESNET = "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels"


def _conv(x, filters, kernel_size, strides=1, padding="same", name=None):
    x = layers.Conv2D(filters, kernel_size, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(axis=imagenet.channel_axis(), scale=False, name=name and f"{name}_bn")(x)
    return layers.Activation("relu", name=name and f"{name}_ac")(x)


def _chain(x, *convolutions):
    """Apply convolutions one after another: `(filters, kernel_size)` each, with '/' halving the image."""
    for filters, kernel_size, *halves in convolutions:
        x = _conv(x, filters, kernel_size, 2, "valid") if halves else _conv(x, filters, kernel_size)
    return x


def _stem(image):
    x = _conv(image, 32, 3, 2, "valid")
    x = _conv(_conv(x, 32, 3, padding="valid"), 64, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = _conv(_conv(x, 80, 1, padding="valid"), 192, 3, padding="valid")
    return layers.MaxPooling2D(3, strides=2)(x)


def _joined(branches, name=None):
    return layers.Concatenate(axis=imagenet.channel_axis(), name=name)(branches)


def _averaged(x, filters):
    return _conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), filters, 1)


def InceptionV3(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="inception_v3"):
    """Return InceptionV3 (23.9 million parameters). As `keras.applications.InceptionV3`; at least 75 x 75 pixels."""
    image = imagenet.image_input(299, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes, minimum=75)
    x = _stem(image)
    for i, last in enumerate((32, 64, 64)):
        x = _joined([_conv(x, 64, 1), _chain(x, (48, 1), (64, 5)), _chain(x, (64, 1), (96, 3), (96, 3)),
                     _averaged(x, last)], f"mixed{i}")
    x = _joined([_chain(x, (384, 3, "/")), _chain(x, (64, 1), (96, 3), (96, 3, "/")),
                 layers.MaxPooling2D(3, strides=2)(x)], "mixed3")
    for i, n in enumerate((128, 160, 160, 192), 4):
        x = _joined([_conv(x, 192, 1), _chain(x, (n, 1), (n, (1, 7)), (192, (7, 1))),
                     _chain(x, (n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))),
                     _averaged(x, 192)], f"mixed{i}")
    x = _joined([_chain(x, (192, 1), (320, 3, "/")), _chain(x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, "/")),
                 layers.MaxPooling2D(3, strides=2)(x)], "mixed8")
    for i in range(2):
        first = _conv(x, 320, 1)
        second = _conv(x, 384, 1)
        second = _joined([_conv(second, 384, (1, 3)), _conv(second, 384, (3, 1))], f"mixed9_{i}")
        third = _chain(x, (448, 1), (384, 3))
        third = _joined([_conv(third, 384, (1, 3)), _conv(third, 384, (3, 1))])
        x = _joined([first, second, third, _averaged(x, 192)], f"mixed{9 + i}")
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation, names=(None, None))
    return imagenet.finish(
        name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
        files=imagenet.both_files("inception_v3", V3, "9a0d58056eeedaa3f26cb7ebd46da564",
                                  "bcbd6486424b2319ff4ef7d526e38f63"))


@registry.builtin("keras.applications")
class CustomScaleLayer(layers.Layer):
    """`shortcut + scale * residual`."""

    per_example = True

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs[0] + inputs[1] * self.scale

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def _residual(x, scale, kind, index, activation="relu"):
    if kind == "block35":
        branches = [_conv(x, 32, 1), _chain(x, (32, 1), (32, 3)), _chain(x, (32, 1), (48, 3), (64, 3))]
    elif kind == "block17":
        branches = [_conv(x, 192, 1), _chain(x, (128, 1), (160, (1, 7)), (192, (7, 1)))]
    else:
        branches = [_conv(x, 192, 1), _chain(x, (192, 1), (224, (1, 3)), (256, (3, 1)))]
    name = f"{kind}_{index}"
    up = layers.Conv2D(x.shape[imagenet.channel_axis()], 1, padding="same", name=f"{name}_conv")(
        _joined(branches, f"{name}_mixed"))
    x = CustomScaleLayer(scale)([x, up])
    return layers.Activation(activation, name=f"{name}_ac")(x) if activation else x


def InceptionResNetV2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
                      classes=1000, classifier_activation="softmax", name="inception_resnet_v2"):
    """Return InceptionResNetV2 (55.9 million parameters). As `keras.applications.InceptionResNetV2`."""
    image = imagenet.image_input(299, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes, minimum=75)
    x = _stem(image)
    x = _joined([_conv(x, 96, 1), _chain(x, (48, 1), (64, 5)), _chain(x, (64, 1), (96, 3), (96, 3)), _averaged(x, 64)],
                "mixed_5b")
    for i in range(1, 11):
        x = _residual(x, 0.17, "block35", i)
    x = _joined([_chain(x, (384, 3, "/")), _chain(x, (256, 1), (256, 3), (384, 3, "/")),
                 layers.MaxPooling2D(3, strides=2)(x)], "mixed_6a")
    for i in range(1, 21):
        x = _residual(x, 0.1, "block17", i)
    x = _joined([_chain(x, (256, 1), (384, 3, "/")), _chain(x, (256, 1), (288, 3, "/")),
                 _chain(x, (256, 1), (288, 3), (320, 3, "/")), layers.MaxPooling2D(3, strides=2)(x)], "mixed_7a")
    for i in range(1, 10):
        x = _residual(x, 0.2, "block8", i)
    x = _residual(x, 1.0, "block8", 10, activation=None)
    x = _conv(x, 1536, 1, name="conv_7b")
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation, names=(None, None))
    return imagenet.finish(
        name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
        files=imagenet.both_files("inception_resnet_v2", RESNET, "e693bd0210a403b3192acc6073ad2e96",
                                  "d19885ff4a710c122648d3b5c3b684e4"))
