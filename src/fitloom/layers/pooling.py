# SPDX-License-Identifier: Apache-2.0
"""Pooling over windows, over everything, and adaptive pooling, in one, two and three spatial axes."""
from fitloom import ops
from fitloom.base import config
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.ops import layer_kernels as kernels


class _Pooling(BuiltinLayer):
    """Base of pooling over windows."""

    _built_when_made = True
    ndim = 1
    pool = None

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.pool_size = self._sizes(pool_size, self.ndim, "pool_size")
        self.strides = self.pool_size if strides is None else self._sizes(strides, self.ndim, "strides")
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f"The `padding` argument must be 'valid' or 'same', but received padding={padding!r}.")
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.ndim + 2)

    def call(self, inputs):
        """Return the pooled inputs."""
        self.compute_output_shape(tuple(inputs.shape))   # refuses a window that is larger than the inputs
        return getattr(kernels, self.pool)(
            inputs, window=self.pool_size, strides=self.strides, padding=self.padding, data_format=self.data_format)

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        first = self.data_format == "channels_first"
        spatial = []
        for n, k, s in zip(input_shape[2:] if first else input_shape[1:-1], self.pool_size, self.strides):
            if n is not None and self.padding == "valid" and n < k:
                raise ValueError(
                    f"Computed output size would be negative: {type(self).__name__} '{self.name}' has pool_size="
                    f"{self.pool_size} with padding='valid', but received inputs of shape {tuple(input_shape)}. Use "
                    "a smaller window or padding='same'.")
            spatial.append(None if n is None else -(-(n - k + 1) // s) if self.padding == "valid" else -(-n // s))
        if first:
            return (input_shape[0], input_shape[1], *spatial)
        return (input_shape[0], *spatial, input_shape[-1])


class _MaxPooling(_Pooling):
    pool = "max_pool"


class MaxPooling1D(_MaxPooling):
    """Take the largest value of each window of steps.

    Args:
        pool_size: size of the window.
        strides: step between windows; None for `pool_size`.
        padding: 'valid' or 'same'.
        data_format: 'channels_last' or 'channels_first'.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.MaxPooling1D(2)(tf.ones((1, 8, 3))).shape
        TensorShape([1, 4, 3])
    """


class MaxPooling2D(_MaxPooling):
    """Take the largest value of each window of images; arguments as MaxPooling1D."""

    ndim = 2


class MaxPooling3D(_MaxPooling):
    """Take the largest value of each window of volumes; arguments as MaxPooling1D."""

    ndim = 3


class AveragePooling1D(_Pooling):
    """Average each window of steps (padding does not count); arguments as MaxPooling1D."""

    pool = "avg_pool"


class AveragePooling2D(_Pooling):
    """Average each window of images (padding does not count); arguments as MaxPooling1D."""

    ndim, pool = 2, "avg_pool"


class AveragePooling3D(_Pooling):
    """Average each window of volumes (padding does not count); arguments as MaxPooling1D."""

    ndim, pool = 3, "avg_pool"


class _GlobalPooling(BuiltinLayer):
    """Base of pooling over all spatial axes."""

    _built_when_made = True
    ndim = 1

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.ndim + 2)

    @property
    def _axes(self):
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + self.ndim))

    def call(self, inputs):
        """Return the pooled inputs."""
        return self._reduce(inputs, axis=self._axes, keepdims=self.keepdims)

    def compute_output_shape(self, input_shape):
        """Return the output shape."""
        axes = self._axes
        return tuple(1 if i in axes else n for i, n in enumerate(input_shape) if self.keepdims or i not in axes)


class _GlobalMaxPooling(_GlobalPooling):
    _reduce = staticmethod(lambda x, **how: ops.reduce_max(x, **how))


class _GlobalAveragePooling(_GlobalPooling):
    _reduce = staticmethod(lambda x, **how: ops.reduce_mean(x, **how))


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """Take the largest value over all steps: `(batch, steps, channels)` becomes `(batch, channels)`."""


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """Take the largest value over rows and columns."""

    ndim = 2


class GlobalMaxPooling3D(_GlobalMaxPooling):
    """Take the largest value over depth, rows and columns."""

    ndim = 3


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """Average over all steps; masked steps do not count."""

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        """Return the average over the valid steps."""
        if mask is None:
            return super().call(inputs)
        weights = ops.expand_dims(ops.cast(mask, inputs.dtype), 2 if self.data_format == "channels_last" else 1)
        axis = self._axes[0]
        return (ops.reduce_sum(inputs * weights, axis=axis, keepdims=self.keepdims)
                / ops.reduce_sum(weights, axis=axis, keepdims=self.keepdims))

    def compute_mask(self, inputs, mask=None):
        """Return None: the steps are gone."""
        return


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """Average over rows and columns."""

    ndim = 2


class GlobalAveragePooling3D(_GlobalAveragePooling):
    """Average over depth, rows and columns."""

    ndim = 3


class _AdaptivePooling(BuiltinLayer):
    """Base of pooling to a fixed output size: window i covers [floor(i n / m), ceil((i + 1) n / m))."""

    _built_when_made = True
    ndim = 1

    def __init__(self, output_size, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.output_size = self._sizes(output_size, self.ndim, "output_size")
        self.data_format = config.standardize_data_format(data_format)

    def call(self, inputs):
        """Return the pooled inputs."""
        first = 2 if self.data_format == "channels_first" else 1
        for axis, size in enumerate(self.output_size, first):
            n = inputs.shape[axis]
            parts = []
            for i in range(size):
                low, high = i * n // size, -(-(i + 1) * n // size)
                window = ops.gather(inputs, list(range(low, high)), axis=axis)
                parts.append(self._reduce(window, axis=axis, keepdims=True))
            inputs = ops.concat(parts, axis=axis)
        return inputs


class _AdaptiveAveragePooling(_AdaptivePooling):
    _reduce = staticmethod(lambda x, **how: ops.reduce_mean(x, **how))


class _AdaptiveMaxPooling(_AdaptivePooling):
    _reduce = staticmethod(lambda x, **how: ops.reduce_max(x, **how))


class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """Average sequences down (or up) to `output_size` steps."""


class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """Average images down (or up) to `output_size` places."""

    ndim = 2


class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """Average volumes down (or up) to `output_size` places."""

    ndim = 3


class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """Take the maximum of sequences over `output_size` windows."""


class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """Take the maximum of images over `output_size` windows."""

    ndim = 2


class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """Take the maximum of volumes over `output_size` windows."""

    ndim = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
