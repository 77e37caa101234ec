# SPDX-License-Identifier: Apache-2.0
"""Random changes of what pixels show: brightness, contrast, colours, sharpness, blur, and the like."""
import numpy as np

from fitloom import ops
from fitloom.layers.preprocessing_image import ImagePreprocessing, RandomImages, value_bounds
from fitloom.ops import image_style
from fitloom.ops import layer_kernels as kernels


class _Coloured(RandomImages):
    """Base of layers whose images lie within a value range."""

    def _range(self, value_range):
        self.value_range = value_bounds(value_range, type(self).__name__)

    def _clip(self, images):
        low, high = self.value_range
        return ops.minimum(ops.maximum(images, float(low)), float(high))

    def _span(self):
        return float(self.value_range[1] - self.value_range[0])

    def _change(self, images, drawn):
        raise NotImplementedError

    def transform_images(self, images, transformation, training=True):
        """Return the changed images."""
        images = self._float(images)
        if transformation is None:
            return images
        return ops.cast(self._change(images, ops.cast(transformation, images.dtype)), images.dtype)

    def _gray(self, images):
        gray = image_style.rgb_to_grayscale(images, data_format=self.data_format)
        return ops.broadcast_to(gray, tuple(images.shape))

    def _mixed(self, images, other, chosen):
        return ops.where(self._each(chosen), ops.cast(other, images.dtype), images)


class RandomBrightness(_Coloured):
    """Add a random part of the value range to each image.

    Args:
        factor: f: between -f and f, or a pair, within [-1, 1].
        value_range: lowest and highest value of the images.
    """

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.factor = self._factor(factor, -1, 1)
        self._range(value_range)

    def _change(self, images, drawn):
        return self._clip(images + self._each(self._between(drawn[0], self.factor)) * self._span())


class RandomContrast(_Coloured):
    """Scale each image's distance from its mean: `(x - mean) * c + mean`, c random in [1 - lower, 1 + upper].

    Args:
        factor: f (lower 0, upper f) or (lower, upper), within [0, 1].
        value_range: lowest and highest value of the images.
    """

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.factor = tuple(factor) if isinstance(factor, (list, tuple)) else self._factor(factor, 0, 1, least=0)
        self._range(value_range)

    def _change(self, images, drawn):
        contrast = self._each(self._between(drawn[0], (1 - self.factor[0], 1 + self.factor[1])))
        mean = ops.reduce_mean(images, axis=(self.height_axis, self.width_axis), keepdims=True)
        return self._clip((images - mean) * contrast + mean)


class RandomSaturation(_Coloured):
    """Change the saturation of each image: 0 is gray, 0.5 leaves it, 1 is full.

    Args:
        factor: f or a pair.
        value_range: lowest and highest value of the images.
    """

    def __init__(self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, -1, 1)
        self._range(value_range)

    def _change(self, images, drawn):
        factor = ops.minimum(self._each(self._between(drawn[0], self.factor)), 1.0 - 1e-7)
        value = ops.reduce_max(images, axis=self.channels_axis, keepdims=True)
        # In hue, saturation, value: scaling the saturation scales every channel's distance from the largest.
        return value - (value - images) * (factor / (1.0 - factor))


