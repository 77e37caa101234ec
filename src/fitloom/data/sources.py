# SPDX-License-Identifier: Apache-2.0
"""Nodes without input: arrays, ranges, generators, random numbers."""
import inspect

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import composite, structure
from fitloom.data.access import ArrayAccess, RangeAccess
from fitloom.data.order import generator
from fitloom.data.plan import END, INFINITE, UNKNOWN, Flow, Node
from fitloom.data.structure import TensorSpec


class GeneratedTypeError(InvalidArgumentError, TypeError):
    """A generator yielded a value of another type than was declared."""


class Slices(Node):
    """Rows of arrays. The arrays are copied, as TensorFlow does, unless they are files mapped into memory."""

    name = "from_tensor_slices"

    def __init__(self, tensors):
        super().__init__()
        self.pattern = structure.listed(tensors)
        self.arrays = [composite.Rows(leaf) if isinstance(leaf, (ops.RaggedTensor, ops.SparseTensor))
                       else _private(leaf) for leaf in structure.flatten(self.pattern)]
        if not self.arrays:
            raise ValueError("Dataset.from_tensor_slices needs at least one tensor, but received none.")
        for array in self.arrays:
            if isinstance(array, np.ndarray) and array.ndim == 0:
                raise ValueError("Dataset.from_tensor_slices slices along the first axis, but received a scalar. "
                                 "Use from_tensors for a single element.")
        sizes = [len(array) for array in self.arrays]
        if len(set(sizes)) > 1:
            raise InvalidArgumentError("Dataset.from_tensor_slices needs tensors with the same number of rows, but "
                                       f"received {', '.join(map(str, sizes))} rows.")
        self.size = sizes[0]
        self.plain = all(isinstance(array, np.ndarray) for array in self.arrays)

    def element_spec(self, peek=True):
        return structure.pack(self.pattern, [a.spec if isinstance(a, composite.Rows) else
                                             structure.without_leading(structure.spec_of(a)) for a in self.arrays])

    def cardinality(self):
        return self.size

    def attributes(self):
        return (self.size, *[str(getattr(a, "dtype", "")) for a in self.arrays])

    def access(self):
        return ArrayAccess(self.arrays) if self.plain else None

    def flow(self, run):
        return IndexedFlow(self.size, lambda i: tuple([a[i, ...] if isinstance(a, np.ndarray) else a.rows[i]
                                                       for a in self.arrays]))


def _private(leaf):
    array = structure.to_numpy(leaf)
    if isinstance(array, np.ndarray) and not isinstance(array, np.memmap) and isinstance(leaf, np.ndarray) \
            and (array is leaf or np.shares_memory(array, leaf)):
        array = np.array(array, order="C")
    return array


class Tensors(Node):
    """One element."""

    name = "from_tensors"

    def __init__(self, tensors):
        super().__init__()
        self.pattern = structure.listed(tensors)
        self.flat = tuple([_private(leaf) for leaf in structure.flatten(self.pattern)])

    def element_spec(self, peek=True):
        return structure.pack(self.pattern, [structure.spec_of(c) for c in self.flat])

    def cardinality(self):
        return 1

    def flow(self, run):
        return IndexedFlow(1, lambda i: self.flat)


class IndexedFlow(Flow):
    """Elements get(0) ... get(size - 1)."""

    def __init__(self, size, get):
        self.size, self.get, self.position = size, get, 0

    def pull(self):
        if self.position >= self.size:
            return END
        self.position += 1
        return self.get(self.position - 1)

    def skip(self, count):
        skipped = min(count, self.size - self.position)
        self.position += skipped
        return skipped

    def state(self):
        return self.position

    def restore(self, state):
        self.position = state


