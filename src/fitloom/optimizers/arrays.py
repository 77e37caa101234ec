# SPDX-License-Identifier: Apache-2.0
"""Pure functions of jax arrays that every update shares: clipping and norms."""
import jax.numpy as jnp


def norm(x):
    """Return the Euclidean norm of all elements."""
    return jnp.sqrt(jnp.sum(jnp.square(x)))


def rms(x):
    """Return the root of the mean square."""
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def clip_by_norm(x, limit):
    """Return x * limit / max(|x|, limit)."""
    return x * limit / jnp.maximum(norm(x), limit)


def clip_by_global_norm(gradients, limit):
    """Return gradients * limit / max(joint norm, limit); NaN everywhere if the norm is not finite."""
    total = jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(jnp.float32))) for g in gradients))
    scale = limit * jnp.minimum(1.0 / total, 1.0 / limit)
    scale = jnp.where(jnp.isfinite(total), scale, jnp.full((), jnp.nan, scale.dtype))
    return [g * scale.astype(g.dtype) for g in gradients]


def powers(base, step, dtype):
    """Return base^step for a whole-number step."""
    wide = jnp.promote_types(dtype, jnp.float32)        # bfloat16 has no 0.999
    return jnp.power(jnp.asarray(base, wide), step.astype(wide)).astype(dtype)


def debias(base, step, dtype):
    """Return 1 - base^step, what a running mean with decay `base` has to be divided by."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return (1 - jnp.power(jnp.asarray(base, wide), step.astype(wide))).astype(dtype)