class RandomHue(_Coloured):
    """Turn the hue of each image by up to half the colour circle times a random factor, either way.

    Args:
        factor: f or a pair, within [0, 1].
        value_range: lowest and highest value of the images.
    """

    count = 2

    def __init__(self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self._range(value_range)

    def _change(self, images, drawn):
        turn = self._between(drawn[0], self.factor) * ops.where(drawn[1] < 0.5, -0.5, 0.5)
        hsv = image_style.rgb_to_hsv((images - float(self.value_range[0])) / self._span(), data_format=self.data_format)
        hue, saturation, value = ops.split(hsv, 3, axis=self.channels_axis % 4)
        hue = ops.floormod(hue + self._each(ops.cast(turn, hue.dtype)), 1.0)
        rgb = image_style.hsv_to_rgb(ops.concat([hue, saturation, value], axis=self.channels_axis % 4),
                                     data_format=self.data_format)
        return self._clip(rgb * self._span() + float(self.value_range[0]))


class RandomSharpness(_Coloured):
    """Sharpen or smooth each image: 0 is smooth, 0.5 leaves it, 1 is sharp.

    Args:
        factor: f or a pair, within [0, 1].
        value_range: lowest and highest value of the images.
    """

    def __init__(self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self._range(value_range)

    def _change(self, images, drawn):
        factor = self._each(self._between(drawn[0], self.factor)) * 2.0
        channels = images.shape[self.channels_axis]
        kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13.0
        kernel = np.broadcast_to(kernel[:, :, None, None], (3, 3, channels, 1))
        smooth = kernels.depthwise_conv(images, ops.cast(np.array(kernel), images.dtype), padding="same",
                                        data_format=self.data_format)
        return self._clip(smooth + (images - smooth) * factor)


class RandomColorDegeneration(_Coloured):
    """Mix each image with its gray version by a random part.

    Args:
        factor: f or a pair: the part that is gray.
        value_range: lowest and highest value of the images.
    """

    def __init__(self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, -1, 1)
        self._range(value_range)

    def _change(self, images, drawn):
        part = self._each(self._between(drawn[0], self.factor))
        return images + part * (self._gray(images) - images)


class RandomGrayscale(_Coloured):
    """Make each image gray with probability `factor`."""

    def __init__(self, factor=0.5, data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if not 0 <= factor <= 1:
            raise ValueError(f"`factor` should be between 0 and 1. Received: factor={factor}")
        self.factor = factor

    def _change(self, images, drawn):
        return self._mixed(images, self._gray(images), drawn[0] < float(self.factor))


class RandomInvert(_Coloured):
    """Invert each image's values with a random probability from the factor's range."""

    count = 2

    def __init__(self, factor=1.0, value_range=(0, 255), seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self._range(value_range)

    def _change(self, images, drawn):
        inverted = float(self.value_range[1]) - images + float(self.value_range[0])
        return self._mixed(images, inverted, drawn[1] < self._between(drawn[0], self.factor))


class RandomPosterization(_Coloured):
    """Keep only the highest `factor` bits (of 8) of each value."""

    def __init__(self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        pair = factor if isinstance(factor, (list, tuple)) else (1, factor)
        if len(pair) != 2 or not all(1 <= f <= 8 for f in pair):
            raise ValueError(f"The `factor` argument should be a number (or a pair) of bits in [1, 8]. Received: "
                             f"factor={factor!r}")
        self.factor = tuple(sorted(pair))
        self._range(value_range)

    def _change(self, images, drawn):
        bits = ops.floor(self._each(self._between(drawn[0], (self.factor[0], self.factor[1] + 1 - 1e-4))))
        step = ops.pow(ops.ones_like(bits) * 2.0, 8.0 - bits)
        scaled = (images - float(self.value_range[0])) * (255.0 / self._span())
        return ops.floor(scaled / step) * step * (self._span() / 255.0) + float(self.value_range[0])


class Solarization(_Coloured):
    """Add a random part of the range, then invert values above a threshold.

    Args:
        addition_factor, threshold_factor: f or pairs, within [0, 1]: parts of the range.
        value_range: lowest and highest value of the images.
    """

    count = 2

    def __init__(self, addition_factor=0.0, threshold_factor=0.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.addition_factor = self._factor(addition_factor, 0, 1, "addition_factor", least=0)
        self.threshold_factor = self._factor(threshold_factor, 0, 1, "threshold_factor", least=0)
        self._range(value_range)

    def _change(self, images, drawn):
        added = self._clip(images + self._each(self._between(drawn[0], self.addition_factor)) * self._span())
        threshold = self._each(self._between(drawn[1], self.threshold_factor)) * self._span() + \
            float(self.value_range[0])
        return ops.where(added < threshold, added, float(sum(self.value_range)) - added)


class RandomGaussianBlur(_Coloured):
    """Blur images with a Gaussian window.

    Args:
        factor: f or a pair: probability.
        kernel_size: of the window, an int or a pair.
        sigma: s or a pair: the window's largest deviation is used.
        value_range: lowest and highest value of the images.
    """

    count = 2

    def __init__(self, factor=1.0, kernel_size=3, sigma=1.0, value_range=(0, 255), data_format=None, seed=None,
                 **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)
        self.kernel_size = self._sizes(kernel_size, 2, "kernel_size")
        self.sigma = tuple(sorted(sigma)) if isinstance(sigma, (list, tuple)) else (0, float(sigma))
        self._range(value_range)

    def _change(self, images, drawn):
        blurred = image_style.gaussian_blur(images, kernel_size=self.kernel_size, sigma=(self.sigma[1],) * 2,
                                            data_format=self.data_format)
        return self._mixed(images, self._clip(blurred), drawn[1] < self._between(drawn[0], self.factor))


class RandomColorJitter(_Coloured):
    """Change brightness, contrast, saturation and hue, one after the other; a factor of None leaves that out."""

    def __init__(self, value_range=(0, 255), brightness_factor=None, contrast_factor=None, saturation_factor=None,
                 hue_factor=None, seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self._range(value_range)
        self.brightness_factor, self.contrast_factor = brightness_factor, contrast_factor
        self.saturation_factor, self.hue_factor = saturation_factor, hue_factor
        kinds = ((RandomBrightness, brightness_factor), (RandomContrast, contrast_factor),
                 (RandomSaturation, saturation_factor), (RandomHue, hue_factor))
        self._parts = [kind(factor, value_range=value_range, seed=seed, data_format=self.data_format)
                       for kind, factor in kinds if factor is not None]

    def get_random_transformation(self, data, training=True, seed=None):
        """Return the parts' random numbers, or None at rest."""
        return [part.get_random_transformation(data, training) for part in self._parts] if training else None

    def transform_images(self, images, transformation, training=True):
        """Return the changed images."""
        images = self._float(images)
        for part, drawn in zip(self._parts, transformation or ()):
            images = part.transform_images(images, drawn)
        return images


class AutoContrast(ImagePreprocessing):
    """Stretch each channel of each image to the whole value range."""

    def __init__(self, value_range=(0, 255), **kwargs):
        super().__init__(**kwargs)
        self.value_range = value_bounds(value_range, type(self).__name__)

    def transform_images(self, images, transformation=None, training=True):
        """Return the stretched images."""
        images = self._float(images)
        axes = (self.height_axis, self.width_axis)
        low, high = ops.reduce_min(images, axis=axes, keepdims=True), ops.reduce_max(images, axis=axes, keepdims=True)
        first, last = (float(v) for v in self.value_range)
        stretched = ops.divide_no_nan(images - low, high - low) * (last - first) + first
        return ops.where(high > low, ops.minimum(ops.maximum(stretched, first), last), images)


class Equalization(ImagePreprocessing):
    """Equalize the histogram of each channel of each image.

    Args:
        value_range: lowest and highest value of the images.
        bins: number of values that are told apart.
    """

    def __init__(self, value_range=(0, 255), bins=256, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.value_range, self.bins = value_bounds(value_range, type(self).__name__), bins

    def transform_images(self, images, transformation=None, training=True):
        """Return the equalized images."""
        images = self._float(images)
        first = self.data_format == "channels_first"
        x = images if first else ops.transpose(images, (0, 3, 1, 2))
        batch, channels, height, width = tuple(x.shape)
        low, high = (float(v) for v in self.value_range)
        level = ops.cast((x - low) * ((self.bins - 1) / (high - low)), "int32")
        flat = ops.reshape(level, (batch * channels, height * width))
        counts = ops.reduce_sum(ops.one_hot(flat, self.bins, dtype="float32"), axis=1)
        total = ops.cumsum(counts, axis=1)
        # The lowest value that occurs goes to 0, the highest to the last level.
        least = ops.reduce_min(ops.where(counts > 0.0, total, float(height * width)), axis=1, keepdims=True)
        spread = ops.maximum(float(height * width) - least, 1.0)
        table = ops.round((total - least) * float(self.bins - 1) / spread)
        table = ops.minimum(ops.maximum(table, 0.0), float(self.bins - 1))
        places = ops.minimum(ops.maximum(flat, 0), self.bins - 1)          # of values outside the range
        mapped = ops.reshape(ops.gather(table, places, axis=1, batch_dims=1), (batch, channels, height, width))
        mapped = ops.cast(mapped * ((high - low) / (self.bins - 1)) + low, images.dtype)
        return mapped if first else ops.transpose(mapped, (0, 2, 3, 1))
