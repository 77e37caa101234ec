# SPDX-License-Identifier: Apache-2.0
"""Nodes that gather elements into batches and take them apart: batch, padded_batch, unbatch, rebatch, buckets."""
import numpy as np

from fitloom import ops
from fitloom.base import dtypes
from fitloom.base.errors import DataLossError, InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.data import composite, structure
from fitloom.data.access import stack, uniform
from fitloom.data.plan import (
    BY_ROW_BATCHES,
    END,
    INFINITE,
    POSITIONS,
    UNKNOWN,
    Flow,
    Node,
    prepared,
    resume,
    rows_of,
    snapshot,
)
from fitloom.data.structure import TensorSpec
from fitloom.data.transforms import Wrapper


class Batch(Node):
    """Consecutive elements stacked."""

    name = "batch"

    def __init__(self, source, size, drop_remainder):
        super().__init__(source)
        if size < 1:
            raise InvalidArgumentError(f"Dataset.{self.name} needs a batch_size of at least 1, but received {size}.")
        self.size, self.drop_remainder = size, drop_remainder

    def attributes(self):
        return self.size, int(self.drop_remainder)

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None:
            return None
        rows = self.size if self.drop_remainder else None
        return structure.map_structure(lambda s: structure.with_leading(s, rows), spec)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if size < 0:
            return size
        return size // self.size if self.drop_remainder else -(-size // self.size)

    def flow(self, run):
        access = self.inputs[0].access()
        if access is not None:
            return RowBatchFlow(self, run, access)
        return self._by_elements(run)

    def _by_elements(self, run):
        spec = self.inputs[0].element_spec(peek=False)
        if spec is not None and any(map(is_ragged, structure.flatten(spec))):
            return RaggedBatchFlow(self, run)
        return BatchFlow(self, run)

    def flow_of(self, kind, run):
        if kind == BY_ROW_BATCHES:
            return RowBatchFlow(self, run, prepared(self.inputs[0], run).access())
        return self._by_elements(run) if type(self) is Batch else self.flow(run)


class RowBatchFlow(Flow):
    """Whole batches gathered by row number."""

    kind = BY_ROW_BATCHES

    def __init__(self, node, run, access):
        source = node.inputs[0]
        self.access, self.rows_order, self.size = access, source.order(run), node.size
        self.drop_remainder = node.drop_remainder
        self.position, self.offset = 0, run.key(source) << POSITIONS

    def pull(self):
        numbers = self.rows_order.take(self.size)
        count = len(numbers)
        if count < self.size and (self.drop_remainder or not count):
            return END
        columns = self.access.rows(numbers, self.offset + self.position)
        self.position += count
        return columns

    def skip(self, count):
        passed = self.rows_order.skip(count * self.size)
        self.position += passed
        return passed // self.size if self.drop_remainder else -(-passed // self.size)

    def state(self):
        return self.position, self.offset, self.rows_order.state()

    def restore(self, state):
        self.position, self.offset, order = state
        self.rows_order.restore(order)


class BatchFlow(Wrapper):
    """Batches of elements that are pulled."""

    def pull(self):
        columns, elements, count = self.source.pull_block(self.node.size)
        if count < self.node.size and (self.node.drop_remainder or not count):
            return END
        return columns if columns is not None else self.stack(elements)

    def stack(self, elements):
        """Return the stacked components of elements that are not plain arrays of one shape."""
        return tuple([self.stack_one(column) for column in zip(*elements)])

    def stack_one(self, column):
        """Return the stacked values of one component."""
        first = column[0]
        if isinstance(first, ops.RaggedTensor):
            return composite.stack_ragged(column, splits_dtype=first.row_splits.dtype)
        if isinstance(first, ops.SparseTensor):
            return composite.stack_sparse(column)
        if first is structure.ABSENT:
            return first
        if isinstance(first, (np.ndarray, np.generic)):
            for position, component in enumerate(column):
                if component.dtype != first.dtype:
                    raise InvalidArgumentError(
                        f"Dataset.{self.node.name} cannot stack components of different dtypes in one batch: element 0 "
                        f"is {first.dtype.name} and element {position} is {component.dtype.name}. Make the dtypes "
                        "equal in a map before, with tf.cast.")
                if component.shape != first.shape:
                    raise InvalidArgumentError(
                        f"Dataset.{self.node.name} cannot stack components of different shapes in one batch: element 0 "
                        f"has shape {tuple(first.shape)} and element {position} has shape {tuple(component.shape)}. "
                        "Use padded_batch or ragged_batch, or make the shapes equal in a map before.")
        return stack([(component,) for component in column])[0]

    def skip(self, count):
        passed = self.source.skip(count * self.node.size)
        return passed // self.node.size if self.node.drop_remainder else -(-passed // self.node.size)


