# SPDX-License-Identifier: Apache-2.0
"""Boxes on images: `tf.image.combined_non_max_suppression`, `draw_bounding_boxes` (on the host)."""
import collections

import numpy as np

from fitloom import engine
from fitloom.ops.calling import host_value, static_int
from fitloom.ops.image_measures import non_max_suppression

CombinedNonMaxSuppression = collections.namedtuple(
    "CombinedNonMaxSuppression", ["nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"])
COLORS = ((1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0.5, 0, 0.5), (0.5, 0.5, 0), (0.5, 0, 0), (0, 0, 0.5),
          (0, 1, 1), (1, 0, 1))


def non_max_suppression_with_scores(boxes, scores, max_output_size, iou_threshold=0.5, score_threshold=float("-inf"),
                                    soft_nms_sigma=0.0, name=None):
    """Return the numbers of the boxes kept and their scores, lowered by overlaps if `soft_nms_sigma` is above 0.

    Then overlaps lower scores instead of excluding boxes: `iou_threshold` does not count.
    """
    if not soft_nms_sigma:
        kept = non_max_suppression(boxes, scores, max_output_size, iou_threshold, score_threshold)
        return kept, engine.Tensor(host_value(scores)[np.asarray(kept)])
    boxes, scores = host_value(boxes).astype(np.float64), host_value(scores).astype(np.float64).copy()
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    area, kept, values = np.prod(high - low, 1), [], []
    while len(kept) < static_int(max_output_size):
        i = int(np.argmax(scores))
        if not scores.size or scores[i] <= score_threshold or scores[i] == -np.inf:
            break
        kept.append(i)
        values.append(scores[i])
        both = np.prod(np.maximum(np.minimum(high[i], high) - np.maximum(low[i], low), 0), 1)
        overlap = both / np.maximum(area[i] + area - both, 1e-30)
        scores *= np.exp(-overlap ** 2 / (2 * soft_nms_sigma))
        scores[kept] = -np.inf
    return engine.Tensor(np.asarray(kept, np.int32)), engine.Tensor(np.asarray(values, np.float32))


def combined_non_max_suppression(boxes, scores, max_output_size_per_class, max_total_size, iou_threshold=0.5,
                                 score_threshold=float("-inf"), pad_per_class=False, clip_boxes=True, name=None):
    """Return for each image the best boxes of all classes, filled up with zeros.

    Args:
        boxes: (images, boxes, 1 or classes, 4), corners y1, x1, y2, x2.
        scores: (images, boxes, classes).

    Returns:
        A named tuple: nmsed_boxes (images, total, 4), nmsed_scores and nmsed_classes (images, total), all float32, and
        valid_detections (images,), int32.
    """
    boxes, scores = host_value(boxes).astype(np.float32), host_value(scores).astype(np.float32)
    per_class, total = static_int(max_output_size_per_class), static_int(max_total_size)
    total = min(total, per_class * scores.shape[2]) if pad_per_class else total
    made = [np.zeros((len(boxes), total, 4), np.float32), np.zeros((len(boxes), total), np.float32),
            np.zeros((len(boxes), total), np.float32), np.zeros(len(boxes), np.int32)]
    for image in range(len(boxes)):
        found = []
        for label in range(scores.shape[2]):
            candidates = boxes[image, :, min(label, boxes.shape[2] - 1)]
            kept = np.asarray(non_max_suppression(candidates, scores[image, :, label], per_class, iou_threshold,
                                                  score_threshold))
            found += [(scores[image, i, label], label, candidates[i]) for i in kept]
        found = sorted(found, key=lambda item: -item[0])[:total]
        for place, (score, label, box) in enumerate(found):
            made[0][image, place] = np.clip(box, 0, 1) if clip_boxes else box
            made[1][image, place], made[2][image, place] = score, label
        made[3][image] = len(found)
    return CombinedNonMaxSuppression(*[engine.Tensor(m) for m in made])


def draw_bounding_boxes(images, boxes, colors=None, name=None):
    """Return images with the outlines of boxes (images, boxes, 4): y1, x1, y2, x2 in units of the image."""
    images, boxes = np.array(host_value(images)), host_value(boxes)
    rows, columns, channels = images.shape[1:]
    palette = np.asarray(host_value(colors) if colors is not None and len(host_value(colors)) else COLORS, np.float64)
    if channels not in (1, 3, 4):
        raise ValueError(f"draw_bounding_boxes expected images of 1, 3 or 4 channels, but received {channels}.")
    for image, its_boxes in zip(images, boxes, strict=True):
        for i, box in enumerate(its_boxes):
            color = np.ones(channels)
            if channels > 1:
                given = palette[i % len(palette)][:channels]
                color[:len(given)] = given
            y1, x1 = int(box[0] * (rows - 1)), int(box[1] * (columns - 1))
            y2, x2 = int(box[2] * (rows - 1)), int(box[3] * (columns - 1))
            if y1 > y2 or x1 > x2 or y1 >= rows or x1 >= columns or y2 < 0 or x2 < 0:
                continue
            inside_x, inside_y = slice(max(x1, 0), min(x2, columns - 1) + 1), slice(max(y1, 0), min(y2, rows - 1) + 1)
            for y in (y1, y2):
                if 0 <= y < rows:
                    image[y, inside_x] = color
            for x in (x1, x2):
                if 0 <= x < columns:
                    image[inside_y, x] = color
    return engine.Tensor(images)
