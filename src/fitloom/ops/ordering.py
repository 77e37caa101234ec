# SPDX-License-Identifier: Apache-2.0
"""Order and counts: sort, search, distinct values, partitions, histograms."""

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
from fitloom.ops.indexing import boolean_mask
from fitloom.ops.calling import alike, as_index, host_value, static_int, static_ints, tensor

# ---- order and search


@op(name="sort")
def _sort(x, *, axis, descending):
    if descending and jnp.issubdtype(x.dtype, jnp.floating):
        return -jnp.sort(-x, axis=axis)  # equals stay in order, so their gradients do
    return jnp.sort(x, axis=axis, descending=descending)


@op(name="argsort")
def _argsort(x, *, axis, descending):
    return jnp.argsort(x, axis=axis, descending=descending, stable=True).astype(jnp.int32)


def _descending(direction):
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"direction must be 'ASCENDING' or 'DESCENDING', but received '{direction}'.")
    return direction == "DESCENDING"


def sort(values, axis=-1, direction="ASCENDING", name=None):
    """Return `values` sorted along `axis`."""
    return _sort(tensor(values), axis=static_int(axis), descending=_descending(direction))


def argsort(values, axis=-1, direction="ASCENDING", stable=False, name=None):
    """Return the positions, int32, that sort `values` along `axis` (always stable)."""
    return _argsort(tensor(values), axis=static_int(axis), descending=_descending(direction))


@op(name="top_k")
def _top_k(x, *, k, index_type):
    values, positions = lax.top_k(x, k)
    return values, positions.astype(index_type)


class TopK(tuple):
    """(values, indices), also as attributes."""

    __slots__ = ()
    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])


@op(name="approx_k")
def _approx_k(x, *, k, axis, recall, largest, total, aggregate):
    find = lax.approx_max_k if largest else lax.approx_min_k
    return tuple(find(x, k, reduction_dimension=axis, recall_target=recall, aggregate_to_topk=aggregate,
                      reduction_input_size_override=total))


def approx_max_k(operand, k, reduction_dimension=-1, recall_target=0.95, reduction_input_size_override=-1,
                 aggregate_to_topk=True, name=None):
    """Return the k largest values along an axis and their positions; on TPUs some may be missed.

    Args:
        recall_target: the share of the k largest that is found at least, on average.
        reduction_input_size_override: the size of the axis of which `operand` is a part.
        aggregate_to_topk: False leaves more than k candidates.
    """
    return _approx_k(tensor(operand), k=static_int(k), axis=int(reduction_dimension), recall=float(recall_target),
                     largest=True, total=int(reduction_input_size_override), aggregate=builtins.bool(aggregate_to_topk))


def approx_min_k(operand, k, reduction_dimension=-1, recall_target=0.95, reduction_input_size_override=-1,
                 aggregate_to_topk=True, name=None):
    """Return the k smallest values along an axis and their positions: see `approx_max_k`."""
    return _approx_k(tensor(operand), k=static_int(k), axis=int(reduction_dimension), recall=float(recall_target),
                     largest=False, total=int(reduction_input_size_override),
                     aggregate=builtins.bool(aggregate_to_topk))


def top_k(input, k=1, sorted=True, index_type=dtypes.int32, name=None):
    """Return the `k` largest values along the last axis, falling, and their positions."""
    input, k = tensor(input), static_int(k)
    if input.shape[-1] is not None and k > input.shape[-1]:
        raise InvalidArgumentError(f"top_k expected k <= {input.shape[-1]}, the last axis's size, but received {k}.")
    return TopK(_top_k(input, k=k, index_type=dtypes.name_of(index_type)))


@op(name="in_top_k")
def _in_top_k(targets, predictions, *, k):
    target = jnp.take_along_axis(predictions, jnp.clip(targets, 0, predictions.shape[-1] - 1)[..., None], axis=-1)
    above = jnp.sum(predictions > target, axis=-1)
    valid = (targets >= 0) & (targets < predictions.shape[-1]) & jnp.isfinite(target[..., 0])
    return (above < k) & valid


def in_top_k(targets, predictions, k, name=None):
    """Return whether the score of the target class is among the `k` largest; ties at the edge count as in."""
    return _in_top_k(as_index(targets), tensor(predictions), k=static_int(k))


@op(name="nth_element")
def _nth_element(x, *, n, reverse):
    return jnp.sort(x, axis=-1, descending=reverse)[..., n]


