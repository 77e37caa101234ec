# SPDX-License-Identifier: Apache-2.0
"""Nodes over several datasets: zip, concatenate, choose, interleave, flat_map."""
import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.data.access import ZippedAccess
from fitloom.data.order import BLOCK, Sequential, generator
from fitloom.data.plan import END, INFINITE, POSITIONS, UNKNOWN, Flow, Node, resume, snapshot, start
from fitloom.data.prefetching import PrefetchFlow
from fitloom.data.seeds import seeds_from
from fitloom.data.sources import Range, Slices, Tensors
from fitloom.data.threads import AUTOTUNE
from fitloom.data.transforms import Map, Wrapper


def is_sequential(node) -> bool:
    """Whether the node's order is simply first to last."""
    if isinstance(node, Map) or node.name == "prefetch":
        return is_sequential(node.inputs[0])
    return isinstance(node, (Slices, Range, Tensors, Zip)) or node.name == "cache"


class Zip(Node):
    """Elements of several datasets side by side, as long as the shortest."""

    name = "zip"

    def __init__(self, nest, nodes):
        super().__init__(*nodes)
        self.nest = nest                                    # its leaves stand for the inputs

    def element_spec(self, peek=True):
        specs = [node.element_spec(peek) for node in self.inputs]
        return None if None in specs else structure.pack(self.nest, specs)

    def like(self):
        return structure.pack(self.nest, [node.like() for node in self.inputs])

    def cardinality(self):
        sizes = [node.cardinality() for node in self.inputs]
        if UNKNOWN in sizes:
            return UNKNOWN
        return min([size for size in sizes if size != INFINITE], default=INFINITE)

    def access(self):
        if not all(map(is_sequential, self.inputs)):
            return None
        sources = [node.access() for node in self.inputs]
        return None if None in sources else ZippedAccess(sources)

    def order(self, run):
        return Sequential(self.access().size)

    def flow(self, run):
        return ZipFlow(self, run)


class Several(Flow):
    """A flow over several others."""

    def __init__(self, node, run):
        self.node, self.run, self.sources = node, run, []

    def begin(self):
        self.sources = [start(node, self.run.at(i << 32)) for i, node in enumerate(self.node.inputs)]

    def resume_all(self, snapshots):
        """Run every input from its snapshot."""
        self.sources = [resume(node, self.run.at(i << 32), inner)
                        for i, (node, inner) in enumerate(zip(self.node.inputs, snapshots))]

    def close(self):
        for source in self.sources:
            source.close()


class ZipFlow(Several):
    """Pulls each source in turn."""

    def pull(self):
        flat: list = []
        for source in self.sources:
            element = source.pull()
            if element is END:
                return END
            flat += element
        return tuple(flat)

    def skip(self, count):
        return min(source.skip(count) for source in self.sources)

    def state(self):
        return tuple([snapshot(source) for source in self.sources])

    def restore(self, state):
        self.resume_all(state)


class Concatenate(Node):
    """One dataset after the other."""

    name = "concatenate"

    def __init__(self, *nodes):
        super().__init__(*nodes)
        specs = [node.element_spec(peek=False) for node in nodes]
        if None not in specs:
            self._unify(specs)

    def _unify(self, specs):
        flats = [structure.flatten(spec) for spec in specs]
        if len({len(flat) for flat in flats}) > 1 or structure.skeleton(specs[0]) != structure.skeleton(specs[1]):
            raise TypeError(f"Dataset.concatenate needs datasets whose elements nest alike, but received "
                            f"{structure.outline(specs[0])} and {structure.outline(specs[1])}.")
        try:
            return structure.pack(specs[0], [structure.unify(a, b) for a, b in zip(*flats)])
        except TypeError as error:
            raise TypeError(f"Dataset.concatenate needs datasets of the same dtypes. {error}") from None

    def element_spec(self, peek=True):
        specs = [node.element_spec(peek) for node in self.inputs]
        return None if None in specs else self._unify(specs)

    def cardinality(self):
        sizes = [node.cardinality() for node in self.inputs]
        if INFINITE in sizes:
            return INFINITE
        return UNKNOWN if UNKNOWN in sizes else sum(sizes)

    def flow(self, run):
        return ConcatenateFlow(self, run)


