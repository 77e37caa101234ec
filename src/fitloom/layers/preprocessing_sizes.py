# SPDX-License-Identifier: Apache-2.0
"""RandomHeight and RandomWidth of Keras 2: images of another size in every batch."""
from fitloom import ops
from fitloom.layers.preprocessing_image import RandomImages
from fitloom.ops import image_style
from fitloom.ops.calling import host_value


class _RandomSize(RandomImages):
    """Base of both. One factor for all images of a batch, since they share a shape."""

    per_example = False
    count, which = 1, 0

    def __init__(self, factor, interpolation="bilinear", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor, self.interpolation = factor, interpolation
        pair = tuple(factor) if isinstance(factor, (list, tuple)) else (-factor, factor)
        if len(pair) != 2 or pair[1] < pair[0]:
            raise ValueError(f"`factor` argument cannot have an upper bound less than the lower bound. Received: "
                             f"factor={factor!r}")
        if min(pair) < -1.0:
            raise ValueError(f"`factor` must have values larger than -1. Received: factor={factor!r}")
        self._bounds = pair

    def transform_images(self, images, transformation, training=True):
        """Return the images, stretched along one axis."""
        images = self._float(images)
        if transformation is None:
            return images
        size = list(self._size(images))
        factor = 1.0 + self._between(ops.reshape(transformation, (-1,))[0], self._bounds)
        factor = float(host_value(factor, f"the factor of {type(self).__name__}"))
        size[self.which] = max(int(factor * size[self.which]), 1)
        return image_style.resize(images, size, interpolation=self.interpolation, data_format=self.data_format)

    def compute_output_shape(self, input_shape):
        """Return the input shape, the size along the random axis unknown."""
        shape = list(input_shape)
        shape[(self.height_axis, self.width_axis)[self.which]] = None
        return tuple(shape)


class RandomHeight(_RandomSize):
    """Stretch the images of a batch to a random height in training (Keras 2).

    Inside the steps of `fit` every height would be a program of its own: such a step runs uncompiled, with one warning.
    Where a layer of this kind matters, use it in `Dataset.map`, or RandomZoom((-f, f), 0) in the model.

    Args:
        factor: f: between 1 - f and 1 + f times the height; or a pair of additions to 1.
        interpolation: 'bilinear', 'nearest', ...
    """


class RandomWidth(_RandomSize):
    """Stretch the images of a batch to a random width in training (Keras 2); see RandomHeight."""

    which = 1
