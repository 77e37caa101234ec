# SPDX-License-Identifier: Apache-2.0
"""Ragged components: made from elements of different lengths."""
import numpy as np

from fitloom import ops
from fitloom.data import structure


def stack(column, splits_dtype=None):
    """Return the RaggedTensor whose rows are the arrays of `column`."""
    rows = [np.asarray(component) for component in column]
    lengths = np.array([len(r) for r in rows], np.int64)
    if rows[0].ndim > 1 and len({r.shape[1:] for r in rows}) > 1:
        inner = stack([part for r in rows for part in r])
        return ops.RaggedTensor.from_row_lengths(inner, lengths)
    return ops.RaggedTensor.from_row_lengths(structure.to_tensor(np.concatenate(rows)), lengths)


def rows(ragged):
    """Return the rows of a RaggedTensor with one ragged axis as arrays."""
    splits = np.asarray(ragged.row_splits)
    values = np.asarray(ragged.values)
    return [values[a:b] for a, b in zip(splits[:-1], splits[1:])]


def spec(tensor_spec, splits_dtype):
    """Return the RaggedTensorSpec of such a batch."""
    return ops.RaggedTensorSpec(tensor_spec.shape, tensor_spec.dtype, ragged_rank=1, row_splits_dtype=splits_dtype)


class Rows:
    """The rows of a RaggedTensor as a source of elements."""

    dtype = None

    def __init__(self, tensor):
        self.tensor, self.dtype = tensor, tensor.dtype.name
        self.rows = rows(tensor) if tensor.ragged_rank == 1 else [tensor[i] for i in range(len(self))]

    def __len__(self):
        return int(self.tensor.nrows())

    def row_spec(self):
        """Return the spec of one row."""
        return ops.RaggedTensorSpec(self.tensor.shape[1:], self.tensor.dtype, self.tensor.ragged_rank - 1)
