# SPDX-License-Identifier: Apache-2.0
"""MobileNet (Howard et al. 2017, arXiv:1704.04861), V2 (Sandler et al. 2018, arXiv:1801.04381), V3 (Howard 2019)."""
import warnings

from fitloom import layers
from fitloom.applications import imagenet

HASHES_V3 = {
    "large_224_0.75_float": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    "large_224_1.0_float": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    "large_minimalistic_224_1.0_float": ("675e7b876c45c57e9e63e6d90a36599c", "ec5221f64a2f6d1ef965a614bdae7973"),
    "small_224_0.75_float": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    "small_224_1.0_float": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "small_minimalistic_224_1.0_float": ("99cd97fb2fcdad2bf028eb838de69e37", "cde8136e733e811080d9fcd8a252f7e4"),
}
# Inverted residual blocks of V3: expansion, filters, kernel 5?, stride, squeeze and excite?, hard swish?
SMALL_V3 = ((1, 16, 0, 2, 1, 0), (72 / 16, 24, 0, 2, 0, 0), (88 / 24, 24, 0, 1, 0, 0), (4, 40, 1, 2, 1, 1),
            (6, 40, 1, 1, 1, 1), (6, 40, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1), (6, 96, 1, 2, 1, 1),
            (6, 96, 1, 1, 1, 1), (6, 96, 1, 1, 1, 1))
LARGE_V3 = ((1, 16, 0, 1, 0, 0), (4, 24, 0, 2, 0, 0), (3, 24, 0, 1, 0, 0), (3, 40, 1, 2, 1, 0), (3, 40, 1, 1, 1, 0),
            (3, 40, 1, 1, 1, 0), (6, 80, 0, 2, 0, 1), (2.5, 80, 0, 1, 0, 1), (2.3, 80, 0, 1, 0, 1),
            (2.3, 80, 0, 1, 0, 1), (6, 112, 0, 1, 1, 1), (6, 112, 0, 1, 1, 1), (6, 160, 1, 2, 1, 1),
            (6, 160, 1, 1, 1, 1), (6, 160, 1, 1, 1, 1))


def _sizes(input_shape, input_tensor, allowed, weights):
    """Return (default size, rows of the published weights) for an input."""
    shape = input_shape if input_tensor is None else tuple(input_tensor.shape)[1:]
    first = 1 if imagenet.channel_axis() == 1 else 0
    rows, columns = (None, None) if shape is None else (shape[first], shape[first + 1])
    size = rows if rows == columns and rows in allowed else 224
    if weights == "imagenet" and size != rows:
        warnings.warn(f"`input_shape` is undefined or non-square, or `rows` is not in {list(allowed)}. Weights for "
                      "input shape (224, 224) will be loaded as the default.", stacklevel=4)
    return size, (size if weights == "imagenet" else rows or (224 if shape is None else rows))


def _normalized(x, name, **options):
    return layers.BatchNormalization(axis=imagenet.channel_axis(), name=name, **options)(x)


def _check_alpha(alpha, allowed, weights):
    if weights == "imagenet" and alpha not in allowed:
        raise ValueError(f"If imagenet weights are being loaded, alpha can be one of {allowed}. "
                         f"Received: alpha={alpha}")


