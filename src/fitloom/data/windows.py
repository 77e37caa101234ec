# SPDX-License-Identifier: Apache-2.0
"""Nodes that look at several elements: window, group_by_window, scan, unique, ignore_errors."""
from collections import deque

import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.data.batching import Replayed
from fitloom.data.combining import Nested
from fitloom.data.function import UNSET
from fitloom.data.plan import END, INFINITE, UNKNOWN, Flow, Node, snapshot
from fitloom.data.sources import IndexedFlow
from fitloom.data.transforms import Wrapper, peeked_spec


class Listed(Node):
    """The elements of a list."""

    name = "window"

    def __init__(self, elements, spec):
        super().__init__()
        self.elements, self.spec = elements, spec

    def element_spec(self, peek=True):
        return self.spec

    def cardinality(self):
        return len(self.elements)

    def flow(self, run):
        return IndexedFlow(len(self.elements), self.elements.__getitem__)


class Window(Node):
    """Nested datasets of `size` elements, beginning `shift` apart, taking every `stride`-th."""

    name = "window"

    def __init__(self, source, size, shift, stride, drop_remainder):
        super().__init__(source)
        for what, value in (("size", size), ("shift", shift), ("stride", stride)):
            if value < 1:
                raise InvalidArgumentError(f"Dataset.window needs a {what} of at least 1, but received {value}.")
        self.size, self.shift, self.stride, self.drop_remainder = size, shift, stride, drop_remainder

    def attributes(self):
        return self.size, self.shift, self.stride

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None:
            return None
        from fitloom.data.combining import NestedSpec
        return structure.map_structure(NestedSpec, spec)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if size < 0:
            return size
        if not self.drop_remainder:
            return -(-size // self.shift)
        span = (self.size - 1) * self.stride + 1
        return 0 if size < span else (size - span) // self.shift + 1

    def flow(self, run):
        return WindowFlow(self, run)


class WindowFlow(Wrapper):
    """Keeps the elements of the current window, each with the source's snapshot before it."""

    def __init__(self, node, run):
        super().__init__(node, run)
        self.held, self.owed, self.ended = deque(), 0, False   # owed: elements still to pass over before a window

    def pull(self):
        node = self.node
        if self.owed:
            self.source.skip(self.owed)
            self.owed = 0
        span = (node.size - 1) * node.stride + 1
        while len(self.held) < span and not self.ended:
            before = snapshot(self.source)
            element = self.source.pull()
            if element is END:
                self.ended = True
                break
            self.held.append((before, element))
        if not self.held or (node.drop_remainder and len(self.held) < span):
            return END
        elements = [element for _, element in list(self.held)[:span:node.stride]]
        passed = min(node.shift, len(self.held))
        for _ in range(passed):
            self.held.popleft()
        self.owed = node.shift - passed
        specs = structure.flatten(node.inputs[0].element_spec())
        return tuple([Nested(Listed([(element[i],) for element in elements], spec)) for i, spec in enumerate(specs)])

    def state(self):
        first = self.held[0][0] if self.held else snapshot(self.source)
        return first, self.owed

    def restore_own(self, owed):
        self.owed = owed


class GroupByWindow(Node):
    """Elements collected by key; each full window goes through a function that makes a dataset of it."""

    name = "group_by_window"

    def __init__(self, source, key, reduce, size, size_function, to_node):
        super().__init__(source)
        self.key, self.reduce, self.size, self.size_function = key, reduce, size, size_function
        self.to_node = to_node
        self._spec = self._last = None

    def element_spec(self, peek=True):
        if self._spec is None and peek:
            self._spec = peeked_nodes_spec(self)
        return self._spec

    def like(self):
        return self._last.like() if self._last is not None else self.element_spec()

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return GroupByWindowFlow(self, run)


def peeked_nodes_spec(node):
    """Find the spec of a node's elements by computing the first of its own datasets."""
    from fitloom.data.plan import Run
    flow = node.flow(Run(peek=True))
    flow.begin()
    try:
        for made in flow.nodes():
            return made.element_spec()
    finally:
        flow.close()
    return None


class GroupByWindowFlow(Replayed):
    """Windows are flushed when full, and in order of their keys at the end."""

    def generate(self):
        from fitloom.data.plan import start
        for made in self.nodes():
            flow = start(made, self.run)
            while (element := flow.pull()) is not END:
                yield element

    def nodes(self):
        """Yield the dataset made of each window."""
        node = self.node
        spec = node.inputs[0].element_spec()
        for function in (node.key,):
            if function.pack is None:
                function.nests(spec)
        windows: dict = {}
        for number, element in enumerate(self.incoming()):
            key = np.asarray(node.key.element(element, number)[0])
            held = windows.setdefault(int(key), [])
            held.append(element)
            size = node.size
            if size is None:
                size = int(node.size_function.element((np.int64(key),), number)[0])
            if len(held) >= size:
                yield self._reduced(int(key), windows.pop(int(key)), spec, number)
        for number, key in enumerate(sorted(windows)):
            yield self._reduced(key, windows[key], spec, number)

    def _reduced(self, key, elements, spec, number):
        value = self.node.reduce.value((np.int64(key), Nested(Listed(elements, spec))), number)
        made = self.node.to_node(value)
        if made is None:
            raise TypeError(f"The reduce_func of Dataset.group_by_window must return a Dataset, but "
                            f"{self.node.reduce.described()} returned {type(value).__name__}.")
        self.node._last = made
        return made


class Scan(Node):
    """A function of (state, element) -> (new state, output), carried along."""

    name = "scan"

    def __init__(self, source, initial, function):
        super().__init__(source)
        self.initial, self.function, self._spec = initial, function, None

    def element_spec(self, peek=True):
        if self._spec is None and peek:
            self._spec = peeked_spec(self)
        return self._spec

    def like(self):
        return self.function.structure if self.function.structure is not UNSET else self.element_spec()

    def begun(self):
        """Return the flat initial state."""
        state, carried = structure.split(structure.listed(self.initial))
        self.function.nests((state, self.inputs[0].element_spec()))
        return carried

    def step(self, carried, element, number):
        """Return the flat new state and the flat output."""
        result = self.function.value((*carried, *element), number)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError("The function of Dataset.scan must return (new_state, output_element).")
        output, flat = structure.split(structure.result_of(result[1]))
        self.function.structure = structure.skeleton(output)
        state = structure.split(structure.listed(result[0]))[1]
        for before, after in zip(carried, state):
            kinds = getattr(before, "dtype", None), getattr(after, "dtype", None)
            if kinds[0] != kinds[1]:
                raise TypeError(f"The new state of Dataset.scan must have the dtypes of its initial state, but "
                                f"{kinds[0]} became {kinds[1]}.")
        return state, flat

    def of(self, element):
        """Return the first output for one flat element."""
        return self.step(self.begun(), element, 0)[1]

    def flow(self, run):
        return ScanFlow(self, run)


class ScanFlow(Replayed):
    """A restore computes the states again from the beginning."""

    def generate(self):
        carried = self.node.begun()
        for number, element in enumerate(self.incoming()):
            carried, flat = self.node.step(carried, element, number)
            yield flat


class Unique(Node):
    """The first of equal elements."""

    name = "unique"

    def __init__(self, source):
        super().__init__(source)
        spec = source.element_spec(peek=False)
        for leaf in structure.flatten(spec) if spec is not None else []:
            if not isinstance(leaf, structure.TensorSpec) or leaf.dtype.name not in ("int32", "int64", "string"):
                raise TypeError(f"Dataset.unique compares int32, int64 and string components, but received {leaf!r}.")

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return UniqueFlow(self, run)


class UniqueFlow(Replayed):
    """Remembers what was given."""

    def generate(self):
        seen = set()
        for element in self.incoming():
            key = tuple([(c.shape, c.dtype.str, tuple(c.reshape(-1).tolist()) if c.dtype == structure.STRING
                          else c.tobytes()) for c in map(np.asarray, element)])
            if key not in seen:
                seen.add(key)
                yield element


class IgnoreErrors(Node):
    """Elements that could be computed."""

    name = "ignore_errors"
    most_in_a_row = 1_000_000

    def __init__(self, source, log_warning):
        super().__init__(source)
        self.log_warning, self.ignored = log_warning, 0

    def cardinality(self):
        size = self.inputs[0].cardinality()
        return INFINITE if size == INFINITE else UNKNOWN

    def flow(self, run):
        return IgnoreErrorsFlow(self, run)


class IgnoreErrorsFlow(Wrapper):
    """Asks again after an error, and counts."""

    def pull(self):
        from fitloom.data.function import LOGGER
        for _ in range(self.node.most_in_a_row):
            try:
                return self.source.pull()
            except Exception as error:
                self.node.ignored += 1
                if self.node.log_warning or self.node.ignored == 1:
                    LOGGER.warning("Dataset.ignore_errors left out an element (%d so far): %s: %s",
                                   self.node.ignored, type(error).__name__, error)
        raise RuntimeError(f"Dataset.ignore_errors met {self.node.most_in_a_row} errors in a row and no element.")

    skip = Flow.skip
