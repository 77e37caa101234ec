# SPDX-License-Identifier: Apache-2.0
"""What the image models share: their input, their head, their files of weights, and pixels in and classes out."""
import json
import os
import warnings

import numpy as np

from fitloom import activations, engine, layers, ops
from fitloom.base import config
from fitloom.datasets.download import get_file
from fitloom.engine import is_keras_tensor
from fitloom.models import Model, get_source_inputs

HOST = "https://storage.googleapis.com/tensorflow/keras-applications/"
CLASSES = ("https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
           "c2c37ea517e94d9795004a39431a14cb")
MEAN = {"caffe": (103.939, 116.779, 123.68), "torch": (0.485, 0.456, 0.406)}
DEVIATION = (0.229, 0.224, 0.225)
_class_index: dict = {}


def channel_axis() -> int:
    """Return the axis of the channels in a batch of images."""
    return 1 if config.image_data_format() == "channels_first" else 3


def preprocess_input(x, data_format=None, mode="caffe"):
    """Bring pixels of 0..255 to the range a family of models was trained with.

    'tf': to -1..1. 'torch': to 0..1, then less the mean and over the deviation of ImageNet. 'caffe': RGB to BGR, less
    the mean. A NumPy array of floats is changed in place, as in Keras.

    Args:
        x: one image or a batch, array or tensor.
        data_format: 'channels_last' or 'channels_first'; default: `keras.config.image_data_format()`.

    Raises:
        ValueError: another mode or data format.
    """
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(f"Expected mode to be one of `caffe`, `tf` or `torch`. Received: mode={mode}")
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError("Expected data_format to be one of `channels_first` or `channels_last`. "
                         f"Received: data_format={data_format}")
    in_numpy = isinstance(x, np.ndarray)
    if in_numpy and not np.issubdtype(x.dtype, np.floating):
        x = x.astype(config.floatx())
    elif not in_numpy:
        x = engine.convert_to_tensor(x) if not is_keras_tensor(x) else x
        if not str(getattr(x.dtype, "name", x.dtype)).startswith(("float", "bfloat")):
            x = ops.cast(x, config.floatx())
    if mode == "tf":
        if in_numpy:
            x /= 127.5
            x -= 1.0
            return x
        return x / 127.5 - 1.0
    ndim = len(x.shape)
    axis = -1 if data_format == "channels_last" else ndim - 3
    shape = [3 if i == axis % ndim else 1 for i in range(ndim)]
    mean = np.reshape(MEAN[mode], shape)
    deviation = np.reshape(DEVIATION, shape) if mode == "torch" else None
    if in_numpy:
        if mode == "torch":
            x /= 255.0
        else:
            x = np.flip(x, axis)
        x -= mean.astype(x.dtype)
        if deviation is not None:
            x /= deviation.astype(x.dtype)
        return x
    mean = ops.cast(mean, x.dtype)
    if mode == "torch":
        return (x / 255.0 - mean) / ops.cast(deviation, x.dtype)
    return ops.gather(x, np.array([2, 1, 0]), axis=axis % ndim) - mean


def preprocess_tf(x, data_format=None):
    """Bring pixels of 0..255 to -1..1."""
    return preprocess_input(x, data_format, "tf")


def preprocess_torch(x, data_format=None):
    """Bring pixels of 0..255 to 0..1, less ImageNet's mean, over its deviation."""
    return preprocess_input(x, data_format, "torch")


def preprocess_caffe(x, data_format=None):
    """Turn RGB to BGR and take ImageNet's mean away."""
    return preprocess_input(x, data_format, "caffe")


def preprocess_none(x, data_format=None):
    """Return `x`: the model scales its pixels itself."""
    return x


def decode_predictions(preds, top=5):
    """Return for each row of 1,000 probabilities the `top` classes: lists of `(wordnet id, name, probability)`.

    The names are downloaded once to `~/.keras/models/imagenet_class_index.json`.

    Raises:
        ValueError: `preds` has not the shape (samples, 1000).
    """
    if len(preds.shape) != 2 or preds.shape[1] != 1000:
        raise ValueError("`decode_predictions` expects a batch of predictions (i.e. a 2D array of shape "
                         f"(samples, 1000)). Received array with shape: {tuple(preds.shape)}")
    if not _class_index:
        path = get_file("imagenet_class_index.json", CLASSES[0], cache_subdir="models", file_hash=CLASSES[1])
        with open(path, encoding="utf-8") as file:
            _class_index.update(json.load(file))
    return [[(*_class_index[str(i)], row[i]) for i in row.argsort()[::-1][:top]] for row in np.asarray(preds)]