def nth_element(input, n, reverse=False, name=None):
    """Return the n-th smallest (largest if `reverse`) value along the last axis, n from 0."""
    return _nth_element(tensor(input), n=static_int(n), reverse=bool(reverse))


@op(name="searchsorted")
def _searchsorted(sorted_sequence, values, *, side, dtype):
    if sorted_sequence.ndim == 1:
        return jnp.searchsorted(sorted_sequence, values, side=side).astype(dtype)
    rows = sorted_sequence.reshape(-1, sorted_sequence.shape[-1])
    wanted = values.reshape(-1, values.shape[-1])
    found = jax.vmap(lambda s, v: jnp.searchsorted(s, v, side=side))(rows, wanted)
    return found.reshape(values.shape).astype(dtype)


def searchsorted(sorted_sequence, values, side="left", out_type=dtypes.int32, name=None):
    """Return where each value would go in the sorted rows, before ('left') or after ('right') its equals."""
    sorted_sequence, values = alike("searchsorted", sorted_sequence, values)
    return _searchsorted(sorted_sequence, values, side=side, dtype=dtypes.name_of(out_type))


lower_bound = searchsorted


def upper_bound(sorted_sequence, values, out_type=dtypes.int32, name=None):
    """Return where each value would go in the sorted rows, after its equals."""
    return searchsorted(sorted_sequence, values, "right", out_type)


@op(name="bucketize")
def _bucketize(x, *, boundaries):
    return jnp.searchsorted(jnp.asarray(boundaries, x.dtype), x, side="right").astype(jnp.int32)


def bucketize(input, boundaries, name=None):
    """Return which interval between `boundaries` each value lies in, from 0."""
    return _bucketize(tensor(input), boundaries=tuple(float(b) for b in boundaries))


@op(name="invert_permutation", host=lambda x: np.argsort(x).astype(x.dtype))
def _invert_permutation(x):
    return jnp.argsort(x).astype(x.dtype)


def invert_permutation(x, name=None):
    """Return y with y[x[i]] = i."""
    return _invert_permutation(as_index(x))


# ---- what depends on values: on the host


def unique(x, out_idx=dtypes.int32, name=None):
    """Return (distinct values in order of appearance, index of each element in them)."""
    values, positions, _ = unique_with_counts(x, out_idx)
    return Unique((values, positions))


class Unique(tuple):
    """(y, idx) or (y, idx, count), also as attributes."""

    __slots__ = ()
    y = property(lambda self: self[0])
    idx = property(lambda self: self[1])
    count = property(lambda self: self[2])


