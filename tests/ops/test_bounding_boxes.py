# SPDX-License-Identifier: Apache-2.0
"""Formats and overlap of boxes; boxes move as the pixels that they surround."""
import numpy as np
import pytest
from tests.tolerances import FLOAT32

import fitloom as tf
from fitloom.keras.utils import bounding_boxes as bb

FORMATS = {
    "xyxy": [2, 1, 6, 3], "yxyx": [1, 2, 3, 6], "xywh": [2, 1, 4, 2], "center_xywh": [4, 2, 4, 2],
    "center_yxhw": [2, 4, 2, 4], "rel_xyxy": [0.25, 0.1, 0.75, 0.3], "rel_yxyx": [0.1, 0.25, 0.3, 0.75],
    "rel_xywh": [0.25, 0.1, 0.5, 0.2], "rel_center_xywh": [0.5, 0.2, 0.5, 0.2]}


@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_other(source):
    for target in FORMATS:
        for boxes in ([FORMATS[source]], [[FORMATS[source]]]):
            found = bb.convert_format(np.array(boxes, "float32"), source, target.upper(), height=10, width=8)
            np.testing.assert_allclose(np.ravel(found), FORMATS[target], **FLOAT32)


def test_what_cannot_be_converted_is_an_error():
    with pytest.raises(ValueError, match="last dimension of 4"):
        bb.convert_format(np.ones((2, 3)), "xyxy", "xywh")
    with pytest.raises(ValueError, match="Supported formats"):
        bb.convert_format(np.ones((2, 4)), "xyxy", "yyxx")
    with pytest.raises(ValueError, match="`height` and `width`"):
        bb.convert_format(np.ones((2, 4)), "xyxy", "rel_xyxy")


def test_overlap():
    one, other = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], "float32"), np.array([[1, 0, 3, 2], [-1, -1, -1, -1]], "float32")
    np.testing.assert_allclose(bb.compute_iou(one, other, "xyxy", use_masking=True), [[1 / 3, -1], [0, -1]], atol=1e-5)
    assert bb.compute_iou(one[None], other, "xyxy").shape == (1, 2, 2)
    # the centres are 1 apart, the box around both has a diagonal of sqrt(13), the proportions are the same
    np.testing.assert_allclose(bb.compute_ciou(one[:1], other[:1], "xyxy"), [1 / 3 - 1 / 13], atol=1e-5)


def test_deltas_and_back():
    anchors, boxes = np.array([[0, 0, 4, 4]], "float32"), np.array([[1, 1, 3, 5]], "float32")
    deltas = bb.encode_box_to_deltas(anchors, boxes, "xyxy", "xyxy", variance=[0.5] * 4)
    np.testing.assert_allclose(deltas, [[0.5, 0, 0, 2 * np.log(0.5)]], atol=1e-6)
    back = bb.decode_deltas_to_boxes({1: anchors}, {1: deltas}, "xyxy", "xyxy", variance=[0.5] * 4)
    np.testing.assert_allclose(back[1], boxes, atol=1e-5)


def test_a_box_that_leaves_the_image_loses_its_label():
    boxes = {"boxes": np.array([[-1., 2, 3, 12], [9, 9, 12, 12]]), "labels": np.array([4, 5])}
    found = bb.clip_to_image_size(boxes, height=10, width=8)
    np.testing.assert_array_equal(found["boxes"], [[0, 2, 3, 10], [8, 9, 8, 10]])
    np.testing.assert_array_equal(found["labels"], [4, -1])
    np.testing.assert_array_equal(bb.crop(boxes["boxes"], 2, 1, 5, 4), [[0, 0, 2, 5], [4, 5, 4, 5]])
    np.testing.assert_array_equal(bb.pad(boxes["boxes"][1:], 2, 1), [[10, 11, 13, 14]])
    turned = bb.affine_transform(np.array([[2., 1, 4, 3]]), 90.0, 0, 0, 1, 0, 0, 11, 11)
    np.testing.assert_allclose(turned, [[1, 6, 3, 8]], atol=1e-5)


L = tf.keras.layers
MOVES = [L.RandomFlip(seed=1, bounding_box_format="xyxy"),
         L.RandomTranslation(0.2, 0.2, "constant", seed=2, bounding_box_format="xyxy"),
         L.RandomRotation((0.25, 0.25), "constant", seed=3, bounding_box_format="xyxy"),
         L.RandomShear(0.4, 0.0, fill_mode="constant", seed=5, bounding_box_format="xyxy"),
         L.RandomPerspective(scale=0.5, seed=6, bounding_box_format="xyxy"),
         L.RandomCrop(18, 16, seed=7, bounding_box_format="xyxy"),
         L.CenterCrop(20, 18, bounding_box_format="xyxy"),
         L.Resizing(30, 12, bounding_box_format="xyxy"),
         L.Resizing(30, 30, pad_to_aspect_ratio=True, bounding_box_format="xyxy"),
         L.Resizing(30, 30, crop_to_aspect_ratio=True, bounding_box_format="xyxy")]


@pytest.mark.parametrize("layer", MOVES, ids=lambda layer: layer.name)
def test_boxes_move_as_the_pixels(layer):
    images = np.zeros((2, 24, 20, 1), "float32")
    images[:, 9:15, 6:12] = 1.0                                  # a white rectangle, and its box
    data = {"images": images, "bounding_boxes": {"boxes": np.array([[[6., 9, 12, 15]]] * 2), "labels": [[3]] * 2}}
    data["bounding_boxes"]["labels"] = np.array([[3]] * 2)
    found = layer(data, training=True) if "training" in layer.call.__code__.co_varnames else layer(data)
    for image, box in zip(found["images"].numpy(), found["bounding_boxes"]["boxes"].numpy()[:, 0]):
        rows, columns = np.where(image[..., 0] > 0.5)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, seen, atol=1.01)
    np.testing.assert_array_equal(found["bounding_boxes"]["labels"], [[3]] * 2)


def test_layers_that_move_nothing_leave_boxes_alone_and_others_ask_for_their_format():
    data = {"images": np.ones((1, 8, 8, 3), "float32"),
            "bounding_boxes": {"boxes": np.array([[[1., 2, 3, 4]]]), "labels": np.array([[1]])}}
    assert np.array_equal(L.RandomBrightness(0.1)(data)["bounding_boxes"]["boxes"], [[[1, 2, 3, 4]]])
    with pytest.raises(ValueError, match="bounding_box_format"):
        L.RandomFlip()(data)
    with pytest.raises(NotImplementedError, match="take them out"):
        L.CutMix()(data)
    assert L.MixUp()(data)["bounding_boxes"]["boxes"].shape == (1, 2, 4)
    filled = L.MaxNumBoundingBoxes(3, bounding_box_format="xyxy")(data)["bounding_boxes"]
    np.testing.assert_array_equal(filled["boxes"][0, :, 0], [1, -1, -1])
    np.testing.assert_array_equal(filled["labels"], [[1, -1, -1]])
    assert L.RandomFlip(bounding_box_format="xywh").get_config()["bounding_box_format"] == "xywh"


def test_smart_resize_cuts_the_middle_of_the_wanted_proportions():
    x = np.tile(np.arange(8, dtype="float32")[None, :, None], (4, 1, 3))
    found = tf.keras.preprocessing.image.smart_resize(x, (2, 2))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found[0, :, 0], [2.5, 4.5])
    with pytest.raises(ValueError, match="2 integers"):
        tf.keras.preprocessing.image.smart_resize(x, 3)
