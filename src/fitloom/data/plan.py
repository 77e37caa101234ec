# SPDX-License-Identifier: Apache-2.0
"""The plan: a small immutable graph of nodes. A node started becomes a flow, which is pulled.

A node whose elements can be fetched by number has an `access()` and an `order()`; shuffle, repeat, take... then act on
row numbers only, `batch` gathers whole batches, and a mapped function runs once for many elements.
"""
import threading

from fitloom.data import structure
from fitloom.data.access import stack, uniform
from fitloom.data.order import Sequential

INFINITE, UNKNOWN = -1, -2
END = None                 # what `pull` returns after the last element
CHUNK_BYTES = 1 << 20      # rows of a plan consumed one by one are fetched in chunks of about this size
CHUNK_ROWS = 256
BY_ELEMENTS, BY_ROWS, BY_ROW_BATCHES = 0, 1, 2       # kinds of flows: a snapshot is resumed by the same kind
POSITIONS = 40             # bits of an element's number that hold its position; the rest hold the iteration


class Run:
    """One iteration of a plan: how often each node had been iterated before, and where in the plan we are.

    `path` tells rounds of a repeat and branches of a zip apart, so that every random order and number is a function
    of (seed, epoch, path, position) and of nothing that happened before.
    """

    __slots__ = ("options", "peek", "epochs", "path")

    def __init__(self, epochs=None, options=None, peek=False, path=0):
        self.epochs, self.options, self.peek, self.path = epochs or {}, options, peek, path

    @staticmethod
    def of(node, options=None) -> "Run":
        """Return the next iteration of a plan, and count it."""
        with _COUNTING:
            epochs = {each: each.epoch for each in node.walk()}
            for each in epochs:
                each.epoch += 1
        return Run(epochs, options)

    def at(self, number) -> "Run":
        """Return the run of a part: round or branch `number`; 0 is the same as the whole."""
        if not number:
            return self
        return Run(self.epochs, self.options, self.peek, mix(self.path + number))

    def key(self, node) -> int:
        """Return the number that tells this iteration of the node from all others."""
        epoch = self.epochs.get(node, 0)
        return epoch if not self.path else mix(self.path ^ mix(epoch))