def MobileNet(input_shape=None, alpha=1.0, depth_multiplier=1, dropout=0.001, include_top=True, weights="imagenet",
              input_tensor=None, pooling=None, classes=1000, classifier_activation="softmax", name=None):
    """Return MobileNet (4.3 million parameters at alpha 1). As `keras.applications.MobileNet`."""
    size, rows = _sizes(input_shape, input_tensor, (128, 160, 192, 224), weights)
    image = imagenet.image_input(size, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    _check_alpha(alpha, (0.25, 0.5, 0.75, 1.0), weights)
    if weights == "imagenet" and depth_multiplier != 1:
        raise ValueError("If imagenet weights are being loaded, depth multiplier must be 1. "
                         f"Received: {depth_multiplier}")
    x = layers.Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(image)
    x = layers.ReLU(6.0, name="conv1_relu")(_normalized(x, "conv1_bn"))
    filters = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, n in enumerate(filters, 1):
        strides = 2 if i in (2, 4, 6, 12) else 1
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = layers.DepthwiseConv2D(3, padding="same" if strides == 1 else "valid", depth_multiplier=depth_multiplier,
                                   strides=strides, use_bias=False, name=f"conv_dw_{i}")(x)
        x = layers.ReLU(6.0, name=f"conv_dw_{i}_relu")(_normalized(x, f"conv_dw_{i}_bn"))
        x = layers.Conv2D(int(n * alpha), 1, padding="same", use_bias=False, name=f"conv_pw_{i}")(x)
        x = layers.ReLU(6.0, name=f"conv_pw_{i}_relu")(_normalized(x, f"conv_pw_{i}_bn"))
    if include_top:
        x = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(keepdims=True)(x))
        x = layers.Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        imagenet.check_activation(classifier_activation, weights)
        x = layers.Reshape((classes,), name="reshape_2")(x)
        x = layers.Activation(classifier_activation, name="predictions")(x)
    else:
        x = imagenet.pooled(x, pooling)
    text = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0"}.get(alpha, "2_5")
    return imagenet.finish(
        name or f"mobilenet_{alpha:0.2f}_{rows}", image, x, input_tensor=input_tensor, weights=weights,
        include_top=include_top,
        files=imagenet.both_files("mobilenet", f"mobilenet_{text}_{rows}_tf", None, None, "_no_top"))


def MobileNetV2(input_shape=None, alpha=1.0, include_top=True, weights="imagenet", input_tensor=None, pooling=None,
                classes=1000, classifier_activation="softmax", name=None):
    """Return MobileNetV2 (3.5 million parameters at alpha 1). As `keras.applications.MobileNetV2`."""
    size, rows = _sizes(input_shape, input_tensor, (96, 128, 160, 192, 224), weights)
    image = imagenet.image_input(size, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    _check_alpha(alpha, (0.35, 0.50, 0.75, 1.0, 1.3, 1.4), weights)

    def normalized(x, name, relu=None):
        x = _normalized(x, name, epsilon=1e-3, momentum=0.999)
        return layers.ReLU(6.0, name=relu)(x) if relu else x

    x = layers.Conv2D(imagenet.divisible(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(image)
    x = normalized(x, "bn_Conv1", "Conv1_relu")
    stages = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    blocks = [(filters, stride if i == 0 else 1) for filters, count, stride in stages for i in range(count)]
    for index, (filters, stride) in enumerate(blocks):
        shortcut, channels = x, x.shape[imagenet.channel_axis()]
        prefix = f"block_{index}_" if index else "expanded_conv_"
        filters = imagenet.divisible(int(filters * alpha))
        if index:
            x = layers.Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
            x = normalized(x, f"{prefix}expand_BN", f"{prefix}expand_relu")
        if stride == 2:
            x = layers.ZeroPadding2D(imagenet.padding_before_stride(x, 3), name=f"{prefix}pad")(x)
        x = layers.DepthwiseConv2D(3, strides=stride, use_bias=False, padding="same" if stride == 1 else "valid",
                                   name=f"{prefix}depthwise")(x)
        x = normalized(x, f"{prefix}depthwise_BN", f"{prefix}depthwise_relu")
        x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
        x = normalized(x, f"{prefix}project_BN")
        if channels == filters and stride == 1:
            x = layers.Add(name=f"{prefix}add")([shortcut, x])
    last = imagenet.divisible(1280 * alpha) if alpha > 1.0 else 1280
    x = normalized(layers.Conv2D(last, 1, use_bias=False, name="Conv_1")(x), "Conv_1_bn", "out_relu")
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation, names=(None, None))
    stem = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{rows}"
    return imagenet.finish(
        name or f"mobilenetv2_{alpha:0.2f}_{rows}", image, x, input_tensor=input_tensor, weights=weights,
        include_top=include_top, files=imagenet.both_files("mobilenet_v2", stem, None, None, "_no_top"))


def _excited(x, filters, prefix):
    """Scale the channels by a hard sigmoid of two 1 x 1 convolutions of their means."""
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}squeeze_excite_avg_pool")(x)
    squeezed = imagenet.divisible(filters * 0.25)
    gate = layers.Conv2D(squeezed, 1, padding="same", name=f"{prefix}squeeze_excite_conv")(gate)
    gate = layers.ReLU(name=f"{prefix}squeeze_excite_relu")(gate)
    gate = layers.Conv2D(filters, 1, padding="same", name=f"{prefix}squeeze_excite_conv_1")(gate)
    gate = layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)
    return layers.Multiply(name=f"{prefix}squeeze_excite_mul")([x, gate])


