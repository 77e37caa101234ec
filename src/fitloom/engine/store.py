# SPDX-License-Identifier: Apache-2.0
"""Where variables keep their arrays: one buffer each, or many small ones end to end in a shared buffer."""
import jax
import jax.numpy as jnp
import numpy as np

from fitloom.engine.context import CONTEXT, LOCK, traces_of_other_threads


class Store:
    """A buffer that holds one variable (layout None) or several.

    `writer` is whoever owes the buffer its current value: a trace with a pending assignment, or a step program that
    holds the state on loan. It has `flush()`. `escaped` is set while somebody outside may see the very array; a
    donation then works on a copy.
    """

    __slots__ = ("value", "members", "layout", "writer", "escaped", "placement", "sharding", "_slots_at", "_host",
                 "__weakref__")
    _layouts: dict = {}

    def __init__(self, value, members, layout=None):
        self.value, self.members = value, members
        self.layout = None if layout is None else Store._layouts.setdefault(layout, layout)
        self.writer, self.escaped, self._slots_at, self._host = None, False, {}, None
        self.placement = placement = CONTEXT.placement       # several devices: a strategy's scope is open
        self.sharding = None if placement is None else placement.variable(members[0], value.shape)

    def slots_at(self, leaf):
        """Return {member: slot} for a trace in which this store is the leaf `leaf`."""
        found = self._slots_at.get(leaf)
        if found is None:
            if self.layout is None:
                found = {self.members[0]: leaf}
            else:
                found = {m: leaf - MEMBER * (i + 1) for i, m in enumerate(self.members)}
            self._slots_at[leaf] = found
        return found

    def current(self):
        """Return the buffer after whoever owes it a value has paid."""
        if self.writer is not None:
            self.writer.flush()
        if self.value.__class__ is np.ndarray:
            self.value = to_device(self.value) if self.sharding is None else self.placed(self.value)
        return self.value

    def adopt(self, placement):
        """Move to a placement, unless there is one already."""
        if self.placement is None and placement is not None:
            self.value = np.array(self.current())
            self.placement, self.sharding = placement, placement.variable(self.members[0], self.value.shape)

    def lie_like(self, other):
        """Be split over the devices as another variable's buffer of the same shape is."""
        if self.placement is not None and self.placement is other.placement and other.layout is None:
            self.sharding = other.sharding

    def placed(self, value):
        """Return a new value for this buffer where it belongs, on one device or on several."""
        if self.sharding is None or getattr(value, "sharding", None) == self.sharding:
            return value
        with jax.ensure_compile_time_eval():
            return self.placement.put(value, self.sharding)

    def put(self, index, array):
        """Give one member a copy of an array as its value, now."""
        if self.sharding is None and jax.default_backend() == "cpu":         # without a program for each shape
            if self.writer is not None:
                self.writer.flush()
            if self.layout is None:
                self.value = np.array(array)
            else:
                offset, _, size = self.layout[index]
                self.value = np.array(self.value)
                self.value[offset:offset + size] = np.ravel(array)
        else:
            array, value = jnp.array(array, copy=True), self.current()
            if self.layout is not None:
                offset, _, size = self.layout[index]
                array = value.at[offset:offset + size].set(array.ravel())
            self.value = self.placed(array)
        self.escaped = False

    def member(self, index):
        """Return one member's array."""
        value = self.current() if self.layout is None or self.writer is not None else self.value
        if self.layout is None:
            return value
        if self._host is None or self._host[0] is not value:
            self._host = (value, np.array(value))           # one copy serves all members
        offset, shape, size = self.layout[index]
        return self._host[1][offset:offset + size].reshape(shape)


# Slot numbers: results of a trace count up from 0; leaf k is -(k + 1); member i of a packed leaf lies MEMBER * (i + 1)
# below it; Python floats, ints and seeds live in one vector each, in regions of their own.
MEMBER, FLOATS, INTS, SEEDS = 1 << 16, -(1 << 40), -(1 << 41), -(1 << 42)


def to_device(array):
    """Put a NumPy array, which nobody changes any more, on the default device, or whole on those of the open scope.

    Also while jax is tracing. Unlike `jnp.asarray` it compiles nothing (that makes a program for each shape).
    """
    with jax.ensure_compile_time_eval():
        placement = CONTEXT.placement
        return jax.device_put(array) if placement is None else placement.put(array, placement.whole)


def unpack(flat, layout):
    """Return the member arrays of a packed buffer."""
    return [jax.lax.slice(flat, (offset,), (offset + size,)).reshape(shape) for offset, shape, size in layout]


def repack(parts):
    """Return the packed buffer of member arrays."""
    return jnp.concatenate([jnp.ravel(p) for p in parts])


def pack(variables, limit_bytes=16384, most=32):
    """Move the small float32 variables among `variables` into one shared buffer.

    A jitted call pays about 1.3 us for every buffer in and out, so many small ones cost more than the work on them;
    big ones stay alone, because slicing a large buffer copies it. Each packed member adds compile time, hence `most`.
    Variables that an open trace has read stay where they are: it knows them by their place.
    """
    if CONTEXT.trace.inline:
        return
    with LOCK:
        opened = [t.opened for t in (CONTEXT.trace, *traces_of_other_threads()) if not t.closed]
        small = [v for v in variables if v.aval.nbytes <= limit_bytes and v.store.layout is None
                 and v.store.placement is variables[0].store.placement
                 and (v.store.placement is None or v.store.sharding == v.store.placement.whole)
                 and v.aval.dtype == np.float32 and not v.pinned and not any(v.store in o for o in opened)
                 and not getattr(v.store.writer, "running", False)]
        if not 2 <= len(small) <= most:
            return
        arrays = [np.asarray(v.store.current()) for v in small]
        layout, offset = [], 0
        for array in arrays:
            layout.append((offset, array.shape, array.size))
            offset += array.size
        store = Store(np.concatenate([a.ravel() for a in arrays]), list(small), tuple(layout))
        store.placement, store.sharding = small[0].store.placement, small[0].store.sharding
        for index, variable in enumerate(small):
            variable.store, variable.index = store, index
        LAYOUT.epoch += 1


def zero(variables):
    """Set variables to zero at once, without a program; return whether that could be done.

    It cannot where work is pending, where values lie on several devices, and where a buffer holds other variables too.
    """
    if not CONTEXT.trace.closed:
        return False
    with LOCK:
        stores, known = dict.fromkeys(v.store for v in variables), set(map(id, variables))
        if traces_of_other_threads() or not all(
                store.sharding is None and (store.writer is None or getattr(store.writer, "running", True) is False)
                and all(id(member) in known for member in store.members) for store in stores):
            return False
        for store in stores:
            zeros = np.zeros(store.value.shape, store.value.dtype)
            if store.writer is not None:
                store.writer.put(store, zeros)
            else:
                store.value, store.escaped = zeros, False
        return True


class _Layout:
    """Counts how often variables changed stores (what was remembered about slots is dated by it) or were frozen."""
    epoch, frozen = 0, 0


LAYOUT = _Layout()


class PackedResults:
    """Several small results of a program in one buffer; a tensor finds its part by its slot."""

    __slots__ = ("buffer", "where")

    def __init__(self, buffer, where):
        self.buffer, self.where = buffer, where

    def get(self, slot):
        """Return the array of one slot (a view of a host copy)."""
        if self.buffer.__class__ is not np.ndarray:
            self.buffer = np.asarray(self.buffer)
        offset, size, shape = self.where[slot]
        return self.buffer[offset:offset + size].reshape(shape)
