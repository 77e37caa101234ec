# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of numbers: Rescaling and Normalization."""
import numpy as np

from fitloom import ops
from fitloom.base import config
from fitloom.layers.builtin_layer import BuiltinLayer


class Rescaling(BuiltinLayer):
    """Compute `inputs * scale + offset`; scale and offset are numbers, or lists along the channels.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Rescaling(1 / 255)(tf.constant([51.0])).numpy().round(3).tolist()
        [0.20000000298023224]
    """

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        self.supports_masking = True

    def call(self, inputs):
        """Return the rescaled inputs."""
        dtype = self.compute_dtype
        inputs = ops.cast(inputs, dtype)
        scale, offset = (v if isinstance(v, (int, float)) else self._along_channels(np.asarray(v, np.float32), inputs)
                         for v in (self.scale, self.offset))
        return inputs * ops.cast(scale, dtype) + ops.cast(offset, dtype)

    @staticmethod
    def _along_channels(values, inputs):
        """Return a list as it broadcasts to images whose channels come first, where that is the setting."""
        ndim = len(inputs.shape)
        first = values.ndim == 1 and ndim >= 3 and config.image_data_format() == "channels_first"
        return values.reshape(-1, *(1,) * (2 if ndim == 3 else ndim - 2)) if first else values

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        settings = super().get_config()
        for name in ("scale", "offset"):
            value = settings[name]
            settings[name] = np.asarray(value).tolist() if hasattr(value, "__array__") else value
        return settings


def host_batches(data, what):
    """Yield the batches of what `adapt` takes (an array, a tensor, or an iterable of batches) as NumPy arrays."""
    if isinstance(data, (list, tuple)) and data and all(len(getattr(each, "shape", ())) > 1 for each in data):
        data = iter(data)                               # a list of batches
    if isinstance(data, (np.ndarray, list, tuple)) or hasattr(data, "numpy") and hasattr(data, "shape"):
        yield np.asarray(data.numpy() if hasattr(data, "numpy") else data)
        return
    if not hasattr(data, "__iter__"):
        raise TypeError(f"{what}.adapt() takes an array, a tensor or a batched dataset, but received "
                        f"{type(data).__name__}.")
    for batch in data:
        batch = batch[0] if isinstance(batch, tuple) else batch
        yield np.asarray(batch.numpy() if hasattr(batch, "numpy") else batch)


class Normalization(BuiltinLayer):
    """Shift and scale to mean 0 and variance 1: `(x - mean) / max(sqrt(variance), epsilon)`.

    Args:
        axis: axis or axes that have their own statistics; None for one mean of everything.
        mean, variance: the statistics, if known; else call `adapt(data)`.
        invert: compute the inverse, `x * sqrt(variance) + mean`.

    Weights: mean, variance, count, unless the statistics are given.

    Example:
        >>> import numpy as np, fitloom as tf
        >>> layer = tf.keras.layers.Normalization(axis=None)
        >>> layer.adapt(np.array([1.0, 2.0, 3.0]))
        >>> layer(np.array([2.0])).numpy().tolist()
        [0.0]
    """

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError("When setting values directly, both `mean` and `variance` must be set. Received: "
                             f"mean={mean} and variance={variance}")
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        self.mean = self.variance = None
        self.supports_masking = True

    def build(self, input_shape):
        """Make the statistics for inputs of this shape."""
        if input_shape is None:
            return
        ndim = len(input_shape)
        kept = sorted(a % ndim for a in self.axis)
        if len(self.axis) > ndim or any(not -ndim <= a < ndim for a in self.axis):
            raise ValueError(f"All `axis` values must be in the range [-ndim, ndim). Received inputs of shape "
                             f"{tuple(input_shape)}, axis={self.axis}")
        if any(input_shape[a] is None for a in kept):
            raise ValueError(f"All `axis` values to be kept must have a known shape. Received axis={self.axis}, "
                             f"input_shape={tuple(input_shape)}, with unknown axis at index {kept}.")
        self._kept = tuple(kept)
        self._reduced = tuple(i for i in range(ndim) if i not in kept)
        shape = tuple(input_shape[a] for a in kept)
        self._broadcast_shape = tuple(n if i in kept else 1 for i, n in enumerate(input_shape))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)
            self.adapt_variance = self.add_weight(name="variance", shape=shape, initializer="ones", trainable=False)
            self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)
            self.built = True
            self.finalize_state()
        else:
            self._set_statistics(self.input_mean, self.input_variance)

    def _set_statistics(self, mean, variance):
        shape = self._broadcast_shape
        fit = lambda v: np.broadcast_to(np.asarray(v, np.float32).reshape(np.shape(v)), shape) \
            if np.size(v) != np.prod(shape) else np.asarray(v, np.float32).reshape(shape)
        self.mean, self.variance = (ops.cast(fit(v), self.compute_dtype) for v in (mean, variance))

    def adapt(self, data):
        """Set the statistics to those of the data: an array, a tensor, or a dataset of batches."""
        if self.input_mean is not None:
            raise ValueError("Cannot `adapt` a Normalization layer that is initialized with static `mean` and "
                             f"`variance`, you passed mean {self.input_mean} and variance {self.input_variance}.")
        total, mean, variance = 0, None, None
        for batch in host_batches(data, "Normalization"):
            batch = batch.astype(np.float64)
            if not self.built:
                self.build(batch.shape if total or isinstance(data, np.ndarray) else (None, *batch.shape[1:]))
            elif len(batch.shape) != len(self._broadcast_shape) or any(
                    batch.shape[a] != self._broadcast_shape[a] for a in self._kept):
                raise ValueError(f"Normalization '{self.name}' was built for sizes {self._broadcast_shape} and cannot "
                                 f"adapt to data of shape {batch.shape}.")
            count = int(np.prod([batch.shape[a] for a in self._reduced]))
            new_mean, new_variance = batch.mean(axis=self._reduced), batch.var(axis=self._reduced)
            if mean is None:
                total, mean, variance = count, new_mean, new_variance
                continue
            # Chan et al.: moments of a union from the moments of its parts.
            share = count / (total + count)
            shift = new_mean - mean
            variance = (1 - share) * variance + share * new_variance + share * (1 - share) * shift**2
            mean = mean + share * shift
            total += count
        if mean is None:
            raise ValueError("Normalization.adapt() received no data.")
        self.adapt_mean.assign(np.asarray(mean, np.float32))
        self.adapt_variance.assign(np.asarray(variance, np.float32))
        self.count.assign(total)
        self.finalize_state()

    def finalize_state(self):
        """Read the statistics from the weights."""
        if self.input_mean is None and self.built:
            self._set_statistics(self.adapt_mean.numpy(), self.adapt_variance.numpy())

    def load_own_variables(self, store):
        """Read the weights and use them."""
        super().load_own_variables(store)
        self.finalize_state()

    def call(self, inputs):
        """Return the normalized inputs."""
        inputs = ops.cast(inputs, self.compute_dtype)
        deviation = ops.maximum(ops.sqrt(self.variance), 1e-7)
        return self.mean + inputs * deviation if self.invert else (inputs - self.mean) / deviation

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super(BuiltinLayer, self).get_config()
        plain = lambda v: v if v is None or isinstance(v, (int, float)) else np.asarray(v).tolist()
        return {**config, "axis": self.axis, "invert": self.invert, "mean": plain(self.input_mean),
                "variance": plain(self.input_variance)}
