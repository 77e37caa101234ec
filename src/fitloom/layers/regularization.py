# SPDX-License-Identifier: Apache-2.0
"""Dropout and noise, which act in training only, and ActivityRegularization."""
import math

from fitloom import ops, regularizers
from fitloom.base import config, dtypes
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator


class _Random(BuiltinLayer):
    """Base of layers that draw random numbers in training; shapes and masks stay."""

    _built_when_made = True

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.supports_masking = True

    def _check_rate(self, rate):
        if not 0 <= rate <= 1:
            raise ValueError(f"Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
                             f"Received: rate={rate}")
        self.rate = rate
        if rate > 0:
            self.seed_generator = SeedGenerator(self.seed)

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape


class Dropout(_Random):
    """Set a fraction `rate` of the inputs to 0 in training and divide the rest by `1 - rate`.

    Args:
        rate: fraction in [0, 1].
        noise_shape: shape in which is drawn; axes of size 1 share one draw, None takes the input's size.
        seed: int, for the same draws in every run.

    Example:
        >>> import fitloom as tf
        >>> x = tf.ones((2, 3))
        >>> tf.keras.layers.Dropout(0.5)(x, training=False).numpy().sum().item()
        6.0
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self._check_rate(rate)
        if noise_shape is not None:
            problem = None
            if not isinstance(noise_shape, (list, tuple)):
                problem = "Expected a tuple or list of integers."
            elif not all(n is None or isinstance(n, int) for n in noise_shape):
                problem = "Expected all elements to be integers or None."
            elif not all(n is None or n > 0 for n in noise_shape):
                problem = "Expected all dimensions to be positive integers or None."
            if problem:
                raise ValueError(f"Invalid value received for argument `noise_shape`. {problem} "
                                 f"Received: noise_shape={noise_shape!r}")
            noise_shape = tuple(noise_shape)
        self.noise_shape = noise_shape

    def _noise_shape(self, inputs):
        if self.noise_shape is None:
            return None
        return tuple(m if n is None else n for m, n in zip(tuple(inputs.shape), self.noise_shape))

    def call(self, inputs, training=False):
        """Return the inputs, some of them dropped in training."""
        if training and self.rate > 0:
            return kernels.dropout(inputs, self.seed_generator.draw(), rate=float(self.rate),
                                   noise_shape=self._noise_shape(inputs))
        return inputs


class _SpatialDropout(Dropout):
    """Base of dropout that keeps or drops whole feature maps."""

    ndim = 1

    def __init__(self, rate, data_format=None, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.ndim + 2)

    def _noise_shape(self, inputs):
        sizes, ones = tuple(inputs.shape), (1,) * self.ndim
        return (sizes[0], sizes[1], *ones) if self.data_format == "channels_first" else (sizes[0], *ones, sizes[-1])

    def get_config(self):
        """Return the constructor's arguments as plain data; as in Keras without `trainable`."""
        config = super().get_config()
        del config["trainable"]
        return {**config, "dtype": self.dtype}


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole feature maps of `(batch, steps, channels)` (Tompson et al., 2014)."""

    def __init__(self, rate, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, "channels_last", seed=seed, name=name, dtype=dtype, **kwargs)


class SpatialDropout2D(_SpatialDropout):
    """Dropout of whole feature maps of images."""

    ndim = 2


class SpatialDropout3D(_SpatialDropout):
    """Dropout of whole feature maps of volumes."""

    ndim = 3


class GaussianNoise(_Random):
    """Add normal noise of deviation `stddev` in training."""

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not stddev >= 0:
            raise ValueError("Invalid value received for argument `stddev`. Expected a float value >= 0. "
                             f"Received: stddev={stddev}")
        self.stddev = stddev
        if stddev > 0:
            self.seed_generator = SeedGenerator(seed)

    def call(self, inputs, training=False):
        """Return the inputs, with noise in training."""
        if training and self.stddev > 0:
            noise = kernels.draw_normal(self.seed_generator.draw(), shape=tuple(inputs.shape),
                                        dtype=dtypes.name_of(inputs.dtype))
            return inputs + float(self.stddev) * noise
        return inputs


class GaussianDropout(_Random):
    """Multiply by normal noise of mean 1 and deviation `sqrt(rate / (1 - rate))` in training."""

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self._check_rate(rate)

    def call(self, inputs, training=False):
        """Return the inputs, with noise in training."""
        if training and self.rate > 0:
            stddev = math.sqrt(self.rate / (1.0 - self.rate))
            noise = kernels.draw_normal(self.seed_generator.draw(), shape=tuple(inputs.shape),
                                        dtype=dtypes.name_of(inputs.dtype))
            return inputs * (1.0 + stddev * noise)
        return inputs


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance of selu networks (Klambauer et al., 2017).

    Dropped values become `-alpha * scale` of selu; then an affine map restores mean 0 and variance 1.
    """

    def call(self, inputs, training=False):
        """Return the inputs, some of them dropped in training."""
        if not (training and self.rate > 0):
            return inputs
        shape = self._noise_shape(inputs) or tuple(inputs.shape)
        dropped_value = -1.6732632423543772 * 1.0507009873554805
        keep = kernels.draw_uniform(self.seed_generator.draw(), shape=shape, dtype="float32") >= float(self.rate)
        a = ((1 - self.rate) * (1 + self.rate * dropped_value**2)) ** -0.5
        b = -a * dropped_value * self.rate
        keep = ops.cast(keep, inputs.dtype)
        return a * (inputs * keep + dropped_value * (1.0 - keep)) + b


class ActivityRegularization(BuiltinLayer):
    """Return the inputs and add `l1 * sum(|x|) + l2 * sum(x^2)` to the losses."""

    _built_when_made = True

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self.supports_masking = True

    def call(self, inputs):
        """Return `inputs`."""
        return inputs

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return config
