# SPDX-License-Identifier: Apache-2.0
"""DenseNet (Huang et al. 2016, arXiv:1608.06993)."""
from fitloom import layers
from fitloom.applications import imagenet

GROWTH = 32
HASHES = {
    121: ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    169: ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    201: ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
}


def _normalized(x, name):
    separator = "_" if name else ""
    x = layers.BatchNormalization(axis=imagenet.channel_axis(), epsilon=1.001e-5, name=f"{name}{separator}bn")(x)
    return layers.Activation("relu", name=f"{name}{separator}relu")(x)


def _densenet(blocks, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name):
    image = imagenet.image_input(224, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                 input_shape=input_shape, classes=classes)
    axis = imagenet.channel_axis()
    x = layers.ZeroPadding2D(3)(image)
    x = _normalized(layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x), "conv1")
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(layers.ZeroPadding2D(1)(x))
    for stage, depth in enumerate(blocks, 2):
        for i in range(1, depth + 1):
            block = f"conv{stage}_block{i}"
            new = _normalized(x, f"{block}_0")
            new = layers.Conv2D(4 * GROWTH, 1, use_bias=False, name=f"{block}_1_conv")(new)
            new = _normalized(new, f"{block}_1")
            new = layers.Conv2D(GROWTH, 3, padding="same", use_bias=False, name=f"{block}_2_conv")(new)
            x = layers.Concatenate(axis=axis, name=f"{block}_concat")([x, new])
        if stage < 5:
            x = _normalized(x, f"pool{stage}")
            x = layers.Conv2D(x.shape[axis] // 2, 1, use_bias=False, name=f"pool{stage}_conv")(x)
            x = layers.AveragePooling2D(2, strides=2, name=f"pool{stage}_pool")(x)
    x = _normalized(x, "")
    x = imagenet.head(x, include_top=include_top, weights=weights, pooling=pooling, classes=classes,
                      classifier_activation=classifier_activation)
    depth = 2 * sum(blocks) + 5
    return imagenet.finish(
        name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
        files=imagenet.both_files("densenet", f"densenet{depth}_weights_tf_dim_ordering_tf_kernels", *HASHES[depth]))


def DenseNet121(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="densenet121"):
    """Return DenseNet121 (8.1 million parameters). As `keras.applications.DenseNet121`."""
    return _densenet((6, 12, 24, 16), include_top, weights, input_tensor, input_shape, pooling, classes,
                     classifier_activation, name)


def DenseNet169(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="densenet169"):
    """Return DenseNet169 (14.3 million parameters). As `keras.applications.DenseNet169`."""
    return _densenet((6, 12, 32, 32), include_top, weights, input_tensor, input_shape, pooling, classes,
                     classifier_activation, name)


def DenseNet201(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="densenet201"):
    """Return DenseNet201 (20.2 million parameters). As `keras.applications.DenseNet201`."""
    return _densenet((6, 12, 48, 32), include_top, weights, input_tensor, input_shape, pooling, classes,
                     classifier_activation, name)