def _mobilenet_v3(kind, blocks, last_filters, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
                  classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name):
    if weights == "imagenet":
        _check_alpha(alpha, (1.0,) if minimalistic else (0.75, 1.0), weights)
    if weights == "imagenet" and include_top and classes != 1000:
        raise ValueError('If using `weights="imagenet"` with `include_top=True`, `classes` should be 1000. '
                         f"Received classes={classes}")
    # Also with its top the model takes images of any size: the classifier is a convolution.
    image = imagenet.image_input(224, include_top=False, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    options = {"epsilon": 1e-3, "momentum": 0.999}

    def activated(x, swish):
        return layers.Activation("hard_swish")(x) if swish and not minimalistic else layers.ReLU()(x)

    def convolution(x, filters, convolution_name, normalization_name):
        x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=convolution_name)(x)
        return _normalized(x, normalization_name, **options)

    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image) if include_preprocessing else image
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = activated(_normalized(x, "conv_bn", **options), True)
    for index, (expansion, filters, wide, stride, excite, swish) in enumerate(blocks):
        shortcut, channels = x, x.shape[imagenet.channel_axis()]
        prefix = f"expanded_conv_{index}_" if index else "expanded_conv_"
        filters, expanded = imagenet.divisible(filters * alpha), imagenet.divisible(channels * expansion)
        kernel = 5 if wide and not minimalistic else 3
        if index:
            x = activated(convolution(x, expanded, f"{prefix}expand", f"{prefix}expand_bn"), swish)
        if stride == 2:
            x = layers.ZeroPadding2D(imagenet.padding_before_stride(x, kernel), name=f"{prefix}depthwise_pad")(x)
        x = layers.DepthwiseConv2D(kernel, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False,
                                   name=f"{prefix}depthwise")(x)
        x = activated(_normalized(x, f"{prefix}depthwise_bn", **options), swish)
        if excite and not minimalistic:
            x = _excited(x, expanded, prefix)
        x = convolution(x, filters, f"{prefix}project", f"{prefix}project_bn")
        if stride == 1 and channels == filters:
            x = layers.Add(name=f"{prefix}add")([shortcut, x])
    x = activated(convolution(x, imagenet.divisible(x.shape[imagenet.channel_axis()] * 6), "conv_1", "conv_1_bn"), True)
    if include_top:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        last_filters = imagenet.divisible(last_filters * alpha) if alpha > 1.0 else last_filters
        x = activated(layers.Conv2D(last_filters, 1, padding="same", name="conv_2")(x), True)
        if dropout_rate > 0:
            x = layers.Dropout(dropout_rate)(x)
        x = layers.Flatten()(layers.Conv2D(classes, 1, padding="same", name="logits")(x))
        imagenet.check_activation(classifier_activation, weights)
        x = layers.Activation(classifier_activation, name="predictions")(x)
    else:
        x = imagenet.pooled(x, pooling, ("avg_pool", "max_pool"))
    model_name = f"{kind}{'_minimalistic' if minimalistic else ''}_224_{alpha}_float"
    stem = f"{imagenet.HOST}mobilenet_v3/weights_mobilenet_v3_{model_name}"
    hashes = HASHES_V3.get(model_name, (None, None))
    return imagenet.finish(name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
                           files=((f"{stem}.h5", hashes[0]), (f"{stem}_no_top_v2.h5", hashes[1])))


def MobileNetV3Small(input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
                     input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2, classifier_activation="softmax",
                     include_preprocessing=True, name="MobileNetV3Small"):
    """Return MobileNetV3Small (2.6 million parameters). As `keras.applications.MobileNetV3Small`."""
    return _mobilenet_v3("small", SMALL_V3, 1024, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
                         classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name)


def MobileNetV3Large(input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
                     input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2, classifier_activation="softmax",
                     include_preprocessing=True, name="MobileNetV3Large"):
    """Return MobileNetV3Large (5.5 million parameters). As `keras.applications.MobileNetV3Large`."""
    return _mobilenet_v3("large", LARGE_V3, 1280, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
                         classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name)