class ConcatenateFlow(Flow):
    """Runs its sources one after the other."""

    def __init__(self, node, run):
        self.node, self.run, self.index, self.source = node, run, 0, None

    def begin(self):
        self.source = start(self.node.inputs[0], self.run)

    def _next(self):
        if self.index + 1 >= len(self.node.inputs):
            return False
        self.source.close()
        self.index += 1
        self.source = start(self.node.inputs[self.index], self.run.at(self.index << 32))
        return True

    def pull(self):
        while True:
            element = self.source.pull()
            if element is not END or not self._next():
                return element

    def skip(self, count):
        skipped = self.source.skip(count)
        while skipped < count and self._next():
            skipped += self.source.skip(count - skipped)
        return skipped

    def state(self):
        return self.index, snapshot(self.source)

    def restore(self, state):
        self.index, inner = state
        self.source = resume(self.node.inputs[self.index], self.run.at(self.index << 32), inner)

    def close(self):
        if self.source is not None:
            self.source.close()


class Sample(Node):
    """Elements drawn from several datasets with given probabilities."""

    name = "sample_from_datasets"

    def __init__(self, nodes, weights, seed, stop_on_empty, rerandomize):
        super().__init__(*nodes)
        self.weights, self.seed, self.stop_on_empty, self.rerandomize = weights, seed, stop_on_empty, rerandomize

    def attributes(self):
        return (len(self.inputs),)

    def element_spec(self, peek=True):
        return self.inputs[0].element_spec(peek)

    def cardinality(self):
        sizes = [node.cardinality() for node in self.inputs]
        if all(size == INFINITE for size in sizes):
            return INFINITE
        if self.stop_on_empty or UNKNOWN in sizes:
            return UNKNOWN
        return INFINITE if INFINITE in sizes else sum(sizes)

    def flow(self, run):
        return SampleFlow(self, run)


class SampleFlow(Several):
    """One draw an element: f(seed, iteration, number of the draw). Empty inputs are left out of later draws."""

    def __init__(self, node, run):
        super().__init__(node, run)
        self.iteration, self.drawn, self.empty = run.key(node) if node.rerandomize else 0, 0, ()
        self.block = (None, None)

    def _uniform(self):
        block, offset = divmod(self.drawn, BLOCK)
        if self.block[0] != block:
            self.block = block, generator(self.node.seed, self.iteration, 2 + block).random(BLOCK)
        self.drawn += 1
        return self.block[1][offset]

    def pull(self):
        weights = self.node.weights
        while len(self.empty) < len(self.sources):
            alive = [i for i in range(len(self.sources)) if i not in self.empty]
            shares = np.cumsum([weights[i] for i in alive])
            if shares[-1] <= 0:
                return END
            pick = alive[min(int(np.searchsorted(shares, self._uniform() * shares[-1], side="right")), len(alive) - 1)]
            element = self.sources[pick].pull()
            if element is not END:
                return element
            self.empty = (*self.empty, pick)
            if self.node.stop_on_empty:
                self.empty = tuple(range(len(self.sources)))
        return END

    def state(self):
        return self.iteration, self.drawn, self.empty, tuple([snapshot(source) for source in self.sources])

    def restore(self, state):
        self.iteration, self.drawn, self.empty, inner = state
        self.empty = tuple(self.empty)
        self.resume_all(inner)


class Choose(Node):
    """Elements from the dataset whose number another dataset gives."""

    name = "choose_from_datasets"

    def __init__(self, choice, nodes, stop_on_empty):
        super().__init__(choice, *nodes)
        self.stop_on_empty = stop_on_empty

    def element_spec(self, peek=True):
        return self.inputs[1].element_spec(peek)

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return ChooseFlow(self, run)


class ChooseFlow(ZipFlow):
    """The first source says which of the others is next."""

    ended = False

    def pull(self):
        while not self.ended:
            choice = self.sources[0].pull()
            if choice is END:
                break
            index = int(choice[0])
            if not 0 <= index < len(self.sources) - 1:
                raise InvalidArgumentError(f"Dataset.choose_from_datasets received the number {index}, but there are "
                                           f"{len(self.sources) - 1} datasets.")
            element = self.sources[1 + index].pull()
            if element is not END:
                return element
            self.ended = self.node.stop_on_empty
        return END

    skip = Flow.skip

    def state(self):
        return int(self.ended), super().state()

    def restore(self, state):
        self.ended = bool(state[0])
        super().restore(state[1])


