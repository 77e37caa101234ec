# SPDX-License-Identifier: Apache-2.0
"""The base of image preprocessing; Resizing, CenterCrop, RandomCrop, RandomFlip, Pipeline.

Images are `(batch, height, width, channels)` or one image, or channels first. Random layers act by default, and rest
with `training=False`. A dict with 'images' may also hold 'labels', 'segmentation_masks' and 'bounding_boxes' (a dict
of 'boxes' and 'labels'), which move as the pixels do.
"""
import numpy as np

from fitloom import engine, ops
from fitloom.base import config, dtypes, serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.layer import Layer
from fitloom.ops import bounding_boxes as boxed
from fitloom.ops import image_style
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator


class ImagePreprocessing(BuiltinLayer):
    """Base of image layers: takes one image, a batch, or a dict; hands (images, random numbers) to the subclass."""

    geometric = False   # whether segmentation masks change with the images

    def __init__(self, data_format=None, bounding_box_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.bounding_box_format = bounding_box_format
        first = self.data_format == "channels_first"
        self.height_axis, self.width_axis, self.channels_axis = (-2, -1, -3) if first else (-3, -2, -1)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        if self.bounding_box_format is not None:
            config["bounding_box_format"] = self.bounding_box_format
        return config

    def get_random_transformation(self, data, training=True, seed=None):
        """Return the random numbers of one call; here nothing is drawn."""

    def transform_images(self, images, transformation, training=True):
        """Return the changed batch of images."""
        raise NotImplementedError(f"{type(self).__name__} must define transform_images().")

    def transform_labels(self, labels, transformation, training=True):
        """Return the labels, by default unchanged."""
        return labels

    def transform_segmentation_masks(self, segmentation_masks, transformation, training=True):
        """Return the masks, changed as the images where the change moves pixels."""
        if not self.geometric:
            return segmentation_masks
        before = self.__dict__.get("interpolation")
        if before is not None:
            self.__dict__["interpolation"] = "nearest"
        try:
            return self.transform_images(segmentation_masks, transformation, training)
        finally:
            if before is not None:
                self.__dict__["interpolation"] = before

    def call(self, data, training=True):
        """Return the changed image(s), or the dict with its parts changed."""
        if not isinstance(data, dict):
            return self._batched(data, None, training)
        images = data["images"]
        transformation = self.get_random_transformation(images, training)
        changed = dict(data, images=self._batched(images, transformation, training, drawn=True))
        if "labels" in data:
            changed["labels"] = self.transform_labels(data["labels"], transformation, training)
        if "segmentation_masks" in data:
            changed["segmentation_masks"] = self.transform_segmentation_masks(
                data["segmentation_masks"], transformation, training)
        if "bounding_boxes" in data:
            changed["bounding_boxes"] = self.transform_bounding_boxes(data["bounding_boxes"], transformation, training,
                                                                      self._size(images))
        return changed

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True, size=None):
        """Return the boxes moved as the pixels, cut at the edges; what has nothing left gets the label -1.

        Args:
            bounding_boxes: dict of 'boxes' (batch, n, 4), 'labels' (batch, n) or (batch, n, classes); or one image's.
            size: (height, width) of the images before the change.
        """
        if not self.geometric:
            return bounding_boxes
        if self.bounding_box_format is None:
            raise ValueError(f"{type(self).__name__} '{self.name}' received 'bounding_boxes', but does not know their "
                             "format. Make it with bounding_box_format='xyxy' (or 'rel_xyxy', 'xywh', ...).")
        boxes = engine.convert_to_tensor(bounding_boxes["boxes"])
        single = len(boxes.shape) == 2
        plain = boxed.convert_format(boxes, self.bounding_box_format, "xyxy", *size)
        plain = ops.expand_dims(plain, 0) if single else plain
        moved, size = self._moved_boxes(plain, transformation, size)
        moved = ops.squeeze(moved, 0) if single else moved
        kept = boxed.clip_to_image_size(dict(bounding_boxes, boxes=moved), *size)
        return boxed.convert_format(kept, "xyxy", self.bounding_box_format, *size)

    def _moved_boxes(self, boxes, transformation, size):
        """Return 'xyxy' boxes (batch, n, 4) as they lie in the new images, and the size of those."""
        raise NotImplementedError(f"{type(self).__name__} does not change 'bounding_boxes'; take them out.")

    def _batched(self, images, transformation, training, drawn=False):
        single = len(images.shape) == 3
        if len(images.shape) not in (3, 4):
            raise ValueError(f"{type(self).__name__} '{self.name}' expected images of 3 or 4 axes, but received shape "
                             f"{tuple(images.shape)}.")
        images = ops.expand_dims(images, 0) if single else images
        if not drawn:
            transformation = self.get_random_transformation(images, training)
        changed = self.transform_images(images, transformation, training)
        return ops.squeeze(changed, 0) if single else changed

    def _float(self, images):
        return ops.cast(images, self.compute_dtype)

    def _size(self, images):
        return images.shape[self.height_axis], images.shape[self.width_axis]


