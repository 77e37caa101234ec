# SPDX-License-Identifier: Apache-2.0
"""`keras.ops.image`: images with a `data_format`, geometric transforms, interpolation at coordinates."""

from __future__ import annotations

import builtins
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.base import config, dtypes
from fitloom.base.errors import unknown_name
from fitloom.engine import composed, known_shape, op
from fitloom.ops import convolving, image, image_measures, shaping
from fitloom.ops.calling import static_ints
from fitloom.ops.numpy_rules import as_float, as_tensor, promoted
from fitloom.ops.resizing import resize_axes

_INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")


def _layout(data_format):
    return config.standardize_data_format(data_format)


def _check_images(name, images):
    if len(images.shape) not in (3, 4):
        raise ValueError(f"{name} expected one image with 3 axes or a batch with 4, but received shape "
                         f"{tuple(images.shape)}.")


def _check_colors(name, images, data_format):
    _check_images(name, images)
    channels = images.shape[-3 if _layout(data_format) == "channels_first" else -1]
    if channels not in (3, None):
        raise ValueError(f"{name} expected images with 3 channels ({_layout(data_format)}), but received shape "
                         f"{tuple(images.shape)}.")


def _in_last(function, images, data_format):
    """Apply a function of channels-last images to images of either layout."""
    if _layout(data_format) == "channels_last":
        return function(images)
    ndim = len(images.shape)
    to_last = [*builtins.range(ndim - 3), ndim - 2, ndim - 1, ndim - 3]
    to_first = [*builtins.range(ndim - 3), ndim - 1, ndim - 3, ndim - 2]
    return shaping.transpose(function(shaping.transpose(images, to_last)), to_first)


def rgb_to_grayscale(images, data_format=None):
    """Return 0.2989 R + 0.587 G + 0.114 B."""
    images = as_tensor(images)
    _check_colors("rgb_to_grayscale", images, data_format)
    return _in_last(image.rgb_to_grayscale, images, data_format)


def rgb_to_hsv(images, data_format=None):
    """Return hue, saturation and value."""
    images = as_tensor(images)
    if not dtypes.as_dtype(images.dtype).is_floating:
        raise ValueError(f"rgb_to_hsv expected a floating dtype, but received {dtypes.name_of(images.dtype)}.")
    _check_colors("rgb_to_hsv", images, data_format)
    return _in_last(image.rgb_to_hsv, images, data_format)


def hsv_to_rgb(images, data_format=None):
    """Return red, green and blue."""
    images = as_tensor(images)
    if not dtypes.as_dtype(images.dtype).is_floating:
        raise ValueError(f"hsv_to_rgb expected a floating dtype, but received {dtypes.name_of(images.dtype)}.")
    _check_colors("hsv_to_rgb", images, data_format)
    return _in_last(image.hsv_to_rgb, images, data_format)


def sobel_edges(images, data_format=None):
    """Return the gradients along height and width in a new last axis; zeros outside."""
    if _layout(data_format) == "channels_last":
        return image_measures._sobel(as_float(images), mode="constant")
    edges = image_measures._sobel(shaping.transpose(as_float(images), [0, 2, 3, 1]), mode="constant")
    return shaping.transpose(edges, [0, 3, 1, 2, 4])


def ssim(image1, image2, max_val=1.0, filter_size=11, filter_sigma=1.5, k1=0.01, k2=0.03, data_format=None):
    """Return the structural similarity of each pair of images."""
    image1, image2 = promoted(image1, image2, floats=True)
    if _layout(data_format) == "channels_first":
        order = [*builtins.range(len(image1.shape) - 3), -2, -1, -3]
        order = [a % len(image1.shape) for a in order]
        image1, image2 = shaping.transpose(image1, order), shaping.transpose(image2, order)
    return image_measures.ssim(image1, image2, max_val, filter_size, filter_sigma, k1, k2)


