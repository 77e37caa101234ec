# SPDX-License-Identifier: Apache-2.0
"""Ragged and sparse components: batches made of rows, and taken apart into rows and into plain arrays."""
import numpy as np

from fitloom import ops
from fitloom.base.shapes import TensorShape
from fitloom.data import structure
from fitloom.data.plan import rows_of
from fitloom.data.structure import TensorSpec


def stack_ragged(column, rank=0, splits_dtype="int64"):
    """Return the RaggedTensor whose rows are the arrays or RaggedTensors of `column`, each with `rank` ragged axes."""
    rows = [_ragged(row, rank) for row in column]
    lengths = np.array([len(row) for row in rows])
    return ops.RaggedTensor.from_row_lengths(_joined(rows), lengths).with_row_splits_dtype(splits_dtype)


def _ragged(row, rank):
    """Return a row with its first `rank` axes after the outermost made ragged."""
    if isinstance(row, ops.RaggedTensor):
        return row
    array = np.asarray(row)
    if not rank:
        return array
    values = _ragged(array.reshape(array.shape[0] * array.shape[1], *array.shape[2:]), rank - 1)
    return ops.RaggedTensor.from_row_lengths(values if rank > 1 else structure.to_tensor(values),
                                             np.full(len(array), array.shape[1]))


def _joined(rows):
    """Return rows one after the other: a tensor, or a RaggedTensor where they are ragged themselves."""
    if not isinstance(rows[0], ops.RaggedTensor):
        return structure.to_tensor(np.concatenate([np.asarray(structure.to_numpy(row)) for row in rows]))
    lengths = np.concatenate([np.diff(np.asarray(row.row_splits)) for row in rows])
    return ops.RaggedTensor.from_row_lengths(_joined([row.values for row in rows]), lengths)


def stack_sparse(column):
    """Return the SparseTensor whose rows are the SparseTensors of `column`, as wide as the widest."""
    places = [np.asarray(row.indices) for row in column]
    numbered = [np.concatenate([np.full((len(p), 1), i, np.int64), p], axis=1) for i, p in enumerate(places)]
    widest = np.max([np.asarray(row.dense_shape) for row in column], axis=0)
    values = np.concatenate([structure.to_numpy(row.values) for row in column])
    return ops.SparseTensor(np.concatenate(numbered), structure.to_tensor(values), (len(column), *widest.tolist()))


def rows(component) -> list:
    """Return the rows of one component of a batch."""
    if isinstance(component, ops.RaggedTensor):
        if component.ragged_rank > 1:
            return list(component)
        splits, values = np.asarray(component.row_splits), structure.to_numpy(component.values)
        return [values[a:b] for a, b in zip(splits[:-1], splits[1:])]
    if isinstance(component, ops.SparseTensor):
        places, values = np.asarray(component.indices), structure.to_numpy(component.values)
        count, *inner = tuple(component.shape)
        order = np.argsort(places[:, 0], kind="stable")
        places, values = places[order], values[order]
        cuts = np.searchsorted(places[:, 0], np.arange(count + 1))
        return [ops.SparseTensor(places[a:b, 1:], structure.to_tensor(values[a:b]), tuple(inner))
                for a, b in zip(cuts[:-1], cuts[1:])]
    return rows_of(component)


class Rows:
    """The rows of a RaggedTensor or SparseTensor as a source of elements."""

    def __init__(self, tensor):
        self.dtype, self.spec = tensor.dtype.name, structure.without_leading(structure.spec_of(tensor))
        self.rows = rows(tensor)

    def __len__(self):
        return len(self.rows)


def row_spec(spec, splits_dtype="int64"):
    """Return what `ragged_batch` makes of the spec of an element: ragged up to its last open axis."""
    if not isinstance(spec, TensorSpec) or spec.shape.is_fully_defined():
        return spec
    rank = 0 if spec.shape.rank is None else max(axis for axis, size in enumerate(spec.shape.as_list()) if size is None)
    return ops.RaggedTensorSpec(spec.shape, spec.dtype, rank, splits_dtype)


def parts(flat) -> list:
    """Return the plain arrays that flat components are made of: what a file can hold."""
    found = []
    for component in flat:
        if isinstance(component, ops.RaggedTensor):
            found += [structure.to_numpy(component.flat_values), *map(structure.to_numpy, component.nested_row_splits)]
        elif isinstance(component, ops.SparseTensor):
            found += [structure.to_numpy(component.indices), structure.to_numpy(component.values),
                      structure.to_numpy(component.dense_shape)]
        else:
            found.append(component)
    return found


def part_types(spec) -> list:
    """Return the NumPy dtypes of the parts of a component."""
    dtype = spec.dtype.numpy_dtype
    if isinstance(spec, ops.RaggedTensorSpec):
        return [dtype, *[spec.row_splits_dtype.numpy_dtype] * spec.ragged_rank]
    if isinstance(spec, ops.SparseTensorSpec):
        return [np.dtype(np.int64), dtype, np.dtype(np.int64)]
    return [dtype]


def whole(spec, found):
    """Return the component of a spec from its parts."""
    if isinstance(spec, ops.RaggedTensorSpec) and spec.ragged_rank:
        values, *splits = found
        values = structure.to_tensor(values)
        for each in reversed(splits):
            values = ops.RaggedTensor.from_row_splits(values, each)
        return values
    if isinstance(spec, ops.SparseTensorSpec):
        return ops.SparseTensor(found[0], structure.to_tensor(found[1]), tuple(found[2].tolist()))
    return found[0]


def loosened(spec):
    """Return the spec with all axes of a ragged or sparse component open: one example does not tell them."""
    if isinstance(spec, ops.RaggedTensorSpec):
        return ops.RaggedTensorSpec(TensorShape([None] * spec.shape.rank), spec.dtype, spec.ragged_rank,
                                    spec.row_splits_dtype)
    if isinstance(spec, ops.SparseTensorSpec):
        return ops.SparseTensorSpec(TensorShape([None] * spec.shape.rank), spec.dtype)
    return spec
