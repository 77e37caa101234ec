# SPDX-License-Identifier: Apache-2.0
"""Images: `tf.image`. Shapes are (batch, height, width, channels) or (height, width, channels).

Floats are meant to lie in [0, 1]; `convert_image_dtype` scales between them and whole numbers.
"""

from __future__ import annotations

import builtins
import functools
import inspect

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError, unknown_name
from fitloom.engine import op
from fitloom.ops import host_resizing, random, shaping
from fitloom.ops.calling import dtype_of, host_value, static_int, static_ints, tensor
from fitloom.ops.casting import cast, saturate_cast
from fitloom.ops.convolving import extract_patches as extract_patches
from fitloom.ops.resizing import resize_axes


class ResizeMethod:
    """Names of the ways to interpolate."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = "bilinear", "nearest", "bicubic", "area"
    LANCZOS3, LANCZOS5, GAUSSIAN, MITCHELLCUBIC = "lanczos3", "lanczos5", "gaussian", "mitchellcubic"


_METHODS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


@op(name="resize", host=host_resizing.on_host)
def _resize(x, *, size, method, antialias, first):
    axes = (x.ndim - 2, x.ndim - 1) if first else (x.ndim - 3, x.ndim - 2)
    return resize_axes(x, axes, size, method, antialias)


def resize(images, size, method="bilinear", preserve_aspect_ratio=False, antialias=False, name=None,
           data_format="channels_last"):
    """Return images of another height and width.

    Args:
        size: (height, width).
        method: 'bilinear', 'nearest', 'bicubic', 'area', 'lanczos3', 'lanczos5', 'gaussian', 'mitchellcubic'.
        preserve_aspect_ratio: fit inside `size` without changing the proportions.
        antialias: widen the filter when shrinking.

    Returns:
        float32 (the input's dtype for 'nearest').
    """
    method = str(getattr(method, "value", method)).lower()
    if method not in _METHODS:
        raise unknown_name("resize method", method, _METHODS)
    images, size = tensor(images), static_ints(size)
    first = data_format == "channels_first"
    if len(images.shape) not in (3, 4):
        raise ValueError(f"resize expected images with 3 or 4 axes, but received shape {tuple(images.shape)}.")
    if preserve_aspect_ratio:
        height, width = tuple(images.shape)[-2:] if first else tuple(images.shape)[-3:-1]
        scale = builtins.min(size[0] / height, size[1] / width)
        size = (int(round(height * scale)), int(round(width * scale)))
    return _resize(images, size=size, method=method, antialias=builtins.bool(antialias), first=first)


def resize_with_crop_or_pad(image, target_height, target_width):
    """Return the middle of the image, cut or padded with zeros to the target size."""
    image = tensor(image)
    height, width = tuple(image.shape)[-3:-1]
    target_height, target_width = static_int(target_height), static_int(target_width)
    top, left = builtins.max(height - target_height, 0) // 2, builtins.max(width - target_width, 0) // 2
    image = crop_to_bounding_box(image, top, left, builtins.min(height, target_height),
                                 builtins.min(width, target_width))
    return pad_to_bounding_box(image, builtins.max(target_height - height, 0) // 2,
                               builtins.max(target_width - width, 0) // 2, target_height, target_width)


def resize_with_pad(image, target_height, target_width, method="bilinear", antialias=False):
    """Return the image resized to fit, centred in zeros of the target size."""
    small = resize(image, (target_height, target_width), method, preserve_aspect_ratio=True, antialias=antialias)
    return resize_with_crop_or_pad(small, target_height, target_width)


# ---- cut, pad, turn


def crop_to_bounding_box(image, offset_height, offset_width, target_height, target_width):
    """Return the part of the given size that begins at (offset_height, offset_width)."""
    image = tensor(image)
    h, w = tuple(image.shape)[-3:-1]
    top, left, th, tw = (static_int(v) for v in (offset_height, offset_width, target_height, target_width))
    if builtins.min(top, left) < 0 or th <= 0 or tw <= 0 or (h is not None and top + th > h) \
            or (w is not None and left + tw > w):
        raise ValueError(f"crop_to_bounding_box expected a box inside {h} x {w}, but received offset ({top}, {left}) "
                         f"and size {th} x {tw}.")
    return image[..., top:top + th, left:left + tw, :]


def pad_to_bounding_box(image, offset_height, offset_width, target_height, target_width):
    """Return the image at (offset_height, offset_width) in zeros of the target size."""
    image = tensor(image)
    h, w = tuple(image.shape)[-3:-1]
    top, left, th, tw = (static_int(v) for v in (offset_height, offset_width, target_height, target_width))
    below, right = th - top - h, tw - left - w
    if builtins.min(top, left, below, right) < 0:
        raise ValueError(f"pad_to_bounding_box expected the image of {h} x {w} at ({top}, {left}) to fit in "
                         f"{th} x {tw}.")
    return shaping.pad(image, [[0, 0]] * (len(image.shape) - 3) + [[top, below], [left, right], [0, 0]])


def central_crop(image, central_fraction):
    """Return the middle part, `central_fraction` of height and width."""
    if not 0 < central_fraction <= 1:
        raise ValueError(f"central_crop expected a fraction in (0, 1], but received {central_fraction}.")
    image = tensor(image)
    h, w = tuple(image.shape)[-3:-1]
    top, left = int((h - h * central_fraction) / 2), int((w - w * central_fraction) / 2)
    return image[..., top:h - top, left:w - left, :]


def flip_left_right(image):
    """Return the image mirrored from left to right."""
    return shaping.reverse(tensor(image), [-2])


def flip_up_down(image):
    """Return the image mirrored from top to bottom."""
    return shaping.reverse(tensor(image), [-3])


@op(name="rot90")
def _rot90(x, *, k):
    return jnp.rot90(x, k, axes=(-3, -2))


def rot90(image, k=1, name=None):
    """Return the image turned by k quarter turns against the clock."""
    return _rot90(tensor(image), k=static_int(k) % 4)


def transpose(image, name=None):
    """Return the image with height and width exchanged."""
    image = tensor(image)
    return shaping.transpose(image, [1, 0, 2] if len(image.shape) == 3 else [0, 2, 1, 3])


# ---- at random


def _seeded(seed, stateless):
    return random.seed_of(seed) if stateless else engine.draw_operation_seed(seed, "uniform float32", 1)


@op(name="random_flip")
def _flip_some(x, seed, *, axis):
    single = x.ndim == 3
    count = 1 if single else x.shape[0]
    from fitloom.ops.kernels.random import uniform

    unit = uniform(seed, (count,))
    flip = (unit < 0.5 if single else unit > 0.5).reshape((-1, 1, 1, 1)[1 if single else 0:])
    return jnp.where(flip, jnp.flip(x, axis), x)


def random_flip_left_right(image, seed=None):
    """Return each image mirrored from left to right with probability 1/2."""
    return _flip_some(tensor(image), _seeded(seed, False), axis=-2)


def random_flip_up_down(image, seed=None):
    """Return each image mirrored from top to bottom with probability 1/2."""
    return _flip_some(tensor(image), _seeded(seed, False), axis=-3)


def stateless_random_flip_left_right(image, seed):
    """Return each image mirrored left to right with probability 1/2, as `seed` decides."""
    return _flip_some(tensor(image), _seeded(seed, True), axis=-2)


def stateless_random_flip_up_down(image, seed):
    """Return each image mirrored top to bottom with probability 1/2, as `seed` decides."""
    return _flip_some(tensor(image), _seeded(seed, True), axis=-3)


@op(name="random_crop")
def _crop(x, seed, *, size):
    from fitloom.ops.kernels.random import randint

    room = np.asarray([s - t for s, t in zip(x.shape, size, strict=True)], np.int32)
    start = randint(seed, (x.ndim,), 0, np.iinfo(np.int32).max) % (room + 1)
    return lax.dynamic_slice(x, [start[i] for i in builtins.range(x.ndim)], size)


def _random_crop(value, size, seed):
    value, size = tensor(value), static_ints(size)
    size = tuple(s if t == -1 else t for s, t in zip(tuple(value.shape), size, strict=True))
    if builtins.any(s < t for s, t in zip(tuple(value.shape), size, strict=True)):
        raise InvalidArgumentError(f"random_crop expected a size within {tuple(value.shape)}, but received {size}.")
    return _crop(value, seed, size=size)


def random_crop(value, size, seed=None, name=None):
    """Return a part of `size` at a random place."""
    return _random_crop(value, size, _seeded(seed, False))


def stateless_random_crop(value, size, seed, name=None):
    """Return a part of `size` at the place that `seed` decides."""
    return _random_crop(value, size, _seeded(seed, True))


def _randomly(adjust, limits, default_name):
    def draw(seed, low, high):
        return random.draw_uniform(seed, (), "float32", low, high)

    count = limits.__code__.co_argcount

    def stateful(image, *arguments, seed=None, **named):
        if len(arguments) > count:
            *arguments, seed = arguments
        low, high = limits(*arguments, **named)
        return adjust(image, draw(_seeded(seed, False), low, high))

    def stateless(image, *arguments, seed=None, **named):
        if seed is None:
            *arguments, seed = arguments
        low, high = limits(*arguments, **named)
        return adjust(image, draw(_seeded(seed, True), low, high))

    for function, prefix in ((stateful, "random_"), (stateless, "stateless_random_")):
        function.__name__ = function.__qualname__ = prefix + default_name
        function.__doc__ = f"Return `adjust_{default_name}` by a random amount."
    return stateful, stateless


def _symmetric(max_delta):
    if max_delta < 0:
        raise ValueError(f"max_delta must not be negative, but received {max_delta}.")
    return -max_delta, max_delta


def _half_turn(max_delta):
    if max_delta > 0.5:
        raise ValueError(f"max_delta must be at most 0.5, half a turn of the hue, but received {max_delta}.")
    return _symmetric(max_delta)


def _interval(lower, upper):
    if upper <= lower or lower < 0:
        raise ValueError(f"Expected 0 <= lower < upper, but received {lower} and {upper}.")
    return lower, upper


# ---- colours and light


def _in_float(function):
    """Apply a function of float images to images of any dtype, scaled to [0, 1] and back."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters))

    @functools.wraps(function)
    def public(*arguments, **named):
        arguments = signature.bind(*arguments, **named).arguments
        image = tensor(arguments.pop(first))
        given = dtype_of(image)
        work = image if given.is_floating else convert_image_dtype(image, dtypes.float32)
        out = function(work, **arguments)
        return out if given.is_floating else convert_image_dtype(out, given, saturate=True)
    return public


def convert_image_dtype(image, dtype, saturate=False, name=None):
    """Return the image as another dtype: floats in [0, 1], whole numbers over their positive range."""
    image = tensor(image)
    given, wanted = dtype_of(image), dtypes.as_dtype(dtype)
    if given is wanted:
        return image
    if given.is_integer and wanted.is_integer:
        if given.size > wanted.size:
            shrink = (given.max + 1) // (wanted.max + 1)
            return (saturate_cast if saturate else cast)(image // shrink, wanted)
        return cast(image, wanted) * ((wanted.max + 1) // (given.max + 1))
    if given.is_floating and wanted.is_floating:
        return cast(image, wanted)
    if given.is_integer:
        return cast(image, wanted) * float(1.0 / given.max)
    return (saturate_cast if saturate else cast)(image * (wanted.max + 0.5), wanted)


def adjust_brightness(image, delta):
    """Return the image with `delta`, in units of the full range, added."""
    return _brightness(image, delta)


@_in_float
def _brightness(image, delta):
    return image + cast(delta, image.dtype) if engine.is_tensor(delta) else image + float(delta)


@_in_float
def adjust_contrast(images, contrast_factor):
    """Return (x - mean) * contrast_factor + mean, the mean over height and width of each channel."""
    from fitloom.ops.reductions import reduce_mean

    mean = reduce_mean(images, (-3, -2), keepdims=True)
    return (images - mean) * contrast_factor + mean


@_in_float
def adjust_gamma(image, gamma=1, gain=1):
    """Return gain * x ** gamma."""
    return gain * image ** gamma


@op(name="rgb_to_hsv")
def _rgb_to_hsv(x):
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    value = jnp.max(x, -1)
    span = value - jnp.min(x, -1)
    safe = jnp.where(span > 0, span, jnp.ones_like(span))
    saturation = jnp.where(value > 0, span / jnp.where(value > 0, value, jnp.ones_like(value)), jnp.zeros_like(value))
    hue = jnp.where(r == value, (g - b) / safe, jnp.where(g == value, 2 + (b - r) / safe, 4 + (r - g) / safe)) / 6
    hue = jnp.where(span > 0, jnp.where(hue < 0, hue + 1, hue), jnp.zeros_like(hue))
    return jnp.stack([hue, saturation, value], -1)


@op(name="hsv_to_rgb")
def _hsv_to_rgb(x):
    h, s, v = x[..., 0] * 6, x[..., 1], x[..., 2]
    red = jnp.clip(jnp.abs(h - 3) - 1, 0, 1)
    green = jnp.clip(2 - jnp.abs(h - 2), 0, 1)
    blue = jnp.clip(2 - jnp.abs(h - 4), 0, 1)
    colours = jnp.stack([red, green, blue], -1)
    return ((1 - s)[..., None] + s[..., None] * colours) * v[..., None]


def rgb_to_hsv(images, name=None):
    """Return hue, saturation and value, all in [0, 1]."""
    return _rgb_to_hsv(tensor(images))


def hsv_to_rgb(images, name=None):
    """Return red, green and blue."""
    return _hsv_to_rgb(tensor(images))


@op(name="adjust_hsv")
def _adjust_hsv(x, hue, saturation):
    hsv = _rgb_to_hsv.fn(x)
    h = jnp.mod(hsv[..., 0] + hue.astype(x.dtype), jnp.ones((), x.dtype))
    s = jnp.clip(hsv[..., 1] * saturation.astype(x.dtype), 0, 1)
    return _hsv_to_rgb.fn(jnp.stack([h, s, hsv[..., 2]], -1))


@_in_float
def adjust_hue(image, delta, name=None):
    """Return the image with its hue turned by `delta` (a full turn is 1)."""
    return _adjust_hsv(image, delta if engine.is_tensor(delta) else float(delta), 1.0)


@_in_float
def adjust_saturation(image, saturation_factor, name=None):
    """Return the image with its saturation times a factor."""
    factor = saturation_factor if engine.is_tensor(saturation_factor) else float(saturation_factor)
    return _adjust_hsv(image, 0.0, factor)


random_brightness, stateless_random_brightness = _randomly(adjust_brightness, _symmetric, "brightness")
random_contrast, stateless_random_contrast = _randomly(adjust_contrast, _interval, "contrast")
random_hue, stateless_random_hue = _randomly(adjust_hue, _half_turn, "hue")
random_saturation, stateless_random_saturation = _randomly(adjust_saturation, _interval, "saturation")


@op(name="colour_matrix")
def _colours(x, *, matrix):
    return jnp.tensordot(x, jnp.asarray(matrix, x.dtype), 1)


_YIQ = ((0.299, 0.59590059, 0.2115), (0.587, -0.27455667, -0.52273617), (0.114, -0.32134392, 0.31119955))
_YIQ_TO_RGB = ((1.0, 1.0, 1.0), (0.95598634, -0.27201283, -1.10674021), (0.6208248, -0.64720424, 1.70423049))
_YUV = ((0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026))


def _matrix(rows):
    return tuple(tuple(float(v) for v in row) for row in np.asarray(rows))


def rgb_to_yiq(images):
    """Return luminance and two colour differences (NTSC)."""
    return _colours(tensor(images), matrix=_matrix(_YIQ))


def yiq_to_rgb(images):
    """Undo `rgb_to_yiq` (up to the four digits of the standard's matrices)."""
    return _colours(tensor(images), matrix=_matrix(_YIQ_TO_RGB))


def rgb_to_yuv(images):
    """Return luminance and two colour differences (PAL)."""
    return _colours(tensor(images), matrix=_matrix(_YUV))


def yuv_to_rgb(images):
    """Undo `rgb_to_yuv`."""
    return _colours(tensor(images), matrix=_matrix(np.linalg.inv(_YUV)))


@_in_float
def _gray(images):
    return _colours(images, matrix=((0.2989,), (0.587,), (0.114,)))


def rgb_to_grayscale(images, name=None):
    """Return 0.2989 R + 0.587 G + 0.114 B, one channel."""
    return _gray(images)


def grayscale_to_rgb(images, name=None):
    """Return the one channel three times."""
    return shaping.repeat(tensor(images), 3, axis=-1)


@op(name="per_image_standardization")
def _standardize(x):
    wide = x.astype(jnp.float32) if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize == 2 else x
    axes = (-3, -2, -1)
    mean = jnp.mean(wide, axes, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(wide - mean), axes, keepdims=True))
    size = np.prod(x.shape[-3:])
    out = (wide - mean) / jnp.maximum(deviation, jnp.asarray(1 / np.sqrt(size), wide.dtype))
    return out if not jnp.issubdtype(x.dtype, jnp.floating) else out.astype(x.dtype)


def per_image_standardization(image):
    """Return each image with mean 0 and variance 1 (a deviation below 1 / sqrt(size) counts as that)."""
    return _standardize(tensor(image))
