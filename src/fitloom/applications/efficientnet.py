# SPDX-License-Identifier: Apache-2.0
"""EfficientNet (Tan and Le 2019, arXiv:1905.11946) and EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298)."""
import math

from fitloom import layers
from fitloom.applications import imagenet

KERNEL = {"class_name": "VarianceScaling",
          "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}}
DENSE = {"class_name": "VarianceScaling", "config": {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"}}
# Stages: fused?, kernel size, repeats, filters in, filters out, expansion, stride, squeeze ratio.
STAGES = ((0, 3, 1, 32, 16, 1, 1, .25), (0, 3, 2, 16, 24, 6, 2, .25), (0, 5, 2, 24, 40, 6, 2, .25),
          (0, 3, 3, 40, 80, 6, 2, .25), (0, 5, 3, 80, 112, 6, 1, .25), (0, 5, 4, 112, 192, 6, 2, .25),
          (0, 3, 1, 192, 320, 6, 1, .25))
STAGES_V2 = {
    "b": ((1, 3, 1, 32, 16, 1, 1, 0), (1, 3, 2, 16, 32, 4, 2, 0), (1, 3, 2, 32, 48, 4, 2, 0),
          (0, 3, 3, 48, 96, 4, 2, .25), (0, 3, 5, 96, 112, 6, 1, .25), (0, 3, 8, 112, 192, 6, 2, .25)),
    "s": ((1, 3, 2, 24, 24, 1, 1, 0), (1, 3, 4, 24, 48, 4, 2, 0), (1, 3, 4, 48, 64, 4, 2, 0),
          (0, 3, 6, 64, 128, 4, 2, .25), (0, 3, 9, 128, 160, 6, 1, .25), (0, 3, 15, 160, 256, 6, 2, .25)),
    "m": ((1, 3, 3, 24, 24, 1, 1, 0), (1, 3, 5, 24, 48, 4, 2, 0), (1, 3, 5, 48, 80, 4, 2, 0),
          (0, 3, 7, 80, 160, 4, 2, .25), (0, 3, 14, 160, 176, 6, 1, .25), (0, 3, 18, 176, 304, 6, 2, .25),
          (0, 3, 5, 304, 512, 6, 1, .25)),
    "l": ((1, 3, 4, 32, 32, 1, 1, 0), (1, 3, 7, 32, 64, 4, 2, 0), (1, 3, 7, 64, 96, 4, 2, 0),
          (0, 3, 10, 96, 192, 4, 2, .25), (0, 3, 19, 192, 224, 6, 1, .25), (0, 3, 25, 224, 384, 6, 2, .25),
          (0, 3, 7, 384, 640, 6, 1, .25)),
}
# Width, depth, size, dropout, and the hashes of the files.
SCALES = {
    "b0": (1.0, 1.0, 224, 0.2, "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    "b1": (1.0, 1.1, 240, 0.2, "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    "b2": (1.1, 1.2, 260, 0.3, "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "b3": (1.2, 1.4, 300, 0.3, "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    "b4": (1.4, 1.8, 380, 0.4, "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "b5": (1.6, 2.2, 456, 0.4, "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    "b6": (1.8, 2.6, 528, 0.5, "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    "b7": (2.0, 3.1, 600, 0.5, "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
}
SCALES_V2 = {
    "b0": (1.0, 1.0, 224, "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"),
    "b1": (1.0, 1.1, 240, "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"),
    "b2": (1.1, 1.2, 260, "424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "b3": (1.2, 1.4, 300, "1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"),
    "s": (1.0, 1.0, 384, "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"),
    "m": (1.0, 1.0, 480, "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"),
    "l": (1.0, 1.0, 480, "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"),
}


class _Net:
    """The blocks of one network: the two generations differ in padding, momentum, and the fused block."""

    def __init__(self, second):
        self.second = second
        self.normalization = {"axis": imagenet.channel_axis(), **({"momentum": 0.9} if second else {})}

    def convolution(self, x, filters, kernel_size, stride, name, activation=None, normalization=None, padding="same"):
        x = layers.Conv2D(filters, kernel_size, strides=stride, padding=padding, use_bias=False,
                          kernel_initializer=KERNEL, name=name)(x)
        return self.normalized(x, normalization, activation)

    def normalized(self, x, name, activation=None):
        x = layers.BatchNormalization(name=name, **self.normalization)(x)
        return layers.Activation("silu", name=activation)(x) if activation else x

    def block(self, x, name, fused, kernel_size, filters_in, filters_out, expansion, stride, ratio, drop):
        shortcut, filters = x, filters_in * expansion
        if expansion != 1:
            x = self.convolution(x, filters, kernel_size if fused else 1, stride if fused else 1, f"{name}expand_conv",
                                 f"{name}expand_activation", f"{name}expand_bn")
        if not fused:
            padding = "same"
            if stride == 2 and not self.second:
                x = layers.ZeroPadding2D(imagenet.padding_before_stride(x, kernel_size), name=f"{name}dwconv_pad")(x)
                padding = "valid"
            x = layers.DepthwiseConv2D(kernel_size, strides=stride, padding=padding, use_bias=False,
                                       depthwise_initializer=KERNEL,
                                       name=name + ("dwconv2" if self.second else "dwconv"))(x)
            x = self.normalized(x, f"{name}bn", f"{name}activation")
        if ratio:
            gate = layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
            shape = (filters, 1, 1) if imagenet.channel_axis() == 1 else (1, 1, filters)
            gate = layers.Reshape(shape, name=f"{name}se_reshape")(gate)
            gate = layers.Conv2D(max(1, int(filters_in * ratio)), 1, padding="same", activation="silu",
                                 kernel_initializer=KERNEL, name=f"{name}se_reduce")(gate)
            gate = layers.Conv2D(filters, 1, padding="same", activation="sigmoid", kernel_initializer=KERNEL,
                                 name=f"{name}se_expand")(gate)
            x = layers.multiply([x, gate], name=f"{name}se_excite")
        whole = fused and expansion == 1  # then the projection is the block's only convolution
        x = self.convolution(x, filters_out, kernel_size if whole else 1, stride if whole else 1, f"{name}project_conv",
                             f"{name}project_activation" if whole else None, f"{name}project_bn")
        if stride == 1 and filters_in == filters_out:
            if drop > 0:
                x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
            x = layers.add([x, shortcut], name=f"{name}add")
        return x


def _efficientnet(scale, second, include_preprocessing, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name):
    if second:
        width, depth, size, *hashes = SCALES_V2[scale]
        dropout, stages = 0.2, STAGES_V2[scale[0]]
    else:
        width, depth, size, dropout, *hashes = SCALES[scale]
        stages = STAGES
    image = x = imagenet.image_input(size, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                     input_shape=input_shape, classes=classes)
    net, axis = _Net(second), imagenet.channel_axis()

    def rounded(filters):
        return imagenet.divisible(filters * width, keep=not second)

    if not second:
        x = layers.Normalization(axis=axis)(layers.Rescaling(1 / 255)(x))
        if weights == "imagenet":  # the published weights were trained with the square root of the deviation
            x = layers.Rescaling([1 / math.sqrt(deviation) for deviation in imagenet.DEVIATION])(x)
        x = layers.ZeroPadding2D(imagenet.padding_before_stride(x, 3), name="stem_conv_pad")(x)
    elif include_preprocessing and scale[0] == "b" and x.shape[axis] == 3:
        x = layers.Rescaling(1 / 255)(x)
        x = layers.Normalization(mean=list(imagenet.MEAN["torch"]), variance=[d ** 2 for d in imagenet.DEVIATION],
                                 axis=axis)(x)
    elif include_preprocessing:
        x = layers.Rescaling(1 / 128, offset=-1)(x)
    x = net.convolution(x, rounded(stages[0][3]), 3, 2, "stem_conv", "stem_activation", "stem_bn",
                        "same" if second else "valid")
    # The second generation counts the blocks before they are multiplied, as published.
    total = float(sum(stage[2] if second else math.ceil(depth * stage[2]) for stage in stages))
    number = 0
    for i, (fused, kernel_size, repeats, filters_in, filters_out, expansion, stride, ratio) in enumerate(stages, 1):
        filters_in, filters_out = rounded(filters_in), rounded(filters_out)
        for j in range(math.ceil(depth * repeats)):
            x = net.block(x, f"block{i}{chr(j + 97)}_", fused, kernel_size, filters_out if j else filters_in,
                          filters_out, expansion, 1 if j else stride, ratio, 0.2 * number / total)
            number += 1
    x = net.convolution(x, rounded(1280), 1, 1, "top_conv", "top_activation", "top_bn")
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation, dropout=dropout, kernel_initializer=DENSE)
    stem = f"efficientnetv2-{scale}" if second else f"efficientnet{scale}"
    folder = imagenet.HOST + "efficientnet_v2/" if second else "https://storage.googleapis.com/keras-applications/"
    return imagenet.finish(name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
                           files=((f"{folder}{stem}.h5", hashes[0]), (f"{folder}{stem}_notop.h5", hashes[1])))


def _first(scale):
    def build(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name=f"efficientnet{scale}"):
        return _efficientnet(scale, False, True, include_top, weights, input_tensor, input_shape, pooling, classes,
                             classifier_activation, name)

    return _named(build, f"EfficientNet{scale.upper()}")


def _second(scale):
    def build(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", include_preprocessing=True, name=f"efficientnetv2-{scale}"):
        return _efficientnet(scale, True, include_preprocessing, include_top, weights, input_tensor, input_shape,
                             pooling, classes, classifier_activation, name)

    return _named(build, f"EfficientNetV2{scale.upper()}")


def _named(build, name):
    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"Return {name}, which scales its pixels (0..255) itself. As `keras.applications.{name}`."
    return build


EfficientNetB0, EfficientNetB1, EfficientNetB2, EfficientNetB3 = map(_first, ("b0", "b1", "b2", "b3"))
EfficientNetB4, EfficientNetB5, EfficientNetB6, EfficientNetB7 = map(_first, ("b4", "b5", "b6", "b7"))
EfficientNetV2B0, EfficientNetV2B1, EfficientNetV2B2, EfficientNetV2B3 = map(_second, ("b0", "b1", "b2", "b3"))
EfficientNetV2S, EfficientNetV2M, EfficientNetV2L = map(_second, ("s", "m", "l"))
