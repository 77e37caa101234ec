# SPDX-License-Identifier: Apache-2.0
"""`tf.sets`: the last axis as sets, on the host."""
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops.calling import host_value
from fitloom.ops.casting import bytes_array
from fitloom.ops.sparse import SparseTensor


def _sets(value, name):
    """Return ({position of the axes before the last: set}, shape of those axes, dtype)."""
    if isinstance(value, SparseTensor):
        shape, found = tuple(value.shape)[:-1], {}
        for place, item in zip(host_value(value.indices), host_value(value.values), strict=True):
            found.setdefault(tuple(place[:-1].tolist()), set()).add(item)
        return found, shape, value.dtype
    tensor = engine.convert_to_tensor(value)
    array = host_value(tensor, f"sets.{name}'s input")
    if not array.ndim:
        raise InvalidArgumentError(f"sets.{name} expected at least 1 axis, the sets' last one, but received a scalar.")
    return {place: set(array[place]) for place in np.ndindex(array.shape[:-1])}, array.shape[:-1], tensor.dtype


def _combined(a, b, name, combine):
    (ours, shape, dtype), (theirs, other_shape, other_dtype) = _sets(a, name), _sets(b, name)
    if shape != other_shape or dtype is not other_dtype:
        raise InvalidArgumentError(f"sets.{name} expected sets of one dtype and the same axes before the last, but "
                                   f"received {dtype.name} of {shape} and {other_dtype.name} of {other_shape}.")
    places, values, width = [], [], 0
    for place in np.ndindex(shape):
        items = sorted(combine(ours.get(place, set()), theirs.get(place, set())))
        places += [(*place, i) for i in range(len(items))]
        values += items
        width = max(width, len(items))
    made = bytes_array(values, (len(values),)) if dtype is dtypes.string else np.asarray(values, dtype.numpy_dtype)
    return SparseTensor(np.asarray(places, np.int64).reshape(-1, len(shape) + 1), engine.Tensor(made), (*shape, width))


def size(a, validate_indices=True):
    """Return the number of different values in each set, int32.

    Example:
        >>> import fitloom as tf
        >>> tf.sets.size([[1, 5, 5], [2, 3, 4]]).numpy().tolist()
        [2, 3]
    """
    found, shape, _ = _sets(a, "size")
    counts = [len(found.get(place, ())) for place in np.ndindex(shape)]
    return engine.Tensor(np.asarray(counts, np.int32).reshape(shape))


def union(a, b, validate_indices=True):
    """Return the values of either set, sorted, as a SparseTensor.

    Args:
        a, b: dense or sparse, alike but for the last axis.
    """
    return _combined(a, b, "union", set.union)


def intersection(a, b, validate_indices=True):
    """Return the values of both sets, sorted, as a SparseTensor."""
    return _combined(a, b, "intersection", set.intersection)


def difference(a, b, aminusb=True, validate_indices=True):
    """Return the values of `a` that are not in `b` (the other way around, unless `aminusb`), as a SparseTensor."""
    return _combined(a, b, "difference", set.difference if aminusb else lambda x, y: y - x)