class RandomImages(ImagePreprocessing):
    """Base of image layers that draw: one set of uniform numbers an image."""

    def __init__(self, seed=None, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.seed = seed
        self.generator = SeedGenerator(seed)

    count = 1   # numbers drawn for each image

    def get_random_transformation(self, data, training=True, seed=None):
        """Return uniform numbers `(count, batch)`, or None at rest."""
        if not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        batch = images.shape[0] if len(images.shape) == 4 else 1
        drawn = self.generator.draw() if seed is None or not hasattr(seed, "draw") else seed.draw()
        return kernels.draw_uniform(drawn, shape=(self.count, batch), dtype="float32")

    def _between(self, unit, bounds):
        """Stretch uniform numbers to the bounds."""
        low, high = bounds
        return float(low) + unit * float(high - low)

    @staticmethod
    def _each(values):
        """Give one number an image the axes of images."""
        return ops.reshape(values, (-1, 1, 1, 1))

    def _factor(self, factor, low, high, name="factor", least=None):
        """Return a number f as (least, f), by default (-f, f) or (0, f) by the allowed range; check a pair.

        Raises:
            ValueError: outside [low, high], or no number.
        """
        try:
            pair = tuple(float(v) for v in factor) if isinstance(factor, (list, tuple)) else None
            if pair is None:
                value = float(factor)
                pair = (min(max(-abs(value), low), abs(value)) if least is None else float(least), abs(value))
            valid = len(pair) == 2 and min(pair) >= low and max(pair) <= high and (
                isinstance(factor, (list, tuple)) or low <= float(factor) <= high)
        except (TypeError, ValueError):
            valid, pair = False, ()
        if not valid:
            raise ValueError(f"The `{name}` argument should be a number (or a list of two numbers) in the range "
                             f"[{low}, {high}]. Received: {name}={factor!r}")
        return tuple(sorted(pair))


class Resizing(ImagePreprocessing):
    """Resize images to (height, width).

    Args:
        height, width: of the result.
        interpolation: 'bilinear', 'nearest', 'bicubic', 'lanczos3', 'lanczos5'.
        crop_to_aspect_ratio: cut the longer side instead of distorting.
        pad_to_aspect_ratio: pad the shorter side instead of distorting.
        fill_mode, fill_value: of the padding ('constant').
        antialias: smooth when shrinking.
        data_format: 'channels_last' or 'channels_first'.
    """

    geometric = True

    def __init__(self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
                 fill_mode="constant", fill_value=0.0, antialias=False, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True.")
        self.height, self.width = height, width
        self.interpolation, self.antialias = interpolation, antialias
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode, self.fill_value = fill_mode, fill_value

    def transform_images(self, images, transformation=None, training=True):
        """Return the resized images, in their dtype."""
        return image_style.resize(
            images, (self.height, self.width), interpolation=self.interpolation, antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio, pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode, fill_value=self.fill_value, data_format=self.data_format)

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors."""
        return self._abstract(self.call, args, kwargs)

    def _moved_boxes(self, boxes, transformation, size):
        height, width = size
        if self.crop_to_aspect_ratio:
            return filled(boxes, size, (self.height, self.width)), (self.height, self.width)
        if not self.pad_to_aspect_ratio:
            return boxes * ops.constant([self.width / width, self.height / height] * 2), (self.height, self.width)
        high = max(height, int(width * self.height / self.width))
        wide = max(width, int(height * self.width / self.height))
        top, left = (high - height) // 2, (wide - width) // 2
        return ((boxes + ops.constant([float(left), float(top)] * 2))
                * ops.constant([self.width / wide, self.height / high] * 2)), (self.height, self.width)


def filled(boxes, size, target):
    """Return where boxes lie after the middle part of the target's aspect ratio became the target."""
    (height, width), (to_height, to_width) = size, target
    high = max(min(height, int(width * to_height / to_width)), 1)
    wide = max(min(width, int(height * to_width / to_height)), 1)
    top, left = (height - high) // 2, (width - wide) // 2
    return shifted(boxes, top, left, high, wide) * ops.constant([to_width / wide, to_height / high] * 2)


def shifted(boxes, top, left, height, width):
    """Return boxes as seen in the part (height, width) of an image that begins at (top, left)."""
    top, left = (ops.cast(value, "float32") for value in (top, left))
    edge = ops.constant([width, height, width, height], dtype="float32")
    return ops.minimum(ops.maximum(boxes - ops.stack([left, top, left, top]), 0.0), edge)


def crop(images, top, left, height, width, data_format):
    """Return the part of images that begins at (top, left)."""
    begin = [0, 0, top, left] if data_format == "channels_first" else [0, top, left, 0]
    size = list(images.shape)
    first = 2 if data_format == "channels_first" else 1
    size[first:first + 2] = [height, width]
    return ops.slice(images, begin, size)


class CenterCrop(ImagePreprocessing):
    """Cut out the centre; images that are too small are resized, keeping the aspect ratio."""

    geometric = True

    def __init__(self, height, width, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.height, self.width = height, width

    def transform_images(self, images, transformation=None, training=True):
        """Return the centres."""
        images = self._float(images)
        h, w = self._size(images)
        if h < self.height or w < self.width:
            return image_style.resize(images, (self.height, self.width), crop_to_aspect_ratio=True,
                                      data_format=self.data_format)
        return crop(images, (h - self.height) // 2, (w - self.width) // 2, self.height, self.width, self.data_format)

    def _moved_boxes(self, boxes, transformation, size):
        target = self.height, self.width
        if size[0] < self.height or size[1] < self.width:
            return filled(boxes, size, target), target
        return shifted(boxes, (size[0] - self.height) // 2, (size[1] - self.width) // 2, *target), target


class RandomCrop(RandomImages):
    """Cut out a random part of each batch in training; at rest (or too small) resize, keeping the aspect ratio."""

    geometric, count = True, 2

    def __init__(self, height, width, seed=None, data_format=None, name=None, **kwargs):
        super().__init__(seed, data_format, name=name, **kwargs)
        self.height, self.width = height, width

    def transform_images(self, images, transformation, training=True):
        """Return the parts."""
        images = self._float(images)
        h, w = self._size(images)
        if transformation is None or h < self.height or w < self.width:
            return image_style.resize(images, (self.height, self.width), crop_to_aspect_ratio=True,
                                      data_format=self.data_format)
        first = 2 if self.data_format == "channels_first" else 1
        for axis, start, size in zip((first, first + 1), self._start(transformation, h, w), (self.height, self.width)):
            images = ops.gather(images, start + np.arange(size, dtype=np.int32), axis=axis)
        return images

    def _start(self, drawn, height, width):
        """Return the first row and the first column of the part."""
        spare = height - self.height, width - self.width
        return [ops.minimum(ops.cast(drawn[i, 0] * float(spare[i] + 1), "int32"), spare[i]) for i in range(2)]

    def _moved_boxes(self, boxes, transformation, size):
        target = self.height, self.width
        if transformation is None or size[0] < self.height or size[1] < self.width:
            return filled(boxes, size, target), target
        return shifted(boxes, *self._start(transformation, *size), *target), target


class RandomFlip(RandomImages):
    """Flip each image at random; mode: 'horizontal', 'vertical' or 'horizontal_and_vertical'."""

    geometric, count = True, 2

    def __init__(self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError("`mode` must be 'horizontal', 'vertical' or 'horizontal_and_vertical', but received "
                             f"mode={mode!r}.")
        self.mode = mode

    def transform_images(self, images, transformation, training=True):
        """Return the images, some of them flipped."""
        images = self._float(images)
        if transformation is None:
            return images
        for word, row, axis in (("horizontal", 0, self.width_axis), ("vertical", 1, self.height_axis)):
            if word in self.mode:
                flipped = ops.reverse(images, [axis % 4])
                images = ops.where(self._each(transformation[row] < 0.5), flipped, images)
        return images

    def _moved_boxes(self, boxes, transformation, size):
        if transformation is None:
            return boxes, size
        height, width = size
        return boxed.flipped(boxes, transformation, height=height, width=width, mode=self.mode), size


class MaxNumBoundingBoxes(ImagePreprocessing):
    """Bring the boxes of every image to one number: cut the further ones off, fill up with `fill_value`.

    Args:
        max_number: of boxes, also of their labels.
        fill_value: what the boxes that are put behind, and their labels, hold.
    """

    def __init__(self, max_number, fill_value=-1, **kwargs):
        super().__init__(**kwargs)
        self.max_number, self.fill_value = int(max_number), int(fill_value)

    def transform_images(self, images, transformation=None, training=True):
        """Return the images, unchanged."""
        return images

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True, size=None):
        """Return the dict with 'boxes' (..., max_number, 4) and 'labels' (..., max_number)."""
        boxes = engine.convert_to_tensor(bounding_boxes["boxes"])
        axis = len(boxes.shape) - 2
        found = dict(bounding_boxes, boxes=self._fit(boxes, axis))
        if "labels" in bounding_boxes:
            found["labels"] = self._fit(engine.convert_to_tensor(bounding_boxes["labels"]), axis)
        return found

    def _fit(self, values, axis):
        kept = values[(*(slice(None),) * axis, slice(self.max_number))]
        missing = self.max_number - kept.shape[axis]
        widths = [[0, missing if i == axis else 0] for i in range(len(kept.shape))]
        return ops.pad(kept, widths, constant_values=self.fill_value)


class Pipeline(Layer):
    """Apply layers one after the other; for image layers, also to dicts."""

    def __init__(self, layers, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self._pipeline_layers = list(layers)
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    layers = property(lambda self: self._pipeline_layers)

    def call(self, inputs, training=True, mask=None):
        """Return the last layer's outputs."""
        for layer in self._pipeline_layers:
            names = layer.call.__code__.co_varnames
            inputs = layer(inputs, **({"training": training} if "training" in names else {}))
        return inputs

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {"name": self.name, "layers": [serialization.serialize_keras_object(layer) for layer in self.layers]}

    @classmethod
    def from_config(cls, config):
        """Make the pipeline and its layers."""
        return cls(**{**config, "layers": [serialization.deserialize_keras_object(c) for c in config["layers"]]})


def value_bounds(value_range, kind):
    """Return a value range as a pair of floats; raise ValueError unless it is one."""
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2 or value_range[0] >= value_range[1]:
        raise ValueError("The `value_range` argument should be a list of two numbers, the lower first. Received: "
                         f"value_range={value_range!r} for {kind}.")
    return tuple(value_range)


def is_integer(images):
    """Whether images hold whole numbers."""
    return dtypes.as_dtype(images.dtype).is_integer
