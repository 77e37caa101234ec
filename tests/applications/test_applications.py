# SPDX-License-Identifier: Apache-2.0
"""keras.applications: sizes, layer names, heads, preprocessing, and the same numbers as Keras with the same weights."""
import numpy as np
import pytest

import fitloom as tf
from fitloom import keras
from tolerances import FLOAT32_SUMS

SIZES = {"MobileNet": 4253864, "MobileNetV2": 3538984, "MobileNetV3Small": 2554968, "DenseNet121": 8062504,
         "ResNet50": 25636712, "ResNet50V2": 25613800, "Xception": 22910480, "InceptionV3": 23851784,
         "EfficientNetB0": 5330571, "EfficientNetV2B0": 7200312, "NASNetMobile": 5326716, "ConvNeXtTiny": 28589128}


@pytest.mark.parametrize("name", SIZES)
def test_number_of_parameters(name):
    assert getattr(keras.applications, name)(weights=None).count_params() == SIZES[name]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name, options", [
    ("MobileNetV2", {"alpha": 0.35}), ("MobileNetV3Small", {"minimalistic": False})])
def test_same_numbers_as_keras(name, options):
    reference = pytest.importorskip("keras")
    options = {**options, "weights": None, "include_top": False, "pooling": "avg", "input_shape": (64, 64, 3)}
    theirs, ours = getattr(reference.applications, name)(**options), getattr(keras.applications, name)(**options)
    assert [layer.name.rstrip("0123456789_") for layer in ours.layers] == [
        layer.name.rstrip("0123456789_") for layer in theirs.layers]
    generator = np.random.default_rng(0)
    weights = [np.abs(w) if w.ndim == 1 else w for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    x = generator.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def close(actual, expected):
    """Equal up to the order of operations."""
    np.testing.assert_allclose(np.asarray(actual), expected, **FLOAT32_SUMS)


def test_heads_and_inner_layers():
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    assert model.output_shape == (None, 1, 1, 512) and model.get_layer("block5_conv3").filters == 512
    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), classes=7, classifier_activation=None)
    assert model.output_shape == (None, 7) and model.name == "mobilenetv2_1.00_96"
    x = keras.Input((64, 64, 3))
    model = keras.applications.MobileNet(weights=None, include_top=False, input_tensor=keras.layers.Rescaling(1 / 255)(x))
    assert model.inputs[0] is x


def test_transfer_learning():
    base = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    base.trainable = False
    inputs = keras.Input((32, 32, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(inputs)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    assert len(model.trainable_variables) == 2
    x, y = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32"), np.arange(8) % 2
    before = base.get_weights()
    model.fit(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, base.get_weights()))


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_preprocess_input(mode):
    x = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    expected = {"tf": x / 127.5 - 1, "torch": (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
                "caffe": x[..., ::-1] - [103.939, 116.779, 123.68]}[mode]
    function = keras.applications.imagenet_utils.preprocess_input
    close(function(tf.constant(x), mode=mode), expected.astype("float32"))
    close(function(tf.constant(x[0]), mode=mode), expected[0].astype("float32"))
    close(function(np.transpose(x, (0, 3, 1, 2)).copy(), "channels_first", mode),
          np.transpose(expected, (0, 3, 1, 2)).astype("float32"))
    close(function(x.copy(), mode=mode), expected.astype("float32"))


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="at least 75x75"):
        keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="`classes` should be 1000"):
        keras.applications.ResNet50(classes=3)
    with pytest.raises(ValueError, match="Received: weights=nowhere.h5"):
        keras.applications.VGG16(weights="nowhere.h5")
    with pytest.raises(ValueError, match="samples, 1000"):
        keras.applications.vgg16.decode_predictions(np.zeros((2, 10)))