def image_input(size, *, include_top, weights, input_tensor, input_shape, classes, minimum=32):
    """Check what every model is given and return its symbolic input.

    Args:
        size: rows and columns the published weights were trained with.
        minimum: the smallest image that leaves something after the last pooling.

    Raises:
        ValueError: unknown weights, classes that are not ImageNet's with its weights, or a shape that cannot be.
    """
    if weights not in ("imagenet", None) and not os.path.exists(weights):
        raise ValueError("The `weights` argument should be either `None` (random initialization), `imagenet` "
                         f"(pre-training on ImageNet), or the path to the weights file to be loaded. Received: "
                         f"weights={weights}")
    if weights == "imagenet" and include_top and classes != 1000:
        raise ValueError('If using `weights="imagenet"` with `include_top=True`, `classes` should be 1000. '
                         f"Received classes={classes}")
    if input_tensor is not None and is_keras_tensor(input_tensor):
        return input_tensor
    channels = 0 if channel_axis() == 1 else 2
    shape = tuple(input_shape) if input_shape else None
    default = [size] * 3
    default[channels] = 3
    if shape and len(shape) != 3:
        raise ValueError(f"`input_shape` must be a tuple of three integers. Received: input_shape={input_shape}")
    if shape and weights != "imagenet":
        if shape[channels] not in (1, 3):
            warnings.warn("This model usually expects 1 or 3 input channels. However, it was passed an input_shape "
                          f"with {shape[channels]} input channels.", stacklevel=4)
        default[channels] = shape[channels]
    default = tuple(default)
    if weights == "imagenet" and include_top and shape and shape != default:
        raise ValueError("When setting `include_top=True` and loading `imagenet` weights, `input_shape` should be "
                         f"{default}.  Received: input_shape={input_shape}")
    if shape is None:
        shape = default if include_top else tuple(3 if i == channels else None for i in range(3))
    if weights == "imagenet" and shape[channels] != 3:
        raise ValueError(f"The input must have 3 channels; Received `input_shape={input_shape}`")
    if any(n is not None and n < minimum for i, n in enumerate(shape) if i != channels):
        raise ValueError(f"Input size must be at least {minimum}x{minimum}; Received: input_shape={input_shape}")
    if include_top and None in shape:
        raise ValueError("If `include_top` is True, you should specify a static `input_shape`. "
                         f"Received: input_shape={input_shape}")
    return layers.Input(shape=shape) if input_tensor is None else layers.Input(tensor=input_tensor, shape=shape)


def check_activation(classifier_activation, weights):
    """Raise ValueError if published weights of a head are asked for with an activation they were not trained with."""
    if weights is not None and activations.get(classifier_activation) not in (
            activations.get("softmax"), activations.get(None)):
        raise ValueError("Only `None` and `softmax` activations are allowed for the `classifier_activation` argument "
                         "when using pretrained weights, with `include_top=True`; Received: "
                         f"classifier_activation={classifier_activation}")


def pooled(x, pooling, names=(None, None)):
    """Return what a model without its top gives: `x`, or its average or maximum over the image."""
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name=names[0])(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name=names[1])(x)
    return x


def head(x, *, include_top, weights, pooling, classes, classifier_activation, names=("avg_pool", "max_pool"), dropout=0,
         **dense):
    """Return average pooling and the classifier, or `pooled(x, pooling)`."""
    if not include_top:
        return pooled(x, pooling, names)
    x = layers.GlobalAveragePooling2D(name=names[0] or "avg_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="top_dropout")(x)
    check_activation(classifier_activation, weights)
    return layers.Dense(classes, activation=classifier_activation, name="predictions", **dense)(x)


def finish(name, image, x, *, input_tensor, weights, include_top, files):
    """Return the model from `image` to `x` with its weights loaded.

    Args:
        files: `((url, hash) with the top, (url, hash) without)`; the last part of a URL names the file in the cache.

    Raises:
        ConnectionError: published weights that are neither in `~/.keras/models` nor to be downloaded.
    """
    inputs = image if input_tensor is None else get_source_inputs(input_tensor)
    model = Model(inputs, x, name=name)
    if weights == "imagenet":
        url, file_hash = files[0 if include_top else 1]
        weights = get_file(url.rpartition("/")[2], url, cache_subdir="models", file_hash=file_hash)
    if weights is not None:
        model.load_weights(weights)
    return model


def both_files(folder, stem, with_top, without_top, suffix="_notop"):
    """Return `files` of `finish` for the usual names: `<stem>.h5` and `<stem>_notop.h5`."""
    base = f"{HOST}{folder}/{stem}"
    return (f"{base}.h5", with_top), (f"{base}{suffix}.h5", without_top)


def divisible(filters, divisor=8, keep=True):
    """Return `filters` rounded to a multiple of `divisor`, with `keep` not below 90 % of it."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return int(rounded + divisor if keep and rounded < 0.9 * filters else rounded)


def padding_before_stride(x, kernel_size):
    """Return the zero padding that makes a 'valid' convolution of stride 2 halve even and odd images alike."""
    first = 2 if channel_axis() == 1 else 1
    half = kernel_size // 2
    odd = [1 if x.shape[first] is None else 1 - x.shape[first + i] % 2 for i in range(2)]
    return tuple((half - o, half) for o in odd)
