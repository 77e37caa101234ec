# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils.bounding_boxes`: forms of boxes, their overlap, and what becomes of them when an image is moved.

Boxes are `(n, 4)` or `(batch, n, 4)` numbers. Formats, in any case: 'xyxy' (left, top, right, bottom), 'yxyx', 'xywh'
(left, top, width, height), 'center_xywh', 'center_yxhw' in pixels; 'rel_xyxy', 'rel_yxyx', 'rel_xywh',
'rel_center_xywh' as parts of the image's width and height.
"""
import math

import jax.numpy as jnp

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops.casting import cast

_FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")


def _tensor(value, dtype="float32"):
    value = engine.convert_to_tensor(value)
    return value if dtypes.name_of(value.dtype) == dtype else cast(value, dtype)


def _floats(boxes):
    boxes = engine.convert_to_tensor(boxes)
    return boxes if dtypes.is_floating(boxes.dtype) else cast(boxes, "float32")


def _size(image_shape):
    return (None, None) if image_shape is None else tuple(image_shape)[:2]


def convert_format(boxes, source, target, height=None, width=None, dtype="float32"):
    """Return boxes of one format in another; of a dict with 'boxes', a new dict.

    Args:
        boxes: (..., 4), or a dict that holds them.
        source, target: formats.
        height, width: of the image, where one format is relative and the other is not.
        dtype: of the result.

    Raises:
        ValueError: an unknown format, boxes that are not of 4 numbers, or a missing size.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.utils.bounding_boxes.convert_format([[10., 20., 30., 60.]], source="xyxy", target="xywh").numpy()
        array([[10., 20., 20., 40.]], dtype=float32)
    """
    if isinstance(boxes, dict):
        return {**boxes, "boxes": convert_format(boxes["boxes"], source, target, height, width, dtype)}
    boxes = engine.convert_to_tensor(boxes)
    if not len(boxes.shape) or boxes.shape[-1] != 4:
        raise ValueError("`boxes` must be a tensor with the last dimension of 4. "
                         f"Received: boxes.shape={tuple(boxes.shape)}")
    source, target = str(source).lower(), str(target).lower()
    if source not in _FORMATS or target not in _FORMATS:
        raise ValueError(f"Invalid source or target format. Supported formats: {_FORMATS}. "
                         f"Received: source={source!r}, target={target!r}")
    relative = [name.startswith("rel_") for name in (source, target)]
    if relative[0] != relative[1] and (height is None or width is None):
        raise ValueError("convert_format() must receive `height` and `width` transforming between relative and "
                         f"absolute formats. convert_format() received source=`{source}`, target=`{target}`, "
                         f"but height={height} and width={width}.")
    boxes = _tensor(boxes, dtype)
    if source == target:
        return boxes
    sizes = [] if relative[0] == relative[1] else [_tensor(size, dtype) for size in (height, width)]
    return _converted(boxes, *sizes, source=source, target=target)


@op(name="convert_boxes")
def _converted(boxes, *sizes, source, target):
    left, top, right, bottom = _corners(boxes, source.removeprefix("rel_"))
    if sizes:
        height, width = (_beside(size, left) for size in sizes)
        if source.startswith("rel_"):
            left, top, right, bottom = left * width, top * height, right * width, bottom * height
        else:
            left, top, right, bottom = left / width, top / height, right / width, bottom / height
    return _of_corners(left, top, right, bottom, target.removeprefix("rel_"))


def _beside(size, column):
    """A size, or one a batch element in any number of axes of size 1, in the form of a column of boxes."""
    return size.reshape(-1, *(1,) * (column.ndim - 1)) if size.ndim else size


def _columns(boxes):
    return [boxes[..., i] for i in range(4)]


def _join(*columns):
    return jnp.stack(columns, axis=-1)


def _corners(boxes, source):
    a, b, c, d = _columns(boxes)
    if source == "xyxy":
        return a, b, c, d
    if source == "yxyx":
        return b, a, d, c
    if source == "center_yxhw":
        a, b, c, d = b, a, d, c
    if source != "xywh":
        a, b = a - c / 2.0, b - d / 2.0
    return a, b, a + c, b + d


def _of_corners(left, top, right, bottom, target):
    if target == "xyxy":
        return _join(left, top, right, bottom)
    if target == "yxyx":
        return _join(top, left, bottom, right)
    width, height = right - left, bottom - top
    if target == "xywh":
        return _join(left, top, width, height)
    x, y = left + width / 2.0, top + height / 2.0
    return _join(x, y, width, height) if target == "center_xywh" else _join(y, x, height, width)


def clip_to_image_size(bounding_boxes, height=None, width=None, bounding_box_format="xyxy"):
    """Return the dict with its boxes cut at the image's edges; the label of a box that has nothing left becomes -1.

    Args:
        bounding_boxes: dict with 'boxes' (..., n, 4) and, perhaps, 'labels' (..., n) or (..., n, classes).
        height, width: of the image; not needed for relative formats.
        bounding_box_format: of the boxes.
    """
    kind = bounding_box_format.lower()
    relative = kind.startswith("rel_")
    if not relative and (height is None or width is None):
        raise ValueError(f"clip_to_image_size needs `height` and `width` for boxes in pixels ('{kind}').")
    boxes = _floats(bounding_boxes["boxes"])
    plain, dtype = "rel_xyxy" if relative else "xyxy", dtypes.name_of(boxes.dtype)
    sizes = [_tensor(1.0 if relative else size, dtype) for size in (height, width)]
    kept, some = _clipped(convert_format(boxes, kind, plain, dtype=dtype), *sizes)
    found = {**bounding_boxes, "boxes": convert_format(kept, plain, kind, dtype=dtype)}
    if bounding_boxes.get("labels") is not None:
        found["labels"] = _labels(engine.convert_to_tensor(bounding_boxes["labels"]), some)
    return found


@op(name="clip_boxes")
def _clipped(boxes, height, width):
    x1, y1, x2, y2 = _columns(boxes)
    height, width = _beside(height, x1), _beside(width, x1)
    x1, x2, y1, y2 = jnp.clip(x1, 0, width), jnp.clip(x2, 0, width), jnp.clip(y1, 0, height), jnp.clip(y2, 0, height)
    return _join(x1, y1, x2, y2), (x2 - x1) * (y2 - y1) > 0


@op(name="box_labels")
def _labels(labels, some):
    return jnp.where(some[..., None] if labels.ndim > some.ndim else some, labels, jnp.asarray(-1, labels.dtype))


def _plain(name, bounding_box_format):
    if bounding_box_format.lower() != "xyxy":
        raise NotImplementedError(f"{name} takes boxes as 'xyxy', but received bounding_box_format="
                                  f"{bounding_box_format!r}; use convert_format before and after.")


def affine_transform(boxes, angle, translate_x, translate_y, scale, shear_x, shear_y, height, width, center_x=None,
                     center_y=None, bounding_box_format="xyxy"):
    """Return the smallest upright boxes around the boxes after a rotation, a shear, a scaling and a shift.

    Args:
        boxes: 'xyxy', (n, 4) or (batch, n, 4).
        angle: degrees, counter-clockwise, one number or one a batch element, as are the following.
        translate_x, translate_y: shifts as parts of the size.
        scale: factor.
        shear_x, shear_y: degrees.
        height, width: of the image.
        center_x, center_y: the fixed point as parts of the size; by default the middle.
    """
    _plain("affine_transform", bounding_box_format)
    boxes = _floats(boxes)
    dtype = dtypes.name_of(boxes.dtype)
    numbers = angle, translate_x, translate_y, scale, shear_x, shear_y, height, width, center_x, center_y
    return _affine(boxes, *[_tensor(0.5 if value is None else value, dtype) for value in numbers])


@op(name="affine_boxes")
def _affine(boxes, *numbers):
    angle, translate_x, translate_y, scale, shear_x, shear_y, height, width, x0, y0 = (
        _beside(number, boxes[..., 0]) for number in numbers)
    rotation, shear_x, shear_y = (value * (-math.pi / 180.0) for value in (angle, shear_x, shear_y))
    height, width = height - 1, width - 1
    x0, y0, shift_x, shift_y = x0 * width, y0 * height, -translate_x * width, -translate_y * height
    # rotation and shears: (a b; c d) of determinant 1, whose inverse moves the corners
    a = jnp.cos(rotation - shear_y) / jnp.cos(shear_y)
    b = a * jnp.tan(shear_x) + jnp.sin(rotation)
    c = -jnp.sin(rotation - shear_y) / jnp.cos(shear_y)
    d = jnp.cos(rotation) - c * jnp.tan(shear_x)

    def move(x, y):
        x, y = x - x0 - shift_x, y - y0 - shift_y
        return x0 + scale * (d * x - b * y), y0 + scale * (a * y - c * x)

    return _around(boxes, move)


def _around(boxes, move):
    """Return the smallest upright boxes around the corners of boxes, each moved by `move(x, y)`."""
    left, top, right, bottom = _columns(boxes)
    xs, ys = zip(*[move(x, y) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))])
    xs, ys = jnp.stack(xs), jnp.stack(ys)
    return _join(xs.min(0), ys.min(0), xs.max(0), ys.max(0))


@op(name="transform_boxes")
def transformed(boxes, rows):
    """Return 'xyxy' boxes (batch, n, 4) after transforms that say where each new pixel is taken from.

    A transform (batch, 8) takes centres of pixels, which lie half a pixel from the edges that boxes are measured by;
    boxes go the other way: through the inverse of [[r0, r1, r2], [r3, r4, r5], [r6, r7, 1]], by its adjugate.
    """
    a, b, c, d, e, f, g, h = (rows[:, i:i + 1].astype(boxes.dtype) for i in range(8))

    def move(x, y):
        x, y = x - 0.5, y - 0.5
        k = (d * h - e * g) * x + (b * g - a * h) * y + (a * e - b * d)
        return (((e - f * h) * x + (c * h - b) * y + (b * f - c * e)) / k + 0.5,
                ((f * g - d) * x + (a - c * g) * y + (c * d - a * f)) / k + 0.5)

    return _around(boxes, move)


@op(name="flip_boxes")
def flipped(boxes, drawn, *, height, width, mode):
    """Return 'xyxy' boxes (batch, n, 4), flipped where the numbers (2, batch) are below 0.5."""
    left, top, right, bottom = _columns(boxes)
    if "horizontal" in mode:
        turned = drawn[0, :, None] < 0.5
        left, right = jnp.where(turned, width - right, left), jnp.where(turned, width - left, right)
    if "vertical" in mode:
        turned = drawn[1, :, None] < 0.5
        top, bottom = jnp.where(turned, height - bottom, top), jnp.where(turned, height - top, bottom)
    return _join(left, top, right, bottom)


def crop(boxes, top, left, height, width, bounding_box_format="xyxy"):
    """Return the boxes as seen in the part of the image that begins at (top, left) and is (height, width) large."""
    _plain("crop", bounding_box_format)
    return clip_to_image_size({"boxes": pad(boxes, _negative(top), _negative(left))}, height, width)["boxes"]


def _negative(value):
    return -value if isinstance(value, (int, float)) else -engine.convert_to_tensor(value)


def pad(boxes, top, left, height=None, width=None, bounding_box_format="xyxy"):
    """Return the boxes as seen after `top` rows and `left` columns were put before the image.

    `height` and `width` are the sizes of the larger image; boxes in pixels do not depend on them.
    """
    _plain("pad", bounding_box_format)
    boxes = engine.convert_to_tensor(boxes)
    return _shifted(boxes, *[_tensor(value, dtypes.name_of(boxes.dtype)) for value in (top, left)])


@op(name="shift_boxes")
def _shifted(boxes, top, left):
    top, left = (_beside(value, boxes[..., 0]) for value in (top, left))
    return jnp.stack([boxes[..., i] + (top if i % 2 else left) for i in range(4)], axis=-1)


def _variance(variance):
    if variance is None:
        return None
    variance = _tensor(variance)
    if variance.shape[-1] != 4:
        raise ValueError(f"`variance` must be length 4, got {variance}")
    return variance


def _centred(name, kind):
    if kind not in ("center_xywh", "center_yxhw"):
        raise ValueError(f"`{name}` should be one of 'center_xywh' or 'center_yxhw', got {kind}")


def encode_box_to_deltas(anchors, boxes, anchor_format, box_format, encoding_format="center_yxhw", variance=None,
                         image_shape=None):
    """Return what a detector learns: ((centre - anchor's centre) / anchor's size, log(size / anchor's size)).

    Args:
        anchors: (n, 4); boxes: (n, 4) or (batch, n, 4); formats of both.
        encoding_format: 'center_xywh' or 'center_yxhw', the order of the result.
        variance: four numbers to divide by.
        image_shape: (height, width, channels), for relative formats.
    """
    variance = _variance(variance)
    _centred("encoding_format", encoding_format)
    height, width = _size(image_shape)
    anchors = convert_format(anchors, anchor_format, encoding_format, height, width)
    boxes = convert_format(boxes, box_format, encoding_format, height, width)
    deltas = _encoded(anchors, boxes, least=config.epsilon())
    return deltas if variance is None else deltas / variance


@op(name="encode_boxes")
def _encoded(anchors, boxes, *, least):
    size, own = (jnp.maximum(each[..., 2:], least) for each in (anchors, boxes))
    place = (boxes[..., :2] - anchors[..., :2]) / size
    return jnp.concatenate([place, jnp.broadcast_to(jnp.log(own / size), place.shape)], axis=-1)


@op(name="decode_boxes")
def _decoded(anchors, deltas):
    return jnp.concatenate([deltas[..., :2] * anchors[..., 2:] + anchors[..., :2],
                            jnp.exp(deltas[..., 2:]) * anchors[..., 2:]], axis=-1)


def decode_deltas_to_boxes(anchors, boxes_delta, anchor_format, box_format, encoded_format="center_yxhw", variance=None,
                           image_shape=None):
    """Return the boxes that deltas mean: the inverse of `encode_box_to_deltas`, also for dicts of levels."""
    variance = _variance(variance)
    _centred("encoded_format", encoded_format)
    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        return {level: decode_deltas_to_boxes(anchor, boxes_delta[level], anchor_format, box_format, encoded_format,
                                              variance, image_shape) for level, anchor in anchors.items()}
    height, width = _size(image_shape)
    anchors = convert_format(anchors, anchor_format, encoded_format, height, width)
    deltas = _tensor(boxes_delta)
    deltas = deltas if variance is None else deltas * variance
    return convert_format(_decoded(anchors, deltas), encoded_format, box_format, height, width)


def compute_iou(boxes1, boxes2, bounding_box_format, use_masking=False, mask_val=-1, image_shape=None):
    """Return the area in common over the area of both, for each pair: (..., n, m).

    Args:
        boxes1: (n, 4) or (batch, n, 4); boxes2: (m, 4) or (batch, m, 4).
        use_masking: give `mask_val` where all numbers of a box are negative (padding).
        image_shape: (height, width, channels), for relative formats.
    """
    ranks = [len(engine.convert_to_tensor(boxes).shape) for boxes in (boxes1, boxes2)]
    for name, rank in zip(("boxes1", "boxes2"), ranks):
        if rank not in (2, 3):
            raise ValueError(f"compute_iou() expects {name} to be batched, or to be unbatched. Received "
                             f"len(boxes1.shape)={ranks[0]}, len(boxes2.shape)={ranks[1]}. Expected either "
                             f"len({name}.shape)=2 AND or len({name}.shape)=3.")
    if "rel" in bounding_box_format.lower() and image_shape is None:
        raise ValueError("When using relative bounding box formats (e.g. `rel_yxyx`) the `image_shape` argument must "
                         f"be provided. Received `image_shape`: {image_shape}")
    height, width = _size(image_shape)
    boxes1, boxes2 = (convert_format(b, bounding_box_format, "xyxy", height, width) for b in (boxes1, boxes2))
    return _iou(boxes1, boxes2, tiny=config.epsilon(), masked=float(mask_val) if use_masking else None)


@op(name="box_iou")
def _iou(boxes1, boxes2, *, tiny, masked):
    rows, columns = boxes1[..., :, None, :], boxes2[..., None, :, :]
    common, both = _areas(rows, columns)
    found = common / (both + tiny)
    if masked is None:
        return found
    padding = (rows.max(-1) < 0) | (columns.max(-1) < 0)
    return jnp.where(padding, jnp.asarray(masked, found.dtype), found)


def _areas(first, second):
    """The area in common, and the area of both."""
    a, b = _columns(first), _columns(second)
    shared = lambda i: jnp.maximum(jnp.minimum(a[i + 2], b[i + 2]) - jnp.maximum(a[i], b[i]), 0)
    area = lambda c: (c[2] - c[0]) * (c[3] - c[1])
    common = shared(0) * shared(1)
    return common, area(a) + area(b) - common


def compute_ciou(boxes1, boxes2, bounding_box_format, image_shape=None):
    """Return the complete overlap of boxes in pairs (...,): IoU - (distance of centres)² / diagonal² - v alpha.

    v = 4 / pi² (difference of the angles of the diagonals)², alpha = v / (v - IoU + 1); the diagonal is that of the
    smallest box around both (Zheng et al., 2020, https://arxiv.org/abs/2005.03572).
    """
    if "rel" in bounding_box_format.lower() and image_shape is None:
        raise ValueError("When using relative bounding box formats (e.g. `rel_yxyx`) the `image_shape` argument must "
                         f"be provided. Received `image_shape`: {image_shape}")
    height, width = _size(image_shape)
    boxes1, boxes2 = (convert_format(b, bounding_box_format, "xyxy", height, width) for b in (boxes1, boxes2))
    return _ciou(boxes1, boxes2, tiny=config.epsilon())


@op(name="box_ciou")
def _ciou(boxes1, boxes2, *, tiny):
    common, both = _areas(boxes1, boxes2)
    iou = common / (both + 2 * tiny)
    a, b = _columns(boxes1), _columns(boxes2)
    spread = lambda i: jnp.maximum(a[i + 2], b[i + 2]) - jnp.minimum(a[i], b[i])
    apart = lambda i: (a[i] + a[i + 2] - b[i] - b[i + 2]) / 2
    angle = lambda c: jnp.arctan((c[2] - c[0]) / (c[3] - c[1] + tiny))
    v = 4 / math.pi ** 2 * (angle(b) - angle(a)) ** 2
    distance = (apart(0) ** 2 + apart(1) ** 2) / (spread(0) ** 2 + spread(1) ** 2 + tiny)
    return iou - distance - v * v / (v - iou + (1 + tiny))
