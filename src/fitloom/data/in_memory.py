# SPDX-License-Identifier: Apache-2.0
"""Plans so simple that a training loop may keep their data on the device: slices -> [shuffle] -> batch."""
from dataclasses import dataclass

from fitloom.data import structure
from fitloom.data.batching import Batch
from fitloom.data.caching import Cache
from fitloom.data.combining import Zip, is_sequential
from fitloom.data.ordering import Repeat, Shuffle
from fitloom.data.prefetching import Prefetch
from fitloom.data.sources import Slices


@dataclass(frozen=True)
class InMemoryPlan:
    """What `Dataset._in_memory_plan()` finds.

    Attributes:
        arrays: the source's arrays, nested like an element.
        batch_size: rows a batch.
        shuffle: None, or the Shuffle node (`size`, `seed`, `reshuffle`).
        drop_remainder: whether a smaller last batch is left out.
        repeat: how many rounds one iteration makes (None: endless).
        order: function() -> the rows' numbers of the next iteration, as one int64 array; it counts as an iteration.
    """

    arrays: object
    batch_size: int
    shuffle: object
    drop_remainder: bool
    repeat: object
    order: object

    def __iter__(self):
        return iter((self.arrays, self.batch_size, self.shuffle, self.drop_remainder))


def plan(node):
    """Return the InMemoryPlan of a node, or None."""
    repeat, batch, shuffle = 1, None, None
    while True:
        if isinstance(node, Prefetch) or (type(node) is Cache and not node.path and node.cardinality() >= 0
                                          and _plain(node.inputs[0])):
            node = node.inputs[0]
        elif isinstance(node, Repeat) and batch is None and repeat == 1:
            repeat, node = node.count, node.inputs[0]
        elif type(node) is Batch and batch is None:
            batch, node = node, node.inputs[0]
        elif isinstance(node, Shuffle) and batch is not None and shuffle is None:
            shuffle, node = node, node.inputs[0]
        else:
            break
    if batch is None or not _plain(node):
        return None
    access = node.access()
    arrays = None if access is None else access.whole()
    if arrays is None or any(array.dtype == structure.STRING for array in arrays):
        return None
    from fitloom.data.plan import Run, prepared

    def order():
        run = Run.of(batch.inputs[0])
        return prepared(batch.inputs[0], run).order(run).take(access.size)

    return InMemoryPlan(structure.pack(node.like(), list(arrays)), batch.size, shuffle, batch.drop_remainder, repeat,
                        order)


def _plain(node):
    if isinstance(node, (Prefetch, Cache)):
        return _plain(node.inputs[0])
    if isinstance(node, Zip):
        return is_sequential(node) and all(map(_plain, node.inputs))
    return isinstance(node, Slices)
