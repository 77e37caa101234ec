# SPDX-License-Identifier: Apache-2.0
"""LocallyConnected1D and 2D of Keras 2: convolutions with kernels of their own at every place."""
import string

import numpy as np

from fitloom import ops
from fitloom.layers.convolution import _Convolution


class _LocallyConnected(_Convolution):
    """Base of both. The kernel is (places, size of a window * channels, filters), the bias (*places, filters)."""

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, activation=None,
                 use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 implementation=1, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        self.dilation_rate = (1,) * self.ndim
        self._standardize()
        if implementation not in (1, 2, 3):
            raise ValueError(f"`implementation` must be 1, 2 or 3. Received: implementation={implementation!r}")
        if self.padding == "same" and implementation == 1:
            raise ValueError("Invalid border mode for LocallyConnected layers (only \"valid\" is supported if "
                             "implementation is 1): same. Use implementation=2 or 3.")

    def build(self, input_shape):
        """Make kernel and bias: every axis must be known."""
        sizes = self._sizes_of(input_shape)
        if None in sizes:
            raise ValueError(f"The spatial dimensions of the inputs of {type(self).__name__} '{self.name}' should be "
                             f"fully-defined, but layer received an input shape of {tuple(input_shape)}.")
        channels, places = self._channels(input_shape), self._places(sizes)
        self.kernel = self._weight("kernel", (int(np.prod(places)), int(np.prod(self.kernel_size)) * channels,
                                              self.filters))
        self.bias = self._weight("bias", (*places, self.filters)) if self.use_bias else None

    def _sizes_of(self, shape):
        return tuple(shape[1:-1] if self.data_format == "channels_last" else shape[2:])

    def _places(self, sizes):
        return [-(-n // step) if self.padding == "same" else None if n is None else (n - size) // step + 1
                for n, size, step in zip(sizes, self.kernel_size, self.strides)]

    def call(self, inputs):
        """Return the outputs."""
        first, ndim = self.data_format == "channels_first", self.ndim
        x = ops.transpose(inputs, [0, *range(2, ndim + 2), 1]) if first else inputs
        sizes = self._sizes_of(inputs.shape)
        places = self._places(sizes)
        if self.padding == "same":
            missing = [max((m - 1) * step + size - n, 0)
                       for n, m, size, step in zip(sizes, places, self.kernel_size, self.strides)]
            x = ops.pad(x, [[0, 0], *[[m // 2, m - m // 2] for m in missing], [0, 0]])
        for axis, (m, size, step) in enumerate(zip(places, self.kernel_size, self.strides)):
            window = np.arange(m)[:, None] * step + np.arange(size)
            x = ops.gather(x, window.astype(np.int32), axis=1 + 2 * axis)          # (batch, m, size, ...)
        kernel = ops.reshape(self.kernel, (*places, *self.kernel_size, x.shape[-1], self.filters))
        m, k = string.ascii_lowercase[:ndim], string.ascii_lowercase[ndim:2 * ndim]
        mixed = "".join(a + b for a, b in zip(m, k))
        x = ops.einsum(f"x{mixed}y,{m}{k}yz->x{m}z", x, kernel)
        x = self._activated(x if self.bias is None else x + self.bias)
        return ops.transpose(x, [0, ndim + 1, *range(1, ndim + 1)]) if first else x

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        places = self._places(self._sizes_of(input_shape))
        if self.data_format == "channels_first":
            return (input_shape[0], self.filters, *places)
        return (input_shape[0], *places, self.filters)


class LocallyConnected1D(_LocallyConnected):
    """Like Conv1D, with kernels of their own at every place (Keras 2).

    Args:
        filters, kernel_size, strides, data_format, activation ... bias_constraint: as in Conv1D.
        padding: 'valid', with `implementation` 2 and 3 also 'same'.
        implementation: 1, 2 or 3, ways to compute the same; the weights are laid out as those of 1.
    """

    ndim = 1


class LocallyConnected2D(_LocallyConnected):
    """Like Conv2D, with kernels of their own at every place (Keras 2); arguments as LocallyConnected1D."""

    ndim = 2
