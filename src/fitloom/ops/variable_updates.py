# SPDX-License-Identifier: Apache-2.0
"""Updates of parts of a variable: `v[1].assign(x)`, `v.scatter_nd_add(i, updates)`, `v.scatter_update(slices)`."""
import weakref

from fitloom import engine
from fitloom.ops import indexing
from fitloom.ops.calling import as_index

_SLICES: dict = {}      # id of a tensor that is part of a variable -> (weak reference, variable, index)


def _getitem(variable, key):
    """Return variable[key], which remembers what it is a part of."""
    part, number = indexing.getitem(variable, key), None
    if part.__class__ is engine.Tensor:
        number = id(part)
        _SLICES[number] = (weakref.ref(part, lambda _: _SLICES.pop(number, None)), variable, key)
    return part


def _assigning(kind):
    def method(part):
        known = _SLICES.get(id(part))
        if known is None or known[0]() is not part:
            raise AttributeError("A Tensor cannot be assigned to; tf.Variable can, and so can a slice v[...] of one.")

        def assign(value, name=None, **_):
            variable = known[1]
            spec, positions = indexing.read_key(known[2])
            if spec is None:
                raise ValueError("Only a slice of a variable can be assigned to; for rows use scatter_nd_update.")
            value = engine.convert_to_tensor(value, dtype_hint=variable.aval.dtype)
            return variable.assign(indexing._set(variable, value, *map(as_index, positions), spec=spec, kind=kind))
        return assign
    return property(method)


def _scatter_nd(kind):
    def method(self, indices, updates, name=None):
        updates = engine.convert_to_tensor(updates, dtype_hint=self.aval.dtype)
        return self.assign(indexing._scatter_into(self, as_index(indices), updates, kind=kind))
    method.__doc__ = f"Apply '{kind}' with `updates` to the elements at `indices`, whose last axis is an index."
    return method


def _scatter(kind):
    def method(self, sparse_delta, use_locking=False, name=None):
        indices = as_index(sparse_delta.indices)
        values = engine.convert_to_tensor(sparse_delta.values, dtype_hint=self.aval.dtype)
        return self.assign(indexing._scatter_into(self, indices[..., None], values, kind=kind))
    method.__doc__ = f"Apply '{kind}' with the rows of a tf.IndexedSlices."
    return method


def install():
    """Give Variable and slices of variables their methods."""
    engine.Variable.__getitem__ = _getitem
    engine.KerasVariable.__getitem__ = _getitem
    for kind, name in (("update", "assign"), ("add", "assign_add"), ("sub", "assign_sub")):
        setattr(engine.Tensor, name, _assigning(kind))
    for kind in ("update", "add", "sub", "max", "min"):
        setattr(engine.Variable, f"scatter_nd_{kind}", _scatter_nd(kind))
    for kind in ("update", "add", "sub", "max", "min", "mul", "div"):
        setattr(engine.Variable, f"scatter_{kind}", _scatter(kind))
    engine.Variable.gather_nd = lambda self, indices, name=None: indexing.gather_nd(self, indices)
    engine.Variable.sparse_read = lambda self, indices, name=None: indexing.gather(self, indices)
    engine.Variable.is_initialized = lambda self, name=None: engine.convert_to_tensor(True)
