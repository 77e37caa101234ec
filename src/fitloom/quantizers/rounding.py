# SPDX-License-Identifier: Apache-2.0
"""Floats rounded to the numbers that a few bits can hold."""
from fitloom import ops
from fitloom.ops import quantizing


def fake_quant_with_min_max_vars(inputs, min_vals, max_vals, num_bits=8, narrow_range=False, axis=None):
    """Return `inputs` rounded to 2 ** num_bits numbers from `min_vals` to `max_vals`, which are moved to include 0.

    Args:
        inputs: float tensor; the gradient is 1 inside the range and 0 outside.
        min_vals, max_vals: numbers, or with `axis` vectors, one pair for each index of that axis.
        num_bits: bits of the numbers.
        narrow_range: whether the smallest number is left out.
        axis: axis of the vectors.
    """
    inputs = ops.convert_to_tensor(inputs)
    x = ops.cast(inputs, "float32") if inputs.dtype in ("float16", "bfloat16") else inputs
    low, high = (ops.cast(ops.convert_to_tensor(value), x.dtype) for value in (min_vals, max_vals))
    if axis is not None:
        shape = [1] * len(x.shape)
        shape[axis] = -1
        low, high = (ops.reshape(value, shape) if len(value.shape) else value for value in (low, high))
    rounded = quantizing.fake_quant_with_min_max_vars(x, low, high, num_bits, narrow_range)
    return ops.cast(rounded, inputs.dtype)
