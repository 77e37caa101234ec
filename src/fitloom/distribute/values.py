# SPDX-License-Identifier: Apache-2.0
"""A value that differs between replicas."""
import collections

from fitloom import engine, ops
from fitloom.base import nest


class DistributedValues:
    """Base of values that live on several replicas."""

    __slots__ = ()


# Named tuples are nests: tf.function and tf.nest carry a PerReplica as its tensor and its numbers.
class PerReplica(DistributedValues, collections.namedtuple("PerReplica", ("whole", "split"))):
    """One value for each replica, held as one tensor.

    `split` is 0 where `whole` has one leading entry a replica, a tuple of row counts where `whole` is a batch whose
    rows are dealt out in order, and None where `whole` is a tuple of tensors of different shapes.
    """

    __slots__ = ()

    @property
    def values(self):
        """The replicas' values, a tuple of tensors."""
        if self.split is None:
            return tuple(self.whole)
        if self.split == 0:
            return tuple(self.whole[i] for i in range(self.whole.shape[0]))
        first, parts = 0, []
        for rows in self.split:
            parts.append(self.whole[first:first + rows])
            first += rows
        return tuple(parts)

    _values = values

    def __repr__(self):
        shown = "\n".join(f"  {i}: {value!r}" for i, value in enumerate(self.values))
        return f"PerReplica:{{\n{shown}\n}}"

    def __format__(self, specification):
        return repr(self)


def deal(rows, replicas):
    """Return how many of `rows` rows each replica gets: the first ones one more where it does not divide."""
    each, more = divmod(rows, replicas)
    return (each + 1,) * more + (each,) * (replicas - more)


def per_replica(values):
    """Return the PerReplica of a list of values of one structure."""
    if nest.is_nested(values[0]) and not isinstance(values[0], PerReplica):
        columns = zip(*[nest.flatten(value) for value in values])
        return nest.pack_sequence_as(values[0], [per_replica(list(column)) for column in columns])
    if not all(engine.is_tensor(value) or hasattr(value, "shape") or isinstance(value, (int, float, bool))
               for value in values):
        return PerReplica(tuple(values), None)
    tensors = [engine.convert_to_tensor(value) for value in values]
    if len({(tuple(t.shape), t.dtype) for t in tensors}) == 1:
        return PerReplica(ops.stack(tensors), 0)
    return PerReplica(tuple(tensors), None)


def map_values(function, structure):
    """Apply a function to every leaf of a structure, where a PerReplica is a leaf."""
    if isinstance(structure, PerReplica) or not nest.is_nested(structure):
        return function(structure)
    if isinstance(structure, dict):
        return type(structure)({key: map_values(function, value) for key, value in structure.items()})
    children = [map_values(function, value) for value in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*children)
    return tuple(children) if isinstance(structure, tuple) else children


def leaves(structure):
    """Return the leaves of a structure, where a PerReplica is a leaf."""
    found = []
    map_values(found.append, structure)
    return found
