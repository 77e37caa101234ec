# SPDX-License-Identifier: Apache-2.0
"""Values and gradients kept within bounds."""

from __future__ import annotations

import jax.numpy as jnp

from fitloom.base import nest
from fitloom.engine import op
from fitloom.ops.calling import joined, static_axis, tensor


@op(name="clip_by_value", same_dtype=True)
def _clip(x, low, high):
    # TensorFlow's gradient: all of it goes to x where low <= x <= high, ties included.
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def clip_by_value(t, clip_value_min, clip_value_max, name=None):
    """Return `t` with values below the minimum or above the maximum replaced by it.

    Example:
        >>> import fitloom as tf
        >>> tf.clip_by_value(tf.constant([-2.0, 0.5, 2.0]), -1, 1).numpy().tolist()
        [-1.0, 0.5, 1.0]
    """
    values = getattr(t, "values", None)
    if values is not None and hasattr(t, "dense_shape"):  # IndexedSlices
        return type(t)(clip_by_value(values, clip_value_min, clip_value_max), t.indices, t.dense_shape)
    return _clip(*joined("clip_by_value", (t, clip_value_min, clip_value_max)))


@op(name="clip_by_norm", same_dtype=True)
def _clip_by_norm(x, clip_norm, *, axes):
    total = jnp.sum(x * x, axis=axes, keepdims=True)
    positive = total > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, total, jnp.ones_like(total))), total)
    return x * clip_norm / jnp.where(norm >= clip_norm, norm, clip_norm)


def clip_by_norm(t, clip_norm, axes=None, name=None):
    """Return t * clip_norm / max(norm(t), clip_norm), the norm over `axes` (all of them if None)."""
    if hasattr(t, "dense_shape") and hasattr(t, "indices"):
        return type(t)(clip_by_norm(t.values, clip_norm, axes), t.indices, t.dense_shape)
    return _clip_by_norm(*joined("clip_by_norm", (t, clip_norm)), axes=static_axis(axes))


@op(name="global_norm")
def _global_norm(*tensors):
    # Accumulated in float32: squares of 16-bit floats overflow.
    wide = [t.astype(jnp.float32) if t.dtype.itemsize == 2 else t for t in tensors]
    total = sum(jnp.sum(jnp.square(t)) for t in wide)
    return jnp.sqrt(total).astype(tensors[0].dtype)


def _dense(value):
    if value is not None and hasattr(value, "dense_shape") and hasattr(value, "values"):
        return value.values
    return None if value is None else tensor(value)


def global_norm(t_list, name=None):
    """Return the square root of the sum of all squares in a list of tensors (None entries are left out)."""
    parts = [_dense(t) for t in nest.flatten(t_list) if t is not None]
    return _global_norm(*parts) if parts else None


@op(name="clip_by_global_norm")
def _clip_by_global_norm(norm, clip_norm, *tensors):
    # A norm that is not finite makes every result NaN, so that the fault is seen.
    clip_norm = clip_norm.astype(norm.dtype)
    scale = clip_norm * jnp.minimum(1 / norm, 1 / clip_norm)
    scale = jnp.where(jnp.isfinite(norm), scale, jnp.asarray(jnp.nan, norm.dtype))
    return tuple(t * scale.astype(t.dtype) for t in tensors)


def clip_by_global_norm(t_list, clip_norm, use_norm=None, name=None):
    """Return (the tensors scaled by clip_norm / max(norm, clip_norm), norm); norm is that of all together.

    Args:
        t_list: tensors; None entries stay None.
        use_norm: the norm, if it is known.
    """
    norm = global_norm(t_list) if use_norm is None else use_norm
    given = [t for t in t_list if t is not None]
    if not given:
        return list(t_list), norm
    clipped = iter(_clip_by_global_norm(norm, tensor(clip_norm) if not isinstance(clip_norm, int) else float(clip_norm),
                                        *[_dense(t) for t in given]))
    result = []
    for t in t_list:
        new = None if t is None else next(clipped)
        if new is not None and hasattr(t, "dense_shape") and hasattr(t, "values"):
            new = type(t)(new, t.indices, t.dense_shape)
        result.append(new)
    return result, norm