def unique_with_counts(x, out_idx=dtypes.int32, name=None):
    """Return (distinct values in order of appearance, index of each element in them, how often each occurs)."""
    array, kind = host_value(tensor(x), "unique's input").ravel(), dtypes.numpy_dtype(out_idx)
    values, first, inverse, counts = np.unique(array, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    place = np.empty(len(order), kind)
    place[order] = np.arange(len(order))
    return Unique((engine.Tensor(values[order]), engine.Tensor(place[inverse.ravel()].astype(kind)),
                   engine.Tensor(counts[order].astype(kind))))


def setdiff1d(x, y, index_dtype=dtypes.int32, name=None):
    """Return (the values of `x` that are not in `y`, their positions)."""
    x, y = host_value(tensor(x), "setdiff1d's input"), host_value(tensor(y), "setdiff1d's input")
    places = np.flatnonzero(~np.isin(x, y))
    return engine.Tensor(x[places]), engine.Tensor(places.astype(dtypes.numpy_dtype(index_dtype)))


def dynamic_partition(data, partitions, num_partitions, name=None):
    """Return a list: entry k holds the slices of `data` whose partition is k (values known on the host)."""
    data, groups = tensor(data), host_value(partitions, "dynamic_partition's partitions")
    return [boolean_mask(data, groups == k) for k in builtins.range(static_int(num_partitions))]


@op(name="dynamic_stitch")
def _stitch(*arrays, size):
    half = len(arrays) // 2
    inner = arrays[half].shape[arrays[0].ndim:]
    out = jnp.zeros((size, *inner), arrays[half].dtype)
    for positions, data in zip(arrays[:half], arrays[half:], strict=True):
        out = out.at[positions.reshape(-1)].set(data.reshape((-1, *inner)))
    return out


def dynamic_stitch(indices, data, name=None):
    """Return the tensor whose slice indices[k][i] is data[k][i]; later entries win."""
    size = 1 + builtins.max(int(host_value(i, "dynamic_stitch's indices").max(initial=-1)) for i in indices)
    return _stitch(*[as_index(i) for i in indices], *alike("dynamic_stitch", *data), size=size)


parallel_dynamic_stitch = dynamic_stitch


# ---- counting


@op(name="bincount")
def _bincount(x, weights, *, length, dtype, rows, binary):
    def count(values, w):
        inside = (values >= 0) & (values < length)
        w = jnp.where(inside, w, jnp.zeros((), w.dtype))
        out = jnp.zeros(length, w.dtype).at[jnp.clip(values, 0, length - 1)].add(w)
        return (out > 0).astype(dtype) if binary else out.astype(dtype)
    if rows:
        return jax.vmap(count)(x, weights)
    return count(x.reshape(-1), weights.reshape(-1))


def bincount(arr, weights=None, minlength=None, maxlength=None, dtype=dtypes.int32, name=None, axis=None,
             binary_output=False):
    """Return how often each value 0, 1, ... occurs, or the sum of its weights.

    Args:
        minlength, maxlength: the length of the result; if equal, the values need not be known while compiling.
        axis: None counts everything, -1 each row.
        binary_output: 1 where a value occurs at all.
    """
    if minlength is not None and minlength == maxlength:
        length = static_int(maxlength)
    else:
        known = host_value(arr, "bincount's input (give minlength = maxlength)")
        length = int(known.max(initial=-1)) + 1
        length = builtins.max(length, static_int(minlength or 0))
        length = length if maxlength is None else builtins.min(length, static_int(maxlength))
    arr = as_index(arr)
    from fitloom.ops.creating import ones_like

    if weights is None:
        kind = dtypes.name_of(dtype)
        weights = ones_like(arr, dtype=dtype)
    else:
        weights = tensor(weights)
        kind = dtypes.name_of(weights.dtype)
    return _bincount(arr, weights, length=length, dtype=kind, rows=axis == -1 and len(arr.shape) == 2,
                     binary=bool(binary_output))


@op(name="histogram")
def _histogram_bins(values, low, high, *, nbins, dtype):
    scaled = jnp.floor((values - low) / (high - low) * nbins)
    return jnp.clip(scaled, 0, nbins - 1).astype(dtype)


def histogram_fixed_width_bins(values, value_range, nbins=100, dtype=dtypes.int32, name=None):
    """Return the bin, of `nbins` equal ones over `value_range`, that each value falls into."""
    values = tensor(values)
    low, high = host_value(value_range, "value_range")
    return _histogram_bins(values, *alike("histogram", values, low.item(), high.item())[1:], nbins=static_int(nbins),
                           dtype=dtypes.name_of(dtype))


def histogram_fixed_width(values, value_range, nbins=100, dtype=dtypes.int32, name=None):
    """Return how many values fall into each of `nbins` equal bins over `value_range`."""
    bins = histogram_fixed_width_bins(values, value_range, nbins)
    return bincount(bins, minlength=static_int(nbins), maxlength=static_int(nbins), dtype=dtype)


@op(name="confusion_matrix")
def _confusion_matrix(labels, predictions, weights, *, n):
    return jnp.zeros((n, n), weights.dtype).at[labels, predictions].add(weights)


def confusion_matrix(labels, predictions, num_classes=None, weights=None, dtype=dtypes.int32, name=None):
    """Return the matrix whose entry (i, j) counts examples of class i that were predicted as j."""
    from fitloom.ops.casting import cast
    from fitloom.ops.creating import ones_like

    if num_classes is None:
        num_classes = 1 + int(builtins.max(host_value(labels, "labels").max(initial=-1),
                                           host_value(predictions, "predictions").max(initial=-1)))
    labels, predictions = as_index(labels), as_index(predictions)
    weights = ones_like(labels, dtype=dtype) if weights is None else cast(weights, dtype)
    return _confusion_matrix(labels, predictions, weights, n=static_int(num_classes))


@op(name="is_non_decreasing")
def _rising(x, *, strictly):
    flat = x.reshape(-1)
    return jnp.all(flat[1:] > flat[:-1]) if strictly else jnp.all(flat[1:] >= flat[:-1])


def is_non_decreasing(x, name=None):
    """Return whether no element is smaller than the one before it."""
    return _rising(tensor(x), strictly=False)


def is_strictly_increasing(x, name=None):
    """Return whether every element is larger than the one before it."""
    return _rising(tensor(x), strictly=True)
