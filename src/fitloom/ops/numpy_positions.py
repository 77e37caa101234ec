# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`, elements by position: take, scatter, slices, search, patterns."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops import arithmetic, creating, indexing, shaping
from fitloom.ops.calling import as_index, host_value, static_axis, static_int, static_ints
from fitloom.ops.casting import cast as _cast
from fitloom.ops.casting import saturate_cast as _saturate_cast
from fitloom.ops.numpy_style import reshape, transpose, unstack
from fitloom.ops.numpy_rules import as_float, as_number, as_tensor, one, promoted, two, with_attributes

# ---- elements by position


@op(name="take")
def _take(x, indices, *, axis):
    indices = jnp.where(indices < 0, indices + (x.size if axis is None else x.shape[axis]), indices)
    return jnp.take(x, indices, axis=axis, mode="clip")


def take(x, indices, axis=None):
    """Return elements (slices along `axis`) at indices; negative ones count from the end."""
    return _take(as_tensor(x), as_index(indices), axis=static_axis(axis))


def take_along_axis(x, indices, axis=None):
    """Return the elements that indices of x's shape pick along `axis`."""
    return indexing._take_along_axis(as_tensor(x), as_index(indices), axis=static_axis(axis))


def scatter(indices, values, shape):
    """Return zeros with values added at indices."""
    return indexing.scatter_nd(indices, as_tensor(values), shape)


def scatter_update(inputs, indices, updates, reduction=None):
    """Return `inputs` with the elements at indices replaced, or combined by 'add', 'max', 'min' or 'mul'."""
    kinds = {None: "update", "add": "add", "max": "max", "min": "min", "mul": "mul"}
    if reduction not in kinds:
        raise ValueError("scatter_update expected reduction None, 'add', 'max', 'min' or 'mul', but received "
                         f"{reduction!r}.")
    inputs = as_tensor(inputs)
    return indexing._scatter_into(inputs, as_index(indices), as_tensor(updates, inputs.dtype), kind=kinds[reduction])


def _starts(start_indices):
    parts = start_indices if isinstance(start_indices, (list, tuple)) else unstack(start_indices)
    return [as_index(s) for s in parts]


@op(name="slice")
def _slice(x, *starts, shape):
    return jax.lax.dynamic_slice(x, starts, shape)


@engine.composed
def slice(inputs, start_indices, shape):
    """Return the block of `shape` at `start_indices` (moved inward if it would leave the tensor).

    A size of -1 reaches to the end; its start must be known before the program runs.
    """
    inputs, shape = as_tensor(inputs), static_ints(shape)
    starts, sizes = start_indices, shape
    if -1 in shape:
        starts = static_ints(start_indices)
        sizes = [n - start if size == -1 else size
                 for size, start, n in zip(shape, starts, tuple(inputs.shape), strict=True)]
    return _slice(inputs, *_starts(starts), shape=tuple(sizes))


@op(name="slice_update")
def _slice_update(x, updates, *starts):
    return jax.lax.dynamic_update_slice(x, updates, starts)


def slice_update(inputs, start_indices, updates):
    """Return `inputs` with the block at `start_indices` replaced."""
    starts = _starts(start_indices)
    inputs = as_tensor(inputs)
    return _slice_update(inputs, as_tensor(updates, inputs.dtype), *starts)


@op(name="searchsorted")
def _searchsorted(sequence, values, *, side):
    return jnp.searchsorted(sequence, values, side=side).astype(jnp.int32)


def searchsorted(sorted_sequence, values, side="left"):
    """Return where each value would go in a sorted vector, int32."""
    if len(as_tensor(sorted_sequence).shape) != 1:
        raise ValueError("searchsorted expected a sorted_sequence with one axis.")
    return _searchsorted(*promoted(sorted_sequence, values), side=side)


def digitize(x, bins):
    """Return which interval between `bins` each value lies in, int32."""
    return _searchsorted(*promoted(bins, x), side="right")


def unravel_index(indices, shape):
    """Return the coordinates of flat positions, one tensor an axis."""
    return tuple(unstack(creating.unravel_index(as_tensor(indices), shape)))


def unique(x, sorted=True, return_index=False, return_inverse=False, return_counts=False, axis=None, size=None,
           fill_value=None):
    """Return distinct values (and first positions, inverse, counts); values must be known."""
    found = np.unique(host_value(as_tensor(x), "unique's input"), return_index=return_index,
                      return_inverse=return_inverse, return_counts=return_counts, axis=axis)
    results = list(found) if isinstance(found, tuple) else [found]
    if size is not None:
        values = results[0]
        along = 0 if axis is None else axis
        short = size - values.shape[along]
        widths = [(0, builtins.max(short, 0) if a == along else 0) for a in builtins.range(values.ndim)]
        results[0] = np.take(np.pad(values, widths, constant_values=0 if fill_value is None else fill_value),
                             np.arange(size), along)
    tensors = [engine.Tensor(r if i == 0 else r.astype(np.int32)) for i, r in enumerate(results)]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


# ---- rearranging by a pattern


def rearrange(tensor, pattern, **axes_lengths):
    """Return the tensor rearranged by a pattern such as 'b (h s) c -> b h (s c)'."""
    left, right = (_axes(side) for side in pattern.split("->"))
    tensor = as_tensor(tensor)
    if len(left) != len(tensor.shape):
        raise ValueError(f"rearrange expected a tensor with {len(left)} axes for '{pattern}', but received shape "
                         f"{tuple(tensor.shape)}.")
    sizes = dict(axes_lengths)
    for group, length in zip(left, tuple(tensor.shape), strict=True):
        known = int(np.prod([sizes[n] for n in group if n in sizes]))
        for name in group:
            sizes.setdefault(name, None if length is None else length // known)
    flat = [n for group in left for n in group]
    if builtins.sorted(flat) != builtins.sorted(n for group in right for n in group):
        raise ValueError(f"rearrange expected the same axes on both sides of '{pattern}'.")
    whole = [-1 if sizes[n] is None else sizes[n] for n in flat]
    out = transpose(reshape(tensor, whole), [flat.index(n) for group in right for n in group])
    return reshape(out, [-1 if None in (sizes[n] for n in group) else int(np.prod([sizes[n] for n in group]))
                         for group in right])


def _axes(side):
    groups, open_group = [], None
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            open_group = []
        elif token == ")":
            groups.append(open_group)
            open_group = None
        elif open_group is not None:
            open_group.append(token)
        else:
            groups.append([token])
    return groups