class Interleave(Node):
    """A function makes a dataset of each element; their elements are taken in turn."""

    name = "interleave"

    def __init__(self, source, function, cycle, block, to_node, name="interleave", parallel=None):
        super().__init__(source)
        self.function, self.cycle, self.block, self.to_node, self.name = function, cycle, block, to_node, name
        self.readers = 0 if parallel is None else cycle if parallel == AUTOTUNE else min(parallel, cycle)
        self._spec = self._last = None

    def attributes(self):
        return self.cycle, self.block

    _prepare = Map._prepare

    def element_spec(self, peek=True):
        if self._spec is None and peek:
            from fitloom.data.plan import Run
            source = start(self.inputs[0], Run(peek=True))
            try:
                element = source.pull()
            finally:
                source.close()
            if element is END:
                return None
            self._spec = self.made(element, 0).element_spec()
        return self._spec

    def like(self):
        return self._last.like() if self._last is not None else self.element_spec()

    def cardinality(self):
        return UNKNOWN

    def made(self, element, number):
        """Return the node that the function makes of an element; its own seeds depend on the element's number."""
        with seeds_from(self.function.seed_of(number)):
            value = self._prepare().value(element, number)
        node = self.to_node(value)
        if node is None:
            raise TypeError(f"The function of Dataset.{self.name} must return a Dataset, but "
                            f"{self.function.described()} returned {type(value).__name__}.")
        self._last = node
        return node

    def flow(self, run):
        return InterleaveFlow(self, run)


class InterleaveFlow(Wrapper):
    """`cycle` open datasets, `block` elements from each in turn; a finished one is replaced by the next.

    The first `readers` of them are read ahead by a thread each, once their elements turn out to be slow.
    """

    def __init__(self, node, run):
        super().__init__(node, run)
        self.slots = [None] * node.cycle                    # (flow, snapshot of the source before it, number)
        self.current = self.given = 0
        self.number, self.ended = run.key(node) << POSITIONS, False

    def _open(self):
        before, number = snapshot(self.source), self.number
        element = self.source.pull()
        if element is END:
            self.ended = True
            return None
        self.number += 1
        made, run = self.node.made(element, number), self.run.at(number + 1)
        if self.current < self.node.readers:
            flow = PrefetchFlow(made, run, AUTOTUNE)
            flow.begin()
        else:
            flow = start(made, run)
        return flow, before, number

    def pull(self):
        idle = 0
        while idle <= len(self.slots):
            slot = self.slots[self.current]
            if slot is None and not self.ended:
                slot = self.slots[self.current] = self._open()
            if slot is None:
                idle += 1
                self._advance()
                continue
            element = slot[0].pull()
            if element is END:
                # TensorFlow moves on from a finished dataset; its place is taken when its turn comes again
                slot[0].close()
                self.slots[self.current] = None
                self._advance()
                idle = 0
                continue
            self.given += 1
            if self.given >= self.node.block:
                self._advance()
            return element
        return END

    def _advance(self):
        self.current, self.given = (self.current + 1) % len(self.slots), 0

    def state(self):
        slots = tuple([None if slot is None else (slot[1], slot[2], _inner(slot[0])) for slot in self.slots])
        return snapshot(self.source), slots, self.current, self.given, self.number, int(self.ended)

    def restore_own(self, slots, current, given, number, ended):
        self.current, self.given, self.number, self.ended = current, given, number, bool(ended)
        for position, slot in enumerate(slots):
            if slot is not None:
                before, made, inner = slot
                source = resume(self.node.inputs[0], self.run, before)
                node = self.node.made(source.pull(), made)
                source.close()
                run = self.run.at(made + 1)
                if position < self.node.readers:
                    flow = PrefetchFlow(node, run, AUTOTUNE)
                    flow.restore((inner,))
                else:
                    flow = resume(node, run, inner)
                self.slots[position] = flow, before, made

    def close(self):
        for slot in self.slots:
            if slot is not None:
                slot[0].close()
        super().close()


def _inner(flow):
    """Return the snapshot of an open dataset, the same whether a thread reads it ahead or not."""
    return flow.state()[0] if isinstance(flow, PrefetchFlow) else snapshot(flow)


class Nested(structure.Opaque):
    """A dataset as a component of an element: what `window` makes."""

    make_dataset = None        # set by dataset.py

    def __init__(self, node):
        self.node = node

    @property
    def _type_spec(self):
        return NestedSpec(self.node.element_spec())

    def _as_user_value(self):
        return Nested.make_dataset(self.node)


class NestedSpec:
    """`tf.data.DatasetSpec`: the spec of a dataset whose elements have the spec `element_spec`."""

    def __init__(self, element_spec, dataset_shape=()):
        self.element_spec, self.dataset_shape = element_spec, dataset_shape

    def __eq__(self, other):
        return isinstance(other, NestedSpec) and self.element_spec == other.element_spec

    def __hash__(self):
        return hash(str(self.element_spec))

    def __repr__(self):
        return f"DatasetSpec({self.element_spec!r}, TensorShape([]))"


NestedSpec.__name__ = NestedSpec.__qualname__ = "DatasetSpec"
