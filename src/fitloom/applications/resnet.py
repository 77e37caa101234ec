# SPDX-License-Identifier: Apache-2.0
"""ResNet (He et al. 2015, arXiv:1512.03385) and ResNet V2 (He et al. 2016, arXiv:1603.05027)."""
from fitloom import layers
from fitloom.applications import imagenet

HASHES = {
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
}


def _normalized(x, name, relu):
    x = layers.BatchNormalization(axis=imagenet.channel_axis(), epsilon=1.001e-5, name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x


def _block(x, filters, stride, project, name):
    """Three convolutions beside a shortcut; normalization after each convolution."""
    shortcut = x
    if project:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalized(shortcut, f"{name}_0", False)
    x = _normalized(layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x), f"{name}_1", True)
    x = _normalized(layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x), f"{name}_2", True)
    x = _normalized(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3", False)
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _block_v2(x, filters, stride, project, name):
    """Three convolutions beside a shortcut; normalization before each convolution."""
    ready = _normalized(x, f"{name}_preact", True)
    if project:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(ready)
    else:
        shortcut = layers.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = _normalized(layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(ready), f"{name}_1", True)
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = _normalized(x, f"{name}_2", True)
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])


def _resnet(kind, depths, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
            name):
    image = imagenet.image_input(224, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    second = kind.endswith("v2")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if not second:
        x = _normalized(x, "conv1", True)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (depth, filters) in enumerate(zip(depths, (64, 128, 256, 512)), 2):
        for i in range(1, depth + 1):
            block = f"conv{stage}_block{i}"
            if second:  # halves the image in the last block of a stage, but not of the last stage
                x = _block_v2(x, filters, 2 if i == depth and stage < 5 else 1, i == 1, block)
            else:  # halves it in the first block of a stage, but not of the first stage
                x = _block(x, filters, 2 if i == 1 and stage > 2 else 1, i == 1, block)
    if second:
        x = _normalized(x, "post", True)
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation)
    return imagenet.finish(
        name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
        files=imagenet.both_files("resnet", f"{kind}_weights_tf_dim_ordering_tf_kernels", *HASHES[kind]))


def ResNet50(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name="resnet50"):
    """Return ResNet50 (25.6 million parameters). Arguments and layer names as in `keras.applications.ResNet50`."""
    return _resnet("resnet50", (3, 4, 6, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)


def ResNet101(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet101"):
    """Return ResNet101 (44.7 million parameters). As `keras.applications.ResNet101`."""
    return _resnet("resnet101", (3, 4, 23, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)


def ResNet152(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet152"):
    """Return ResNet152 (60.4 million parameters). As `keras.applications.ResNet152`."""
    return _resnet("resnet152", (3, 8, 36, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)


def ResNet50V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
               classifier_activation="softmax", name="resnet50v2"):
    """Return ResNet50V2 (25.6 million parameters). As `keras.applications.ResNet50V2`."""
    return _resnet("resnet50v2", (3, 4, 6, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)


def ResNet101V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet101v2"):
    """Return ResNet101V2 (44.7 million parameters). As `keras.applications.ResNet101V2`."""
    return _resnet("resnet101v2", (3, 4, 23, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)


def ResNet152V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet152v2"):
    """Return ResNet152V2 (60.4 million parameters). As `keras.applications.ResNet152V2`."""
    return _resnet("resnet152v2", (3, 8, 36, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
                   classifier_activation, name)
