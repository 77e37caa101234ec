# SPDX-License-Identifier: Apache-2.0
"""`tf.compat.v1.image`: images resized as TensorFlow 1 did, from the corners of pixels rather than their centres."""

from __future__ import annotations

import numpy as np

from fitloom.base import dtypes
from fitloom.ops import image
from fitloom.ops.calling import static_ints, tensor
from fitloom.ops.casting import cast
from fitloom.ops.indexing import gather


class ResizeMethod:
    """The numbers of the methods."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = range(4)


_METHODS = ("bilinear", "nearest", "bicubic", "area")


def resize(images, size, method=ResizeMethod.BILINEAR, align_corners=False, preserve_aspect_ratio=False, name=None):
    """Return images of another height and width: sample i of an axis lies at i * n / size in the input.

    Args:
        images: (height, width, channels), or a batch of them.
        method: a ResizeMethod, or one of `tf.image.ResizeMethod`: bilinear, nearest or area.
        align_corners: sample i lies at i * (n - 1) / (size - 1) instead, so that the corners stay where they are.
        preserve_aspect_ratio: fit inside `size` without changing the proportions.

    Returns:
        float32 (the input's dtype for nearest neighbours, and where nothing changes).
    """
    method = _METHODS[method] if isinstance(method, int) else str(getattr(method, "value", method)).lower()
    images, size = tensor(images), static_ints(size)
    height, width = tuple(images.shape)[-3:-1]
    if preserve_aspect_ratio:
        scale = min(size[0] / height, size[1] / width)
        size = (int(round(height * scale)), int(round(width * scale)))
    if (height, width) == tuple(size):
        return images
    if method == "area" and not align_corners:
        return image.resize(images, size, "area")
    if method not in ("bilinear", "nearest"):
        raise NotImplementedError(f"tf.compat.v1.image.resize takes bilinear, nearest and area, not {method!r} with "
                                  f"align_corners={align_corners}. Use tf.image.resize.")
    for axis, (old, new) in zip((-3, -2), zip((height, width), size, strict=True), strict=True):
        images = _resized(images, axis, old, new, method, align_corners)
    return images


def _resized(x, axis, old, new, method, align_corners):
    scale = (old - 1) / (new - 1) if align_corners and new > 1 else old / new
    place = (np.arange(new, dtype=np.float32) * np.float32(scale)).astype(np.float32)
    if method == "nearest":
        nearest = np.floor(place + 0.5) if align_corners else np.floor(place)
        return gather(x, np.minimum(nearest, old - 1).astype(np.int32), axis=axis)
    low = np.minimum(np.floor(place), old - 1).astype(np.int32)
    share = (place - low).reshape(-1, *[1] * (-1 - axis)).astype(np.float32)
    x = cast(x, dtypes.float32)
    below, above = gather(x, low, axis=axis), gather(x, np.minimum(low + 1, old - 1), axis=axis)
    return below + (above - below) * share


resize_images = resize


def resize_bilinear(images, size, align_corners=False, name=None, half_pixel_centers=False):
    """Return images of another size, with bilinear interpolation."""
    return image.resize(images, size) if half_pixel_centers else resize(images, size, "bilinear", align_corners)


def resize_nearest_neighbor(images, size, align_corners=False, name=None, half_pixel_centers=False):
    """Return images of another size, with the nearest pixels."""
    return image.resize(images, size, "nearest") if half_pixel_centers else resize(images, size, "nearest",
                                                                                   align_corners)
