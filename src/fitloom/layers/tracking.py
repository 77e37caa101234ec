# SPDX-License-Identifier: Apache-2.0
"""Attribute tracking: the variables, layers, metrics and seed generators that an object holds, also in containers.

A class says what it is by a class attribute: `_tracked_as = "layers"`, "metrics", "seed_generators" or
"variables". So a layer can hold metrics without importing the room that defines them.
"""
from collections import OrderedDict

from fitloom import engine

_PLAIN = (int, float, str, bool, bytes, type(None), type)
LOCKED = ("You cannot add new elements of state (variables or sub-layers) to a layer that is already built. All "
          "state must be created in the `__init__()` method or in the `build()` method.")


def start(owner):
    """Give `owner` its empty stores; done once, before its first attribute is set."""
    owner.__dict__.update(
        _trainable_variables=[], _non_trainable_variables=[], _layers=[], _metrics=[], _seed_generators=[],
        _tracked_ids=set(), _tracker_locked=False, _tracker_on=True)


def track(owner, value):
    """Enter `value`, or what it contains, into the stores of `owner`; return it with its containers wrapped."""
    if value.__class__ in _PLAIN or not owner._tracker_on:
        return value
    kind = getattr(type(value), "_tracked_as", None)
    if kind is not None and kind.__class__ is str:
        _enter(owner, kind, value)
        return value
    if isinstance(value, engine.Variable):
        _enter(owner, "variables", value)
        return value
    if isinstance(value, tuple):
        items = [track(owner, item) for item in value]
        if all(new is old for new, old in zip(items, value)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, list):
        return value if value.__class__ is TrackedList and value._owner is owner else TrackedList(value, owner)
    if isinstance(value, dict):
        if value.__class__ in (dict, TrackedDict, OrderedDict):
            return value if getattr(value, "_owner", None) is owner else TrackedDict(value, owner)
        for item in value.values():
            track(owner, item)
        return value
    if value.__class__ in (set, TrackedSet):
        return TrackedSet(value, owner)
    return value


def _enter(owner, kind, value):
    if id(value) in owner._tracked_ids:
        return
    if owner._tracker_locked:
        raise ValueError(f"{LOCKED} Layer '{getattr(owner, 'name', type(owner).__name__)}' received {value!r}.")
    owner._tracked_ids.add(id(value))
    if kind == "variables":
        kind = "trainable_variables" if value.trainable else "non_trainable_variables"
    owner.__dict__["_" + kind].append(value)
    owner._tracking_changed()


def untrack(owner, value):
    """Remove `value` from the stores of `owner`."""
    if id(value) not in owner._tracked_ids:
        return
    owner._tracked_ids.discard(id(value))
    for kind in ("trainable_variables", "non_trainable_variables", "layers", "metrics", "seed_generators"):
        store = owner.__dict__["_" + kind]
        store[:] = [item for item in store if item is not value]
    owner._tracking_changed()


class Lock:
    """What libraries reach for as `layer._tracker`: it lets a built layer get new state for a while."""

    def __init__(self, owner):
        self._owner = owner

    locked = property(lambda self: self._owner._tracker_locked)

    def unlock(self):
        """Allow new variables and layers."""
        self._owner.__dict__["_tracker_locked"] = False

    def lock(self, msg=None):
        """Refuse new variables and layers."""
        self._owner.__dict__["_tracker_locked"] = True


class no_tracking:
    """Context in which attributes of `owner` are set without being tracked."""

    def __init__(self, owner):
        self.owner = owner

    def __enter__(self):
        self.before, self.owner.__dict__["_tracker_on"] = self.owner._tracker_on, False

    def __exit__(self, *_):
        self.owner.__dict__["_tracker_on"] = self.before


class TrackedList(list):
    """A list that tells its owner what enters and leaves it."""

    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__(self._in(v) for v in values)

    def _in(self, value):
        return value if self._owner is None else track(self._owner, value)

    def _out(self, value):
        if self._owner is not None:
            untrack(self._owner, value)
        return value

    def append(self, value):
        super().append(self._in(value))

    def insert(self, index, value):
        super().insert(index, self._in(value))

    def extend(self, values):
        super().extend([self._in(v) for v in values])

    def __iadd__(self, values):  # type: ignore[misc]
        self.extend(values)
        return self

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            for old in self[index]:
                self._out(old)
            super().__setitem__(index, [self._in(v) for v in value])
        else:
            self._out(self[index])
            super().__setitem__(index, self._in(value))

    def remove(self, value):
        for index, item in enumerate(self):
            if item is value or item.__class__ in _PLAIN and item == value:
                del self[index]
                return
        raise ValueError(f"{value!r} is not in the list.")

    def pop(self, index=-1):
        return self._out(super().pop(index))

    def clear(self):
        for value in self:
            self._out(value)
        super().clear()

    def __delitem__(self, index):
        for value in (self[index] if isinstance(index, slice) else [self[index]]):
            self._out(value)
        super().__delitem__(index)

    def __reduce__(self):
        return list, (list(self),)


class TrackedDict(dict):
    """A dict that tells its owner what enters and leaves it."""

    _plain_type = dict

    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__({k: self._in(v) for k, v in dict(values).items()})

    _in, _out = TrackedList._in, TrackedList._out

    def __setitem__(self, key, value):
        if key in self:
            self._out(self[key])
        super().__setitem__(key, self._in(value))

    def update(self, *mappings, **more):
        for key, value in dict(*mappings, **more).items():
            self[key] = value

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key, *default):
        return self._out(super().pop(key, *default))

    def popitem(self):
        key, value = super().popitem()
        return key, self._out(value)

    def clear(self):
        for value in self.values():
            self._out(value)
        super().clear()

    def __delitem__(self, key):
        self._out(self[key])
        super().__delitem__(key)

    def __reduce__(self):
        return dict, (dict(self),)


class TrackedSet(set):
    """A set that tells its owner what enters and leaves it."""

    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__(self._in(v) for v in values)

    _in, _out = TrackedList._in, TrackedList._out

    def add(self, value):
        super().add(self._in(value))

    def update(self, *others):
        for other in others:
            for value in other:
                self.add(value)

    def remove(self, value):
        super().remove(value)
        self._out(value)

    def discard(self, value):
        if value in self:
            self.remove(value)

    def pop(self):
        return self._out(super().pop())

    def clear(self):
        for value in self:
            self._out(value)
        super().clear()

    def __reduce__(self):
        return set, (set(self),)


def rewrap(owner):
    """Wrap the containers of a copied or unpickled object again (copies hold plain lists and dicts)."""
    stores = {"_trainable_variables", "_non_trainable_variables", "_layers", "_metrics", "_seed_generators",
              "_tracked_ids", "_inbound_nodes", "_outbound_nodes", "_losses"}
    state = owner.__dict__
    state["_tracked_ids"] = {id(item) for kind in ("_trainable_variables", "_non_trainable_variables", "_layers",
                                                   "_metrics", "_seed_generators") for item in state[kind]}
    locked, state["_tracker_locked"] = state["_tracker_locked"], False
    for name, value in list(state.items()):
        if name not in stores and value.__class__ in (list, dict, set):
            state[name] = track(owner, value)
    state["_tracker_locked"] = locked
