# SPDX-License-Identifier: Apache-2.0
"""Sums and extremes over groups of slices: `segment_*`, `unsorted_segment_*`."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, as_index, host_value, static_int, static_ints, tensor

# ---- segments


def _product(rows, ids, count, indices_are_sorted=False):
    """Products of segments, with the gradient product / x where no other element is 0."""
    @jax.custom_jvp
    def product(x, ids):
        return jax.ops.segment_prod(x, ids, count)

    @product.defjvp
    def product_jvp(primals, tangents):
        (x, ids), (dx, _) = primals, tangents
        zero = x == 0
        filled = jnp.where(zero, jnp.ones((), x.dtype), x)
        rest = product(filled, ids)[ids] / filled
        zeros = jax.ops.segment_sum(zero.astype(jnp.int32), ids, count)[ids]
        others = jnp.where(zeros == zero, rest, jnp.zeros((), x.dtype))
        return product(x, ids), jax.ops.segment_sum(dx * others, ids, count)
    return product(rows, ids)


_SEGMENTS = {
    "sum": jax.ops.segment_sum,
    "prod": _product,
    "max": jax.ops.segment_max,
    "min": jax.ops.segment_min,
}


@op(name="segment")
def _segment(data, segment_ids, *, count, kind, is_sorted):
    ids, inner = segment_ids.reshape(-1), data.shape[segment_ids.ndim:]
    rows = data.reshape((-1, *inner))
    if kind in ("mean", "sqrt_n"):
        total = jax.ops.segment_sum(rows, ids, count, indices_are_sorted=is_sorted)
        n = jax.ops.segment_sum(jnp.ones(ids.shape, rows.dtype), ids, count, indices_are_sorted=is_sorted)
        n = jnp.maximum(n, jnp.ones((), n.dtype)).reshape((-1,) + (1,) * len(inner))
        return total / (jnp.sqrt(n) if kind == "sqrt_n" else n)
    out = _SEGMENTS[kind](rows, ids, count, indices_are_sorted=is_sorted)
    if kind in ("max", "min"):
        used = jax.ops.segment_sum(jnp.ones(ids.shape, jnp.int32), ids, count) > 0
        used = used.reshape((-1,) + (1,) * len(inner))
        # An empty segment: 0 when ids are sorted, the lowest (highest) value when they are not, as in TensorFlow.
        own = dtypes.as_dtype(data.dtype)
        empty = 0 if is_sorted else (own.min if kind == "max" else own.max)
        out = jnp.where(used, out, jnp.asarray(empty, data.dtype))
    return out


def _segmenting(kind, is_sorted, summary):
    def by_runs(data, segment_ids, name=None):
        count = 1 + int(host_value(segment_ids, "segment_ids").max(initial=-1))
        return _segment(tensor(data), as_index(segment_ids), count=count, kind=kind, is_sorted=True)

    def by_ids(data, segment_ids, num_segments, name=None):
        return _segment(tensor(data), as_index(segment_ids), count=static_int(num_segments), kind=kind, is_sorted=False)

    public = by_runs if is_sorted else by_ids
    public.__name__ = public.__qualname__ = ("" if is_sorted else "unsorted_") + f"segment_{kind}"
    public.__doc__ = summary
    return public


segment_sum = _segmenting("sum", True, "Return the sum of each run of equal, sorted ids.")
segment_prod = _segmenting("prod", True, "Return the product of each run of equal, sorted ids.")
segment_max = _segmenting("max", True, "Return the maximum of each run of equal, sorted ids.")
segment_min = _segmenting("min", True, "Return the minimum of each run of equal, sorted ids.")
segment_mean = _segmenting("mean", True, "Return the mean of each run of equal, sorted ids.")
unsorted_segment_sum = _segmenting("sum", False, "Return the sum of the slices of each id.")
unsorted_segment_prod = _segmenting("prod", False, "Return the product of the slices of each id.")
unsorted_segment_max = _segmenting("max", False, "Return the maximum of the slices of each id.")
unsorted_segment_min = _segmenting("min", False, "Return the minimum of the slices of each id.")
unsorted_segment_mean = _segmenting("mean", False, "Return the mean of the slices of each id.")
unsorted_segment_sqrt_n = _segmenting("sqrt_n", False, "Return sum / sqrt(count) of the slices of each id.")
