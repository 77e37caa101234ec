# SPDX-License-Identifier: Apache-2.0
"""Datasets whose batches are dealt out to replicas."""
import numpy as np

from fitloom import engine
from fitloom.distribute.values import PerReplica, deal, map_values, per_replica


def distribute(strategy, dataset, options=None):
    """Return a dataset that yields global batches dealt out to the replicas."""
    if strategy.num_replicas_in_sync == 1 and not getattr(strategy, "workers", 1) > 1:
        return dataset
    if not hasattr(dataset, "element_spec"):
        raise TypeError(f"experimental_distribute_dataset needs a tf.data.Dataset, but received "
                        f"{type(dataset).__name__}. Use tf.data.Dataset.from_tensor_slices(...).batch(...), or "
                        "distribute_datasets_from_function.")
    return DistributedDataset(strategy, dataset)


def from_function(strategy, dataset_fn, context, options=None):
    """Return the dataset of a function, each of whose elements goes to one replica."""
    dataset = dataset_fn(context)
    if strategy.num_replicas_in_sync == 1:
        return dataset
    return DistributedDataset(strategy, dataset, one_each=True)


class DistributedDataset:
    """A dataset as a strategy sees it: iterating gives PerReplica values. `tf.distribute.DistributedDataset`."""

    def __init__(self, strategy, dataset, one_each=False):
        self._strategy, self._dataset, self._one_each = strategy, dataset, one_each

    def __iter__(self):
        return DistributedIterator(self._strategy, iter(self._dataset), self._one_each, self.element_spec)

    def __len__(self):
        return int(self.cardinality())

    def cardinality(self):
        """Return the number of global batches."""
        size = self._dataset.cardinality()
        count = self._strategy.num_replicas_in_sync
        return size if not self._one_each or int(size) < 0 else size // count

    @property
    def element_spec(self):
        """The spec of the global batches."""
        return self._dataset.element_spec


class DistributedIterator:
    """An iterator over a DistributedDataset."""

    def __init__(self, strategy, iterator, one_each, spec):
        self._strategy, self._iterator, self._one_each, self.element_spec = strategy, iterator, one_each, spec

    def __iter__(self):
        return self

    def __next__(self):
        engine.next_element()
        if self._one_each:
            count, elements = self._strategy.num_replicas_in_sync, []
            while len(elements) < count:
                element = next(self._iterator, None)
                if element is None:
                    break
                elements.append(element)
            if len(elements) < count:       # not one for each: what is left is dropped, as with drop_remainder
                raise StopIteration
            return per_replica(elements)
        return split(self._strategy, next(self._iterator))

    def get_next(self):
        """Return the next element; raise tf.errors.OutOfRangeError at the end."""
        from fitloom.base.errors import OutOfRangeError

        try:
            return next(self)
        except StopIteration:
            raise OutOfRangeError("End of sequence: the distributed dataset has no next element.") from None

    def state(self):
        """Return the position of the dataset's iterator."""
        return self._iterator.state()

    def restore(self, state):
        """Go to a position that `state()` told."""
        self._iterator.restore(state)


def split(strategy, batch):
    """Deal out the rows of a global batch to the replicas."""
    placement, count = strategy.extended.placement, strategy.num_replicas_in_sync

    def one(leaf):
        if not isinstance(leaf, (engine.Tensor, np.ndarray)):
            return leaf
        array = leaf.array if isinstance(leaf, engine.Tensor) else leaf
        if not array.shape:
            return leaf
        return PerReplica(engine.Tensor(placement.rows(array)), deal(array.shape[0], count))
    return map_values(one, batch)

