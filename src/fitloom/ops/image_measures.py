# SPDX-License-Identifier: Apache-2.0
"""Images compared and measured, and boxes in them: the other half of `tf.image`."""

from __future__ import annotations

import builtins

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError, unknown_name
from fitloom.engine import op
from fitloom.ops import random, shaping
from fitloom.ops.image import convert_image_dtype
from fitloom.ops.calling import dtype_of, host_value, static_int, static_ints, tensor
from fitloom.ops.casting import cast, saturate_cast
from fitloom.ops.convolving import extract_patches as extract_patches
from fitloom.ops.resizing import resize_axes


# ---- edges and measures


def image_gradients(image):
    """Return (differences along height, along width), the last row and column 0."""
    image = tensor(image)
    dy, dx = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return shaping.pad(dy, [[0, 0], [0, 1], [0, 0], [0, 0]]), shaping.pad(dx, [[0, 0], [0, 0], [0, 1], [0, 0]])


@op(name="sobel_edges")
def _sobel(x, *, mode):
    n, h, w, c = x.shape
    padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode=mode)
    smooth, difference = (1, 2, 1), (-1, 0, 1)

    def filtered(rows, columns):
        return builtins.sum(a * b * padded[:, i:i + h, j:j + w] for i, a in enumerate(rows)
                            for j, b in enumerate(columns) if a * b)
    return jnp.stack([filtered(difference, smooth), filtered(smooth, difference)], -1)


def sobel_edges(image):
    """Return the Sobel gradients along height and width in a new last axis."""
    return _sobel(tensor(image), mode="reflect")


def total_variation(images, name=None):
    """Return the sum of absolute differences of neighbouring pixels, for each image."""
    from fitloom.ops.arithmetic import abs as absolute
    from fitloom.ops.reductions import reduce_sum

    images = tensor(images)
    dy, dx = images[..., 1:, :, :] - images[..., :-1, :, :], images[..., :, 1:, :] - images[..., :, :-1, :]
    return reduce_sum(absolute(dy), (-3, -2, -1)) + reduce_sum(absolute(dx), (-3, -2, -1))


def _as_unit_float(x, max_val):
    x = tensor(x)
    given = dtype_of(x)
    if given.is_floating:
        return x, float(max_val)
    return convert_image_dtype(x, dtypes.float32), float(max_val) / given.max


@op(name="psnr")
def _psnr(a, b, *, max_value):
    error = jnp.mean(jnp.square(a - b), (-3, -2, -1))
    return (20 * jnp.log(jnp.asarray(max_value, a.dtype)) - 10 * jnp.log(error)) / np.log(10).astype(a.dtype)


def psnr(a, b, max_val, name=None):
    """Return the peak signal-to-noise ratio in dB, for each pair of images."""
    (a, top), (b, _) = _as_unit_float(a, max_val), _as_unit_float(b, max_val)
    return _psnr(a, b, max_value=top)


def _ssim_parts(a, b, top, size, sigma, k1, k2):
    window = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    window = jnp.asarray(window / window.sum(), a.dtype)

    def blur(x):
        for axis in (-3, -2):
            x = jnp.moveaxis(x, axis, -1)
            count = x.shape[-1] - size + 1
            x = builtins.sum(window[i] * x[..., i:i + count] for i in builtins.range(size))
            x = jnp.moveaxis(x, -1, axis)
        return x
    c1, c2 = (k1 * top) ** 2, (k2 * top) ** 2
    ma, mb = blur(a), blur(b)
    products = ma * mb * 2
    squares = jnp.square(ma) + jnp.square(mb)
    luminance = (products + c1) / (squares + c1)
    structure = (2 * blur(a * b) - products + c2) / (blur(a * a + b * b) - squares + c2)
    return jnp.mean(luminance * structure, (-3, -2)), jnp.mean(structure, (-3, -2))


@op(name="ssim")
def _ssim(a, b, *, top, size, sigma, k1, k2):
    return jnp.mean(_ssim_parts(a, b, top, size, sigma, k1, k2)[0], -1)


def ssim(img1, img2, max_val, filter_size=11, filter_sigma=1.5, k1=0.01, k2=0.03, return_index_map=False):
    """Return the structural similarity of each pair of images (Wang et al., 2004)."""
    if return_index_map:
        raise NotImplementedError("ssim does not return the index map.")
    (a, top), (b, _) = _as_unit_float(img1, max_val), _as_unit_float(img2, max_val)
    return _ssim(a, b, top=top, size=int(filter_size), sigma=float(filter_sigma), k1=float(k1), k2=float(k2))


