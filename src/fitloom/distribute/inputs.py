# SPDX-License-Identifier: Apache-2.0
"""Datasets whose batches are dealt out to replicas, and to workers."""
import copy
import itertools
import operator
import zlib

import jax
import numpy as np

from fitloom import engine, ops
from fitloom.base import nest
from fitloom.base.errors import OutOfRangeError
from fitloom.data import Dataset
from fitloom.data.combining import Interleave
from fitloom.data.experimental import AutoShardPolicy
from fitloom.data.ordering import Shard
from fitloom.data.records import Records
from fitloom.distribute.cluster import CLUSTER
from fitloom.distribute.values import PerReplica, deal, map_values, per_replica


def distribute(strategy, dataset, options=None):
    """Return a dataset that yields global batches dealt out to the replicas."""
    if strategy.num_replicas_in_sync == 1:
        return dataset
    if not hasattr(dataset, "element_spec"):
        raise TypeError(f"experimental_distribute_dataset needs a tf.data.Dataset, but received "
                        f"{type(dataset).__name__}. Use tf.data.Dataset.from_tensor_slices(...).batch(...), or "
                        "distribute_datasets_from_function.")
    return DistributedDataset(strategy, between_workers(strategy, dataset))


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
        size, each = self._dataset.cardinality(), len(local_replicas(self._strategy))
        return size if not self._one_each or int(size) < 0 else size // each

    @property
    def element_spec(self):
        """The spec of the global batches."""
        return self._dataset.element_spec

    def whole(self):
        """Return what `fit` reads: the global batches as tensors."""
        return _Whole(self) if self._one_each else self._dataset


class _Whole:
    """The elements for single replicas joined to global batches."""

    def __init__(self, distributed):
        self._distributed = distributed
        self.element_spec, self.cardinality = distributed.element_spec, distributed.cardinality

    def __iter__(self):
        for batch in self._distributed:
            yield map_values(lambda leaf: ops.reshape(leaf.whole, [-1, *leaf.whole.shape[2:]])
                             if isinstance(leaf, PerReplica) else leaf, batch)


class DistributedIterator:
    """An iterator over a DistributedDataset."""

    def __init__(self, strategy, iterator, one_each, spec):
        self._strategy, self._iterator, self._one_each, self.element_spec = strategy, iterator, one_each, spec

    def __iter__(self):
        return self

    def __next__(self):
        engine.next_element()
        if not self._one_each:
            return split(self._strategy, next(self._iterator))
        count = len(local_replicas(self._strategy))
        elements = list(itertools.islice(self._iterator, count))
        # without one for each replica what is left is dropped, as with drop_remainder
        if not all(CLUSTER.gather("next element", len(elements) == count)):
            raise StopIteration
        found = per_replica(elements)
        return map_values(lambda leaf: _together(self._strategy, leaf), found) if CLUSTER.size > 1 else found

    def get_next(self):
        """Return the next element; raise tf.errors.OutOfRangeError at the end."""
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


def local_replicas(strategy):
    """Return the numbers of this process's replicas."""
    return strategy.local_replicas()


def _together(strategy, leaf):
    """Make one PerReplica of those that the workers have of their own replicas."""
    if leaf.split != 0:
        raise ValueError("The elements for the replicas must have one shape. Batch with drop_remainder=True.")
    placement = strategy.extended.placement
    return PerReplica(engine.Tensor(jax.make_array_from_process_local_data(placement.split, leaf.whole.numpy())), 0)


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


# -- between workers

def between_workers(strategy, dataset):
    """Return what a worker iterates: by the dataset's AutoShardPolicy all of it, or its own part of each batch.

    DATA (and AUTO without files): every worker reads everything and keeps its rows of each batch. FILE: it reads its
    files. OFF: it reads all that its own dataset gives. With FILE and OFF, a batch of the dataset makes as many steps
    as there are workers, so that a step still sees the dataset's batch size.

    Raises:
        ValueError: the policy is FILE, and there are no files or fewer than workers.
    """
    if CLUSTER.size == 1 or not isinstance(dataset, Dataset):
        return dataset
    policy = policy_of(dataset)
    if policy in (AutoShardPolicy.DATA, AutoShardPolicy.HINT):
        return dataset
    if policy == AutoShardPolicy.OFF:
        return Parts(strategy, dataset)
    sharded, files = shard_files(dataset._node, CLUSTER.size, CLUSTER.rank)
    if files is not None and files >= CLUSTER.size:
        return Parts(strategy, Dataset(sharded, dataset.options()))
    if policy == AutoShardPolicy.FILE:
        reason = "it reads no files" if files is None else f"it reads {files} files"
        raise ValueError(f"AutoShardPolicy.FILE gives each of the {CLUSTER.size} workers files of its own, but {reason}"
                         ". Use AutoShardPolicy.DATA, or write at least one file for each worker.")
    return dataset


def policy_of(dataset):
    """Return a dataset's AutoShardPolicy."""
    options = dataset.options()
    for group in (options.distribute, options.experimental_distribute):
        if group.auto_shard_policy is not None:
            return AutoShardPolicy(int(group.auto_shard_policy))
    return AutoShardPolicy.AUTO


