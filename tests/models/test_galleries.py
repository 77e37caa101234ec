# SPDX-License-Identifier: Apache-2.0
"""Images side by side, with labels, boxes and masks."""
import numpy as np
import pytest

import fitloom as tf

seen = tf.keras.visualization
IMAGES = np.full((3, 24, 20, 3), 0.5, "float32")
BOXES = {"boxes": np.array([[[4., 6, 12, 16], [0, 0, 3, 3]]] * 3), "labels": np.array([[1, -1]] * 3)}


@pytest.fixture(autouse=True)
def no_window():
    pytest.importorskip("matplotlib").use("agg")


def test_boxes_are_drawn_where_they_are():
    found = seen.draw_bounding_boxes(IMAGES, BOXES, "xyxy", {1: "dog"}, color=(255, 0, 0), line_thickness=1)
    assert found.dtype == "uint8" and found.shape == IMAGES.shape
    assert (found[0, 6:17, 4] == (255, 0, 0)).all() and (found[1, 16, 4:13] == (255, 0, 0)).all()
    assert (found[0, 0, 0] == 127).all()                    # a box of class -1 is padding
    with pytest.raises(TypeError, match="dict"):
        seen.draw_bounding_boxes(IMAGES, np.ones((3, 2, 4)), "xyxy")


def test_masks_blend():
    masks = np.zeros((3, 24, 20, 1), "int32")
    masks[:, :4] = 1
    masks[:, 4:8] = 2
    found = seen.draw_segmentation_masks(IMAGES * 200, masks, color_mapping={1: (200, 0, 0), 2: (0, 0, 0)}, alpha=0.5,
                                         ignore_index=2)
    assert (found[:, :4] == (150, 50, 50)).all() and (found[:, 4:] == 100).all()
    with pytest.raises(TypeError, match="integer"):
        seen.draw_segmentation_masks(IMAGES, masks.astype("float32"))


def test_galleries_are_saved(tmp_path):
    seen.plot_image_gallery(IMAGES, [0, 1, 2], label_map={0: "cat"}, value_range=(0, 1), path=tmp_path / "a.png")
    seen.plot_bounding_box_gallery(IMAGES, "xyxy", BOXES, BOXES, value_range=(0, 1), legend=True, rows=1, cols=2,
                                   path=tmp_path / "b.png")
    seen.plot_segmentation_mask_gallery(IMAGES * 255, 2, y_true=np.ones((3, 24, 20, 1)), path=tmp_path / "c.png")
    assert all((tmp_path / name).stat().st_size > 500 for name in ("a.png", "b.png", "c.png"))
    with pytest.raises(ValueError, match="label_map"):
        seen.plot_image_gallery(IMAGES, [0, 1, 2])
