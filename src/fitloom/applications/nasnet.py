# SPDX-License-Identifier: Apache-2.0
"""NASNet-A (Zoph et al. 2017, arXiv:1707.07012)."""
from fitloom import layers
from fitloom.applications import imagenet

HASHES = {"mobile": ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
          "large": ("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5")}


def _relu(x, name=None):
    return layers.Activation("relu", name=name)(x)


def _normalized(x, name):
    return layers.BatchNormalization(axis=imagenet.channel_axis(), momentum=0.9997, epsilon=1e-3, name=name)(x)


def _convolution(x, filters, name, **options):
    return layers.Conv2D(filters, options.pop("kernel_size", 1), use_bias=False, kernel_initializer="he_normal",
                         name=name, **options)(x)


def _separable(x, filters, kernel_size, name, stride=1):
    """Apply two separable convolutions, the first with the stride."""
    x, padding = _relu(x), "same"
    if stride == 2:
        x = layers.ZeroPadding2D(imagenet.padding_before_stride(x, kernel_size), name=f"separable_conv_1_pad_{name}")(x)
        padding = "valid"
    x = layers.SeparableConv2D(filters, kernel_size, strides=stride, padding=padding, use_bias=False,
                               name=f"separable_conv_1_{name}")(x)
    x = _relu(_normalized(x, f"separable_conv_1_bn_{name}"))
    x = layers.SeparableConv2D(filters, kernel_size, padding="same", use_bias=False, name=f"separable_conv_2_{name}")(x)
    return _normalized(x, f"separable_conv_2_bn_{name}")


def _adjusted(previous, x, filters, name):
    """Bring the output of the cell before the last to the size of the last."""
    axis = imagenet.channel_axis()
    if previous is None:
        return x
    if previous.shape[2] != x.shape[2]:
        previous = _relu(previous, f"adjust_relu_1_{name}")
        first = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_1_{name}")(previous)
        first = _convolution(first, filters // 2, f"adjust_conv_1_{name}", padding="same")
        second = layers.Cropping2D(((1, 0), (1, 0)))(layers.ZeroPadding2D(((0, 1), (0, 1)))(previous))
        second = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_2_{name}")(second)
        second = _convolution(second, filters // 2, f"adjust_conv_2_{name}", padding="same")
        return _normalized(layers.concatenate([first, second], axis=axis), f"adjust_bn_{name}")
    if previous.shape[axis] != filters:
        previous = _convolution(_relu(previous), filters, f"adjust_conv_projection_{name}", padding="same")
        return _normalized(previous, f"adjust_bn_{name}")
    return previous


def _entry(x, filters, kind, name):
    x = _convolution(_relu(x), filters, f"{kind}_conv_1_{name}", padding="same")
    return _normalized(x, f"{kind}_bn_1_{name}")


def _average(x, name):
    return layers.AveragePooling2D(3, strides=1, padding="same", name=name)(x)


def _normal_cell(x, previous, filters, name):
    p, h = _adjusted(previous, x, filters, name), None
    h = _entry(x, filters, "normal", name)
    pairs = [
        lambda: (_separable(h, filters, 5, f"normal_left1_{name}"), _separable(p, filters, 3, f"normal_right1_{name}")),
        lambda: (_separable(p, filters, 5, f"normal_left2_{name}"), _separable(p, filters, 3, f"normal_right2_{name}")),
        lambda: (_average(h, f"normal_left3_{name}"), p),
        lambda: (_average(p, f"normal_left4_{name}"), _average(p, f"normal_right4_{name}")),
        lambda: (_separable(h, filters, 3, f"normal_left5_{name}"), h),
    ]
    sums = [layers.add(list(pair()), name=f"normal_add_{i}_{name}") for i, pair in enumerate(pairs, 1)]
    return layers.concatenate([p, *sums], axis=imagenet.channel_axis(), name=f"normal_concat_{name}"), x


def _reduction_cell(x, previous, filters, name):
    p = _adjusted(previous, x, filters, name)
    h = _entry(x, filters, "reduction", name)
    padded = layers.ZeroPadding2D(imagenet.padding_before_stride(h, 3), name=f"reduction_pad_1_{name}")(h)

    def separable(x, kernel_size, where):
        return _separable(x, filters, kernel_size, f"reduction_{where}_{name}", 2)

    x1 = layers.add([separable(h, 5, "left1"), separable(p, 7, "right1")], name=f"reduction_add_1_{name}")
    x2 = layers.add([layers.MaxPooling2D(3, strides=2, name=f"reduction_left2_{name}")(padded),
                     separable(p, 7, "right2")], name=f"reduction_add_2_{name}")
    x3 = layers.add([layers.AveragePooling2D(3, strides=2, name=f"reduction_left3_{name}")(padded),
                     separable(p, 5, "right3")], name=f"reduction_add3_{name}")
    x4 = layers.add([x2, _average(x1, f"reduction_left4_{name}")])
    x5 = layers.add([_separable(x1, filters, 3, f"reduction_left4_{name}"),
                     layers.MaxPooling2D(3, strides=2, name=f"reduction_right5_{name}")(padded)],
                    name=f"reduction_add4_{name}")
    return layers.concatenate([x2, x3, x4, x5], axis=imagenet.channel_axis(), name=f"reduction_concat_{name}"), x


def _nasnet(kind, size, filters, blocks, stem_filters, skip, input_shape, include_top, weights, input_tensor, pooling,
            classes, classifier_activation, name):
    image = imagenet.image_input(size, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    x = _normalized(_convolution(image, stem_filters, "stem_conv1", kernel_size=3, strides=2), "stem_bn1")
    x, p = _reduction_cell(x, None, filters // 4, "stem_1")
    x, p = _reduction_cell(x, p, filters // 2, "stem_2")
    for stage in range(3):
        if stage:
            x, before = _reduction_cell(x, p, filters * 2 ** stage, f"reduce_{stage * blocks}")
            p = p if skip else before
        for i in range(blocks):
            x, p = _normal_cell(x, p, filters * 2 ** stage, str(stage * blocks + i + (stage > 0)))
    x = _relu(x)
    x = imagenet.pooled(x, "avg" if include_top else pooling)
    if include_top:
        imagenet.check_activation(classifier_activation, weights)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    stem = f"{imagenet.HOST}nasnet/NASNet-{kind}"
    return imagenet.finish(name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
                           files=((f"{stem}.h5", HASHES[kind][0]), (f"{stem}-no-top.h5", HASHES[kind][1])))


def NASNetMobile(input_shape=None, include_top=True, weights="imagenet", input_tensor=None, pooling=None, classes=1000,
                 classifier_activation="softmax", name="nasnet_mobile"):
    """Return NASNetMobile (5.3 million parameters). As `keras.applications.NASNetMobile`."""
    if not include_top and input_shape is None:
        input_shape = (224, 224, 3)
    return _nasnet("mobile", 224, 44, 4, 32, False, input_shape, include_top, weights, input_tensor, pooling, classes,
                   classifier_activation, name)


def NASNetLarge(input_shape=None, include_top=True, weights="imagenet", input_tensor=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="nasnet_large"):
    """Return NASNetLarge (88.9 million parameters). As `keras.applications.NASNetLarge`."""
    return _nasnet("large", 331, 168, 6, 96, True, input_shape, include_top, weights, input_tensor, pooling, classes,
                   classifier_activation, name)
