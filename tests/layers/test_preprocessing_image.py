# SPDX-License-Identifier: Apache-2.0
"""Image layers: against Keras where the draw is pinned down by a range of one value, and what the draws obey."""
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


@pytest.fixture
def images(rng):
    return np.round(rng.uniform(0, 255, (3, 6, 5, 3))).astype("float32")


PINNED = [
    ("Resizing", {"height": 3, "width": 4}), ("Resizing", {"height": 3, "width": 3, "crop_to_aspect_ratio": True}),
    ("Resizing", {"height": 9, "width": 7, "interpolation": "nearest"}),
    ("Resizing", {"height": 9, "width": 7, "interpolation": "bicubic"}),
    ("CenterCrop", {"height": 3, "width": 2}), ("CenterCrop", {"height": 8, "width": 2}),
    ("RandomBrightness", {"factor": (0.1, 0.1)}), ("RandomContrast", {"factor": (0.0, 0.0)}),
    ("RandomSaturation", {"factor": (0.2, 0.2)}), ("RandomSaturation", {"factor": (0.6, 0.6)}),
    ("RandomSharpness", {"factor": (0.2, 0.2)}), ("RandomSharpness", {"factor": (0.9, 0.9)}),
    ("RandomColorDegeneration", {"factor": (0.3, 0.3)}), ("RandomGrayscale", {"factor": 1.0}),
    ("RandomPosterization", {"factor": (3, 3)}), ("AutoContrast", {}), ("RandomInvert", {"factor": (1.0, 1.0)}),
    ("RandomRotation", {"factor": (0.25, 0.25), "fill_mode": "constant"}), ("RandomRotation", {"factor": (0.1, 0.1)}),
    ("RandomRotation", {"factor": (0.1, 0.1), "fill_mode": "nearest", "interpolation": "nearest"}),
    ("RandomRotation", {"factor": (-0.1, -0.1), "fill_mode": "wrap"}), ("RandomZoom", {"height_factor": (0.3, 0.3)}),
    ("RandomZoom", {"height_factor": (-0.3, -0.3), "width_factor": (0.2, 0.2), "fill_mode": "constant"}),
    ("RandomTranslation", {"height_factor": (0.3, 0.3), "width_factor": (-0.2, -0.2), "fill_mode": "constant"}),
    ("RandomGaussianBlur", {"factor": (1.0, 1.0), "sigma": (1.0, 1.0)}), ("RandomPerspective", {"factor": 0.0}),
]


@pytest.mark.parametrize("name, arguments", PINNED, ids=lambda v: v if isinstance(v, str) else "")
def test_pinned_layer_equals_keras(name, arguments, images):
    keras = pytest.importorskip("keras")
    expected = np.asarray(getattr(keras.layers, name)(**arguments)(images, training=True))
    found = getattr(layers, name)(**arguments)(images, training=True).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


RANDOM = {
    "AugMix": {"num_chains": 2, "chain_depth": 2}, "RandAugment": {}, "RandomBrightness": {"factor": 0.5}, "RandomColorDegeneration": {"factor": 0.9},
    "RandomColorJitter": {"brightness_factor": 0.3, "contrast_factor": 0.3, "saturation_factor": 0.3, "hue_factor": 0.3},
    "RandomContrast": {"factor": 0.9}, "RandomCrop": {"height": 6, "width": 4}, "RandomElasticTransform": {},
    "RandomErasing": {}, "RandomFlip": {}, "RandomHue": {"factor": 1.0}, "RandomInvert": {}, "RandomPerspective": {},
    "RandomRotation": {"factor": 0.4}, "RandomSaturation": {"factor": 0.9}, "RandomSharpness": {"factor": 0.9},
    "RandomShear": {"x_factor": 0.5, "y_factor": 0.5}, "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomZoom": {"height_factor": 0.5}, "MixUp": {"alpha": 1.0}, "CutMix": {}, "RandomGrayscale": {},
    "RandomGaussianBlur": {}, "RandomPosterization": {"factor": 3}, "Solarization": {"threshold_factor": 0.5},
}


@pytest.mark.parametrize("name", RANDOM)
def test_draws_differ_and_rest_in_inference(name, images):
    layer = getattr(layers, name)(**RANDOM[name])
    drawn = np.stack([layer(images, training=True).numpy() for _ in range(4)])
    assert np.isfinite(drawn).all()
    assert np.ptp(drawn, axis=0).max() > 0
    assert drawn.shape[1:] == (images.shape if name != "RandomCrop" else (3, 6, 4, 3))
    if name != "RandomCrop":
        np.testing.assert_array_equal(layer(images, training=False).numpy(), images)
    one = layer(images[0], training=True)
    assert one.shape == drawn.shape[2:]


