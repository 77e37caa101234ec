# SPDX-License-Identifier: Apache-2.0
"""Ragged components: made from elements of different lengths."""
import numpy as np

from fitloom import ops
from fitloom.data import structure


def stack(column, splits_dtype):
    """Return the RaggedTensor whose rows are the arrays of `column`."""
    rows = [np.asarray(component) for component in column]
    if rows[0].ndim == 1:
        values = np.concatenate(rows)
        lengths = np.array([len(r) for r in rows], splits_dtype.numpy_dtype)
        return ops.RaggedTensor.from_row_lengths(structure.to_tensor(values), structure.to_tensor(lengths))
    return ops.RaggedTensor.from_uniform_rows(rows) if hasattr(ops.RaggedTensor, "from_uniform_rows") else \
        ops.ragged.stack([structure.to_tensor(r) for r in rows])


def spec(tensor_spec, splits_dtype):
    """Return the RaggedTensorSpec of such a batch."""
    return ops.RaggedTensorSpec(tensor_spec.shape, tensor_spec.dtype, ragged_rank=1, row_splits_dtype=splits_dtype)
