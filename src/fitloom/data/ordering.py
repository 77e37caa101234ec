# SPDX-License-Identifier: Apache-2.0
"""Nodes that choose or reorder elements: take, skip, shard, repeat, shuffle."""
from fitloom.base.errors import InvalidArgumentError
from fitloom.data.order import Buffer, Repeated, Shuffled, Slice
from fitloom.data.plan import END, INFINITE, UNKNOWN, Flow, Node, resume, snapshot, start
from fitloom.data.transforms import Wrapper


class Ordered(Node):
    """Nodes that only choose or reorder: on row numbers where the input has random access, on elements otherwise."""

    def element_spec(self, peek=True):
        return self.inputs[0].element_spec(peek)

    def access(self):
        return self.inputs[0].access()


class Take(Ordered):
    """The first `count` elements."""

    name = "take"

    def __init__(self, source, count):
        super().__init__(source)
        self.count = None if count == -1 else max(0, count)

    def attributes(self):
        return (self.count,)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if self.count is None or size == UNKNOWN:
            return size
        return self.count if size == INFINITE else min(size, self.count)

    def order(self, run):
        return Slice(self.inputs[0].order(run), count=self.count)

    def flow(self, run):
        return SliceFlow(self, run, 0, 1, self.count)


class Skip(Ordered):
    """All but the first `count` elements."""

    name = "skip"

    def __init__(self, source, count):
        super().__init__(source)
        self.count = count

    def attributes(self):
        return (self.count,)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if self.count == -1:
            return 0
        return size if size < 0 else max(0, size - self.count)

    def order(self, run):
        if self.count == -1:
            return Slice(self.inputs[0].order(run), count=0)
        return Slice(self.inputs[0].order(run), self.count)

    def flow(self, run):
        return SliceFlow(self, run, max(self.count, 0), 1, 0 if self.count == -1 else None)