@pytest.mark.parametrize("name", ["RandomRotation", "RandomHue", "RandomFlip", "RandomContrast"])
def test_in_a_compiled_function_and_in_a_dataset(name, images):
    layer = getattr(layers, name)(**RANDOM[name])
    compiled = tf.function(lambda x: layer(x, training=True))
    assert np.ptp(np.stack([compiled(tf.constant(images)).numpy() for _ in range(3)]), axis=0).max() > 0
    data = tf.data.Dataset.from_tensor_slices(images).batch(2).map(lambda x: layer(x, training=True))
    assert sum(len(batch.numpy()) for batch in data) == 3


@pytest.mark.parametrize("name", ["RandomRotation", "RandomFlip", "RandomZoom", "RandomCrop"])
def test_channels_first_moves_the_same_pixels(name, images):
    tf.keras.utils.set_random_seed(1)
    last = getattr(layers, name)(**RANDOM[name], seed=3)
    drawn = last.get_random_transformation(images)
    first = getattr(layers, name)(**RANDOM[name], seed=3, data_format="channels_first")
    a = last.transform_images(tf.constant(images), drawn).numpy()
    b = first.transform_images(tf.constant(images.transpose(0, 3, 1, 2)), drawn).numpy()
    np.testing.assert_allclose(b.transpose(0, 2, 3, 1), a, rtol=1e-5, atol=1e-3)


def test_flip_flips_half_of_the_images(rng):
    x = np.zeros((400, 2, 2, 1), "float32")
    x[:, :, 0] = 1
    y = layers.RandomFlip("horizontal")(x).numpy()
    flipped = (y[:, 0, 1, 0] == 1).mean()
    assert 0.4 < flipped < 0.6 and set(np.unique(y)) == {0.0, 1.0}


def test_mixup_and_cutmix_mix_labels_as_images(rng):
    x = np.zeros((8, 10, 10, 1), "float32")
    x[4:] = 1
    labels = np.eye(2, dtype="float32")[[0] * 4 + [1] * 4]
    for layer in (layers.MixUp(alpha=1.0), layers.CutMix()):
        mixed = layer({"images": x, "labels": labels}, training=True)
        np.testing.assert_allclose(mixed["labels"].numpy().sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(mixed["labels"].numpy()[:, 1], mixed["images"].numpy().mean((1, 2, 3)), atol=1e-5)
        np.testing.assert_array_equal(layer({"images": x, "labels": labels}, training=False)["labels"].numpy(), labels)


def test_segmentation_masks_move_with_their_images(images):
    masks = (images[..., :1] > 100).astype("float32")
    both = layers.RandomRotation(0.3, fill_mode="constant")({"images": np.repeat(masks, 3, -1) * 0 + masks,
                                                            "segmentation_masks": masks})
    assert set(np.unique(both["segmentation_masks"].numpy())) <= {0.0, 1.0}
    moved = (both["images"].numpy()[..., :1] > 0.5) == (both["segmentation_masks"].numpy() > 0.5)
    assert moved.mean() > 0.85
    with pytest.raises(ValueError, match="received 'bounding_boxes', but does not know their format"):
        layers.RandomFlip()({"images": images, "bounding_boxes": {}})


def test_resizing_keeps_integers():
    assert layers.Resizing(3, 3)(np.zeros((4, 4, 3), "uint8")).dtype.name == "uint8"


def test_equalization_spreads_the_values(rng):
    x = rng.uniform(100, 150, (2, 16, 16, 3)).astype("float32")
    y = layers.Equalization()(x).numpy()
    assert y.min() == 0 and y.max() == 255 and abs(y.mean() - 127) < 6


@pytest.mark.parametrize("make", [
    lambda: layers.RandomRotation(1.5), lambda: layers.RandomZoom(2.0), lambda: layers.RandomContrast(-0.5),
    lambda: layers.RandomFlip("sideways"), lambda: layers.RandomBrightness("a"), lambda: layers.MixUp(alpha=0),
    lambda: layers.RandomRotation(0.1, fill_mode="refect"), lambda: layers.RandomBrightness(0.1, value_range=(1, 0)),
    lambda: layers.RandomPosterization(9), lambda: layers.RandomFlip()(tf.ones((2, 3)))])
def test_errors(make):
    with pytest.raises(ValueError):
        make()


def test_pipeline_runs_its_layers_in_order(images):
    layer = layers.Pipeline([layers.Rescaling(1 / 255), layers.CenterCrop(2, 2), layers.RandomFlip()])
    y = layer(images, training=False)
    assert y.shape == (3, 2, 2, 3) and y.numpy().max() <= 1
    again = layers.Pipeline.from_config(layer.get_config())
    assert [type(inner).__name__ for inner in again.layers] == ["Rescaling", "CenterCrop", "RandomFlip"]
