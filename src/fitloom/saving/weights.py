# SPDX-License-Identifier: Apache-2.0
"""The variables of a model to and from an HDF5 file in Keras 3's layout: `<path>/vars/0`, `1`, ...

Loading is all or nothing: shapes are compared for the whole model first, then arrays are read and their digests
checked, and only then is the first variable changed.
"""
import warnings

import numpy as np

from fitloom import engine
from fitloom.layers import Layer
from fitloom.layers.low_rank import LowRank
from fitloom.optimizers import Optimizer
from fitloom.saving import hdf5
from fitloom.saving.tree import places

_MOST_ROWS = 12     # of a table of mismatches


class Store:
    """What `save_own_variables` writes to: a mapping from names to arrays, at one place of the file."""

    def __init__(self, group):
        self._group = group

    def __setitem__(self, name, value):
        hdf5.put(self._group, str(name), value)

    def __getitem__(self, name):
        return self._group[str(name)][()]

    def __delitem__(self, name):
        del self._group[str(name)]

    def __contains__(self, name):
        return str(name) in self._group

    def __iter__(self):
        return iter(self._group)

    def __len__(self):
        return len(self._group)

    def keys(self):
        """Return the names."""
        return list(self._group)


class StoredVariables:
    """What `load_own_variables` reads from: a mapping from names to arrays, read and checked when asked for."""

    def __init__(self, reader, path):
        self._reader, self._path = reader, path
        self.arrays = reader.inside(path) if path is not None else {}

    def __getitem__(self, name):
        if str(name) not in self.arrays:
            raise KeyError(f"{self._reader.label} holds no '{self._path}/{name}'.")
        return self._reader.array(f"{self._path}/{name}")

    def __contains__(self, name):
        return str(name) in self.arrays

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self):
        return len(self.arrays)

    def keys(self):
        """Return the names."""
        return list(self.arrays)

    def items(self):
        """Return (name, array) pairs."""
        return [(name, self[name]) for name in self.arrays]

    def values(self):
        """Return the arrays."""
        return [self[name] for name in self.arrays]

    def get(self, name, default=None):
        """Return an array, or `default`."""
        return self[name] if name in self else default


def save(model, file, skipped=()):
    """Write the variables of a model, its layers and its optimizer to an open h5py.File."""
    skipped = {id(thing) for thing in skipped}
    for place in places(model):
        if id(place.thing) in skipped:
            continue
        group = file.require_group(f"{place.path}/vars" if place.path else "vars")
        name = getattr(place.thing, "name", None)
        if isinstance(name, str):
            group.attrs["name"] = name
        place.thing.save_own_variables(Store(group))


def load(model, reader, skip_mismatch=False, skipped=(), check=lambda: None):
    """Set the variables of a model, its layers and its optimizer from a Reader.

    Args:
        skip_mismatch: leave objects whose arrays do not fit as they are, with a warning, instead of raising.
        skipped: objects to leave alone.
        check: called when everything is read; it raises if the file is not whole.

    Raises:
        ValueError: arrays that do not fit, with a table of them; the model is unchanged.
        DamagedFileError: an array that cannot be read; the model is unchanged.
    """
    skipped = {id(thing) for thing in skipped}
    stores = reader.objects()
    plan, own_way, problems, notes, used = [], [], [], [], set()
    for place in places(model):
        if id(place.thing) in skipped:
            used.update(place.paths)
            continue
        path = next((p for p in place.paths if p in stores), None)
        store = StoredVariables(reader, None if path is None else stores[path])
        used.add(path)
        thing = place.thing
        if isinstance(thing, Optimizer):
            _build(thing, model, len(store))
        if not _reads_plainly(thing):
            own_way.append((place, store))
            continue
        rows = _differences(place, store)
        if isinstance(thing, Optimizer) and rows:
            if 0 < len(store) <= 2 and not _differences(place, store, len(store)):
                plan.append((place, store))         # saved before its first step: no slots yet
            elif len(store):
                notes.append(f"The state of optimizer '{thing.name}' was not loaded: {rows[0][1]} in the file, "
                             f"{rows[0][2]} here ({len(store)} arrays in the file, {len(thing.variables)} here).")
        elif rows:
            problems.append((place, rows))
        else:
            plan.append((place, store))
    if problems:
        check()         # a damaged file is said to be one
        _report(model, reader, problems, skip_mismatch)
    values = [(variable, fitted(store[name], variable)) for place, store in plan
              for name, variable in _pairs(place.thing, store)]
    check()
    _load_own_way(own_way, skip_mismatch)
    engine.set_host_values(values)
    unused = [path for path in stores if path not in used and _is_of_a_layer(path) and
              StoredVariables(reader, stores[path]).arrays]
    if unused:
        notes.append(f"{reader.label} holds weights that model '{model.name}' has no place for: {_first(unused)}.")
    for note in notes:
        warnings.warn(note, stacklevel=4)


