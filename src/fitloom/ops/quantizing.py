# SPDX-License-Identifier: Apache-2.0
"""Rounding to the numbers that a few bits can hold, with a gradient: `tf.quantization.fake_quant_*`."""
import jax
import jax.numpy as jnp

from fitloom.engine import op
from fitloom.ops.calling import tensor


@op(name="fake_quant")
def _fake_quant(x, low, high, *, levels, lowest):
    # The range is moved so that 0 is one of its numbers.
    scale = (high - low) / (levels - lowest)
    zero = jnp.clip(jnp.round(lowest - low / scale), lowest, levels)
    low, high = (lowest - zero) * scale, (levels - zero) * scale
    inside = jnp.clip(x, low, high)
    rounded = jnp.round((inside - low) / scale) * scale + low
    return inside + jax.lax.stop_gradient(rounded - inside)


def _levels(num_bits, narrow_range):
    return {"levels": 2 ** int(num_bits) - 1, "lowest": int(bool(narrow_range))}


def fake_quant_with_min_max_vars(inputs, min, max, num_bits=8, narrow_range=False, name=None):
    """Return `inputs` rounded to 2 ** num_bits numbers from `min` to `max`; the gradient is 1 inside, 0 outside.

    The gradients of `min` and `max` are those of the clipping.
    """
    return _fake_quant(tensor(inputs), tensor(min), tensor(max), **_levels(num_bits, narrow_range))


def fake_quant_with_min_max_args(inputs, min=-6, max=6, num_bits=8, narrow_range=False, name=None):
    """Return `inputs` rounded to 2 ** num_bits numbers from `min` to `max`; the gradient is 1 inside, 0 outside."""
    return fake_quant_with_min_max_vars(inputs, float(min), float(max), num_bits, narrow_range)


fake_quant_with_min_max_vars_per_channel = fake_quant_with_min_max_vars     # vectors go along the last axis
