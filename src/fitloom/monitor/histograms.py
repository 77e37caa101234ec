# SPDX-License-Identifier: Apache-2.0
"""Histograms: rows of (left, right, count) of equal intervals, counted on the device where the values are there."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

BUCKETS = 30


def rows_of(values, buckets=BUCKETS):
    """Return (left, right, count) for each of `buckets` equal intervals between the least and the largest value.

    Values that are not finite are left out. Equal values make intervals of width 1 around them, as TensorFlow does.
    """
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size == 0 or buckets == 0:
        return np.zeros((buckets, 3), np.float64)
    low, high = float(flat.min()), float(flat.max())
    if low == high:
        rows = np.zeros((buckets, 3), np.float64)
        rows[:, 0], rows[:, 1] = low - 0.5, high + 0.5
        rows[-1, 2] = flat.size
        return rows
    counts, edges = np.histogram(flat, buckets, (low, high))
    return np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float64)


def rows_on_device(arrays, buckets=BUCKETS):
    """Return the rows of many arrays, computed by one program on the device: what leaves it is 30 rows an array.

    Args:
        arrays: list of jax arrays.
    """
    return _program(buckets)(list(arrays))


@functools.cache
def _program(buckets):
    return jax.jit(lambda arrays: [_rows(array, buckets) for array in arrays])


def _rows(array, buckets):
    flat = array.ravel().astype(jnp.float64 if array.dtype == jnp.float64 else jnp.float32)
    if flat.size == 0:
        return jnp.zeros((buckets, 3), jnp.float64)
    finite = jnp.isfinite(flat)
    low = jnp.min(jnp.where(finite, flat, jnp.inf)).astype(jnp.float64)
    high = jnp.max(jnp.where(finite, flat, -jnp.inf)).astype(jnp.float64)
    width = (high - low) / buckets
    place = (flat.astype(jnp.float64) - low) / jnp.where(width > 0, width, 1)
    place = jnp.where(finite, jnp.clip(place, 0, buckets - 1), -1).astype(jnp.int32)
    same = low == high
    place = jnp.where(same & finite, buckets - 1, place)
    # a reduction for each bucket: vectorised, where a scatter would go element by element
    counts = jax.lax.map(lambda k: jnp.sum(place == k, dtype=jnp.int64), jnp.arange(buckets, dtype=jnp.int32))
    edges = low + width * jnp.arange(buckets + 1, dtype=jnp.float64)
    left = jnp.where(same, low - 0.5, edges[:-1])
    right = jnp.where(same, high + 0.5, edges[1:].at[-1].set(high))
    rows = jnp.stack([left, right, counts.astype(jnp.float64)], axis=1)
    return jnp.where(jnp.any(finite), rows, jnp.zeros_like(rows))