class PaddedBatch(Batch):
    """Batches whose components are filled up to a common shape."""

    name = "padded_batch"

    def __init__(self, source, size, shapes, values, drop_remainder):
        super().__init__(source, size, drop_remainder)
        self.shapes, self.values, self.to_boundary = shapes, values, False
        self._prepared = None

    def targets(self):
        """Return (padded shape or None, padding value) for each component."""
        if self._prepared is None:
            spec = self.inputs[0].element_spec()
            flat = structure.flatten(spec)
            for s in flat:
                if not isinstance(s, TensorSpec):
                    raise TypeError(f"Dataset.padded_batch is only supported for dense tensors, but received {s!r}. "
                                    "Use batch, which keeps ragged and sparse tensors, or make them dense in a map.")
            if self.shapes is None:
                shapes = [None] * len(flat)
                for s in flat:
                    if s.shape.rank is None:
                        raise ValueError("Dataset.padded_batch needs padded_shapes, because the rank of a component "
                                         f"is unknown: {s!r}.")
            else:
                shapes = [_shape(s) for s in _flatten_shapes(spec, self.shapes)]
            values = [None] * len(flat)
            if self.values is not None:
                values = structure.flatten(self.values) if structure.is_nested(self.values) else \
                    [self.values] * len(flat)
                if len(values) == 1 and len(flat) > 1:
                    values = values * len(flat)
            filled = []
            for s, value in zip(flat, values):
                dtype = s.dtype.numpy_dtype
                if value is None:
                    filled.append(b"" if dtype == structure.STRING else np.zeros((), dtype)[()])
                    continue
                given = structure.to_numpy(value)
                if (given.dtype.kind == "O") != (dtype == structure.STRING):
                    raise TypeError(f"Dataset.padded_batch received the padding value {value!r} for a component of "
                                    f"dtype {dtypes.name_of(dtype)}.")
                if given.dtype.kind == "O":
                    filled.append(given[()])
                    continue
                if isinstance(value, (np.generic, np.ndarray)) or hasattr(value, "aval"):
                    if given.dtype != dtype:
                        raise TypeError(f"Dataset.padded_batch received a padding value of dtype {given.dtype} for a "
                                        f"component of dtype {dtypes.name_of(dtype)}.")
                filled.append(given.astype(dtype)[()])
            self._prepared = list(zip(shapes, filled))
        return self._prepared

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None:
            return None
        rows = self.size if self.drop_remainder else None
        flat = structure.flatten(spec)
        padded = []
        for s, (shape, _) in zip(flat, self.targets()):
            dims = s.shape.as_list() if shape is None else shape
            padded.append(structure.with_leading(TensorSpec([d if d != -1 else None for d in dims], s.dtype), rows))
        return structure.pack(spec, padded)

    def flow(self, run):
        return PaddedBatchFlow(self, run)


def _shape(value):
    if isinstance(value, TensorShape):
        return value.as_list()
    return [None if d is None or int(d) == -1 else int(d) for d in (structure.to_numpy(value).reshape(-1)
            if not isinstance(value, (list, tuple)) else value)]


def _flatten_shapes(spec, shapes):
    if isinstance(spec, dict):
        return [leaf for key in sorted(spec) for leaf in _flatten_shapes(spec[key], shapes[key])]
    if isinstance(spec, tuple):
        if len(shapes) != len(spec):
            raise ValueError(f"Dataset.padded_batch needs padded_shapes for {len(spec)} components, but received "
                             f"{len(shapes)}.")
        return [leaf for s, shape in zip(spec, shapes) for leaf in _flatten_shapes(s, shape)]
    return [shapes]