def resize(images, size, interpolation="bilinear", antialias=False, crop_to_aspect_ratio=False,
           pad_to_aspect_ratio=False, fill_mode="constant", fill_value=0.0, data_format=None):
    """Return images of another height and width, in the input's dtype.

    Args:
        crop_to_aspect_ratio: cut the middle part of the target's proportions first.
        pad_to_aspect_ratio: pad to the target's proportions with `fill_value` first.
    """
    if interpolation not in _INTERPOLATIONS:
        raise unknown_name("interpolation", interpolation, _INTERPOLATIONS)
    if fill_mode != "constant":
        raise ValueError(f"resize expected fill_mode 'constant', but received '{fill_mode}'.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("resize takes crop_to_aspect_ratio or pad_to_aspect_ratio, not both.")
    images, size = as_tensor(images), static_ints(size)
    if len(size) != 2 or builtins.min(size) < 1:
        raise ValueError(f"resize expected size (height, width), two whole numbers above 0, but received {size}.")
    _check_images("resize", images)
    return _resize(images, size=size, method=interpolation, antialias=bool(antialias), fill=float(fill_value),
                   first=_layout(data_format) == "channels_first",
                   fit="crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else "stretch")


def smart_resize(x, size, interpolation="bilinear", data_format="channels_last", backend_module=None):
    """Return images of (height, width) `size` without distortion: the middle part of its proportions is resized.

    Args:
        x: (height, width, channels) or with a batch axis; of an array an array is returned.
        size: (height, width).
        interpolation: 'bilinear', 'nearest', 'bicubic', 'lanczos3', 'lanczos5'.
        backend_module: of Keras; must be None.
    """
    if backend_module is not None:
        raise ValueError("smart_resize expected backend_module=None: there is one backend.")
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise ValueError(f"Expected `size` to be a tuple of 2 integers, but got: {size}.")
    if len(x.shape) not in (3, 4):
        raise ValueError("Expected an image array with shape `(height, width, channels)`, or `(batch_size, height, "
                         f"width, channels)`, but got input with incorrect rank, of shape {tuple(x.shape)}.")
    found = resize(x, size, interpolation=interpolation, crop_to_aspect_ratio=True, data_format=data_format)
    return found.numpy() if isinstance(x, np.ndarray) else found


@op(name="resize")
def _resize(x, *, size, method, antialias, fill, first, fit):
    axes = (x.ndim - 2, x.ndim - 1) if first else (x.ndim - 3, x.ndim - 2)
    kind, (h, w) = x.dtype, (x.shape[axes[0]], x.shape[axes[1]])
    if fit == "crop":
        height = builtins.min(h, int(w * size[0] / size[1])) or h
        width = builtins.min(w, int(h * size[1] / size[0])) or w
        for axis, n, m in ((axes[0], h, height), (axes[1], w, width)):
            x = jax.lax.slice_in_dim(x, (n - m) // 2, (n - m) // 2 + m, axis=axis)
    elif fit == "pad":
        height, width = builtins.max(h, int(w * size[0] / size[1])), builtins.max(w, int(h * size[1] / size[0]))
        widths = [(0, 0)] * x.ndim
        for axis, n, m in ((axes[0], h, height), (axes[1], w, width)):
            widths[axis] = ((m - n) // 2, m - n - (m - n) // 2)
        x = jnp.pad(x, widths, constant_values=jnp.asarray(fill, x.dtype))
    out = resize_axes(x, axes, size, method, antialias)
    if out.dtype != kind and not jnp.issubdtype(kind, jnp.floating):
        limits = jnp.iinfo(kind)
        out = jnp.clip(jnp.round(out), limits.min, limits.max)
    return out.astype(kind)


def _margins(total, before, after, target, names):
    given = [v is not None for v in (before, after, target)]
    if builtins.sum(given) != 2:
        raise ValueError(f"Exactly two of {names} must be given.")
    return before, after, target


@composed
def crop_images(images, top_cropping=None, left_cropping=None, bottom_cropping=None, right_cropping=None,
                target_height=None, target_width=None, data_format=None):
    """Return the images without the given margins; two of (top, bottom, height) and of (left, right, width)."""
    images = as_tensor(images)
    _check_images("crop_images", images)
    first = _layout(data_format) == "channels_first"
    h_axis, w_axis = (-2, -1) if first else (-3, -2)
    key = [builtins.slice(None)] * len(images.shape)
    for axis, before, after, target, names in (
            (h_axis, top_cropping, bottom_cropping, target_height, "top_cropping, bottom_cropping, target_height"),
            (w_axis, left_cropping, right_cropping, target_width, "left_cropping, right_cropping, target_width")):
        n = images.shape[axis]
        _margins(n, before, after, target, names)
        before = n - target - after if before is None else before
        end = before + target if target is not None else n - after
        if before < 0 or end > n or end <= before:
            raise ValueError(f"crop_images expected margins inside a size of {n}, but the rest is {before} to {end}.")
        key[axis] = builtins.slice(before, end)
    return images[tuple(key)]


@op(name="first_rows")
def _first_rows(x, *, axis, size):
    return lax.slice_in_dim(x, 0, size, axis=axis % x.ndim)


@composed
def pad_images(images, top_padding=None, left_padding=None, bottom_padding=None, right_padding=None,
               target_height=None, target_width=None, data_format=None):
    """Return the images with margins of zeros; two of (top, bottom, height) and of (left, right, width)."""
    images = as_tensor(images)
    _check_images("pad_images", images)
    first = _layout(data_format) == "channels_first"
    h_axis, w_axis = (-2, -1) if first else (-3, -2)
    widths = [[0, 0] for _ in images.shape]
    for axis, before, after, target, names in (
            (h_axis, top_padding, bottom_padding, target_height, "top_padding, bottom_padding, target_height"),
            (w_axis, left_padding, right_padding, target_width, "left_padding, right_padding, target_width")):
        n = images.shape[axis]
        _margins(n, before, after, target, names)
        if target is not None and known_shape(images.shape)[axis] is None:
            n = builtins.max(target - (after if before is None else before), 0)    # any size that fits
            images = _first_rows(images, axis=axis, size=n)
        before = target - n - after if before is None else before
        after = target - n - before if after is None else after
        if before < 0 or after < 0:
            raise ValueError(f"pad_images expected a target of at least {n} plus the margins, but received {target}.")
        widths[axis] = [before, after]
    return shaping.pad(images, widths)


def extract_patches(images, size, strides=None, dilation_rate=1, padding="valid", data_format=None):
    """Return the patches of images, (N, rows, columns, height * width * C)."""
    size = (size, size) if isinstance(size, int) else tuple(size)
    if len(size) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    return _patches(images, size, strides, dilation_rate, padding, data_format)


def extract_patches_3d(volumes, size, strides=None, dilation_rate=1, padding="valid", data_format=None):
    """Return the patches of volumes, (N, planes, rows, columns, depth * height * width * C)."""
    return _patches(volumes, (size,) * 3 if isinstance(size, int) else tuple(size), strides, dilation_rate, padding,
                    data_format)


def _patches(images, size, strides, dilation_rate, padding, data_format):
    images, ndim = as_tensor(images), len(size)
    if ndim not in (2, 3) or len(images.shape) not in (ndim + 1, ndim + 2):
        raise ValueError("extract_patches expected a size of 2 numbers for images (3 or 4 axes) or 3 for volumes "
                         f"(4 or 5 axes), but received size {size} and shape {tuple(images.shape)}.")
    single = len(images.shape) == ndim + 1
    images = shaping.expand_dims(images, 0) if single else images
    strides = size if strides is None else (strides,) * ndim if isinstance(strides, int) else tuple(strides)
    rates = (dilation_rate,) * ndim if isinstance(dilation_rate, int) else tuple(dilation_rate)
    out = convolving._extract_patches(images, sizes=size, strides=strides, rates=rates, padding=padding,
                                      first=_layout(data_format) == "channels_first")
    return shaping.squeeze(out, 0) if single else out


# ---- interpolation at coordinates


def _outside(index, n, mode):
    """Return where index lies after continuing an axis of length n by `mode`, and whether that is a value at all."""
    if mode == "constant":
        return jnp.clip(index, 0, n - 1), (index >= 0) & (index < n)
    inside = jnp.ones(index.shape, bool)
    if mode == "nearest":
        return jnp.clip(index, 0, n - 1), inside
    if mode == "wrap":
        return index % n, inside
    if mode == "mirror":
        period = builtins.max(2 * (n - 1), 1)
        return jnp.abs((index + (n - 1)) % period - (n - 1)), inside
    period = 2 * n  # reflect: the edge is repeated
    index = index % period
    return jnp.where(index >= n, period - 1 - index, index), inside


_FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def sample(x, coordinates, order, fill_mode, fill_value):
    """Return x at fractional coordinates, a list of arrays, one an axis; order 0 or 1 (pure function of arrays)."""
    wide = x.astype(jnp.float32) if not jnp.issubdtype(x.dtype, jnp.floating) else x
    parts = []
    for position in coordinates:
        if order == 0:
            parts.append([(lax.round(position, lax.RoundingMethod.AWAY_FROM_ZERO).astype(jnp.int32), None)])
        else:
            low = jnp.floor(position)
            share = (position - low).astype(wide.dtype)
            parts.append([(low.astype(jnp.int32), 1 - share), (low.astype(jnp.int32) + 1, share)])
    total = None
    for corner in itertools.product(*parts):
        weight, valid, places = None, None, []
        for (index, share), n in zip(corner, x.shape, strict=True):
            place, inside = _outside(index, n, fill_mode)
            places.append(place)
            valid = inside if valid is None else valid & inside
            if share is not None:
                weight = share if weight is None else weight * share
        value = jnp.where(valid, wide[tuple(places)], jnp.asarray(fill_value, wide.dtype))
        value = value if weight is None else value * weight
        total = value if total is None else total + value
    if total.dtype != x.dtype:
        total = jnp.round(total) if not jnp.issubdtype(x.dtype, jnp.floating) else total
    return total.astype(x.dtype)


@op(name="map_coordinates")
def _map_coordinates(x, coordinates, *, order, mode, fill):
    return sample(x, [coordinates[i] for i in builtins.range(x.ndim)], order, mode, fill)


def map_coordinates(inputs, coordinates, order, fill_mode="constant", fill_value=0):
    """Return the inputs at fractional coordinates, (ndim, ...); order 0 (nearest) or 1 (linear)."""
    if fill_mode not in _FILL_MODES:
        raise unknown_name("fill_mode", fill_mode, _FILL_MODES)
    if order not in (0, 1):
        raise ValueError(f"map_coordinates expected order 0 or 1, but received {order}.")
    if isinstance(coordinates, (list, tuple)):
        coordinates = shaping.stack([as_float(c) for c in coordinates], 0)
    inputs, coordinates = as_tensor(inputs), as_float(coordinates)
    if len(coordinates.shape) < 1 or coordinates.shape[0] != len(inputs.shape):
        raise ValueError(f"map_coordinates expected coordinates with one row for each of the {len(inputs.shape)} axes "
                         f"of the inputs, but received shape {tuple(coordinates.shape)}.")
    return _map_coordinates(inputs, coordinates, order=order, mode=fill_mode,
                            fill=float(fill_value))


@op(name="projective_transform")
def _project(x, transforms, *, order, mode, fill, first):
    """Sample each image at (a0 x + a1 y + a2, a3 x + a4 y + a5) / (a6 x + a7 y + 1)."""
    images = jnp.moveaxis(x, 1, -1) if first else x
    h, w = images.shape[1:3]
    columns, rows = jnp.meshgrid(jnp.arange(w, dtype=transforms.dtype), jnp.arange(h, dtype=transforms.dtype))

    def one(picture, a):
        scale = a[6] * columns + a[7] * rows + 1
        across = (a[0] * columns + a[1] * rows + a[2]) / scale
        down = (a[3] * columns + a[4] * rows + a[5]) / scale
        return jax.vmap(lambda plane: sample(plane, [down, across], order, mode, fill), -1, -1)(picture)
    out = jax.vmap(one)(images, transforms)
    return jnp.moveaxis(out, -1, 1) if first else out


def _transformed(images, transforms, interpolation, fill_mode, fill_value, data_format):
    images, transforms = as_tensor(images), as_float(transforms)
    if interpolation not in ("nearest", "bilinear"):
        raise unknown_name("interpolation", interpolation, ("nearest", "bilinear"))
    if fill_mode not in _FILL_MODES:
        raise unknown_name("fill_mode", fill_mode, _FILL_MODES)
    _check_images("a transform", images)
    if len(transforms.shape) not in (1, 2) or transforms.shape[-1] != 8:
        raise ValueError("A transform has 8 numbers, shape (8,) or (batch, 8), but received shape "
                         f"{tuple(transforms.shape)}.")
    single = len(images.shape) == 3
    if single:
        images = shaping.expand_dims(images, 0)
    if len(transforms.shape) == 1:
        transforms = shaping.expand_dims(transforms, 0)
    if transforms.shape[0] == 1 and images.shape[0] != 1:
        transforms = shaping.broadcast_to(transforms, (images.shape[0], 8))
    out = _project(images, transforms, order=int(interpolation == "bilinear"), mode=fill_mode, fill=float(fill_value),
                   first=_layout(data_format) == "channels_first")
    return shaping.squeeze(out, 0) if single else out


def affine_transform(images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0, data_format=None):
    """Return images sampled through transforms (a0, ..., a7): output (x, y) shows input (a0 x + a1 y + a2, ...)."""
    return _transformed(images, transform, interpolation, fill_mode, fill_value, data_format)


@op(name="perspective_coefficients")
def _perspective(start, end):
    """Solve for the transform that takes each end point to its start point."""
    x, y = end[..., 0], end[..., 1]
    u, v = start[..., 0], start[..., 1]
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    across = jnp.stack([x, y, one, zero, zero, zero, -x * u, -y * u], -1)
    down = jnp.stack([zero, zero, zero, x, y, one, -x * v, -y * v], -1)
    matrix = jnp.concatenate([across, down], -2)
    return jnp.linalg.solve(matrix, jnp.concatenate([u, v], -1)[..., None])[..., 0]


def perspective_transform(images, start_points, end_points, interpolation="bilinear", fill_value=0, data_format=None):
    """Return images in which the four start points have moved to the end points, (4, 2) or (N, 4, 2) as (x, y)."""
    start_points, end_points = as_float(start_points), as_float(end_points)
    for points in (start_points, end_points):
        if len(points.shape) not in (2, 3) or tuple(points.shape[-2:]) != (4, 2):
            raise ValueError("perspective_transform expected four points as (x, y), shape (4, 2) or (batch, 4, 2), but "
                             f"received shape {tuple(points.shape)}.")
    coefficients = _perspective(start_points, end_points)
    return _transformed(images, coefficients, interpolation, "constant", fill_value, data_format)


def perspective_rows(start_points, end_points):
    """Return (N, 8): where each pixel of `perspective_transform`'s result is taken from."""
    return _perspective(as_float(start_points), as_float(end_points))


@op(name="gaussian_blur")
def _blur(x, *, sizes, sigmas, first):
    axes = (x.ndim - 2, x.ndim - 1) if first else (x.ndim - 3, x.ndim - 2)
    for axis, size, sigma in zip(axes, sizes, sigmas, strict=True):
        window = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
        window = (window / window.sum()).astype(x.dtype)
        widths = [(0, 0)] * x.ndim
        widths[axis] = ((size - 1) // 2, size - 1 - (size - 1) // 2)
        padded, n = jnp.pad(x, widths), x.shape[axis]
        x = builtins.sum(window[i] * jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in builtins.range(size))
    return x


def gaussian_blur(images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None):
    """Return the images convolved with a normalized Gaussian window (zeros outside)."""
    pair = lambda v: (v, v) if isinstance(v, (int, float)) else tuple(v)
    images = as_float(images)
    _check_images("gaussian_blur", images)
    return _blur(images, sizes=tuple(int(k) for k in pair(kernel_size)),
                 sigmas=tuple(float(s) for s in pair(sigma)), first=_layout(data_format) == "channels_first")


def elastic_transform(images, alpha=20.0, sigma=5.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                      seed=None, data_format=None):
    """Return the images bent by smooth random displacements of size `alpha` and smoothness `sigma`."""
    from fitloom.ops.random import draw_uniform
    from fitloom.ops.random_style import seed_tensor

    images = as_tensor(images)
    first = _layout(data_format) == "channels_first"
    single = len(images.shape) == 3
    images = shaping.expand_dims(images, 0) if single else images
    shape = tuple(images.shape)
    h, w = shape[2:] if first else shape[1:3]
    noise = draw_uniform(seed_tensor(seed), (shape[0], h, w, 2), "float32", -1.0, 1.0)
    size = int(6 * sigma) | 1
    shift = gaussian_blur(noise, (size, size), (sigma, sigma), "channels_last") * float(alpha)
    out = _bend(images, shift, order=int(interpolation == "bilinear"), mode=fill_mode, fill=float(fill_value),
                first=first)
    return shaping.squeeze(out, 0) if single else out


@op(name="elastic_transform")
def _bend(x, shift, *, order, mode, fill, first):
    images = jnp.moveaxis(x, 1, -1) if first else x
    rows, columns = jnp.meshgrid(jnp.arange(images.shape[1], dtype=shift.dtype),
                                 jnp.arange(images.shape[2], dtype=shift.dtype), indexing="ij")

    def one(picture, move):
        places = [rows + move[..., 1], columns + move[..., 0]]
        return jax.vmap(lambda plane: sample(plane, places, order, mode, fill), -1, -1)(picture)
    out = jax.vmap(one)(images, shift)
    return jnp.moveaxis(out, -1, 1) if first else out


@op(name="scale_and_translate")
def _scale(x, scale, translation, *, shape, dims, method, antialias):
    return jax.image.scale_and_translate(x, shape, dims, scale, translation, method, antialias)


def scale_and_translate(images, output_shape, scale, translation, spatial_dims, method, antialias=True):
    """Return the images scaled and moved along `spatial_dims`, interpolated by `method`."""
    images = as_float(images)
    return _scale(images, as_tensor(scale, images.dtype), as_tensor(translation, images.dtype),
                  shape=static_ints(output_shape), dims=static_ints(spatial_dims),
                  method={"bilinear": "linear", "bicubic": "cubic"}.get(method, method), antialias=bool(antialias))


