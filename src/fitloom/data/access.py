# SPDX-License-Identifier: Apache-2.0
"""Random access: sources, and what was built on them, whose elements can be fetched by number and stacked at once.

`rows(numbers, start)` returns the flat components of those elements, stacked. `start` is the position in the stream
of the first of them: it numbers the random draws of mapped functions.
"""
from typing import Any

import numpy as np

from fitloom.data import structure


class Access:
    """Elements by number, all of one shape."""

    size: int

    def rows(self, numbers, start):
        """Return the stacked components of the elements `numbers`."""
        raise NotImplementedError

    def row_bytes(self) -> float:
        """Estimate the bytes of one element."""
        return 64

    def whole(self) -> Any:
        """Return the stacked components of all elements without a copy, or None where they are not in memory."""
        return


class ArrayAccess(Access):
    """Rows of arrays."""

    def __init__(self, arrays):
        self.arrays, self.size = arrays, len(arrays[0])

    def rows(self, numbers, start):
        return tuple([np.take(array, numbers, axis=0) for array in self.arrays])

    def row_bytes(self):
        return sum(array.nbytes for array in self.arrays) / max(1, self.size)

    def whole(self):
        return self.arrays


class RangeAccess(Access):
    """first, first + step, ..."""

    def __init__(self, first, step, size, dtype):
        self.first, self.step, self.size, self.dtype = first, step, size, dtype

    def rows(self, numbers, start):
        return ((self.first + numbers * self.step).astype(self.dtype, copy=False),)

    def whole(self):
        return self.rows(np.arange(self.size), 0) if self.size <= 1 << 24 else None


class ListAccess(Access):
    """Elements kept in a list, as by `cache`; rows() stacks them, so they must be of one shape."""

    def __init__(self, elements):
        self.elements, self.size = elements, len(elements)

    def rows(self, numbers, start):
        return stack([self.elements[i] for i in numbers])

    def row_bytes(self):
        return sum(getattr(component, "nbytes", 64) for component in self.elements[0])


class MappedAccess(Access):
    """A function over the elements of another access, one call for many elements."""

    def __init__(self, source, function):
        self.source, self.function, self.size = source, function, source.size

    def rows(self, numbers, start):
        return self.function.rows(self.source.rows(numbers, start), len(numbers), start)

    def row_bytes(self):
        return 4 * self.source.row_bytes()                  # bytes to floats


class ZippedAccess(Access):
    """Elements of several accesses side by side."""

    def __init__(self, sources):
        self.sources, self.size = sources, min(source.size for source in sources)

    def rows(self, numbers, start):
        return tuple([column for source in self.sources for column in source.rows(numbers, start)])

    def row_bytes(self):
        return sum(source.row_bytes() for source in self.sources)

    def whole(self):
        parts = [source.whole() for source in self.sources]
        if any(part is None for part in parts):
            return None
        return tuple([column[:self.size] for part in parts if part is not None for column in part])


def uniform(elements) -> bool:
    """Whether elements (flat tuples) have arrays of one shape and dtype in each place, so that they can be stacked."""
    if not elements:
        return False
    if not all(isinstance(component, (np.ndarray, np.generic)) for component in elements[0]):
        return False
    first = [(component.shape, component.dtype) for component in elements[0]]
    for element in elements:
        for (shape, dtype), component in zip(first, element):
            if component.__class__ is not np.ndarray and not isinstance(component, np.generic) \
                    or component.shape != shape or component.dtype != dtype:
                return False
    return True


def stack(elements):
    """Return flat columns from a list of flat elements of one shape."""
    columns = []
    for column in zip(*elements):
        first = column[0]
        if isinstance(first, (np.ndarray, np.generic)):
            if first.dtype == structure.STRING:
                out = np.empty((len(column),) + first.shape, object)
                for position, component in enumerate(column):
                    out[position] = component[()] if component.shape == () else component
                columns.append(out)
            else:
                columns.append(np.array(column) if first.ndim == 0 else np.stack(column))
        else:
            raise TypeError(f"Components of type {type(first).__name__} cannot be stacked to a batch here. Make them "
                            "dense in a map before: x.to_tensor(), tf.sparse.to_dense(x).")
    return tuple(columns)