@op(name="ssim_multiscale")
def _ssim_multiscale(a, b, *, top, factors, size, sigma, k1, k2):
    parts = []
    for level in builtins.range(len(factors)):
        if level:
            a, b = (x[..., :x.shape[-3] // 2 * 2, :x.shape[-2] // 2 * 2, :] for x in (a, b))
            a, b = ((x[..., ::2, ::2, :] + x[..., 1::2, ::2, :] + x[..., ::2, 1::2, :] + x[..., 1::2, 1::2, :]) / 4
                    for x in (a, b))
        whole, structure = _ssim_parts(a, b, top, size, sigma, k1, k2)
        parts.append(jnp.maximum(whole if level == len(factors) - 1 else structure, jnp.zeros((), a.dtype)))
    powers = jnp.asarray(factors, a.dtype)
    return jnp.mean(jnp.prod(jnp.stack(parts, -1) ** powers, -1), -1)


def ssim_multiscale(img1, img2, max_val, power_factors=(0.0448, 0.2856, 0.3001, 0.2363, 0.1333), filter_size=11,
                    filter_sigma=1.5, k1=0.01, k2=0.03):
    """Return the structural similarity over several scales (Wang et al., 2003)."""
    (a, top), (b, _) = _as_unit_float(img1, max_val), _as_unit_float(img2, max_val)
    return _ssim_multiscale(a, b, top=top, factors=tuple(map(float, power_factors)), size=int(filter_size),
                            sigma=float(filter_sigma), k1=float(k1), k2=float(k2))


# ---- boxes


@op(name="crop_and_resize")
def _crop_and_resize(image, boxes, indices, *, size, method, outside):
    h, w = image.shape[1:3]

    def places(low, high, n, count):
        if count > 1:
            return low[:, None] * (n - 1) + jnp.arange(count) * (high - low)[:, None] * (n - 1) / (count - 1)
        return 0.5 * (low + high)[:, None] * (n - 1)
    y, x = places(boxes[:, 0], boxes[:, 2], h, size[0]), places(boxes[:, 1], boxes[:, 3], w, size[1])
    inside = ((y >= 0) & (y <= h - 1))[:, :, None] & ((x >= 0) & (x <= w - 1))[:, None, :]
    batch = indices[:, None, None]

    def at(rows, columns):
        rows = jnp.clip(rows, 0, h - 1).astype(jnp.int32)[:, :, None]
        columns = jnp.clip(columns, 0, w - 1).astype(jnp.int32)[:, None, :]
        return image[batch, rows, columns].astype(jnp.float32)
    if method == "nearest":
        out = at(jnp.floor(y + 0.5), jnp.floor(x + 0.5))
    else:
        fy, fx = (y - jnp.floor(y))[:, :, None, None], (x - jnp.floor(x))[:, None, :, None]
        top = at(jnp.floor(y), jnp.floor(x)) * (1 - fx) + at(jnp.floor(y), jnp.ceil(x)) * fx
        bottom = at(jnp.ceil(y), jnp.floor(x)) * (1 - fx) + at(jnp.ceil(y), jnp.ceil(x)) * fx
        out = top * (1 - fy) + bottom * fy
    return jnp.where(inside[..., None], out, jnp.float32(outside))


def crop_and_resize(image, boxes, box_indices, crop_size, method="bilinear", extrapolation_value=0.0, name=None):
    """Return, for each box (y1, x1, y2, x2) in units of the image, that part resized to `crop_size`."""
    from fitloom.ops.calling import as_index

    return _crop_and_resize(tensor(image), cast(tensor(boxes), dtypes.float32), as_index(box_indices),
                            size=static_ints(crop_size), method=method, outside=float(extrapolation_value))


def non_max_suppression(boxes, scores, max_output_size, iou_threshold=0.5, score_threshold=float("-inf"), name=None):
    """Return the numbers of the boxes kept: falling scores, none overlapping a kept one too much (on the host)."""
    boxes, scores = host_value(boxes, "boxes").astype(np.float64), host_value(scores, "scores")
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    high = np.maximum(boxes[:, :2], boxes[:, 2:])
    area, kept = np.prod(high - low, 1), []
    for i in np.argsort(-scores, kind="stable"):
        if len(kept) == static_int(max_output_size) or scores[i] <= score_threshold:
            break
        both = np.prod(np.maximum(np.minimum(high[i], high[kept]) - np.maximum(low[i], low[kept]), 0), 1)
        if not kept or not np.any(both / np.maximum(area[i] + area[kept] - both, 1e-30) > iou_threshold):
            kept.append(int(i))
    return engine.Tensor(np.asarray(kept, np.int32))


def non_max_suppression_padded(boxes, scores, max_output_size, iou_threshold=0.5, score_threshold=float("-inf"),
                               pad_to_max_output_size=False, name=None, sorted_input=False,
                               canonicalized_coordinates=False, tile_size=512):
    """Return (the numbers of the boxes kept, how many they are), filled up with zeros if asked.

    Args:
        boxes: (boxes, 4), or (batch, boxes, 4) with scores (batch, boxes), which are always filled up.
        sorted_input, canonicalized_coordinates, tile_size: hints of TensorFlow's kernels, without effect.
    """
    boxes, scores, size = host_value(boxes, "boxes"), host_value(scores, "scores"), static_int(max_output_size)
    if boxes.ndim > 2:
        each = [non_max_suppression_padded(b, s, size, iou_threshold, score_threshold, True)
                for b, s in zip(boxes, scores, strict=True)]
        return shaping.stack([kept for kept, _ in each]), shaping.stack([count for _, count in each])
    kept = np.asarray(non_max_suppression(boxes, scores, size, iou_threshold, score_threshold))
    count = engine.Tensor(np.asarray(len(kept), np.int32))
    if pad_to_max_output_size:
        kept = np.concatenate([kept, np.zeros(size - len(kept), np.int32)])
    return engine.Tensor(kept.astype(np.int32)), count
