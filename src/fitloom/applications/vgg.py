# SPDX-License-Identifier: Apache-2.0
"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556)."""
from fitloom import layers
from fitloom.applications import imagenet


def _vgg(name, convolutions, hashes, include_top, weights, input_tensor, input_shape, pooling, classes,
         classifier_activation):
    image = x = imagenet.image_input(224, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                     input_shape=input_shape, classes=classes)
    for block, (count, filters) in enumerate(zip(convolutions, (64, 128, 256, 512, 512)), 1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, 3, activation="relu", padding="same", name=f"block{block}_conv{i}")(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(4096, activation="relu", name="fc1")(x)
        x = layers.Dense(4096, activation="relu", name="fc2")(x)
        imagenet.check_activation(classifier_activation, weights)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = imagenet.pooled(x, pooling)
    stem = f"VGG{sum(convolutions) + 3}".lower()
    return imagenet.finish(name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
                           files=imagenet.both_files(stem, f"{stem}_weights_tf_dim_ordering_tf_kernels", *hashes))


def VGG16(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
          classifier_activation="softmax", name="vgg16"):
    """Return VGG16 (138 million parameters). Arguments and layer names as in `keras.applications.VGG16`."""
    return _vgg(name, (2, 2, 3, 3, 3), ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
                include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation)


def VGG19(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
          classifier_activation="softmax", name="vgg19"):
    """Return VGG19 (144 million parameters). Arguments and layer names as in `keras.applications.VGG19`."""
    return _vgg(name, (2, 2, 4, 4, 4), ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
                include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation)
