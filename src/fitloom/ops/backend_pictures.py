# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.backend` for pictures and volumes: convolutions, pools, paddings and sizes, as older scripts call them."""

from __future__ import annotations

from fitloom import ops
from fitloom.base import config
from fitloom.ops import neural_style


def conv1d(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Return x (batch, steps, channels) convolved with kernel (size, channels, filters); padding may be 'causal'."""
    if padding == "causal":
        left, padding = dilation_rate * (kernel.shape[0] - 1), "valid"
        first = config.standardize_data_format(data_format) == "channels_first"
        x = ops.pad(x, [(0, 0), (0, 0), (left, 0)] if first else [(0, 0), (left, 0), (0, 0)])
    return neural_style.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d(x, kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Return x (batch, rows, columns, channels) convolved with kernel (rows, columns, channels, filters)."""
    return neural_style.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv3d(x, kernel, strides=(1, 1, 1), padding="valid", data_format=None, dilation_rate=(1, 1, 1)):
    """Return volumes (batch, depth, rows, columns, channels) convolved with a kernel."""
    return neural_style.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d_transpose(x, kernel, output_shape, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Return the transposed convolution of x, of the shape `output_shape` (batch, rows, columns, filters)."""
    first = config.standardize_data_format(data_format) == "channels_first"
    sizes = [int(n) for n in (output_shape[2:4] if first else output_shape[1:3])]
    inputs = x.shape[2:4] if first else x.shape[1:3]
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    dilation = (dilation_rate, dilation_rate) if isinstance(dilation_rate, int) else tuple(dilation_rate)
    output_padding = []
    for size, n, k, stride, step in zip(sizes, inputs, kernel.shape, strides, dilation):
        reach = step * (k - 1) + 1
        around = reach // 2 if padding == "same" else 0
        output_padding.append(size - ((n - 1) * stride + reach - 2 * around))
    return neural_style.conv_transpose(x, kernel, strides, padding, tuple(output_padding), data_format, dilation)


def depthwise_conv2d(x, depthwise_kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Return each channel of x convolved with kernels of its own."""
    return neural_style.depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def separable_conv2d(x, depthwise_kernel, pointwise_kernel, strides=(1, 1), padding="valid", data_format=None,
                     dilation_rate=(1, 1)):
    """Return a convolution of each channel by itself, then one of size 1 over the channels."""
    return neural_style.separable_conv(x, depthwise_kernel, pointwise_kernel, strides, padding, data_format,
                                       dilation_rate)


def pool2d(x, pool_size, strides=(1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Return the largest value ('max') or the mean ('avg') of each window of pictures."""
    if pool_mode not in ("max", "avg"):
        raise ValueError(f"pool_mode must be 'max' or 'avg', but is {pool_mode!r}.")
    pool = neural_style.max_pool if pool_mode == "max" else neural_style.average_pool
    return pool(x, pool_size, strides, padding, data_format)


def pool3d(x, pool_size, strides=(1, 1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Return the largest value ('max') or the mean ('avg') of each window of volumes."""
    return pool2d(x, pool_size, strides, padding, data_format, pool_mode)


def spatial_3d_padding(x, padding=((1, 1), (1, 1), (1, 1)), data_format=None):
    """Return volumes with zeros around them."""
    outer = ((0, 0), (0, 0))
    first = config.standardize_data_format(data_format) == "channels_first"
    return ops.pad(x, (*outer, *padding) if first else (outer[0], *padding, outer[1]))


def resize_images(x, height_factor, width_factor, data_format, interpolation="nearest"):
    """Return pictures enlarged by whole factors; interpolation is 'nearest' or 'bilinear'."""
    first = config.standardize_data_format(data_format) == "channels_first"
    if interpolation == "nearest":
        rows = 2 if first else 1
        return ops.repeat(ops.repeat(x, height_factor, axis=rows), width_factor, axis=rows + 1)
    from fitloom.ops.image import resize

    pictures = ops.transpose(x, (0, 2, 3, 1)) if first else x
    size = (pictures.shape[1] * height_factor, pictures.shape[2] * width_factor)
    larger = ops.cast(resize(pictures, size, method=interpolation), x.dtype)
    return ops.transpose(larger, (0, 3, 1, 2)) if first else larger


def resize_volumes(x, depth_factor, height_factor, width_factor, data_format):
    """Return volumes enlarged by whole factors, each value repeated."""
    start = 2 if config.standardize_data_format(data_format) == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), start):
        x = ops.repeat(x, factor, axis=axis)
    return x


def batch_normalization(x, mean, var, beta, gamma, axis=-1, epsilon=1e-3):
    """Return (x - mean) / sqrt(var + epsilon) * gamma + beta."""
    return neural_style.batch_normalization(x, mean, var, axis, beta, gamma, epsilon)
