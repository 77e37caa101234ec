# SPDX-License-Identifier: Apache-2.0
"""Random changes of where pixels are: rotation, zoom, translation, shear, perspective, elastic; erasing.

A transform (a0 ... a7) says where output pixel (x, y) is taken from:
`((a0 x + a1 y + a2) / k, (a3 x + a4 y + a5) / k)` with `k = a6 x + a7 y + 1`.
"""
import math

from fitloom import ops
from fitloom.base.errors import unknown_name
from fitloom.layers.preprocessing_image import RandomImages, value_bounds
from fitloom.ops import bounding_boxes as boxed
from fitloom.ops import image_style
from fitloom.ops import layer_kernels as kernels

_FILL_MODES = ("constant", "nearest", "reflect", "wrap")


class _Moved(RandomImages):
    """Base of layers that sample images through one transform each."""

    geometric = True

    def _prepare(self, fill_mode, interpolation, fill_value):
        if fill_mode not in _FILL_MODES:
            raise unknown_name("fill_mode", fill_mode, _FILL_MODES)
        if interpolation not in ("nearest", "bilinear"):
            raise unknown_name("interpolation", interpolation, ("nearest", "bilinear"))
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, fill_value

    def _matrix(self, drawn, height, width):
        """Return the eight rows of the transforms: numbers, or one number an image."""
        raise NotImplementedError

    def transform_images(self, images, transformation, training=True):
        """Return the moved images."""
        images = self._float(images)
        if transformation is None:
            return images
        rows = self._rows(transformation, *self._size(images))
        return image_style.affine_transform(
            images, ops.cast(ops.stack(rows, axis=-1), images.dtype), interpolation=self.interpolation,
            fill_mode=self.fill_mode, fill_value=self.fill_value, data_format=self.data_format)

    def _rows(self, drawn, height, width):
        zeros = ops.zeros_like(drawn[0])
        return [zeros + row for row in self._matrix(drawn, float(height), float(width))]

    def _moved_boxes(self, boxes, transformation, size):
        if transformation is None:
            return boxes, size
        return boxed.transformed(boxes, ops.stack(self._rows(transformation, *size), axis=-1)), size