class Range(Node):
    """start, start + step, ... before stop."""

    name = "range"

    def __init__(self, start, stop, step, dtype):
        super().__init__()
        if step == 0:
            raise InvalidArgumentError("Dataset.range needs a step other than 0.")
        self.start, self.step, self.dtype = start, step, dtypes.as_dtype(dtype)
        self.size = max(0, -((start - stop) // step))

    def element_spec(self, peek=True):
        return TensorSpec((), self.dtype)

    def cardinality(self):
        return self.size

    def attributes(self):
        return self.start, self.step, self.size

    def access(self):
        return RangeAccess(self.start, self.step, self.size, self.dtype.numpy_dtype)


class Random(Node):
    """An endless stream of int64 seeds, f(seed, iteration, position)."""

    name = "random"

    def __init__(self, seed, rerandomize):
        super().__init__()
        self.seed, self.rerandomize = seed, rerandomize

    def element_spec(self, peek=True):
        return TensorSpec((), "int64")

    def cardinality(self):
        return INFINITE

    def flow(self, run):
        iteration = run.key(self) if self.rerandomize else 0
        seed = self.seed

        def get(position):
            block, offset = divmod(position, 256)
            if block != cache[0]:
                cache[:] = block, generator(seed, iteration, 2 + block).integers(0, 2**32, 256, dtype=np.int64)
            return (cache[1][offset],)
        cache = [None, None]
        return IndexedFlow(1 << 62, get)


class Generated(Node):
    """What a Python generator yields, converted to the declared spec."""

    name = "from_generator"

    def __init__(self, call, spec, arguments):
        super().__init__()
        self.call, self.spec, self.arguments = call, spec, arguments
        self.specs = structure.flatten(spec)
        self.pack = structure.packer(spec)

    def element_spec(self, peek=True):
        return self.spec

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return GeneratorFlow(self)


class GeneratorFlow(Flow):
    """A running generator. Its position is a count: a restore runs it again and passes over as many elements."""

    def __init__(self, node):
        self.node, self.count, self.iterator = node, 0, None
        specs = node.specs
        self.plain = all(isinstance(s, TensorSpec) for s in specs)
        self.dtypes = [s.dtype.numpy_dtype if isinstance(s, TensorSpec) else None for s in specs]
        self.shapes = [_fixed(s) if isinstance(s, TensorSpec) else None for s in specs]
        self.nested = structure.is_nested(node.spec)
        self.flat_tuple = type(node.spec) is tuple and not any(structure.is_nested(c) for c in node.spec)

    def _begin(self):
        made = self.node.call(*self.node.arguments)
        self.iterator = iter(made)

    def pull(self):
        if self.iterator is None:
            self._begin()
        try:
            value = next(self.iterator)
        except StopIteration:
            return END
        except Exception as error:
            error.add_note(f"This happened in the generator of Dataset.from_generator"
                           f"({getattr(self.node.call, '__name__', 'generator')}), at element {self.count}.")
            raise
        flat = self._convert(value)
        self.count += 1
        return flat

    def _convert(self, value):
        if not self.nested:
            leaves = (value,)
        elif self.flat_tuple and isinstance(value, (tuple, list)) and len(value) == len(self.dtypes):
            leaves = value
        else:
            leaves = self._leaves(value)
        out = []
        for position, leaf in enumerate(leaves):
            dtype = self.dtypes[position]
            if dtype is None:
                out.append(self._composite(leaf, position))
                continue
            if leaf.__class__ is not np.ndarray or leaf.dtype != dtype or dtype == structure.STRING:
                leaf = self._component(leaf, dtype, position)
            else:
                leaf = leaf.copy()                          # generators reuse their buffers
            if leaf.shape != self.shapes[position]:
                self._check_shape(leaf, position)
            out.append(leaf)
        return tuple(out)

    def _leaves(self, value):
        try:
            value = _as(self.node.spec, value)
        except (KeyError, ValueError, TypeError) as error:
            raise GeneratedTypeError(
                f"Element {self.count} of the generator of Dataset.from_generator does not nest like the declared "
                f"output_signature {structure.outline(self.node.spec)}: it yielded {_describe(value)} "
                f"({error}).") from None
        return structure.flatten(value)

    def _component(self, leaf, dtype, position):
        try:
            if isinstance(leaf, (np.ndarray, np.generic)) and dtype != structure.STRING \
                    and leaf.dtype.kind in "fiub" and np.can_cast(leaf.dtype, dtype, "same_kind"):
                return np.asarray(leaf).astype(dtype)
            return np.asarray(engine.host_array(leaf, dtypes.as_dtype(dtype))) if not engine.is_tensor(leaf) \
                else structure.to_numpy(leaf, dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise GeneratedTypeError(
                f"Element {self.count} of the generator of Dataset.from_generator holds {_describe(leaf)} where "
                f"component {position} was declared as {self.node.specs[position]!r}: {error}") from None

    def _composite(self, leaf, position):
        spec = self.node.specs[position]
        if hasattr(spec, "_from_value"):
            return spec._from_value(leaf)
        if isinstance(spec, ops.RaggedTensorSpec) and isinstance(leaf, (list, np.ndarray)):
            leaf = ops.ragged.constant(leaf, dtype=spec.dtype, ragged_rank=spec.ragged_rank)
        found = structure.spec_of(leaf) if structure.is_opaque(leaf) else None
        if type(found) is not type(spec) or found.dtype != spec.dtype or not spec.shape.is_compatible_with(leaf.shape):
            raise GeneratedTypeError(
                f"Element {self.count} of the generator of Dataset.from_generator holds {_describe(leaf)} where "
                f"component {position} was declared as {spec!r}.")
        return leaf

    def _check_shape(self, leaf, position):
        spec = self.node.specs[position]
        if not spec.shape.is_compatible_with(leaf.shape):
            raise InvalidArgumentError(
                f"Element {self.count} of the generator of Dataset.from_generator has shape {tuple(leaf.shape)} where "
                f"component {position} was declared with shape {spec.shape}. Change the declared shape (None for a "
                "size that varies), or what the generator yields.")

    def state(self):
        return self.count

    def restore(self, state):
        if self.skip(state) < state:
            raise ValueError(f"Cannot resume Dataset.from_generator at element {state}: this time the generator "
                             f"ended after {self.count}.")

    def skip(self, count):
        if self.iterator is None:
            self._begin()
        for skipped in range(count):
            if next(self.iterator, self) is self:
                return skipped
            self.count += 1
        return count

    def close(self):
        if self.iterator is not None and inspect.isgenerator(self.iterator):
            try:
                self.iterator.close()
            except ValueError:
                pass                                        # still running in a worker that is being stopped
        self.iterator = iter(())


def _fixed(spec):
    return tuple(spec.shape.as_list()) if spec.shape.rank is not None and spec.shape.is_fully_defined() else None


def _as(spec, value):
    """Arrange a yielded value like the spec: lists stand for tuples."""
    if isinstance(spec, dict):
        if set(spec) != set(value):
            raise KeyError(f"expected the keys {sorted(spec)}, received {sorted(value)}")
        return {key: _as(spec[key], value[key]) for key in spec}
    if isinstance(spec, tuple):
        values = list(value)
        if len(values) != len(spec):
            raise ValueError(f"expected {len(spec)} components, received {len(values)}")
        return tuple(_as(s, v) for s, v in zip(spec, values))
    return value


def _describe(value):
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"{type(value).__name__} {value!r}"[:80]


def signature_of(output_types, output_shapes):
    """Return the spec for the old-style `output_types` and `output_shapes` of from_generator."""
    types = _tuples(output_types)
    flat = [dtypes.as_dtype(t) for t in structure.flatten(types)]
    if output_shapes is None:
        shapes = [None] * len(flat)
    else:
        shapes = _flatten_shapes(types, output_shapes)
    return structure.pack(types, [TensorSpec(shape, dtype) for shape, dtype in zip(shapes, flat)])


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (tuple, list)) else value


def _flatten_shapes(types, shapes):
    if isinstance(types, dict):
        return [leaf for key in sorted(types) for leaf in _flatten_shapes(types[key], shapes[key])]
    if isinstance(types, tuple):
        return [leaf for t, s in zip(types, shapes) for leaf in _flatten_shapes(t, s)]
    return [shapes]
