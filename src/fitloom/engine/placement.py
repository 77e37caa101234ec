# SPDX-License-Identifier: Apache-2.0
"""Where values live when there are several devices: a mesh, a sharding for each variable, and how a batch is split.

Programs are written for the whole batch. A variable lies on every device of its mesh (or is split over them), a batch
is split along its first axis, and XLA's partitioner makes one program for all devices with the collectives in it.
"""
import contextlib
import math
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fitloom.engine.context import CONTEXT


class Placement:
    """A mesh and the axes of it along which batches are split.

    Args:
        mesh: a jax.sharding.Mesh.
        axes: name of the mesh axis (or names of the axes) over which the rows of a batch are split.
        layout: function (variable, shape) -> PartitionSpec or None (a whole copy on each device).
    """

    used = False               # whether any was made: traces then look for placed stores
    cluster = None             # the placement over all processes of a cluster
    dispatched = 0             # programs started in a cluster: what its workers compare

    def __init__(self, mesh, axes="replica", layout=None):
        Placement.used = True
        self.mesh, self.axes, self.layout = mesh, axes, layout
        self.of_slots = self               # where an optimizer's state lies
        self.owner: Any = None             # the strategy
        names = (axes,) if isinstance(axes, str) else tuple(axes)
        self.size = math.prod(mesh.shape[name] for name in names)
        self.whole = NamedSharding(mesh, PartitionSpec())
        self.split = NamedSharding(mesh, PartitionSpec(axes))
        self.across = any(d.process_index != jax.process_index() for d in mesh.devices.flat)

    def variable(self, variable, shape):
        """Return the sharding of a variable."""
        spec = None if self.layout is None else self.layout(variable, shape)
        return self.whole if spec is None else NamedSharding(self.mesh, spec)

    def split_slots(self):
        """From now on split each slot of an optimizer along its first axis that divides (ZeRO stage 1)."""
        def layout(variable, shape):
            axis = next((i for i, size in enumerate(shape) if size and size % self.size == 0), None)
            return None if axis is None else PartitionSpec(*[None] * axis, self.axes)
        self.of_slots = Placement(self.mesh, self.axes, layout)

    def put(self, array, sharding):
        """Put an array, the same in every process, on the mesh."""
        if not self.across:
            return jax.device_put(array, sharding)
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return array if array.sharding == sharding else jax.jit(lambda x: x, out_shardings=sharding)(array)
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    def rows(self, array):
        """Put one array of a batch on the mesh: split along its first axis where that divides, else whole."""
        if array is None or not hasattr(array, "shape"):
            return array
        if self.across and isinstance(array, jax.Array) and not array.is_fully_addressable:
            return array                                     # made of the processes' own parts already
        wanted = self.split if array.shape and array.shape[0] and array.shape[0] % self.size == 0 else self.whole
        if isinstance(array, jax.Array) and array.sharding == wanted:
            return array
        return self.put(array, wanted)

    def spread(self, array):
        """Inside a program: split an array of a batch along its first axis, also where that does not divide."""
        if not getattr(array, "shape", ()) or array.shape[0] < 2:
            return array
        return jax.lax.with_sharding_constraint(array, self.split)


def placement_of(stores):
    """Return the placement of the first store that has one, or None."""
    for store in stores:
        if store is not None and store.placement is not None:
            return store.placement
    return None


def readable(array):
    """Return an array whose whole value this process has; in a cluster all processes must ask for one that is split."""
    if Placement.cluster is None or not isinstance(array, jax.Array) or array.is_fully_addressable \
            or array.is_fully_replicated:
        return array
    placement = Placement.cluster
    with jax.ensure_compile_time_eval():
        return placement.put(array, placement.whole)


def spans_processes(arrays):
    """Whether one of these arrays has parts in other processes."""
    return any(isinstance(a, jax.Array) and not a.is_fully_addressable for a in arrays)


@contextlib.contextmanager
def slots_of(variables):
    """Context in which new variables are an optimizer's state for `variables`, and lie where these do."""
    before, placement = CONTEXT.placement, placement_of([v.store for v in variables])
    CONTEXT.placement = None if placement is None else placement.of_slots
    try:
        yield placement
    finally:
        CONTEXT.placement = before