class PaddedBatchFlow(BatchFlow):
    """Pads what is pulled."""

    def pull(self):
        elements = self.source.pull_many(self.node.size)
        if len(elements) < self.node.size and (self.node.drop_remainder or not elements):
            return END
        return tuple([self._pad(column, shape, value)
                      for column, (shape, value) in zip(zip(*elements), self.node.targets())])

    def _pad(self, column, shape, value):
        ndim = column[0].ndim
        for component in column:
            if component.ndim != ndim or (shape is not None and len(shape) != ndim):
                raise ValueError(f"Dataset.padded_batch expected components with "
                                 f"{ndim if shape is None else len(shape)} axes, but one has shape {component.shape}.")
        most = [max(sizes) for sizes in zip(*[c.shape for c in column])]
        if shape is not None:
            for axis, wanted in enumerate(shape):
                if wanted is None:
                    continue
                if most[axis] > wanted:
                    raise DataLossError(
                        f"Dataset.padded_batch cannot pad a component of size {most[axis]} on axis {axis} to the "
                        f"smaller size {wanted} of padded_shapes.")
                most[axis] = wanted
        out = np.empty((len(column), *most), column[0].dtype)
        out[...] = value
        for row, component in zip(out if ndim else range(len(column)), column):
            if ndim:
                row[tuple([slice(n) for n in component.shape])] = component
            else:
                out[row] = component[()]
        return out


class RaggedBatch(Batch):
    """Batches whose components keep their own lengths."""

    name = "ragged_batch"

    def __init__(self, source, size, drop_remainder, splits_dtype):
        super().__init__(source, size, drop_remainder)
        self.splits_dtype = splits_dtype

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        rows = self.size if self.drop_remainder else None

        return None if spec is None else structure.map_structure(
            lambda s: structure.with_leading(composite.row_spec(s, self.splits_dtype), rows), spec)

    def flow(self, run):
        return RaggedBatchFlow(self, run)


def is_ragged(spec):
    """Whether a component is ragged, or a row of something ragged."""
    return isinstance(spec, ops.RaggedTensorSpec)


class RaggedBatchFlow(BatchFlow):
    """Makes ragged tensors of what is ragged, or stands for it in the spec of the batches; stacks the rest."""

    def pull(self):
        node = self.node
        elements = self.source.pull_many(node.size)
        if len(elements) < node.size and (node.drop_remainder or not elements):
            return END
        return tuple([composite.stack_ragged(column, spec.ragged_rank - 1, spec.row_splits_dtype) if is_ragged(spec)
                      else self.stack_one(column)
                      for spec, column in zip(structure.flatten(node.element_spec()), zip(*elements))])


class Unbatch(Node):
    """The rows of each element."""

    name = "unbatch"

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None:
            return None
        rows = {structure.leading(leaf) for leaf in structure.flatten(spec)} - {None}
        if len(rows) > 1:
            raise InvalidArgumentError("Dataset.unbatch needs components with the same number of rows, but they have "
                                       f"{', '.join(map(str, sorted(rows)))}.")
        return structure.map_structure(structure.without_leading, spec)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        spec = self.inputs[0].element_spec(peek=False)
        rows = None if spec is None else structure.leading(structure.flatten(spec)[0])
        if size == INFINITE:
            return size
        return size * rows if size >= 0 and rows is not None else UNKNOWN

    def flow(self, run):
        return UnbatchFlow(self, run)


class UnbatchFlow(Wrapper):
    """Hands out the rows of one batch after another."""

    def __init__(self, node, run):
        super().__init__(node, run)
        self.rows, self.at, self.before = [], 0, None

    def pull(self):
        while self.at >= len(self.rows):
            if not self._fetch():
                return END
        self.at += 1
        return self.rows[self.at - 1]

    def _fetch(self):
        self.before = snapshot(self.source)
        batch = self.source.pull()
        self.at, self.rows = 0, []
        if batch is END:
            return False
        columns = [composite.rows(c) for c in batch]
        if len({len(c) for c in columns}) > 1:
            raise InvalidArgumentError(
                f"Dataset.unbatch needs components with the same number of rows, but they have "
                f"{', '.join(str(len(c)) for c in columns)}.")
        self.rows = list(zip(*columns))
        return True

    def state(self):
        return (self.before or snapshot(self.source), self.at)

    def restore_own(self, at):
        if at:
            self._fetch()
            self.at = at