def shard_files(node, count, index):
    """Return (the plan with every `count`-th file only, number of files), or (the plan, None) if it reads none."""
    if isinstance(node, Records):
        mine = copy.copy(node)
        mine.paths = node.paths[index::count]
        return mine, len(node.paths)
    if isinstance(node, Interleave) and _is_name(node.inputs[0].element_spec()):
        files = node.inputs[0].cardinality()
        if files >= 0:
            mine = copy.copy(node)
            mine.inputs = (Shard(node.inputs[0], count, index), *node.inputs[1:])
            return mine, files
    parts = [shard_files(each, count, index) for each in node.inputs]
    files = [found for _, found in parts if found is not None]
    if not files:
        return node, None
    mine = copy.copy(node)
    mine.inputs = tuple(part for part, _ in parts)
    return mine, min(files)


def _is_name(spec):
    return getattr(spec, "dtype", None) is not None and spec.dtype.name == "string" and spec.shape.rank == 0


class Parts:
    """Global batches of which every worker brings a part from its own dataset."""

    def __init__(self, strategy, dataset):
        self._strategy, self._dataset = strategy, dataset

    @property
    def element_spec(self):
        """The spec of the batches."""
        return self._dataset.element_spec

    def cardinality(self):
        """Return the number of global batches, where all workers know it and have the same."""
        size = int(self._dataset.cardinality())
        sizes = CLUSTER.gather("cardinality", size)
        return size * CLUSTER.size if size >= 0 and len(set(sizes)) == 1 else min(sizes) if min(sizes) < 0 else -2

    def options(self):
        """Return the dataset's options."""
        return self._dataset.options()

    def __iter__(self):
        placement, full = self._strategy.extended.placement, None
        parts, like = self._parts(), None
        while True:
            part = next(parts, None)
            leaves = None if part is None else nest.flatten(part)
            rows = 0 if part is None else len(leaves[0])
            like = like if leaves is None else [leaf[:0] for leaf in leaves]
            everyone = CLUSTER.gather("next batch", rows)
            if not any(everyone):
                return
            full = full or everyone
            devices = len(local_replicas(self._strategy))
            if everyone == full and len(set(everyone)) == 1 and rows % devices == 0:
                yield nest.map_structure(lambda leaf: engine.Tensor(
                    jax.make_array_from_process_local_data(placement.split, leaf)), part)
                continue
            if like is None:
                raise ValueError("This worker's dataset gave no batch at all, while others have some. Give every "
                                 "worker data, or use AutoShardPolicy.DATA.")
            whole = [_exchange(leaf, everyone) for leaf in (like if leaves is None else leaves)]
            yield nest.pack_sequence_as(self._dataset.element_spec, whole)

    def _parts(self):
        """Yield this worker's parts: each of its batches in as many pieces as there are workers."""
        for batch in self._dataset:
            batch = nest.map_structure(lambda leaf: np.asarray(leaf.numpy()), batch)
            first = 0
            for rows in deal(len(nest.flatten(batch)[0]), CLUSTER.size):
                piece, first = slice(first, first + rows), first + rows
                if rows:
                    yield nest.map_structure(operator.itemgetter(piece), batch)


def _exchange(rows, counts):
    """Return the workers' rows, one after the other, in every worker (for the few batches that do not divide)."""
    from jax.experimental import multihost_utils

    padded = np.zeros((max(counts), *rows.shape[1:]), rows.dtype)
    padded[:len(rows)] = rows
    every = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([part[:count] for part, count in zip(every, counts)])


# -- do all workers train the same

def check_agreement(model, source, epochs):
    """Raise on all workers unless model, initial weights, data and schedule are the same in all of them."""
    if CLUSTER.size == 1:
        return
    first = nest.flatten(source.first_batch())
    shapes = [None if leaf is None else [*map(int, leaf.shape), str(np.dtype(getattr(leaf, "aval", leaf).dtype))]
              for leaf in first]
    optimizer = getattr(model, "optimizer", None)
    data = 0
    if source.in_memory:
        data = _checksum(source.arrays)
    elif not isinstance(source.data, Parts):
        data = _checksum(source.first_batch())
    whole = "All workers must be given the whole data; each trains on its rows of every batch. "
    CLUSTER.agree_on({
        "the model's variables": [[v.path, list(map(int, v.shape)), str(v.aval.dtype)] for v in model.variables],
        "the batch's shape": shapes,
        "the seed": [None if part is None else int(part) for part in engine.stream_state()[:3]],
        "the initial weights (checksum)": _checksum([v.numpy() for v in model.variables]),
        "the optimizer": None if optimizer is None else [type(optimizer).__name__, len(optimizer.variables)],
        "the epochs": [epochs, source.steps],
        "the data (checksum)": data,
    }, {"the data (checksum)": whole + "For a dataset that each worker has split already, set AutoShardPolicy.OFF.",
        "the seed": "Draw the same random numbers in all workers, or call tf.random.set_seed before fit."})


def _checksum(structure):
    found = 0
    for leaf in nest.flatten(structure):
        if leaf is not None:
            array = np.ascontiguousarray(leaf.numpy() if isinstance(leaf, engine.Tensor) else leaf)
            found = zlib.crc32(array.view(np.uint8).reshape(-1) if array.dtype != object and array.size else b"", found)
    return found
