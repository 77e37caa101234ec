# SPDX-License-Identifier: Apache-2.0
"""Nodes that apply a function to each element: map, filter, take_while."""
import numpy as np

from fitloom.data import composite, structure
from fitloom.data.access import MappedAccess, stack, uniform
from fitloom.data.function import UNSET, Untraceable
from fitloom.data.plan import (
    BY_ROWS,
    END,
    INFINITE,
    POSITIONS,
    UNKNOWN,
    Flow,
    Node,
    Run,
    resume,
    rows_of,
    snapshot,
    start,
)
from fitloom.data.structure import TensorSpec
from fitloom.data.threads import AUTOTUNE, IDLE_SHARE, MOST_WORKERS, TRIALS, Workers, worker_count


class Wrapper(Flow):
    """A flow over one other; its state begins with the other's."""

    def __init__(self, node, run):
        self.node, self.run, self.source = node, run, None

    def begin(self):
        self.source = start(self.node.inputs[0], self.run)

    def state(self):
        return (snapshot(self.source), *self.own_state())

    def own_state(self):
        """Return this flow's own integers."""
        return ()

    def restore(self, state):
        self.source = resume(self.node.inputs[0], self.run, state[0])
        self.restore_own(*state[1:])

    def restore_own(self, *own):
        """Take this flow's own integers back."""

    def close(self):
        if self.source is not None:
            self.source.close()


class Map(Node):
    """A function of the user on each element."""

    name = "map"

    def __init__(self, source, function, parallel=None, deterministic=None):
        super().__init__(source)
        worker_count(parallel)                       # raises where it is not a number of threads
        self.function, self.parallel, self.deterministic = function, parallel, deterministic
        self._spec = None

    def _prepare(self):
        if self.function.pack is None:
            self.function.nests(self.inputs[0].like())
        return self.function

    def like(self):
        return self.function.structure if self.function.structure is not UNSET else self.element_spec()

    def element_spec(self, peek=True):
        if self._spec is None:
            spec = self.inputs[0].element_spec(peek)
            if spec is None:
                return None
            self._prepare()
            self._spec = self.function.spec(spec)
            if self._spec is None and peek:
                self._spec = peeked_spec(self)
        return self._spec

    def access(self):
        source = self.inputs[0].access()
        if source is None or not source.size:
            return None
        self._prepare()
        flat = structure.flatten(self.inputs[0].element_spec())
        try:
            signature = self.function.signature(
                tuple([(tuple(s.shape.as_list()), s.dtype.numpy_dtype) for s in flat]))
        except Untraceable:
            return None
        if signature.seeded and any(node.name == "cache" for node in self.walk()):
            return None      # whether the cache is full must not change the numbers that the function draws
        return MappedAccess(source, self.function)

    def order(self, run):
        return self.inputs[0].order(run)

    def of(self, element):
        """Return the function's result for one flat element."""
        return self._prepare().element(tuple(element), 0)

    def flow(self, run):
        count = worker_count(self.parallel, run.options)
        return ParallelMapFlow(self, run, count) if count > 1 else MapFlow(self, run)


def peeked_spec(node):
    """Find the spec of a node's elements by computing the first two; if there are none, one made of zeros."""
    flow = start(node, Run(peek=True))
    try:
        elements = flow.pull_many(2)
    finally:
        flow.close()
    if not elements:
        elements = imagined(node)
    if not elements:
        return None
    specs = [structure.spec_of(c) for c in elements[0]]
    for other in elements[1:]:
        specs = [structure.unify(s, structure.spec_of(c)) for s, c in zip(specs, other)]
    return structure.pack(node.function.structure, [composite.loosened(s) for s in specs])


def imagined(node) -> list:
    """Return what a node would make of an element of zeros and empty texts, in a list; empty where it cannot."""
    specs = structure.flatten(node.inputs[0].element_spec() or ())
    if not specs or not all(isinstance(s, TensorSpec) and s.shape.rank is not None for s in specs):
        return []
    shapes = [tuple(size or 0 for size in s.shape.as_list()) for s in specs]
    try:
        return [node.of([structure.strings(np.full(shape, b"")) if s.dtype.name == "string"
                         else np.zeros(shape, s.dtype.numpy_dtype) for shape, s in zip(shapes, specs)])]
    except Exception:                       # the function refuses such an element, as it may
        return []


class MapFlow(Wrapper):
    """Elements one after the other."""

    def __init__(self, node, run):
        super().__init__(node, run)
        self.function, self.number = node.function, run.key(node) << POSITIONS

    def pull(self):
        element = self.source.pull()
        if element is END:
            return END
        number = self.number
        self.number = number + 1
        if self.function.pack is None:
            self.node._prepare()
        return self.function.element(element, number)

    def pull_block(self, count):
        """Apply the function to many elements in one call, where it traces and they are of one shape."""
        if self.function.blocked is not None:
            return super().pull_block(count)
        columns, elements, found = self.source.pull_block(count)
        if not found:
            return None, [], 0
        number = self.number
        self.number = number + found
        self.node._prepare()
        if columns is not None:
            try:
                return self.function.rows(columns, found, number), None, found
            except Untraceable:
                elements = list(zip(*map(rows_of, columns)))
        results = [self.function.element(element, number + i) for i, element in enumerate(elements)]
        return (stack(results), None, found) if uniform(results) else (None, results, found)

    def skip(self, count):
        skipped = self.source.skip(count)
        self.number += skipped
        return skipped

    def own_state(self):
        return (self.number,)

    def restore_own(self, number):
        self.number = number