class Rebatch(Node):
    """Rows in batches of other sizes."""

    name = "rebatch"

    def __init__(self, source, sizes, drop_remainder):
        super().__init__(source)
        self.sizes, self.drop_remainder = sizes, drop_remainder

    def attributes(self):
        return tuple(self.sizes)

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        rows = self.sizes[0] if self.drop_remainder and len(set(self.sizes)) == 1 else None
        return None if spec is None else structure.map_structure(lambda s: structure.with_leading(s, rows), spec)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if size >= 0 and len(self.sizes) == 1:
            return size // self.sizes[0] if self.drop_remainder else -(-size // self.sizes[0])
        return INFINITE if size == INFINITE else UNKNOWN

    def flow(self, run):
        return RebatchFlow(self, run)


class RebatchFlow(Wrapper):
    """Takes the sizes in turn."""

    turn = 0

    def pull(self):
        size = self.node.sizes[self.turn % len(self.node.sizes)]
        elements = self.source.pull_many(size)
        if len(elements) < size and (self.node.drop_remainder or not elements):
            return END
        self.turn += 1
        return stack(elements) if uniform(elements) else BatchFlow.stack(self, elements)

    def own_state(self):
        return (self.turn,)

    def restore_own(self, turn):
        self.turn = turn


class Replayed(Wrapper):
    """A flow whose position is the number of elements it gave: a restore runs it again from its beginning.

    For transformations that hold elements back in ways a few integers cannot say.
    """

    def begin(self):
        super().begin()
        self._start_over()

    def _start_over(self):
        self.first, self.given = snapshot(self.source), 0
        self.elements = self.generate()

    def generate(self):
        """Yield the flat elements."""
        raise NotImplementedError

    def incoming(self):
        """Yield the flat elements of the source."""
        while True:
            element = self.source.pull()
            if element is END:
                return
            yield element

    def pull(self):
        element = next(self.elements, END)
        if element is not END:
            self.given += 1
        return element

    def state(self):
        return self.first, self.given

    def restore(self, state):
        first, given = state
        self.source = resume(self.node.inputs[0], self.run, first)
        self._start_over()
        self.skip(given)


class Buckets(Node):
    """Batches of elements of similar length."""

    name = "bucket_by_sequence_length"

    def __init__(self, source, length, boundaries, sizes, pad, drop_remainder):
        super().__init__(source)
        self.function, self.boundaries, self.sizes = length, list(boundaries), list(sizes)
        self.pad, self.drop_remainder = pad, drop_remainder     # pad: PaddedBatch node that knows shapes and values

    def attributes(self):
        return (*self.boundaries, *self.sizes)

    def element_spec(self, peek=True):
        return self.pad.element_spec(peek) if self.pad is not None else Batch(
            self.inputs[0], 1, False).element_spec(peek)

    def cardinality(self):
        return INFINITE if self.inputs[0].cardinality() == INFINITE else UNKNOWN

    def flow(self, run):
        return BucketsFlow(self, run)


class BucketsFlow(Replayed):
    """Keeps one unfinished batch a bucket."""

    def generate(self):
        node = self.node
        if node.function.pack is None:
            node.function.nests(node.inputs[0].element_spec())
        buckets: dict = {}
        for number, element in enumerate(self.incoming()):
            length = int(np.asarray(node.function.element(element, number)[0]))
            bucket = int(np.searchsorted(node.boundaries, length, side="right"))
            held = buckets.setdefault(bucket, [])
            held.append(element)
            if len(held) == node.sizes[bucket]:
                yield self.batch(held, bucket)
                del buckets[bucket]
        if not node.drop_remainder:
            for bucket in sorted(buckets):
                yield self.batch(buckets[bucket], bucket)

    def batch(self, elements, bucket):
        """Return one padded batch."""
        node = self.node
        if node.pad is None:
            if uniform(elements):
                return stack(elements)
            return tuple([BatchFlow.stack_one(self, column) for column in zip(*elements)])
        columns = []
        for column, (shape, value) in zip(zip(*elements), node.pad.targets()):
            if node.pad.to_boundary:
                if bucket == len(node.boundaries):
                    raise InvalidArgumentError(
                        "Dataset.bucket_by_sequence_length with pad_to_bucket_boundary=True received an element longer "
                        f"than the last boundary {node.boundaries[-1]}.")
                dims = list(shape) if shape is not None else [None] * column[0].ndim
                shape = [node.boundaries[bucket] - 1 if d is None else d for d in dims]
            columns.append(PaddedBatchFlow._pad(self, column, shape, value))
        return tuple(columns)


__all__ = ["Batch", "Buckets", "PaddedBatch", "Rebatch", "Replayed", "Unbatch"]
