# SPDX-License-Identifier: Apache-2.0
"""Encoded images to tensors and back (Pillow): `tf.io.decode_image`, `decode_png`, `decode_jpeg`, `encode_*`."""
import ctypes
import io

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.ops import host_resizing, image as image_ops, random
from fitloom.tracing.callbacks import numpy_function
from fitloom.ops.calling import host_value

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def pillow():
    """Return Pillow's Image module."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Reading and writing images needs Pillow: pip install pillow") from None
    return Image


def bytes_of(contents) -> bytes:
    """Return the bytes of a string scalar."""
    if isinstance(contents, bytes):
        return contents
    array = structure.to_numpy(contents)
    if array.shape != () or array.dtype != structure.STRING:
        raise InvalidArgumentError(f"Decoding an image needs one string, but received shape {array.shape} and dtype "
                                   f"{array.dtype}. Use dataset.map, or tf.map_fn, for several.")
    return array[()]


def opened(data, formats=None):
    """Open encoded bytes; an error says what they are not."""
    try:
        return pillow().open(io.BytesIO(data), formats=formats)
    except (OSError, SyntaxError):
        raise InvalidArgumentError(
            f"{len(data)} bytes that begin with {data[:8]!r} are no image that can be read: expected "
            f"{' or '.join(formats) if formats else 'JPEG, PNG, GIF, BMP or WebP'}.") from None


def array_of(image, channels, wide=False) -> np.ndarray:
    """Return (height, width, channels) of an opened image; 0 channels: as many as it has."""
    try:
        if image.mode in ("I;16", "I;16B", "I") and wide:
            array = np.asarray(image).astype(np.uint16)[..., None]
            return np.repeat(array, channels, axis=2) if channels > 1 else array
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode in ("1", "I;16", "I;16B", "I", "F"):
            image = image.convert("L")
        elif image.mode not in ("L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
        if channels == 1 and image.format == "JPEG":
            image.draft("L", None)                          # the brightness is stored
        if channels == 1 and image.format == "PNG" and image.mode in ("RGB", "RGBA"):
            return _gray(np.asarray(image))
        if channels and _MODES[channels] != image.mode:
            image = image.convert(_MODES[channels])
        array = np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise InvalidArgumentError(f"The image is damaged: {error}.") from None
    return array[..., None] if array.ndim == 2 else array


def _gray(array):
    """Return the brightness of colours as libpng computes it, which TensorFlow reads PNG files with."""
    weights = np.array([9798, 19235, 3735], np.uint32)                          # 0.299, 0.587, 0.114 of 2 ** 15
    return (array[..., :3] @ weights >> 15).astype(np.uint8)[..., None]


class _ArrowArray(ctypes.Structure):
    """The head of a struct ArrowArray (arrow.apache.org, C data interface)."""


_ArrowArray._fields_ = [
    *[(name, ctypes.c_int64) for name in ("length", "nulls", "offset", "buffer_count", "child_count")],
    ("buffers", ctypes.POINTER(ctypes.c_void_p)), ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray)))]
_POINTER = ctypes.pythonapi.PyCapsule_GetPointer
_POINTER.restype, _POINTER.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def pixels_of(image):
    """Return the memory of an RGB image as (height, width, 4) bytes, and what keeps it alive; None if it is in parts.

    Pillow keeps 4 bytes a pixel, and copying 3 of them out takes as long as resizing the picture.
    """
    try:
        image.load()
        capsule = image.__arrow_c_array__()[1]
    except (AttributeError, ValueError, MemoryError):        # an older Pillow; a picture of several blocks
        return None
    except (OSError, SyntaxError) as error:
        raise InvalidArgumentError(f"The image is damaged: {error}.") from None
    array = _ArrowArray.from_address(_POINTER(capsule, b"arrow_array"))
    if array.child_count != 1 or array.length != image.width * image.height or array.offset:
        return None
    address = array.children[0].contents.buffers[1]
    memory = (ctypes.c_uint8 * (4 * array.length)).from_address(address)
    return np.frombuffer(memory, np.uint8).reshape(image.height, image.width, 4), capsule


def fitted_picture(image, channels, size, interpolation="bilinear", crop=False, pad=False) -> np.ndarray:
    """Return `fitted(array_of(image, channels), size, ...)`, without copying the picture where that is possible."""
    if image.mode == "RGB" and channels == 3 and interpolation == "bilinear" and not crop and not pad:
        found = pixels_of(image)
        if found is not None:
            return host_resizing.bilinear(found[0], size, 3)
    return fitted(array_of(image, channels), size, interpolation, crop, pad)


def _converted(array, dtype):
    dtype = dtypes.as_dtype(dtype)
    if dtype == array.dtype:
        return array
    if dtype.is_floating:
        return (array / np.float32(np.iinfo(array.dtype).max)).astype(dtype.numpy_dtype)
    if dtype.name == "uint16" and array.dtype == np.uint8:
        return array.astype(np.uint16) * 257
    if dtype.name == "uint8":
        return (array >> 8).astype(np.uint8)
    raise InvalidArgumentError(f"Images decode to uint8, uint16 or float32, but {dtype.name} was asked for.")


def _channels(channels, allowed, who):
    channels = 0 if channels is None else int(channels)
    if channels not in allowed:
        raise InvalidArgumentError(f"{who} takes channels of {', '.join(map(str, allowed))}, but received {channels}.")
    return channels


def decode_jpeg(contents, channels=0, ratio=1, fancy_upscaling=True, try_recover_truncated=False,
                acceptable_fraction=1, dct_method="", name=None):
    """Decode a JPEG into a uint8 tensor (height, width, channels): `tf.io.decode_jpeg`.

    Args:
        channels: 1 gray, 3 RGB, 0 as stored.
        ratio: shrink by 1, 2, 4 or 8 while decoding.
    """
    image = opened(bytes_of(contents), ["JPEG"])
    if ratio != 1:
        image.draft(None, (-(-image.width // ratio), -(-image.height // ratio)))
    return engine.Tensor(array_of(image, _channels(channels, (0, 1, 3), "decode_jpeg")))


def decode_and_crop_jpeg(contents, crop_window, channels=0, ratio=1, fancy_upscaling=True, try_recover_truncated=False,
                         acceptable_fraction=1, dct_method="", name=None):
    """Decode the part (y, x, height, width) of a JPEG: `tf.io.decode_and_crop_jpeg`."""
    y, x, height, width = (int(n) for n in host_value(crop_window, "crop_window"))
    whole = decode_jpeg(contents, channels, ratio)
    if y < 0 or x < 0 or height <= 0 or width <= 0 or y + height > whole.shape[0] or x + width > whole.shape[1]:
        raise InvalidArgumentError(f"decode_and_crop_jpeg expected a window within the image of {whole.shape[0]} x "
                                   f"{whole.shape[1]}, but received {(y, x, height, width)}.")
    return whole[y:y + height, x:x + width]


def adjust_jpeg_quality(image, jpeg_quality, dct_method="", name=None):
    """Return the image as it is after JPEG's compression with a quality of 0 to 100: its artefacts for augmentation.

    Args:
        image: (height, width, 1 or 3): floats in [0, 1] or whole numbers in the dtype's range.
        jpeg_quality: a number or a tensor.
        dct_method: '', 'INTEGER_FAST' or 'INTEGER_ACCURATE'; the accurate one is used in any case.
    """
    if dct_method not in ("", "INTEGER_ACCURATE", "INTEGER_FAST"):
        raise ValueError(f"dct_method must be '', 'INTEGER_FAST' or 'INTEGER_ACCURATE', but received {dct_method!r}.")
    image = engine.convert_to_tensor(image)
    if len(image.shape) != 3 or image.shape[-1] not in (1, 3):
        raise ValueError("adjust_jpeg_quality takes an image (height, width, 1 or 3), but received shape "
                         f"{tuple(image.shape)}.")
    small = image_ops.convert_image_dtype(image, dtypes.uint8, saturate=True)
    decoded = numpy_function(_compressed, [small, jpeg_quality], engine.TensorSpec(image.shape, "uint8"))
    return image_ops.convert_image_dtype(decoded, image.dtype, saturate=True)


def _compressed(image, quality):
    if not 0 <= int(quality) <= 100:
        raise InvalidArgumentError(f"jpeg_quality must lie between 0 and 100, but is {int(quality)}.")
    return decode_jpeg(encode_jpeg(image, quality=int(quality)), channels=image.shape[-1]).numpy()


def random_jpeg_quality(image, min_jpeg_quality, max_jpeg_quality, seed=None):
    """Return `adjust_jpeg_quality` with a random quality in [min_jpeg_quality, max_jpeg_quality)."""
    low, high = _qualities(min_jpeg_quality, max_jpeg_quality)
    return adjust_jpeg_quality(image, random.uniform((), low, high, "int32", seed))


def stateless_random_jpeg_quality(image, min_jpeg_quality, max_jpeg_quality, seed):
    """Return `adjust_jpeg_quality` with the quality that a seed of two numbers decides."""
    low, high = _qualities(min_jpeg_quality, max_jpeg_quality)
    return adjust_jpeg_quality(image, random.stateless_uniform((), seed, low, high, "int32"))


def _qualities(low, high):
    if not 0 <= low < high <= 100:
        raise ValueError("A JPEG's quality was expected in 0 <= minimum < maximum <= 100, but received "
                         f"{low} and {high}.")
    return low, high


def decode_png(contents, channels=0, dtype="uint8", name=None):
    """Decode a PNG into a uint8 or uint16 tensor (height, width, channels): `tf.io.decode_png`."""
    image = opened(bytes_of(contents), ["PNG"])
    wide = dtypes.as_dtype(dtype).name == "uint16"
    array = array_of(image, _channels(channels, (0, 1, 2, 3, 4), "decode_png"), wide)
    return engine.Tensor(_converted(array, dtype))


def decode_bmp(contents, channels=0, name=None):
    """Decode a BMP into a uint8 tensor (height, width, channels): `tf.io.decode_bmp`."""
    image = opened(bytes_of(contents), ["BMP"])
    return engine.Tensor(array_of(image, _channels(channels, (0, 1, 3, 4), "decode_bmp")))


def decode_gif(contents, name=None):
    """Decode a GIF into a uint8 tensor (frames, height, width, 3): `tf.io.decode_gif`."""
    return engine.Tensor(_frames(opened(bytes_of(contents), ["GIF"])))


def _frames(image):
    frames = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames)


def decode_image(contents, channels=None, dtype="uint8", name=None, expand_animations=True):
    """Decode a JPEG, PNG, GIF, BMP or WebP: `tf.io.decode_image`.

    A GIF gives (frames, height, width, 3), unless `expand_animations` is false: then its first frame.
    """
    image = opened(bytes_of(contents))
    channels = _channels(channels, (0, 1, 3, 4), "decode_image")
    if image.format == "GIF":
        frames = _frames(image)
        return engine.Tensor(_converted(frames if expand_animations else frames[0], dtype))
    return engine.Tensor(_converted(array_of(image, channels), dtype))


def is_jpeg(contents, name=None):
    """Return whether a string begins as a JPEG does: `tf.io.is_jpeg`."""
    return engine.Tensor(np.asarray(bytes_of(contents)[:3] == b"\xff\xd8\xff"))


def extract_jpeg_shape(contents, output_type="int32", name=None):
    """Return (height, width, channels) of a JPEG without decoding it: `tf.io.extract_jpeg_shape`."""
    image = opened(bytes_of(contents), ["JPEG"])
    shape = [image.height, image.width, len(image.getbands())]
    return engine.Tensor(np.asarray(shape, dtypes.numpy_dtype(output_type)))


def _encoded(image, format_name, **options):
    array = structure.to_numpy(image)
    if array.ndim != 3 or array.shape[-1] not in _MODES:
        raise InvalidArgumentError(f"Encoding an image needs shape (height, width, channels), but received "
                                   f"{array.shape}.")
    if array.dtype == np.uint16 and format_name == "PNG" and array.shape[-1] == 1:
        made = pillow().fromarray(array[..., 0])
    elif array.dtype != np.uint8:
        raise InvalidArgumentError(f"Encoding an image needs uint8, but received {array.dtype}. Scale and cast it: "
                                   "tf.image.convert_image_dtype(x, tf.uint8).")
    else:
        made = pillow().fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    buffer = io.BytesIO()
    made.save(buffer, format_name, **options)
    result = np.empty((), object)
    result[()] = buffer.getvalue()
    return engine.Tensor(result)


def encode_png(image, compression=-1, name=None):
    """Encode (height, width, channels) as PNG: `tf.io.encode_png`."""
    return _encoded(image, "PNG", **({} if compression < 0 else {"compress_level": compression}))


def encode_jpeg(image, format="", quality=95, progressive=False, optimize_size=False, chroma_downsampling=True,
                density_unit="in", x_density=300, y_density=300, xmp_metadata="", name=None):
    """Encode (height, width, channels) as JPEG: `tf.io.encode_jpeg`."""
    return _encoded(image, "JPEG", quality=int(quality), progressive=progressive, optimize=optimize_size,
                    subsampling=2 if chroma_downsampling else 0, dpi=(x_density, y_density))


# ---------------------------------------------------------------- sizes

def resized(array, size, interpolation="bilinear") -> np.ndarray:
    """Return an image (height, width, channels) of `size` (height, width), as tf.image.resize gives it.

    'nearest' keeps the dtype, all others give float32.
    """
    if interpolation == "bilinear":
        return host_resizing.bilinear(array, size)
    if interpolation == "nearest":
        return host_resizing.nearest(array, size)
    made = image_ops.resize(engine.Tensor(np.ascontiguousarray(array)), size, method=interpolation)
    return structure.to_numpy(made).astype(np.float32)


def fitted(array, size, interpolation="bilinear", crop=False, pad=False) -> np.ndarray:
    """Return an image resized to `size`; cropped to the size's aspect ratio first, or padded with zeros to it."""
    height, width = size
    source_height, source_width = array.shape[:2]
    if crop:
        cut_height = min(source_height, int(source_width * height / width))
        cut_width = min(source_width, int(source_height * width / height))
        top, left = (source_height - cut_height) // 2, (source_width - cut_width) // 2
        array = array[top:top + cut_height, left:left + cut_width]
    elif pad:
        full_height = max(source_height, int(source_width * height / width))
        full_width = max(source_width, int(source_height * width / height))
        top, left = (full_height - source_height) // 2, (full_width - source_width) // 2
        padded = np.zeros((full_height, full_width, array.shape[2]), array.dtype)
        padded[top:top + source_height, left:left + source_width] = array
        array = padded
    return resized(array, size, interpolation)