class ParallelMapFlow(MapFlow):
    """Elements in order, computed by threads some elements ahead."""

    def __init__(self, node, run, count):
        super().__init__(node, run)
        self.count, self.workers, self.ahead, self.ended = count, None, [], False
        self.grows, self.calls = node.parallel == AUTOTUNE, []
        self.seen = None                                    # the source's snapshot as the consumer knows it

    def pull(self):
        if self.workers is None:
            self.workers = Workers(self.count, f"Dataset.{self.node.name}({self.function.described()})")
        while not self.ended and len(self.ahead) < 2 * self.count:
            element = self.source.pull()
            if element is END:
                self.ended = True
                break
            number = self.number + len(self.ahead)
            self.node._prepare()
            task = self.workers.submit(self.function.element, element, number)
            self.ahead.append((task, snapshot(self.source)))
        if not self.ahead:
            self.workers.close()                            # a later pull starts others, and ends at once
            self.workers = None
            return END
        task, after = self.ahead.pop(0)
        self.number += 1
        self.seen = after
        value = task.result()
        if self.grows:
            self._tune(task)
        return value

    def _tune(self, task):
        """Add threads while calls mostly wait (for a disk, a network, a sleep): the order does not depend on them."""
        self.calls.append((task.elapsed_seconds, task.busy_seconds))
        if len(self.calls) == TRIALS:
            elapsed, busy = map(sum, zip(*self.calls))
            self.calls = []
            if elapsed > TRIALS * 1e-3 and busy < IDLE_SHARE * elapsed and self.count < MOST_WORKERS:
                self.count = min(2 * self.count, MOST_WORKERS)
                self.workers.grow(self.count)

    def pull_block(self, count):
        if self.function.blocked is None and not self.ahead and not self.ended:
            block = super().pull_block(count)
            self.seen = snapshot(self.source)
            return block
        return Flow.pull_block(self, count)

    def skip(self, count):
        if self.ahead:
            return Flow.skip(self, count)
        skipped = super().skip(count)
        if skipped:
            self.seen = snapshot(self.source)
        return skipped

    def state(self):
        return (self.seen if self.seen is not None else snapshot(self.source), self.number)

    def restore_own(self, number):
        self.number, self.ahead, self.ended, self.seen = number, [], False, None

    def close(self):
        if self.workers is not None:
            self.workers.close()
        super().close()


class Filter(Node):
    """The elements for which a function is true."""

    name = "filter"

    def __init__(self, source, function):
        super().__init__(source)
        self.function = function

    def element_spec(self, peek=True):
        return self.inputs[0].element_spec(peek)

    def cardinality(self):
        return INFINITE if self.inputs[0].cardinality() == INFINITE else UNKNOWN

    _prepare = Map._prepare

    def flow(self, run):
        return FilterFlow(self, run)


def check_predicate(node, result):
    """Raise unless the flat result of a predicate is one bool."""
    if len(result) != 1 or np.size(result[0]) != 1 or getattr(result[0], "dtype", None) != np.bool_:
        raise ValueError(f"Dataset.{node.name}({node.function.described()}) needs a predicate that returns one scalar "
                         f"tf.bool, but it returned {', '.join(map(str, map(structure.spec_of, result)))}.")


class FilterFlow(MapFlow):
    """Chosen elements. Predicates that trace are computed for a stretch of elements in one call."""

    stretch = 32

    def __init__(self, node, run):
        super().__init__(node, run)
        self.ready, self.at, self.before = [], 0, None      # a stretch with its verdicts; where in it we are

    def pull(self):
        while True:
            while self.at < len(self.ready):
                element, verdict = self.ready[self.at]
                self.at += 1
                self.number += 1
                if verdict is None:
                    verdict = self._verdict(element)
                if verdict:
                    return element
            if not self._fetch():
                return END

    def _fetch(self):
        self.before, self.at = snapshot(self.source), 0
        elements = self.source.pull_many(self.stretch if self.source.kind == BY_ROWS else 1)
        if elements:
            self.node._prepare()
        verdicts = [None] * len(elements)
        if len(elements) > 1:
            if uniform(elements):
                try:
                    columns = self.function.rows(stack(elements), len(elements), self.number)
                    check_predicate(self.node, [column[0] for column in columns])
                    verdicts = columns[0].reshape(len(elements)).tolist()
                except Untraceable:
                    pass
        self.ready = list(zip(elements, verdicts))
        return bool(elements)

    def _verdict(self, element):
        result = self.function.element(element, self.number - 1)
        check_predicate(self.node, result)
        return bool(np.asarray(result[0]).reshape(())[()])

    skip, pull_block = Flow.skip, Flow.pull_block

    def state(self):
        return (self.before or snapshot(self.source), self.number - self.at, self.at)

    def restore_own(self, number, at):
        self.number, self.ready, self.at = number, [], 0
        if at:
            self._fetch()
            self.at, self.number = at, number + at


class TakeWhile(Filter):
    """Elements up to the first for which a function is false."""

    name = "take_while"

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return TakeWhileFlow(self, run)


class TakeWhileFlow(MapFlow):
    """Ends for good at the first false."""

    ended = False
    _verdict = FilterFlow._verdict

    def pull(self):
        if self.ended:
            return END
        element = self.source.pull()
        if element is END:
            return END
        self.number += 1
        self.node._prepare()
        if not self._verdict(element):
            self.ended = True
            return END
        return element

    skip, pull_block = Flow.skip, Flow.pull_block

    def own_state(self):
        return self.number, int(self.ended)

    def restore_own(self, number, ended):
        self.number, self.ended = number, bool(ended)


__all__ = ["Filter", "Map", "TakeWhile", "Wrapper"]
