# SPDX-License-Identifier: Apache-2.0
"""From values to one number: every mean carries (sum of w*v, count)."""
import math

from fitloom import ops
from fitloom.base import errors
from fitloom.losses.shapes import as_tensor

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Reduction:
    """Names of the reductions, as TensorFlow 2's `tf.keras.losses.Reduction` spells them."""

    AUTO = "sum_over_batch_size"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

    @classmethod
    def all(cls):
        """Return the names."""
        return ("sum_over_batch_size", "sum", "none")


def standardize_reduction(reduction):
    """Return a known reduction ('auto' of TensorFlow 2 means 'sum_over_batch_size').

    Raises:
        ValueError: an unknown name.
    """
    if reduction == "auto":
        return "sum_over_batch_size"
    if reduction not in REDUCTIONS:
        known = ", ".join(repr(r) for r in REDUCTIONS)
        raise ValueError(f"Invalid value for argument `reduction`: {reduction!r}."
                         f"{errors.did_you_mean(reduction, [r for r in REDUCTIONS if r])} It must be one of {known}.")
    return reduction


def align(weight, values):
    """Give `weight` the rank of `values`: (batch,) weighs the rows of (batch, ...), a last axis of 1 is dropped."""
    extra = len(weight.shape) - len(values.shape)
    if extra == 1 and weight.shape[-1] == 1:
        return ops.squeeze(weight, [-1])
    if extra < 0 and len(weight.shape):
        leading, wanted = tuple(weight.shape), tuple(values.shape)[:len(weight.shape)]
        if any(a not in (b, 1, None) and b is not None for a, b in zip(leading, wanted)):
            raise ValueError(f"sample_weight or mask of shape {leading} does not fit values of shape "
                             f"{tuple(values.shape)}: give one weight for each row, or for each value.")
        for _ in range(-extra):
            weight = ops.expand_dims(weight, -1)
    return weight


def _weighted(values, sample_weight, mask, dtype):
    """Return (values times weights with masked ones 0, weights or None, 0/1 mask or None), all of one rank."""
    values = as_tensor(values, dtype)
    if sample_weight is not None:
        sample_weight = align(as_tensor(sample_weight, dtype), values)
        values = values * sample_weight
    if mask is not None:
        mask = align(as_tensor(mask, "bool"), values)
        values = ops.where(mask, values, ops.zeros_like(values))
    return values, sample_weight, mask


def _count(values, sample_weight, mask, reduction, dtype):
    """Return what the sum of `values` is divided by (a float where it is known beforehand)."""
    if reduction == "sum":
        return 1.0
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        units = sample_weight if mask is None else ops.where(mask, sample_weight, ops.zeros_like(sample_weight))
    elif mask is not None:
        units = ops.cast(mask, dtype)
    else:
        return float(math.prod(values.shape))
    if tuple(units.shape) != tuple(values.shape):
        units = units * ops.ones_like(values)
    return ops.reduce_sum(units)


def sum_and_count(values, sample_weight, mask, reduction, dtype):
    """Return (sum of w*v, count) with loss = sum / count; masked values count for nothing.

    The count is the number of unmasked values for 'sum_over_batch_size' / 'mean' (and None), the sum of weights for
    'mean_with_sample_weight', 1 for 'sum'.
    """
    values, sample_weight, mask = _weighted(values, sample_weight, mask, dtype)
    return ops.reduce_sum(values), _count(values, sample_weight, mask, reduction, dtype)


def reduce_weighted(values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype="float32"):
    """Return values weighted, masked and reduced as `reduction` says."""
    values, sample_weight, mask = _weighted(values, sample_weight, mask, dtype)
    if reduction in (None, "none"):
        return values
    if reduction == "sum":
        return ops.reduce_sum(values)
    if mask is None and not (reduction == "mean_with_sample_weight" and sample_weight is not None):
        return ops.reduce_mean(values)
    return ops.divide_no_nan(ops.reduce_sum(values), _count(values, sample_weight, mask, reduction, dtype))
