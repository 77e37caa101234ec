# SPDX-License-Identifier: Apache-2.0
"""Convolutions over one, two and three spatial axes, plain, depthwise, separable and transposed.

Kernels: `(*size, channels / groups, filters)`; depthwise `(*size, channels, depth_multiplier)`; transposed
`(*size, filters, channels)`. A size is an int or one int an axis.
"""
import math

from fitloom import activations, ops
from fitloom.base import config
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.layers.low_rank import LowRank
from fitloom.ops import layer_kernels as kernels


class _Convolution(BuiltinLayer):
    """Base of all convolutions: sizes, data format, bias and activation."""

    ndim = 1
    paddings: tuple = ("valid", "same")

    def _standardize(self):
        """Check what `_keep` stored and expand ints to tuples."""
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, self._sizes(getattr(self, name), self.ndim, name))
        self.data_format = config.standardize_data_format(self.data_format)
        padding = self.padding.lower() if isinstance(self.padding, str) else self.padding
        if padding not in self.paddings:
            raise ValueError(f"The `padding` argument must be one of {self.paddings}, but received "
                             f"padding={self.padding!r}.")
        self.padding = padding
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError("`strides > 1` not supported in conjunction with `dilation_rate > 1`. Received: "
                             f"strides={self.strides} and dilation_rate={self.dilation_rate}")
        for name in ("filters", "groups", "depth_multiplier"):
            value = self.__dict__.get(name)
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(f"Invalid value for argument `{name}`. Expected a strictly positive integer. "
                                 f"Received: {name}={value!r}")
        self.input_spec = InputSpec(min_ndim=self.ndim + 2)

    @property
    def _channel_axis(self):
        return -1 if self.data_format == "channels_last" else 1

    def _channels(self, input_shape):
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError(f"The channel dimension of the inputs of {type(self).__name__} '{self.name}' should be "
                             f"defined. Received: input_shape={tuple(input_shape)} (axis {self._channel_axis}).")
        return channels

    def _weight(self, name, shape, prefix=None):
        prefix = prefix or name
        return self.add_weight(
            name=name, shape=shape, initializer=getattr(self, prefix + "_initializer"),
            regularizer=getattr(self, prefix + "_regularizer"), constraint=getattr(self, prefix + "_constraint"))

    def _finish_build(self, input_shape, outputs):
        self.bias = self._weight("bias", (outputs,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=self.ndim + 2, axes={self._channel_axis: self._channels(input_shape)})
        if None not in input_shape[1:]:
            self.compute_output_shape(input_shape)

    def _activated(self, x):
        return x if self.activation in (None, activations.linear) else self.activation(x)

    def _results(self, x):
        x = self._convolve(x)
        if self.bias is not None:
            x = kernels.add_bias(x, self.bias, data_format=self.data_format)
        return self._activated(x)

    def _settings(self):
        return {"strides": self.strides, "padding": self.padding, "dilation": self.dilation_rate,
                "data_format": self.data_format}

    def _output_shape(self, input_shape, filters):
        first = self.data_format == "channels_first"
        spatial = []
        for n, k, s, d in zip(input_shape[2:] if first else input_shape[1:-1], self.kernel_size, self.strides,
                              self.dilation_rate):
            reach = (k - 1) * d + 1
            if n is not None and self.padding == "valid" and n < reach:
                raise ValueError(
                    f"Computed output size would be negative: {type(self).__name__} '{self.name}' has kernel_size="
                    f"{self.kernel_size} and dilation_rate={self.dilation_rate} with padding='valid', but received "
                    f"inputs of shape {tuple(input_shape)}. Use a smaller kernel, larger inputs or padding='same'.")
            spatial.append(None if n is None else -(-(n - reach + 1) // s) if self.padding == "valid" else -(-n // s))
        return (input_shape[0], filters, *spatial) if first else (input_shape[0], *spatial, filters)

    def call(self, inputs):
        """Return the convolved inputs, with bias and activation."""
        x, batch = inputs, None
        if len(inputs.shape) > self.ndim + 2:   # further batch axes in front
            batch = tuple(inputs.shape)[:-self.ndim - 1]
            x = ops.reshape(inputs, (math.prod(batch), *tuple(inputs.shape)[-self.ndim - 1:]))
        x = self._results(x)
        return x if batch is None else ops.reshape(x, (*batch, *tuple(x.shape)[1:]))


class _Conv(LowRank, _Convolution):
    """Base of Conv1D, Conv2D, Conv3D."""

    not_in_config = ("lora_rank", "lora_alpha")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, lora_rank=None, lora_alpha=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_lora(lora_rank, lora_alpha)
        del lora_rank, lora_alpha
        self._keep(locals())
        self._standardize()
        if filters % groups:
            raise ValueError("The number of filters must be evenly divisible by the number of groups. "
                             f"Received: groups={groups}, filters={filters}.")

    def build(self, input_shape):
        """Make kernel and bias."""
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError("The number of input channels must be evenly divisible by the number of groups. "
                             f"Received groups={self.groups}, but the input has {channels} channels (full input "
                             f"shape is {tuple(input_shape)}).")
        self.kernel = self._weight("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        self._finish_build(input_shape, self.filters)
        self._adapt_if_asked()

    def _convolve(self, x):
        return kernels.conv(x, self.kernel, **self._settings())

    def _results(self, x):
        if self.bias is None:
            return super()._results(x)
        relu = self.activation in (activations.relu, ops.relu)
        x = kernels.conv_bias(x, self.kernel, self.bias, relu=relu, **self._settings())
        return x if relu else self._activated(x)

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        return self._output_shape(input_shape, self.filters)


class Conv1D(_Conv):
    """Convolve sequences `(batch, steps, channels)` with `filters` kernels.

    Args:
        filters: number of kernels, the output's channels.
        kernel_size: their length.
        strides: step of the window.
        padding: 'valid', 'same', or 'causal' (output t sees inputs up to t).
        data_format: 'channels_last' or 'channels_first'.
        dilation_rate: distance between the places of a kernel.
        groups: the channels are split into this many groups, each with its own kernels.
        activation ... bias_constraint: as in Dense.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Conv1D(4, 3, padding="causal")(tf.ones((2, 8, 3))).shape
        TensorShape([2, 8, 4])
    """

    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Convolve images `(batch, rows, columns, channels)` with `filters` kernels; arguments as Conv1D.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Conv2D(4, 3, strides=2, padding="same")(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 4])
    """

    ndim = 2


class Conv3D(_Conv):
    """Convolve volumes `(batch, depth, rows, columns, channels)` with `filters` kernels; arguments as Conv1D."""

    ndim = 3


class _DepthwiseConv(_Convolution):
    """Base of DepthwiseConv1D and DepthwiseConv2D."""

    def __init__(self, kernel_size, strides=1, padding="valid", depth_multiplier=1, data_format=None, dilation_rate=1,
                 activation=None, use_bias=True, depthwise_initializer="glorot_uniform", bias_initializer="zeros",
                 depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        self._standardize()

    def build(self, input_shape):
        """Make kernel and bias."""
        channels = self._channels(input_shape)
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        self._finish_build(input_shape, channels * self.depth_multiplier)

    def _convolve(self, x):
        return kernels.depthwise_conv(x, self.kernel, **self._settings())

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        return self._output_shape(input_shape, self._channels(input_shape) * self.depth_multiplier)


class DepthwiseConv1D(_DepthwiseConv):
    """Convolve each channel of sequences with `depth_multiplier` kernels of its own."""


class DepthwiseConv2D(_DepthwiseConv):
    """Convolve each channel of images with `depth_multiplier` kernels of its own."""

    ndim = 2


class _SeparableConv(_Convolution):
    """Base of SeparableConv1D and SeparableConv2D."""

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer="glorot_uniform",
                 pointwise_initializer="glorot_uniform", bias_initializer="zeros", depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        self._standardize()

    def build(self, input_shape):
        """Make the kernels and the bias."""
        channels = self._channels(input_shape)
        self.depthwise_kernel = self._weight(
            "depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        self.pointwise_kernel = self._weight(
            "pointwise_kernel", (*(1,) * self.ndim, channels * self.depth_multiplier, self.filters), "pointwise")
        self._finish_build(input_shape, self.filters)

    def _convolve(self, x):
        x = kernels.depthwise_conv(x, self.depthwise_kernel, **self._settings())
        return kernels.conv(x, self.pointwise_kernel, data_format=self.data_format)

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        return self._output_shape(input_shape, self.filters)


class SeparableConv1D(_SeparableConv):
    """Convolve sequences channel by channel, then mix the channels at each step (also 'causal')."""

    paddings = ("valid", "same", "causal")


class SeparableConv2D(_SeparableConv):
    """Convolve images channel by channel, then mix the channels at each place."""

    ndim = 2


class _ConvTranspose(_Convolution):
    """Base of the transposed convolutions."""

    def __init__(self, filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
                 dilation_rate=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        self._standardize()
        if output_padding is not None:
            self.output_padding = self._sizes(output_padding, self.ndim, "output_padding", allow_zero=True)
            for extra, stride in zip(self.output_padding, self.strides):
                if extra >= stride:
                    raise ValueError(f"`output_padding` must be smaller than `strides`, but received output_padding="
                                     f"{self.output_padding} and strides={self.strides}.")

    def build(self, input_shape):
        """Make kernel and bias."""
        self.kernel = self._weight("kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        self._finish_build(input_shape, self.filters)

    def _convolve(self, x):
        return kernels.conv_transpose(x, self.kernel, output_padding=self.output_padding, **self._settings())

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        first = self.data_format == "channels_first"
        spatial = []
        for i, n in enumerate(input_shape[2:] if first else input_shape[1:-1]):
            reach, s = (self.kernel_size[i] - 1) * self.dilation_rate[i] + 1, self.strides[i]
            extra = None if self.output_padding is None else self.output_padding[i]
            if n is None:
                spatial.append(None)
            elif self.padding == "valid":
                spatial.append((n - 1) * s + (max(reach, s) if extra is None else reach + extra))
            else:
                spatial.append(n * s if extra is None else (n - 1) * s + reach - 2 * (reach // 2) + extra)
        filters = self.filters
        return (input_shape[0], filters, *spatial) if first else (input_shape[0], *spatial, filters)


class Conv1DTranspose(_ConvTranspose):
    """The transpose of a convolution of sequences: enlarges by `strides`.

    Args:
        filters, kernel_size, strides, padding ('valid' or 'same'), dilation_rate: as in Conv1D.
        output_padding: steps to add at the end of each axis; None for the usual size.
        data_format ... bias_constraint: as in Conv1D.
    """


class Conv2DTranspose(_ConvTranspose):
    """The transpose of a convolution of images: enlarges by `strides`; arguments as Conv1DTranspose."""

    ndim = 2


class Conv3DTranspose(_ConvTranspose):
    """The transpose of a convolution of volumes: enlarges by `strides`; arguments as Conv1DTranspose."""

    ndim = 3

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
                 output_padding=None, dilation_rate=(1, 1, 1), activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, **kwargs)


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
