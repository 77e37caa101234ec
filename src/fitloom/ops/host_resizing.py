# SPDX-License-Identifier: Apache-2.0
"""Resizing of single images with NumPy: images of a folder differ in size, and compiling for each costs far more."""
import ctypes
import functools

import numpy as np

from fitloom.ops.kernels.native.library import host_function

_BYTES, _PLACES, _FLOATS = (np.ctypeslib.ndpointer(dtype, flags="C") for dtype in (np.uint8, np.int32, np.float32))
_COUNT = ctypes.c_int64
_NATIVE = ("resize_pixels", _BYTES, _COUNT, _COUNT, _COUNT, _PLACES, _PLACES, _FLOATS, _COUNT, _PLACES, _PLACES,
           _FLOATS, _COUNT, _FLOATS)


@functools.lru_cache(maxsize=256)
def _weights(source, target):
    """Return (low rows, high rows, share of the high ones) of bilinear resizing with half-pixel centers."""
    place = (np.arange(target, dtype=np.float32) + 0.5) * np.float32(source / target) - 0.5
    low = np.floor(place)
    share = (place - low).astype(np.float32)
    return (np.clip(low, 0, source - 1).astype(np.int32), np.clip(low + 1, 0, source - 1).astype(np.int32), share)


def _between(low, high, share):
    """Return low + (high - low) * share in the memory of `high`."""
    high -= low
    high *= share
    high += low
    return high


def bilinear(array, size, channels=None) -> np.ndarray:
    """Return an image (height, width, channels) as float32 of `size`, with half-pixel centers and no antialiasing.

    Args:
        channels: take only so many, the first ones.
    """
    height, width = size
    if array.shape[:2] == (height, width):
        return array[..., :channels].astype(np.float32)
    # rows first: they are copied whole, and only those that are needed
    top, bottom, down = _weights(array.shape[0], height)
    left, right, across = _weights(array.shape[1], width)
    native = host_function(*_NATIVE) if array.dtype == np.uint8 and array.size else None
    if native is not None:
        out = np.empty((height, width, channels or array.shape[2]), np.float32)
        native(np.ascontiguousarray(array), array.shape[1], array.shape[2], out.shape[2], top, bottom, down, height,
               left, right, across, width, out)
        return out
    array = array[..., :channels]
    rows = _between(np.take(array, top, axis=0).astype(np.float32),
                    np.take(array, bottom, axis=0).astype(np.float32), down[:, None, None])
    return _between(np.take(rows, left, axis=1), np.take(rows, right, axis=1), across[None, :, None])


def nearest(array, size) -> np.ndarray:
    """Return an image (height, width, channels) of `size` in its dtype: each pixel the one whose area it lies in."""
    height, width = size
    rows = np.minimum(((np.arange(height) + 0.5) * (array.shape[0] / height)).astype(np.intp), array.shape[0] - 1)
    columns = np.minimum(((np.arange(width) + 0.5) * (array.shape[1] / width)).astype(np.intp), array.shape[1] - 1)
    return array[rows][:, columns]


def on_host(images, *, size, method, antialias, first):
    """The NumPy twin of the operation `resize`, for one image; NotImplemented where there is none."""
    if images.ndim != 3 or first or antialias or method not in ("bilinear", "nearest"):
        return NotImplemented
    return bilinear(images, size) if method == "bilinear" else nearest(images, size)
