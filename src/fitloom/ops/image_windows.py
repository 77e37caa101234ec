# SPDX-License-Identifier: Apache-2.0
"""Random windows of images that keep enough of an object: `tf.image.sample_distorted_bounding_box` (on the host)."""
import collections

import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops import random
from fitloom.ops.calling import host_value

DistortedBoundingBox = collections.namedtuple("DistortedBoundingBox", ["begin", "size", "bboxes"])


def _window(generator, height, width, aspect, area_range):
    """Return (y, x, rows, columns) of a random window of an aspect ratio, or None if there is none."""
    low, high = (share * height * width for share in area_range)
    smallest, largest = round((low / aspect) ** 0.5), round((high / aspect) ** 0.5)
    if round(largest * aspect) > width:
        largest = int((width + 0.5 - 1e-7) / aspect)
    largest = min(largest, height)
    rows = min(smallest, largest)
    rows += int(generator.integers(0, largest - rows + 1))
    columns = round(rows * aspect)
    if rows * columns < low:
        rows, columns = rows + 1, round((rows + 1) * aspect)
    if rows * columns > high:
        rows, columns = rows - 1, round((rows - 1) * aspect)
    if not (low <= rows * columns <= high and 0 < rows <= height and 0 < columns <= width):
        return None
    return (int(generator.integers(0, height - rows + 1)), int(generator.integers(0, width - columns + 1)), rows,
            columns)


def _covered(window, box, height, width):
    """Return the share of a box (y1, x1, y2, x2, in units of the image) that lies in a window."""
    y, x, rows, columns = window
    low, high = (box[:2] * (height, width)).astype(int), (box[2:] * (height, width)).astype(int)
    area = float(np.prod(np.maximum(high - low, 0)))
    both = np.maximum(np.minimum(high, (y + rows, x + columns)) - np.maximum(low, (y, x)), 0)
    return float(np.prod(both)) / area if area else 0.0


def _sampled(seed, image_size, bounding_boxes, min_object_covered, aspect_ratio_range, area_range, max_attempts,
             use_image_if_no_bounding_boxes):
    size = host_value(engine.convert_to_tensor(image_size), "sample_distorted_bounding_box's image_size")
    if size.shape != (3,):
        raise InvalidArgumentError(f"sample_distorted_bounding_box expected image_size (height, width, channels), but "
                                   f"received shape {size.shape}.")
    boxes = host_value(bounding_boxes, "bounding boxes").reshape(-1, 4).astype(np.float64)
    if (boxes < 0).any() or (boxes > 1).any() or (boxes[:, :2] >= boxes[:, 2:]).any():
        raise InvalidArgumentError("sample_distorted_bounding_box expected boxes y1 < y2, x1 < x2 in [0, 1], but "
                                   f"received {boxes.tolist()}.")
    height, width = int(size[0]), int(size[1])
    if not len(boxes):
        if not use_image_if_no_bounding_boxes:
            raise InvalidArgumentError("sample_distorted_bounding_box received no bounding boxes. Give some, or "
                                       "use_image_if_no_bounding_boxes=True.")
        boxes = np.asarray([[0.0, 0.0, 1.0, 1.0]])
    words = np.ravel(host_value(seed, "a seed"))
    generator = engine.host_generator(sum(int(word) << (64 * i) for i, word in enumerate(words)) % (2**64 - 59))
    aspects, areas = aspect_ratio_range or (0.75, 1.33), area_range or (0.05, 1.0)
    for _ in range(max_attempts or 100):
        aspect = generator.uniform(*aspects)
        window = _window(generator, height, width, aspect, areas)
        box = boxes[generator.integers(0, len(boxes))]
        if window is not None and _covered(window, box, height, width) >= float(host_value(min_object_covered)):
            break
    else:
        window = (0, 0, height, width)
    y, x, rows, columns = window
    found = [[[y / height, x / width, (y + rows) / height, (x + columns) / width]]]
    return DistortedBoundingBox(engine.Tensor(np.asarray([y, x, 0], size.dtype)),
                                engine.Tensor(np.asarray([rows, columns, -1], size.dtype)),
                                engine.Tensor(np.asarray(found, np.float32)))


def sample_distorted_bounding_box(image_size, bounding_boxes, seed=0, min_object_covered=0.1, aspect_ratio_range=None,
                                  area_range=None, max_attempts=None, use_image_if_no_bounding_boxes=None, name=None):
    """Return a random window of an image that keeps at least a share of one of its boxes.

    Args:
        image_size: (height, width, channels).
        bounding_boxes: (1, count, 4): y1, x1, y2, x2 in [0, 1].
        seed: 0 for new windows in every call.
        min_object_covered: the share of a box that the window must hold.
        aspect_ratio_range: of width / height, (0.75, 1.33) if None.
        area_range: the window's share of the image, (0.05, 1) if None.
        max_attempts: after so many windows (100) that do not fit, the whole image is returned.

    Returns:
        `begin` and `size`, for `tf.slice`, and the window as a box of shape (1, 1, 4).

    Raises:
        InvalidArgumentError: no boxes, unless `use_image_if_no_bounding_boxes`, or boxes outside [0, 1].

    Example:
        >>> import fitloom as tf
        >>> begin, size, box = tf.image.sample_distorted_bounding_box([40, 60, 3], [[[0.0, 0.0, 1.0, 1.0]]])
        >>> tf.slice(tf.zeros([40, 60, 3]), begin, size).shape[-1]
        3
    """
    return _sampled(engine.draw_seed(seed or None), image_size, bounding_boxes, min_object_covered, aspect_ratio_range,
                    area_range, max_attempts, use_image_if_no_bounding_boxes)


def stateless_sample_distorted_bounding_box(image_size, bounding_boxes, seed, min_object_covered=0.1,
                                            aspect_ratio_range=None, area_range=None, max_attempts=None,
                                            use_image_if_no_bounding_boxes=None, name=None):
    """Return the window of `sample_distorted_bounding_box` that a seed of two numbers decides."""
    return _sampled(random.seed_of(seed), image_size, bounding_boxes, min_object_covered, aspect_ratio_range,
                    area_range, max_attempts, use_image_if_no_bounding_boxes)
