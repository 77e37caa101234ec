# SPDX-License-Identifier: Apache-2.0
"""Floats of eight bits: their scales, and rounding to them."""
import ml_dtypes

from fitloom import ops


def compute_float8_scale(amax, scale, dtype_max, margin=0):
    """Return `amax / dtype_max * 2**margin`, or the old `scale` where `amax` is 0 or not finite."""
    amax, scale = (ops.cast(x, "float32") for x in (amax, scale))
    usable = ops.logical_and(amax > 0.0, ops.is_finite(amax))
    safe = ops.where(usable, amax, ops.ones_like(amax))
    return ops.where(usable, safe / ops.cast(dtype_max, "float32") * float(2 ** margin), scale)


def compute_float8_amax_history(x, amax_history):
    """Return the history moved on by one step, the largest magnitude of `x` at its beginning."""
    history = ops.convert_to_tensor(amax_history)
    newest = ops.cast(ops.reduce_max(ops.abs(ops.convert_to_tensor(x))), history.dtype)
    moved = ops.roll(history, -1, 0)
    return ops.concat([ops.reshape(newest, (1,)), moved[1:]], axis=0)


def quantize_and_dequantize(inputs, scale, quantized_dtype, compute_dtype):
    """Return `inputs / scale`, rounded to the floats of `quantized_dtype`, times `scale`."""
    limit = float(ml_dtypes.finfo(quantized_dtype).max)
    inputs, scale = ops.cast(inputs, compute_dtype), ops.cast(scale, compute_dtype)
    x = ops.clip_by_value(inputs / scale, ops.cast(-limit, compute_dtype), ops.cast(limit, compute_dtype))
    return ops.cast(ops.cast(x, quantized_dtype), compute_dtype) * scale
