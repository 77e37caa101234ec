# SPDX-License-Identifier: Apache-2.0
"""`Dataset.sparse_batch`: tensors of different shapes side by side in a SparseTensor."""
import numpy as np

from fitloom import ops
from fitloom.base.errors import DataLossError
from fitloom.data import structure
from fitloom.data.batching import Batch, BatchFlow
from fitloom.data.plan import END


class SparseBatch(Batch):
    """Batches of up to `size` elements, each a row of `row_shape` (None: as long as the longest of the batch)."""

    name = "sparse_batch"

    def __init__(self, source, size, row_shape):
        super().__init__(source, size, False)
        self.row_shape = row_shape

    def attributes(self):
        return *super().attributes(), *[-1 if length is None else length for length in self.row_shape]

    def access(self):
        return

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None:
            return None
        if structure.is_nested(spec) or not hasattr(spec, "dtype"):
            raise TypeError("Dataset.sparse_batch needs elements that are one tensor, but they are "
                            f"{type(spec).__name__}. Take one with map first.")
        return ops.SparseTensorSpec((None, *self.row_shape), spec.dtype)

    def flow(self, run):
        self.element_spec()
        return SparseBatchFlow(self, run)


class SparseBatchFlow(BatchFlow):
    """Every value of an element has its place."""

    def pull(self):
        rows = [np.asarray(element[0]) for element in self.source.pull_many(self.node.size)]
        if not rows:
            return END
        wanted = self.node.row_shape
        for row in rows:
            if row.ndim != len(wanted) or any(most is not None and n > most for n, most in zip(row.shape, wanted)):
                raise DataLossError(f"Dataset.sparse_batch(row_shape={list(wanted)}) received an element of shape "
                                    f"{row.shape}: it does not fit into a row.")
        places = [np.concatenate([np.full((row.size, 1), i), np.indices(row.shape).reshape(row.ndim, -1).T], axis=1)
                  for i, row in enumerate(rows)]
        lengths = [max(row.shape[axis] for row in rows) if most is None else most for axis, most in enumerate(wanted)]
        values = np.concatenate([row.ravel() for row in rows])
        return (ops.SparseTensor(np.concatenate(places), structure.to_tensor(values), (len(rows), *lengths)),)