class RandomRotation(_Moved):
    """Rotate each image about its centre by a random part of a full turn.

    Args:
        factor: f: between -f and f of a turn, or a pair; positive is counter-clockwise.
        fill_mode: what lies outside: 'reflect', 'constant', 'nearest' or 'wrap'; fill_value for 'constant'.
        interpolation: 'bilinear' or 'nearest'.
    """

    def __init__(self, factor, fill_mode="reflect", interpolation="bilinear", seed=None, fill_value=0.0,
                 data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self._prepare(fill_mode, interpolation, fill_value)
        self.factor = self._factor(factor, -1, 1) if not isinstance(factor, (list, tuple)) else tuple(sorted(factor))

    def _matrix(self, drawn, height, width):
        angle = self._between(drawn[0], self.factor) * (2 * math.pi)
        cos, sin, h, w = ops.cos(angle), ops.sin(angle), height - 1, width - 1
        return [cos, -sin, (w - (cos * w - sin * h)) / 2.0, sin, cos, (h - (sin * w + cos * h)) / 2.0, 0.0, 0.0]


class RandomZoom(_Moved):
    """Zoom each image out (positive) or in (negative) by a random factor.

    Args:
        height_factor: f or a pair: the height shown becomes 1 + this times the image's.
        width_factor: likewise for the width; None keeps the aspect ratio.
        fill_mode, interpolation, fill_value: as in RandomRotation.
    """

    count = 2

    def __init__(self, height_factor, width_factor=None, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self._prepare(fill_mode, interpolation, fill_value)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._bounds = [None if f is None else self._factor(f, -1, 1, name)
                        for name, f in (("height_factor", height_factor), ("width_factor", width_factor))]

    def _matrix(self, drawn, height, width):
        zoom_height = 1.0 + self._between(drawn[0], self._bounds[0])
        zoom_width = zoom_height if self._bounds[1] is None else 1.0 + self._between(drawn[1], self._bounds[1])
        return [zoom_width, 0.0, (1.0 - zoom_width) * ((width - 1) / 2), 0.0, zoom_height,
                (1.0 - zoom_height) * ((height - 1) / 2), 0.0, 0.0]


class RandomTranslation(_Moved):
    """Move each image by random parts of its height (down) and width (right); arguments as RandomZoom."""

    count = 2

    def __init__(self, height_factor, width_factor, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self._prepare(fill_mode, interpolation, fill_value)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._bounds = [self._factor(f, -1, 1, name)
                        for name, f in (("height_factor", height_factor), ("width_factor", width_factor))]

    def _matrix(self, drawn, height, width):
        down, right = (self._between(drawn[i], self._bounds[i]) for i in range(2))
        return [1.0, 0.0, right * -width, 0.0, 1.0, down * -height, 0.0, 0.0]


class RandomShear(_Moved):
    """Shear each image along x and y by random factors, in a random direction.

    Args:
        x_factor, y_factor: f or a pair, within [0, 1].
        fill_mode, interpolation, fill_value: as in RandomRotation.
    """

    count = 4

    def __init__(self, x_factor=0.0, y_factor=0.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                 data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self._prepare(fill_mode, interpolation, fill_value)
        for name, factor in (("x_factor", x_factor), ("y_factor", y_factor)):
            pair = factor if isinstance(factor, (list, tuple)) else (factor,)
            if any(isinstance(f, str) or not -1 <= f <= 1 or (f < 0 and len(pair) == 1) for f in pair):
                raise ValueError(f"The `{name}` argument should be a number (or a list of two numbers) in the range "
                                 f"[0, 1.0]. Received: {name}={factor!r}")
        spread = lambda f: tuple(sorted(f)) if isinstance(f, (list, tuple)) else (-f, f)
        self.x_factor, self.y_factor = spread(x_factor), spread(y_factor)

    def _matrix(self, drawn, height, width):
        x, y = (self._between(drawn[i], f) * ops.where(drawn[2 + i] < 0.5, -1.0, 1.0)
                for i, f in enumerate((self.x_factor, self.y_factor)))
        return [1.0, x, 0.0, y, 1.0, 0.0, 0.0, 0.0]


class RandomPerspective(RandomImages):
    """Move the four corners of each image at random.

    Args:
        factor: f: with a probability of up to f (or between a pair).
        scale: how far the corners move, as a part of half the size.
        interpolation, fill_value: as in RandomRotation.
    """

    geometric, count = True, 10

    def __init__(self, factor=1.0, scale=1.0, interpolation="bilinear", fill_value=0.0, seed=None, data_format=None,
                 **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self.scale, self.interpolation, self.fill_value = scale, interpolation, fill_value

    def transform_images(self, images, transformation, training=True):
        """Return the images, some of them in perspective."""
        images = self._float(images)
        if transformation is None:
            return images
        moved = image_style.perspective_transform(
            images, *self._corners(transformation, *self._size(images)),
            interpolation=self.interpolation, fill_value=self.fill_value, data_format=self.data_format)
        return ops.where(self._each(self._applies(transformation)), ops.cast(moved, images.dtype), images)

    def _corners(self, drawn, height, width):
        """Return four points of each image, and the corners that they become."""
        corners = ops.constant([[0.0, 0.0], [width - 1.0, 0.0], [0.0, height - 1.0], [width - 1.0, height - 1.0]])
        batch = drawn.shape[1]
        inward = ops.reshape(ops.transpose(drawn[:8]), (batch, 4, 2))
        reach = [[(width - 1) / 4.0 * self.scale, (height - 1) / 4.0 * self.scale]]
        directions = ops.constant([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        start = ops.expand_dims(corners, 0) + inward * directions * ops.constant(reach)
        return start, ops.broadcast_to(ops.expand_dims(corners, 0), (batch, 4, 2))

    def _applies(self, drawn):
        return drawn[9] < self._between(drawn[8], self.factor)

    def _moved_boxes(self, boxes, transformation, size):
        if transformation is None:
            return boxes, size
        rows = image_style.perspective_rows(*self._corners(transformation, *size))
        moved = boxed.transformed(boxes, rows)
        return ops.where(ops.reshape(self._applies(transformation), (-1, 1, 1)), moved, boxes), size


class RandomElasticTransform(RandomImages):
    """Bend images by smooth random displacements.

    Args:
        factor: f or a pair: strength of the displacements.
        scale: f or a pair: their smoothness.
        interpolation, fill_mode, fill_value: as in RandomRotation; value_range: of the images.
    """

    geometric, count = True, 1

    def __init__(self, factor=1.0, scale=1.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                 value_range=(0, 255), seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self.scale = self._factor(scale, 0, 10, "scale", least=0)
        self.interpolation, self.fill_mode, self.fill_value = interpolation, fill_mode, fill_value
        self.value_range = value_bounds(value_range, type(self).__name__)

    def transform_images(self, images, transformation, training=True):
        """Return the bent images."""
        images = self._float(images)
        if transformation is None:
            return images
        size = min(self._size(images))
        bent = image_style.elastic_transform(
            images, alpha=size * 0.5 * self.factor[1], sigma=max(size * 0.1 * self.scale[1], 0.5),
            interpolation=self.interpolation, fill_mode=self.fill_mode, fill_value=self.fill_value,
            seed=self.generator, data_format=self.data_format)
        chance = self._between(transformation[0], self.factor)
        return ops.where(self._each(chance > 0.0), ops.cast(bent, images.dtype), images)


class RandomErasing(RandomImages):
    """Fill a random rectangle of each image.

    Args:
        factor: f: with a probability of up to f (or between a pair).
        scale: pair: the rectangle's part of the area.
        fill_value: its value; None for noise in the value range.
        value_range: of the images.
    """

    count = 6

    def __init__(self, factor=1.0, scale=(0.02, 0.33), fill_value=None, value_range=(0, 255), seed=None,
                 data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor, self.scale = self._factor(factor, 0, 1, least=0), self._factor(scale, 0, 1, "scale", least=0)
        self.fill_value, self.value_range = fill_value, value_bounds(value_range, type(self).__name__)

    def transform_images(self, images, transformation, training=True):
        """Return the images, some of them with a rectangle erased."""
        images = self._float(images)
        if transformation is None:
            return images
        inside = rectangle(self, images, ops.sqrt(self._between(transformation[0], self.scale)), transformation[1:3])
        chance = self._between(transformation[3], self.factor)
        inside = ops.logical_and(inside, self._each(transformation[4] < chance))
        low, high = self.value_range
        if self.fill_value is None:
            fill = low + (high - low) * ops.cast(kernels.draw_uniform(
                self.generator.draw(), shape=tuple(images.shape), dtype="float32"), images.dtype)
        else:
            fill = ops.zeros_like(images) + float(self.fill_value)
        return ops.where(inside, fill, images)


def rectangle(layer, images, side, centre):
    """Return where a rectangle of this part of both sides lies, about centres (2, batch) given as parts."""
    masks = []
    for size, axis, at in zip(layer._size(images), (layer.height_axis, layer.width_axis), (centre[0], centre[1])):
        shape = [1, 1, 1, 1]
        shape[axis % 4] = size
        position = ops.reshape(ops.cast(ops.range(size), "float32"), shape)
        half = layer._each(side) * (size / 2)
        distance = ops.abs(position + 0.5 - layer._each(at) * float(size))
        masks.append(distance < half)
    return ops.logical_and(*masks)