def mix(number):
    """Return 64 well mixed bits (splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


MASK = (1 << 64) - 1
_COUNTING = threading.Lock()


class Node:
    """One transformation of a plan; `inputs` are the nodes it reads."""

    name = "dataset"

    def __init__(self, *inputs):
        self.inputs, self.epoch = inputs, 0

    # -- what is known without running

    def element_spec(self, peek=True):
        """Return the nest of specs of the elements; None where only running tells and `peek` is false."""
        return self.inputs[0].element_spec(peek)

    def like(self):
        """Return something that nests like the elements; after a first element has been pulled this runs nothing."""
        spec = self.element_spec(peek=False)
        return self.inputs[0].like() if spec is None and self.inputs else spec

    def cardinality(self):
        """Return the number of elements, INFINITE or UNKNOWN."""
        return self.inputs[0].cardinality()

    # -- running

    def access(self):
        """Return an Access to the elements by number, or None."""
        return

    def order(self, run):
        """Return the running Order of the elements among those of `access()`."""
        return Sequential(self.access().size)

    def flow(self, run):
        """Return a running Flow, for nodes without access."""
        raise NotImplementedError

    def flow_of(self, kind, run):
        """Return a flow of the kind that a snapshot was taken of."""
        return self.flow(run)

    def prepare(self, run):
        """Fill what must be in memory before `access()` can exist."""
        for node in self.inputs:
            if node.access() is None:
                node.prepare(run)

    def attributes(self):
        """Return what tells this node from another of its class: stored with states to refuse a foreign one."""
        return ()

    def fingerprint(self):
        """Describe the plan in a nested tuple of names and sizes."""
        return (self.name, *self.attributes(), *[node.fingerprint() for node in self.inputs])

    def walk(self):
        """Yield the node and all below it."""
        yield self
        for node in self.inputs:
            yield from node.walk()


class Flow:
    """A running node: elements are pulled as flat tuples of NumPy components; END after the last.

    A new flow is either begun or restored; both start what it reads from.
    """

    kind = BY_ELEMENTS

    def begin(self):
        """Start at the first element."""

    def pull(self):
        """Return the next flat element, or END."""
        raise NotImplementedError

    def pull_many(self, count) -> list:
        """Return up to `count` elements, fewer only at the end."""
        found: list = []
        while len(found) < count:
            element = self.pull()
            if element is END:
                break
            found.append(element)
        return found

    def pull_block(self, count):
        """Return (columns, None, n) of up to `count` elements stacked, or (None, elements, n) where they differ."""
        elements = self.pull_many(count)
        return (stack(elements), None, len(elements)) if uniform(elements) else (None, elements, len(elements))

    def skip(self, count) -> int:
        """Pass over elements; return how many there were."""
        for skipped in range(count):
            if self.pull() is END:
                return skipped
        return count

    def state(self):
        """Return the position as nested tuples of integers."""
        raise NotImplementedError

    def restore(self, state):
        """Go to the position at which `state()` was taken; the flow is fresh."""
        raise NotImplementedError

    def close(self):
        """Stop what runs beside; idempotent."""


class RowFlow(Flow):
    """Elements of a plan with random access, one by one: fetched in chunks, handed out singly.

    Chunks begin at multiples of their size in the stream, so that a resumed run computes the same chunks.
    """

    kind = BY_ROWS

    def __init__(self, access, order, iteration):
        self.access, self.rows_order = access, order
        self.offset = iteration << POSITIONS
        self.chunk = int(min(CHUNK_ROWS, max(1, CHUNK_BYTES // max(1, access.row_bytes()))))
        self.position = self.first = self.end = 0
        self.elements, self.ahead = [], order.state()       # the chunk, and the order's state where it begins

    def _fetch(self):
        self.ahead = self.rows_order.state()
        numbers = self.rows_order.take(self.chunk)
        self.first, self.end = self.position, self.position + len(numbers)
        if len(numbers):
            self.elements = list(zip(*map(rows_of, self.access.rows(numbers, self.offset + self.position))))
        return len(numbers)

    def pull(self):
        position = self.position
        if position >= self.end and not self._fetch():
            return END
        self.position = position + 1
        return self.elements[position - self.first]

    def pull_many(self, count):
        found = []
        while len(found) < count and (self.position < self.end or self._fetch()):
            start = self.position - self.first
            part = self.elements[start:start + count - len(found)]
            self.position += len(part)
            found += part
        return found

    def skip(self, count):
        skipped = min(count, self.end - self.position)
        self.position += skipped
        whole = (count - skipped) // self.chunk * self.chunk
        if whole:
            passed = self.rows_order.skip(whole)
            self.position += passed
            self.first = self.end = self.position
            self.ahead = self.rows_order.state()
            skipped += passed
        if skipped < count and self._fetch():
            part = min(count - skipped, self.end - self.position)
            self.position += part
            skipped += part
        return skipped

    def state(self):
        return self.position, self.first, self.ahead, self.offset

    def restore(self, state):
        position, self.first, self.ahead, self.offset = state
        self.rows_order.restore(self.ahead)
        self.position = self.end = self.first
        if position > self.first:
            self._fetch()
            self.position = position


def rows_of(column):
    """Return the rows of a stacked component as a list of NumPy components."""
    if column.ndim == 1 and column.dtype == structure.STRING:
        return [column[i:i + 1].reshape(()) for i in range(len(column))]
    return list(column)


def start(node, run) -> Flow:
    """Run a node from its beginning."""
    flow = _row_flow(node, run) if node.access() is not None else node.flow(run)
    flow.begin()
    return flow


def _row_flow(node, run):
    return RowFlow(node.access(), node.order(run), run.key(node))


def prepared(node, run):
    """Return the node with `access()`: a cache that was full when a snapshot was taken is filled again."""
    if node.access() is None:
        node.prepare(run)
    return node


def snapshot(flow):
    """Return a flow's position, with what `resume` needs to build it again."""
    return flow.kind, flow.state()


def resume(node, run, state) -> Flow:
    """Run a node from a snapshot."""
    kind, inner = state
    if kind == BY_ROWS:
        flow = _row_flow(prepared(node, run), run)
    else:
        flow = node.flow_of(kind, run)
    flow.restore(inner)
    return flow
