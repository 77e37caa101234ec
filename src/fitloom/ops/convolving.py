# SPDX-License-Identifier: Apache-2.0
"""Convolution and pooling, over `ops/kernels`.

Both vocabularies are understood: 'SAME' and 'same', 'NHWC' and 'channels_last'. TensorFlow's forms take strides and
windows of all four (five) axes; Keras's only of the spatial ones.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.engine import op
from fitloom.ops.calling import alike, static_ints, tensor
from fitloom.ops.kernels import convolution, pooling

# ---- vocabularies


def _format(data_format):
    """Return 'channels_last' or 'channels_first'."""
    if data_format in (None, "channels_last") or (data_format.startswith("N") and data_format.endswith("C")):
        return "channels_last"
    if data_format == "channels_first" or data_format.startswith("NC"):
        return "channels_first"
    raise ValueError(f"data_format must be 'channels_last' or 'channels_first' (NHWC, NCHW), but received "
                     f"'{data_format}'.")


def _spatial(value, ndim, data_format, default=1):
    """Return a number, or a tuple for the spatial axes, from a number or a list with or without the other axes."""
    if value is None:
        return default
    if isinstance(value, (int, np.integer)):
        return int(value)
    value = static_ints(value)
    if len(value) == 1:
        return value[0]
    if len(value) == ndim + 2:
        return value[2:] if data_format == "channels_first" else value[1:-1]
    if len(value) != ndim:
        raise ValueError(f"Expected {ndim} sizes (or {ndim + 2} with batch and channels), but received {value}.")
    return value


def _padding(padding, ndim, data_format):
    if isinstance(padding, str):
        return padding.lower()
    pairs = [tuple(int(v) for v in pair) for pair in padding]
    if len(pairs) == ndim + 2:
        pairs = pairs[2:] if data_format == "channels_first" else pairs[1:-1]
    return tuple(pairs)


# ---- as Keras and the layers call them

_conv = op(convolution.conv, name="conv")
_conv_transpose = op(convolution.conv_transpose, name="conv_transpose")
_depthwise = op(convolution.depthwise_conv, name="depthwise_conv")
_max_pool = op(pooling.max_pool, name="max_pool")
_avg_pool = op(pooling.avg_pool, name="avg_pool")


@op(name="separable_conv")
def _separable(x, depthwise_kernel, pointwise_kernel, **attributes):
    return convolution.separable_conv(x, depthwise_kernel, pointwise_kernel, **attributes)


def _attributes(x, strides, padding, dilation, data_format):
    ndim, layout = len(x.shape) - 2, _format(data_format)
    return {"strides": _spatial(strides, ndim, layout), "padding": _padding(padding, ndim, layout),
            "dilation": _spatial(dilation, ndim, layout), "data_format": layout}


def conv(x, kernel, strides=1, padding="valid", dilation=1, data_format="channels_last"):
    """Return the convolution of `x` with `kernel` over one, two or three spatial axes (see ops/kernels/convolution)."""
    x, kernel = alike("conv", x, kernel)
    return _conv(x, kernel, **_attributes(x, strides, padding, dilation, data_format))


def conv_transpose(x, kernel, strides=1, padding="valid", output_padding=None, dilation=1,
                   data_format="channels_last"):
    """Return the transposed convolution: `x` enlarged by `strides`; kernel (*window, out, in)."""
    x, kernel = alike("conv_transpose", x, kernel)
    output_padding = None if output_padding is None else _spatial(output_padding, len(x.shape) - 2, "")
    return _conv_transpose(x, kernel, output_padding=output_padding,
                           **_attributes(x, strides, padding, dilation, data_format))


def depthwise_conv(x, kernel, strides=1, padding="valid", dilation=1, data_format="channels_last"):
    """Return the convolution of each channel with filters of its own: kernel (*window, channels, multiplier)."""
    x, kernel = alike("depthwise_conv", x, kernel)
    return _depthwise(x, kernel, **_attributes(x, strides, padding, dilation, data_format))


def separable_conv(x, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", dilation=1,
                   data_format="channels_last"):
    """Return a depthwise convolution followed by one of window 1 over the channels."""
    x, depthwise_kernel, pointwise_kernel = alike("separable_conv", x, depthwise_kernel, pointwise_kernel)
    return _separable(x, depthwise_kernel, pointwise_kernel,
                      **_attributes(x, strides, padding, dilation, data_format))


def _pool(recorded, x, window, strides, padding, data_format):
    x = tensor(x)
    ndim, layout = len(x.shape) - 2, _format(data_format)
    window = _spatial(window, ndim, layout)
    strides = _spatial(strides, ndim, layout, default=window)
    if not isinstance(padding, str) and recorded is _max_pool:
        from fitloom.ops.shaping import pad

        lowest = float("-inf") if np.issubdtype(np.dtype(x.dtype.as_numpy_dtype), np.floating) else x.dtype.min
        x, padding = pad(x, [[int(v) for v in pair] for pair in padding], constant_values=lowest), "valid"
    if not isinstance(padding, str):
        raise ValueError(f"Pooling expected padding 'SAME' or 'VALID', but received {padding!r}.")
    return recorded(x, window=window, strides=strides, padding=padding.lower(), data_format=layout)


def max_pool(input, ksize, strides=None, padding="valid", data_format=None, name=None):
    """Return the largest value of each window; of equals the first receives the gradient.

    Args:
        input: (batch, *spatial, channels), or channels first.
        ksize, strides: window sizes and steps, of the spatial axes or of all; `strides` is the window if None.
    """
    return _pool(_max_pool, input, ksize, strides, padding, data_format)


def avg_pool(input, ksize, strides=None, padding="valid", data_format=None, name=None):
    """Return the mean of each window; places outside the input do not count."""
    return _pool(_avg_pool, input, ksize, strides, padding, data_format)


max_pool1d = max_pool2d = max_pool3d = max_pool
avg_pool1d = avg_pool2d = avg_pool3d = avg_pool
average_pool = avg_pool


def pool(input, window_shape, pooling_type, strides=None, padding="VALID", data_format=None, dilations=None,
         name=None):
    """Return 'AVG' or 'MAX' pooling; `strides` is 1 if None."""
    if dilations is not None and any(d != 1 for d in static_ints(dilations)):
        raise NotImplementedError("pool takes dilations of 1.")
    function = {"AVG": avg_pool, "MAX": max_pool}[pooling_type]
    return function(input, window_shape, 1 if strides is None else strides, padding, data_format)


# ---- as TensorFlow calls them


def convolution_nd(input, filters, strides=None, padding="VALID", data_format=None, dilations=None, name=None):
    """Return the convolution over as many spatial axes as `filters` has."""
    return conv(input, filters, 1 if strides is None else strides, padding, 1 if dilations is None else dilations,
                data_format)


def conv1d(input, filters, stride, padding, data_format="NWC", dilations=None, name=None):
    """Return the convolution over one axis: (N, W, C) with (window, C, out)."""
    return convolution_nd(input, filters, stride, padding, data_format, dilations)


def conv2d(input, filters, strides, padding, data_format="NHWC", dilations=None, name=None):
    """Return the convolution over two axes: (N, H, W, C) with (height, width, C / groups, out)."""
    return convolution_nd(input, filters, strides, padding, data_format, dilations)


def conv3d(input, filters, strides, padding, data_format="NDHWC", dilations=None, name=None):
    """Return the convolution over three axes: (N, D, H, W, C) with (depth, height, width, C / groups, out)."""
    return convolution_nd(input, filters, strides, padding, data_format, dilations)


def atrous_conv2d(value, filters, rate, padding, name=None):
    """Return the convolution with `rate` between the places of the filter."""
    return conv(value, filters, 1, padding, rate)


def depthwise_conv2d(input, filter, strides, padding, data_format=None, dilations=None, name=None):
    """Return the convolution of each channel with its own filters."""
    return depthwise_conv(input, filter, strides, padding, 1 if dilations is None else dilations, data_format)


def separable_conv2d(input, depthwise_filter, pointwise_filter, strides, padding, data_format=None, dilations=None,
                     name=None):
    """Return a depthwise convolution followed by one of window 1."""
    return separable_conv(input, depthwise_filter, pointwise_filter, strides, padding,
                          1 if dilations is None else dilations, data_format)


@op(name="conv_transpose")
def _input_gradient(y, kernel, *, shape, strides, padding, dilation, data_format):
    """The transpose of the convolution from `shape` to y's: TensorFlow's definition, with the output size given."""
    def forward(x):
        return convolution.conv(x, kernel, strides=strides, padding=padding, dilation=dilation,
                                data_format=data_format)
    import jax

    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def _tf_transpose(input, filters, output_shape, strides, padding, data_format, dilations):
    input, filters = alike("conv_transpose", input, filters)
    attributes = _attributes(input, strides, padding, 1 if dilations is None else dilations, data_format)
    shape = static_ints(output_shape)
    if len(shape) == len(input.shape) - 2:
        size, out = tuple(input.shape)[0], filters.shape[-2]
        shape = (size, out, *shape) if attributes["data_format"] == "channels_first" else (size, *shape, out)
    shape = (input.shape[0] if shape[0] == -1 else shape[0], *shape[1:])
    return _input_gradient(input, filters, shape=shape, **attributes)


def conv1d_transpose(input, filters, output_shape, strides, padding="SAME", data_format="NWC", dilations=None,
                     name=None):
    """Return the transpose of `conv1d`, of shape `output_shape`; filters (window, out, in)."""
    return _tf_transpose(input, filters, output_shape, strides, padding, data_format, dilations)


def conv2d_transpose(input, filters, output_shape, strides, padding="SAME", data_format="NHWC", dilations=None,
                     name=None):
    """Return the transpose of `conv2d`, of shape `output_shape`; filters (height, width, out, in)."""
    return _tf_transpose(input, filters, output_shape, strides, padding, data_format, dilations)


def conv3d_transpose(input, filters, output_shape, strides, padding="SAME", data_format="NDHWC", dilations=None,
                     name=None):
    """Return the transpose of `conv3d`, of shape `output_shape`; filters (*window, out, in)."""
    return _tf_transpose(input, filters, output_shape, strides, padding, data_format, dilations)


def conv_transpose_nd(input, filters, output_shape, strides, padding="SAME", data_format=None, dilations=None,
                      name=None):
    """Return the transposed convolution over as many spatial axes as `filters` has."""
    return _tf_transpose(input, filters, output_shape, strides, padding, data_format, dilations)


# ---- patches


@op(name="extract_patches")
def _extract_patches(x, *, sizes, strides, rates, padding, first):
    x = jnp.moveaxis(x, 1, -1) if first else x
    channels, ndim = x.shape[-1], len(sizes)
    layout = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}[ndim]
    whole = not jnp.issubdtype(x.dtype, jnp.floating)
    y = lax.conv_general_dilated_patches(x.astype(jnp.float32) if whole else x, sizes, strides, padding.upper(),
                                         rhs_dilation=rates, dimension_numbers=layout)
    # The patches come out with the channel outermost; TensorFlow has it innermost.
    y = y.reshape(*y.shape[:-1], channels, -1)
    y = jnp.swapaxes(y, -1, -2).reshape(*y.shape[:-2], -1).astype(x.dtype)
    return jnp.moveaxis(y, -1, 1) if first else y


def extract_patches(images, sizes, strides, rates, padding, name=None):
    """Return the patches of images, (N, rows, columns, height * width * C)."""
    return _extract_patches(tensor(images), sizes=_spatial(sizes, 2, ""), strides=_spatial(strides, 2, ""),
                            rates=_spatial(rates, 2, ""), padding=padding, first=False)


def max_pool_with_argmax(input, ksize, strides, padding, data_format="NHWC", output_dtype="int64",
                include_batch_in_index=False, name=None):
    """Return (max pooling, flat position of each maximum in its image, (row * width + column) * C + channel)."""
    x = tensor(input)
    return _pool_argmax(x, window=_pair(ksize), strides=_pair(strides), padding=padding.upper(),
                        batch=bool(include_batch_in_index), dtype=str(output_dtype))


def _pair(value):
    value = _spatial(value, 2, "channels_last")
    return (value, value) if isinstance(value, int) else value


@op(name="max_pool_with_argmax")
def _pool_argmax(x, *, window, strides, padding, batch, dtype):
    n, h, w, c = x.shape
    pads = lax.padtype_to_pads((h, w), window, strides, padding)
    low = jnp.asarray(-jnp.inf, x.dtype)
    padded = jnp.pad(x, [(0, 0), *pads, (0, 0)], constant_values=low)
    rows = (padded.shape[1] - window[0]) // strides[0] + 1
    columns = (padded.shape[2] - window[1]) // strides[1] + 1
    i = jnp.arange(rows)[:, None] * strides[0] + jnp.arange(window[0])
    j = jnp.arange(columns)[:, None] * strides[1] + jnp.arange(window[1])
    views = padded[:, i][:, :, :, j].transpose(0, 1, 3, 5, 2, 4).reshape(n, rows, columns, c, -1)
    best = jnp.argmax(views, -1)
    row = jnp.arange(rows)[:, None, None] * strides[0] + best // window[1] - pads[0][0]
    column = jnp.arange(columns)[:, None] * strides[1] + best % window[1] - pads[1][0]
    place = (row * w + column) * c + jnp.arange(c)
    if batch:
        place = place + jnp.arange(n)[:, None, None, None] * (h * w * c)
    return jnp.take_along_axis(views, best[..., None], -1)[..., 0], place.astype(dtype)