class Shard(Ordered):
    """Every `shards`-th element, beginning at `index`."""

    name = "shard"

    def __init__(self, source, shards, index):
        super().__init__(source)
        if shards < 1:
            raise InvalidArgumentError(f"Dataset.shard needs num_shards of at least 1, but received {shards}.")
        if not 0 <= index < shards:
            raise InvalidArgumentError(f"Dataset.shard needs an index from 0 to {shards - 1}, but received {index}.")
        self.shards, self.index = shards, index

    def attributes(self):
        return self.shards, self.index

    def cardinality(self):
        size = self.inputs[0].cardinality()
        return size if size < 0 else max(0, -(-(size - self.index) // self.shards))

    def order(self, run):
        return Slice(self.inputs[0].order(run), self.index, self.shards)

    def flow(self, run):
        return SliceFlow(self, run, self.index, self.shards, None)


class SliceFlow(Wrapper):
    """Elements first, first + step, ..., at most `count`."""

    def __init__(self, node, run, first, step, count):
        super().__init__(node, run)
        self.first, self.step, self.count, self.taken = first, step, count, 0

    def pull(self):
        if self.count is not None and self.taken >= self.count:
            return END
        gap = self.first if self.taken == 0 else self.step - 1
        if gap and self.source.skip(gap) < gap:
            return END
        element = self.source.pull()
        if element is not END:
            self.taken += 1
        return element

    def skip(self, count):
        if self.count is not None:
            count = min(count, self.count - self.taken)
        if self.step != 1 or (self.taken == 0 and self.first):
            return super().skip(count)
        skipped = self.source.skip(count)
        self.taken += skipped
        return skipped

    def own_state(self):
        return (self.taken,)

    def restore_own(self, taken):
        self.taken = taken


class Repeat(Ordered):
    """The input again and again."""

    name = "repeat"

    def __init__(self, source, count):
        super().__init__(source)
        self.count = None if count is None or count == -1 else count

    def attributes(self):
        return (self.count,)

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if self.count == 0 or size == 0:
            return 0
        if self.count is None or size == INFINITE:
            return INFINITE
        return UNKNOWN if size == UNKNOWN else size * self.count

    def order(self, run):
        source = self.inputs[0]
        return Repeated(lambda number: source.order(run.at(number)), self.count)

    def flow(self, run):
        return RepeatFlow(self, run)


class RepeatFlow(Flow):
    """Rounds of the input, each started anew."""

    def __init__(self, node, run):
        self.node, self.run, self.round, self.source, self.empty = node, run, 0, None, True

    def pull(self):
        while True:
            if self.source is None and not self._begin():
                return END
            element = self.source.pull()
            if element is not END:
                self.empty = False
                return element
            if not self._finish():
                return END

    def _begin(self):
        if self.node.count is not None and self.round >= self.node.count:
            return False
        self.source, self.empty = start(self.node.inputs[0], self.run.at(self.round)), True
        return True

    def _finish(self):
        self.source.close()
        self.source = None
        self.round += 1
        return not self.empty

    def skip(self, count):
        skipped = 0
        while skipped < count:
            if self.source is None and not self._begin():
                break
            passed = self.source.skip(count - skipped)
            if passed:
                self.empty = False
            skipped += passed
            if skipped < count and not self._finish():
                break
        return skipped

    def state(self):
        return self.round, None if self.source is None else snapshot(self.source), int(self.empty)

    def restore(self, state):
        self.round, inner, empty = state
        self.empty = bool(empty)
        if inner is not None:
            self.source = resume(self.node.inputs[0], self.run.at(self.round), inner)

    def close(self):
        if self.source is not None:
            self.source.close()


class Shuffle(Ordered):
    """Elements through a shuffle buffer."""

    name = "shuffle"

    def __init__(self, source, size, seed, reshuffle):
        super().__init__(source)
        self.size, self.seed, self.reshuffle = size, seed, reshuffle

    def attributes(self):
        return (self.size,)

    def _iteration(self, run):
        return run.key(self) if self.reshuffle else 0

    def _size(self):
        if self.size is not None:
            return self.size
        size = self.inputs[0].cardinality()
        if size < 0:
            raise ValueError("Dataset.shuffle with a buffer_size of None or -1 covers the whole input, but the "
                             "input's size is not known, or infinite. Give a buffer_size.")
        return max(1, size)

    def order(self, run):
        source = self.inputs[0]
        count = source.cardinality()
        return Shuffled(source.order(run), self._size(), self.seed, self._iteration(run), count if count >= 0 else None)

    def flow(self, run):
        return ShuffleFlow(self, run)


class ShuffleFlow(Flow):
    """The buffer holds elements. A restore plays the buffer on numbers and fetches only what is in it."""

    def __init__(self, node, run):
        self.node, self.run = node, run
        self.iteration, self.source = node._iteration(run), None

    def begin(self):
        self._begin(start(self.node.inputs[0], self.run))

    def _begin(self, source):
        self.source, self.first, self.emitted = source, snapshot(source), 0
        self.buffer = Buffer(self.node._size(), self.node.seed, self.iteration, lambda n: self.source.pull_many(n))

    def pull(self):
        found = self.buffer.take(1)
        if not found:
            return END
        self.emitted += 1
        return found[0]

    def pull_many(self, count):
        found = self.buffer.take(count)
        self.emitted += len(found)
        return found

    def state(self):
        return self.iteration, self.emitted, self.first

    def restore(self, state):
        self.iteration, emitted, first = state
        self._begin(resume(self.node.inputs[0], self.run, first))
        if not emitted:
            return
        # Play with numbers, reading nothing: the input is only walked over to learn where it ends.
        numbers, source, fetched = self.buffer, self.source, [0]
        held = {}

        def pull(count):
            passed = source.skip(count)
            fetched[0] += passed
            return list(range(fetched[0] - passed, fetched[0]))
        numbers.pull = pull
        numbers.take(emitted)
        wanted = sorted(numbers.slots)
        walker = resume(self.node.inputs[0], self.run, first)
        position = 0
        for number in wanted:
            walker.skip(number - position)
            held[number] = walker.pull()
            position = number + 1
        walker.close()
        numbers.slots = [held[number] for number in numbers.slots]
        numbers.pull = lambda n: self.source.pull_many(n)
        self.emitted = emitted

    def close(self):
        if self.source is not None:
            self.source.close()
