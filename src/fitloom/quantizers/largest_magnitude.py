# SPDX-License-Identifier: Apache-2.0
"""Quantization by the largest magnitude: `round(x * s)` with `s = limit / max|x|` along some axes."""
import math

import numpy as np

from fitloom import ops
from fitloom.base import config, registry

_NAMESPACE = "keras.quantizers"


@registry.builtin(_NAMESPACE, "quantizer")
class Quantizer:
    """Turn a tensor into numbers of few bits; subclasses define `__call__(x)` and `get_config()`.

    Args:
        output_dtype: dtype of the numbers.
    """

    def __init__(self, output_dtype="int8"):
        self.output_dtype = output_dtype

    def __call__(self, x):
        """Return `x` unchanged."""
        return x

    def get_config(self):
        """Return the constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config() to be saved.")

    @classmethod
    def from_config(cls, config):
        """Make a quantizer from `get_config()`."""
        return cls(**config)


@registry.builtin(_NAMESPACE, "abs_max_quantizer")
class AbsMaxQuantizer(Quantizer):
    """Quantize with one scale for each slice: see `abs_max_quantize`.

    Args:
        axis: axes along which the largest magnitude is taken; calls may name others.
        value_range: smallest and largest number.
        epsilon: added to the largest magnitude.
        output_dtype: dtype of the numbers.

    Raises:
        ValueError: a range that int8 does not hold.

    Example:
        >>> import fitloom as tf
        >>> numbers, scale = tf.keras.quantizers.AbsMaxQuantizer(axis=-1)(tf.constant([[0.5, -1.0]]))
        >>> numbers.numpy().tolist()
        [[63, -127]]
    """

    def __init__(self, axis=None, value_range=(-127, 127), epsilon=None, output_dtype="int8"):
        super().__init__(output_dtype=output_dtype)
        self.axis = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.value_range = tuple(value_range)
        self.epsilon = config.epsilon() if epsilon is None else epsilon
        if output_dtype == "int8" and (value_range[0] < -128 or value_range[1] > 127):
            raise ValueError("AbsMaxQuantizer with output_dtype='int8' requires value_range to be within the interval "
                             f"[-128, 127]. Received: value_range={value_range}")

    def __call__(self, x, axis=None, to_numpy=False):
        """Return (numbers, scale) along `axis`, by default that of the constructor, else the last."""
        axis = axis if axis is not None else self.axis if self.axis is not None else -1
        return abs_max_quantize(x, axis, self.value_range, self.output_dtype, self.epsilon, to_numpy)

    def get_config(self):
        """Return the constructor's arguments."""
        settings = {"value_range": self.value_range, "epsilon": self.epsilon, "output_dtype": self.output_dtype}
        return settings if self.axis is None else {**settings, "axis": self.axis}


def abs_max_quantize(inputs, axis, value_range=(-127, 127), dtype="int8", epsilon=None, to_numpy=False):
    """Return (numbers, scale): `scale = value_range[1] / (max|inputs| + epsilon)`, numbers = round(inputs * scale).

    Args:
        inputs: float tensor.
        axis: axis or axes along which the largest magnitude is taken; they stay with size 1 in the scale.
        value_range: smallest and largest number.
        dtype: dtype of the numbers.
        epsilon: keeps the scale finite; `tf.keras.config.epsilon()` by default.
        to_numpy: whether to compute on the host with NumPy.
    """
    epsilon = config.epsilon() if epsilon is None else epsilon
    axis = (axis,) if isinstance(axis, int) else tuple(axis)
    low, high = value_range
    inputs = ops.convert_to_tensor(inputs)
    if to_numpy:
        x = inputs.numpy()
        scale = high / (np.abs(x).max(axis=axis, keepdims=True) + np.asarray(epsilon, x.dtype))
        numbers = np.clip(np.round(x * scale), low, high).astype(dtype)
        return ops.convert_to_tensor(numbers), ops.cast(ops.convert_to_tensor(scale), inputs.dtype)
    scale = ops.cast(high, inputs.dtype) / (ops.reduce_max(ops.abs(inputs), axis=axis, keepdims=True)
                                            + ops.cast(epsilon, inputs.dtype))
    numbers = ops.clip_by_value(ops.round(inputs * scale), ops.cast(low, inputs.dtype), ops.cast(high, inputs.dtype))
    return ops.cast(numbers, dtype), scale


def abs_max_quantize_grouped_with_zero_point(inputs, block_size, value_range=(-8, 7), dtype="int8", epsilon=None,
                                             to_numpy=False):
    """Return (numbers, scale, zero point) of a matrix, each column quantized in groups of `block_size` rows.

    `numbers = round(inputs / scale) + zero`, clipped to `value_range`; the scale is that of the group's range.

    Args:
        inputs: `(rows, columns)`.
        block_size: rows a group; the last group may have fewer.
        value_range: smallest and largest number.
        dtype: dtype of the numbers.
        epsilon: keeps the scale above 0.
        to_numpy: accepted for Keras's sake; the computation is done on the host either way.

    Returns:
        numbers as `inputs`; scale and int8 zero point `(groups, columns)`.
    """
    epsilon = config.epsilon() if epsilon is None else epsilon
    given = ops.convert_to_tensor(inputs)
    x = np.asarray(given.numpy(), "float32")
    low, high = value_range
    rows, columns = x.shape
    groups = math.ceil(rows / block_size)
    padded = np.zeros((groups * block_size, columns), x.dtype)
    padded[:rows] = x
    blocks = padded.reshape(groups, block_size, columns)
    smallest, largest = (reduce(blocks, axis=1, keepdims=True) for reduce in (np.min, np.max))
    scale = (largest - smallest + np.float32(epsilon)) / (high - low)
    zero = np.clip(np.round(-smallest / scale) + low, low, high)
    numbers = np.clip(np.round(blocks / scale) + zero, low, high).astype(dtype)
    return (ops.convert_to_tensor(numbers.reshape(-1, columns)[:rows]),
            ops.cast(ops.convert_to_tensor(scale[:, 0]), given.dtype),
            ops.convert_to_tensor(zero[:, 0].astype("int8")))