def _is_of_a_layer(path):
    return path.split("/")[0] != "optimizer" and "seed_generator" not in path and "_metrics" not in path


def _build(optimizer, model, stored):
    """Make the state of an optimizer that has not seen a step, if the file has more than its two numbers."""
    if not optimizer.built and stored > len(optimizer.variables) and model.built:
        optimizer.build(model.trainable_variables)


def _reads_plainly(thing):
    """Whether it uses `load_own_variables` as defined here: variable by variable."""
    if isinstance(thing, Layer):
        return type(thing).load_own_variables in (Layer.load_own_variables, LowRank.load_own_variables) \
            and not getattr(thing, "lora_enabled", False) and not thing._is_quantized
    return type(thing).load_own_variables is Optimizer.load_own_variables


def _own_variables(thing):
    return thing._own_variables() if isinstance(thing, Layer) else thing.variables


def places_and_variables(model) -> dict:
    """Return {path: {name: variable}} of what a model's weights file holds."""
    found = {place.path: {str(k): variable for k, variable in enumerate(_own_variables(place.thing))}
             for place in places(model)}
    return {path: variables for path, variables in found.items() if variables}


def _pairs(thing, store):
    return [(name, variable) for name, variable in zip(map(str, range(len(store))), _own_variables(thing))]


def _differences(place, store, first=None):
    """Return rows (path, in the file, in the model) for what does not fit, among the first variables."""
    variables = _own_variables(place.thing)[:first]
    names = {str(index) for index in range(len(variables))}
    rows = []
    for index, variable in enumerate(variables):
        array = store.arrays.get(str(index))
        if array is None or not fits(array, variable):
            rows.append((f"{place.path}/{variable.name}", "nothing" if array is None else str(array),
                         f"{tuple(variable.shape)} {_dtype(variable).name}"))
    rows += [(f"{place.path}/vars/{name}", str(array), "nothing") for name, array in store.arrays.items()
             if name not in names]
    return rows


def _dtype(variable):
    return np.dtype(variable.aval.dtype)


def fits(array, variable):
    """Whether a stored array can become a variable's value: the same shape, and no float where integers belong."""
    if tuple(array.shape) != tuple(variable.shape):
        return False
    wanted = _dtype(variable)
    if array.dtype.kind == "V" and array.dtype.name != "bfloat16":
        return wanted.itemsize == array.dtype.itemsize
    inexact = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return not (inexact and wanted.kind in "iub")


def fitted(value, variable):
    """Return a stored array in a variable's dtype."""
    wanted = _dtype(variable)
    if value.dtype == wanted:
        return value
    return value.view(wanted) if value.dtype.kind == "V" and value.dtype.name != "bfloat16" else value.astype(wanted)


def _report(model, reader, problems, skip_mismatch):
    rows = [row for _, part in problems for row in part]
    text = (f"{len(rows)} arrays of {reader.label} do not fit model '{model.name}':\n{table(rows)}")
    unbuilt = [place.thing.name for place, _ in problems if not getattr(place.thing, "built", True)]
    if unbuilt:
        text += (f"\nLayers that were never built: {_first(unbuilt)}. Call the model on data first, or give the layer "
                 "around them a build() that builds them.")
    if skip_mismatch:
        warnings.warn(f"{text}\nThey were skipped (skip_mismatch=True).", stacklevel=5)
    else:
        raise ValueError(f"{text}\nNothing was loaded. Load into the model that was saved, or pass skip_mismatch=True "
                         "to skip these.")


def table(rows):
    """Return rows of three columns as text, the first few of them."""
    shown = [("path", "in the file", "in the model"), *rows[:_MOST_ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(2)]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in shown]
    if len(rows) > _MOST_ROWS:
        lines.append(f"  ... and {len(rows) - _MOST_ROWS} more")
    return "\n".join(lines)


def _first(names, most=5):
    return ", ".join(f"'{name}'" for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most
                                                              else "")


def _load_own_way(own_way, skip_mismatch):
    """Call `load_own_variables` of classes that have their own; if one fails, give back what it and others had."""
    before = []
    for place, store in own_way:
        kept: dict = {}
        thing = place.thing
        try:
            thing.save_own_variables(kept)
            kept = {name: np.array(value.numpy() if hasattr(value, "numpy") else value) for name, value in kept.items()}
        except Exception:
            kept = {}           # nothing to give back yet
        try:
            before.append((thing, kept))
            thing.load_own_variables(store)
        except Exception as error:
            give_back = before if not skip_mismatch else before[-1:]
            for other, values in reversed(give_back):
                if values:
                    other.load_own_variables(values)
            if not skip_mismatch:
                if isinstance(error, hdf5.DamagedFileError):
                    raise
                raise ValueError(f"Layer '{getattr(thing, 'name', thing)}' could not load its variables from "
                                 f"'{place.path}': {error}") from error
            warnings.warn(f"Skipped layer '{getattr(thing, 'name', thing)}' at '{place.path}': {error}", stacklevel=5)
