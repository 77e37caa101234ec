# SPDX-License-Identifier: Apache-2.0
"""Pictures between files, Pillow images and arrays: `keras.utils.load_img` and its kin. Needs Pillow."""
import io
import os

import numpy as np

from fitloom.base import config
from fitloom.base.errors import unknown_name

_FILTERS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _pillow():
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Pictures need Pillow: pip install pillow (or fitloom[image]).") from error
    return Image


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """Return an array (height, width, 1, 3 or 4 channels) as a Pillow image; `scale` spreads it over 0 to 255."""
    layout = config.standardize_data_format(data_format)
    x = np.asarray(x, dtype or config.floatx())
    if x.ndim != 3:
        raise ValueError(f"array_to_img expected an array with 3 axes, but received shape {x.shape}.")
    if layout == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - x.min()
        top = x.max()
        x = x / top * 255 if top else x
    if x.shape[2] == 1:
        kind = "int32" if x.max() > 255 else "uint8"
        return _pillow().fromarray(x[:, :, 0].astype(kind))
    if x.shape[2] not in (3, 4):
        raise ValueError(f"array_to_img expected 1, 3 or 4 channels, but received {x.shape[2]}.")
    return _pillow().fromarray(x.astype("uint8"))


def img_to_array(img, data_format=None, dtype=None):
    """Return a Pillow image as an array with 3 axes."""
    layout = config.standardize_data_format(data_format)
    x = np.asarray(img, dtype=dtype or config.floatx())
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3:
        raise ValueError(f"img_to_array expected an image with 2 or 3 axes, but received shape {x.shape}.")
    return x.transpose(2, 0, 1) if layout == "channels_first" else x


def load_img(path, color_mode="rgb", target_size=None, interpolation="nearest", keep_aspect_ratio=False):
    """Return the Pillow image in a file.

    Args:
        color_mode: 'grayscale', 'rgb' or 'rgba'.
        target_size: (height, width) to resize to, or None.
        keep_aspect_ratio: cut the middle part of the target's proportions before resizing.
    """
    modes = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
    if color_mode not in modes:
        raise unknown_name("color_mode", color_mode, modes)
    image_module = _pillow()
    if isinstance(path, io.BytesIO):
        image = image_module.open(path)
    else:
        with open(os.fspath(path), "rb") as file:
            image = image_module.open(io.BytesIO(file.read()))
    if not (color_mode == "grayscale" and image.mode in ("I;16", "I")) and image.mode != modes[color_mode]:
        image = image.convert(modes[color_mode])
    if target_size is None:
        return image
    if interpolation not in _FILTERS:
        raise unknown_name("interpolation", interpolation, _FILTERS)
    height, width = target_size
    resample = getattr(image_module.Resampling, interpolation.upper())
    if not keep_aspect_ratio:
        return image.resize((width, height), resample)
    own_width, own_height = image.size
    cut_height = min(own_height, int(own_width * height / width))
    cut_width = min(own_width, int(own_height * width / height))
    top, left = (own_height - cut_height) // 2, (own_width - cut_width) // 2
    box = (left, top, left + cut_width, top + cut_height)
    return image.resize((width, height), resample, box=box)


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Write an array as a picture file; the ending names the format, unless `file_format` does."""
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and (file_format or str(path).rsplit(".", 1)[-1]).lower() in ("jpg", "jpeg"):
        image = image.convert("RGB")
    if file_format and file_format.lower() == "jpg":
        file_format = "jpeg"
    image.save(path, format=file_format, **kwargs)
