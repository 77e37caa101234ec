# SPDX-License-Identifier: Apache-2.0
"""Orders: streams of row numbers. What `shuffle`, `repeat`, `take`... do, done to integers instead of elements.

`take(n)` returns the next row numbers as an int64 array, fewer than n only at the end. `state()` is a few integers.
"""
import numpy as np

BLOCK = 1024                      # random draws are made in blocks of this size, so that nobody's pace changes them
NONE = np.empty(0, np.int64)


def generator(seed, iteration, stream=0):
    """Return the counter-based generator of (seed, iteration): the order of an epoch depends on nothing else."""
    mask = (1 << 64) - 1
    return np.random.Generator(np.random.Philox(key=[seed & mask, iteration & mask], counter=[0, 0, 0, stream]))


class Order:
    """A running stream of row numbers."""

    def take(self, count):
        """Return the next `count` row numbers, fewer at the end."""
        raise NotImplementedError

    def skip(self, count) -> int:
        """Pass over rows; return how many there were."""
        skipped = 0
        while skipped < count:
            rows = self.take(min(count - skipped, 1 << 20))
            if not len(rows):
                break
            skipped += len(rows)
        return skipped

    def state(self):
        """Return the position as integers and tuples of them."""
        raise NotImplementedError

    def restore(self, state):
        """Go to a position, from any other."""
        raise NotImplementedError


class Sequential(Order):
    """0, 1, ..., size - 1."""

    def __init__(self, size):
        self.size, self.position = size, 0

    def take(self, count):
        start = self.position
        self.position = min(start + count, self.size)
        return np.arange(start, self.position)

    def skip(self, count):
        skipped = min(count, self.size - self.position)
        self.position += skipped
        return skipped

    def state(self):
        return self.position

    def restore(self, state):
        self.position = state


class Buffer:
    """The shuffle buffer's distribution over any items: fill, then emit a random slot and refill it, then drain.

    `pull(n)` returns up to n further items as a list. An input that fits in the buffer comes out as one uniform
    permutation, without a single draw for filling.
    """

    def __init__(self, size, seed, iteration, pull):
        self.size, self.seed, self.iteration, self.pull = size, seed, iteration, pull
        self.slots, self.started, self.ended = [], False, False
        self.draws, self.drawn, self.random = [], 0, None
        self.ready = []                                     # items fetched and not yet placed

    def _fetch(self, count):
        items = self.pull(count)
        if len(items) < count:
            self.ended = True
        return items

    def take(self, count) -> list:
        """Return the next `count` items, fewer at the end."""
        if not self.started:
            self.started = True
            self.slots = list(self._fetch(self.size))
            self.random = generator(self.seed, self.iteration)
            if self.ended:
                self._shuffle_rest()
        out: list = []
        while len(out) < count and not self.ended:
            if self.drawn == len(self.draws):
                self.draws, self.drawn = self.random.integers(0, self.size, BLOCK).tolist(), 0
            wanted = min(count - len(out), len(self.draws) - self.drawn)
            items = self._fetch(wanted)
            slots = self.slots
            for slot, item in zip(self.draws[self.drawn:self.drawn + len(items)], items):
                out.append(slots[slot])
                slots[slot] = item
            self.drawn += len(items)
            if self.ended:
                self._shuffle_rest()
        if len(out) < count and self.slots:
            rest = count - len(out)
            tail = self.slots[-rest:]                       # drained from the end: cheap to pop
            del self.slots[-rest:]
            out.extend(reversed(tail))
        return out

    def _shuffle_rest(self):
        order = generator(self.seed, self.iteration, 1).permutation(len(self.slots))
        slots = self.slots
        self.slots = [slots[i] for i in order.tolist()[::-1]]


class Shuffled(Order):
    """The rows of another order through a shuffle buffer.

    The state is (seed, iteration, emitted, where the input began): a restore plays the buffer again on row numbers.
    """

    def __init__(self, source, size, seed, iteration, count=None):
        self.source, self.size, self.seed, self.iteration = source, size, seed, iteration
        self.count = count                                  # number of rows of the source, where it is known
        self._begin()

    def _begin(self):
        self.first, self.emitted = self.source.state(), 0
        whole = self.count is not None and self.count <= self.size
        self.permutation = self.buffer = None
        if not whole:
            self.buffer = Buffer(self.size, self.seed, self.iteration, lambda n: self.source.take(n).tolist())

    def _permute(self):
        rows = self.source.take(self.count)
        order = generator(self.seed, self.iteration, 1).permutation(len(rows))
        self.permutation = rows[order]

    def take(self, count):
        if self.buffer is None:
            if self.permutation is None:
                self._permute()
            rows = self.permutation[self.emitted:self.emitted + count]
        else:
            rows = np.array(self.buffer.take(count), np.int64)
        self.emitted += len(rows)
        return rows

    def skip(self, count):
        if self.buffer is not None:
            return super().skip(count)
        if self.permutation is None:
            self._permute()
        skipped = min(count, len(self.permutation) - self.emitted)
        self.emitted += skipped
        return skipped

    def state(self):
        return self.seed, self.iteration, self.emitted, self.first

    def restore(self, state):
        self.seed, self.iteration, emitted, first = state
        self.source.restore(first)
        self._begin()
        self.skip(emitted)


class Repeated(Order):
    """An order again and again; `begin(round)` makes each round. `count` None: for ever."""

    def __init__(self, begin, count):
        self.begin, self.count, self.round, self.order, self.fresh = begin, count, 0, None, True

    def _next_round(self):
        if self.count is not None and self.round >= self.count:
            return False
        self.order, self.fresh = self.begin(self.round), True
        return True

    def _round_ended(self):
        self.order = None
        self.round += 1
        return not self.fresh                               # an empty input repeats to nothing

    def take(self, count):
        parts, missing = [], count
        while missing and (self.order is not None or self._next_round()):
            rows = self.order.take(missing)
            if len(rows):
                parts.append(rows)
                self.fresh = False
            if len(rows) < missing and not self._round_ended():
                break
            missing -= len(rows)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else NONE

    def skip(self, count):
        skipped = 0
        while skipped < count and (self.order is not None or self._next_round()):
            passed = self.order.skip(count - skipped)
            skipped += passed
            if passed:
                self.fresh = False
            if skipped < count and not self._round_ended():
                break
        return skipped

    def state(self):
        return self.round, None if self.order is None else self.order.state()

    def restore(self, state):
        self.round, inner = state
        self.order = None
        if inner is not None:
            self.order, self.fresh = self.begin(self.round), False
            self.order.restore(inner)


class Slice(Order):
    """Rows first, first + step, ... of another order, at most `count` of them (None: all)."""

    def __init__(self, source, first=0, step=1, count=None):
        self.source, self.first, self.step, self.count = source, first, step, count
        self.taken = 0

    def take(self, count):
        if self.count is not None:
            count = min(count, self.count - self.taken)
            if count <= 0:
                return NONE
        if self.taken == 0 and self.first and self.source.skip(self.first) < self.first:
            return NONE
        if self.step == 1:
            rows = self.source.take(count)
        else:
            rows = self.source.take((count - 1) * self.step + 1)[::self.step]
            if len(rows) == count:
                self.source.skip(self.step - 1)
        self.taken += len(rows)
        return rows

    def state(self):
        return self.taken, self.source.state()

    def restore(self, state):
        self.taken, inner = state
        self.source.restore(inner)
