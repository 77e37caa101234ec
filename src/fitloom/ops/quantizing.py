# SPDX-License-Identifier: Apache-2.0
"""Rounding to the numbers that a few bits can hold, with a gradient: `tf.quantization.fake_quant_*`."""
import jax
import jax.numpy as jnp
import numpy as np

from fitloom.engine import op
from fitloom.ops.calling import tensor


@op(name="fake_quant")
def _fake_quant(x, low, high, *, levels, lowest):
    # The range is moved so that 0 is one of its numbers; the gradient takes it as given.
    scale = (high - low) / (levels - lowest)
    zero = jnp.clip(jnp.round(lowest - low / scale), lowest, levels)
    scale, zero = jax.lax.stop_gradient(scale), jax.lax.stop_gradient(zero)
    low, high = (end + jax.lax.stop_gradient((number - zero) * scale - end)
                 for end, number in ((low, lowest), (high, levels)))
    inside = jnp.where(x < low, low, jnp.where(x > high, high, x))    # at the ends the gradient is that of x
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


@op(name="eight_bit_contraction")
def eight_bit_contraction(x, kernel, scale, *, equation, limits, epsilon):
    """Return `einsum(equation, x, kernel / scale)` for an int8 kernel, in whole numbers where `limits` are given.

    Args:
        x: floats. With `limits` (lowest, largest) each of its slices that are summed over is quantized by its largest
            magnitude first.
        kernel: int8.
        scale: broadcasts to the result.
        equation: 'ab,bc->ac', without an ellipsis.
        limits: see `x`; None leaves `x` as it is.
        epsilon: keeps the scale of `x` finite.

    The gradient is that of the product of `x` and the kernel as floats; kernel and scale have none.
    """
    left, right = equation.split(",")
    weights, out = right.split("->")
    summed = tuple(at for at, letter in enumerate(left) if letter in weights and letter not in out)

    def floats(x, kernel, scale):
        return jnp.einsum(equation, x, kernel.astype(x.dtype)) / scale.astype(x.dtype)

    def whole(x, kernel, scale):
        if limits is None:
            return floats(x, kernel, scale)
        low, high = limits
        own = (high / (jnp.max(jnp.abs(x), axis=summed, keepdims=True) + epsilon)).astype(x.dtype)
        numbers = jnp.clip(jnp.round(x * own), low, high).astype(jnp.int8)
        total = jnp.einsum(equation, numbers, kernel, preferred_element_type=jnp.int32)
        kept = "".join(letter for at, letter in enumerate(left) if at not in summed)
        order = [kept.index(letter) for letter in out if letter in kept]
        own = jnp.transpose(jnp.squeeze(own, summed), order)
        own = jnp.expand_dims(own, tuple(at for at, letter in enumerate(out) if letter not in kept))
        return total.astype(x.dtype) / (own * scale.astype(x.dtype))

    contraction = jax.custom_vjp(whole)

    def backward(saved, upstream):
        x, kernel, scale = saved
        _, pull = jax.vjp(lambda x: floats(x, kernel, scale), x)
        return (*pull(upstream), np.zeros(kernel.shape, jax.dtypes.float0), jnp.zeros_like(scale))

    contraction.defvjp(lambda *arrays: (whole(*arrays), arrays), backward)
    return contraction(x, kernel, scale)
