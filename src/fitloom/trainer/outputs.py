# SPDX-License-Identifier: Apache-2.0
"""Which target, weight, loss and metric belongs to which output of a model."""
from fitloom.base import errors, nest


def walk(structure, path=()):
    """Yield (path, leaf) in the order of nest.flatten; a path is a tuple of keys and positions."""
    if isinstance(structure, dict):
        for key in nest.sorted_keys(structure):
            yield from walk(structure[key], (*path, key))
    elif isinstance(structure, (list, tuple)):
        for position, child in enumerate(structure):
            yield from walk(child, (*path, position))
    else:
        yield path, structure


class Outputs:
    """The flat outputs of a model and their names.

    Args:
        y_pred: one prediction: a tensor, or a nested structure of tensors.
        output_names: the names of a functional model's outputs, or None.
    """

    def __init__(self, y_pred, output_names=None):
        self.paths = [path for path, _ in walk(y_pred)]
        self.count = len(self.paths)
        self.is_dict = isinstance(y_pred, dict)
        flat = all(len(path) == 1 for path in self.paths)
        names = list(output_names) if output_names and len(output_names) == self.count else None
        if self.is_dict and flat:
            self.names = [path[0] for path in self.paths]
            self.listed = names if names and set(names) == set(self.names) else list(y_pred)
        else:
            self.names = names or [None] * self.count
            self.listed = self.names
        # the order in which a user lists outputs, and in which logs come
        self.order = [self.names.index(name) for name in self.listed] if self.is_dict and flat \
            else list(range(self.count))

    def align(self, value, what, whole=False):
        """Return one entry for each output, in flat order; None where nothing was given.

        Args:
            value: a structure like the outputs or a part of it, a list in their order, a dict by their names, or one
                thing.
            what: what `value` is called in an error ("loss", "y", ...).
            whole: one thing that is not a list or dict goes to every output.

        Raises:
            KeyError, ValueError: names, keys or numbers of entries that the outputs do not have.
        """
        if value is None:
            return [None] * self.count
        if not nest.is_nested(value):
            if whole or self.count == 1:
                return [value] * self.count
            raise ValueError(f"The model has {self.count} outputs{self._listing()}, but {what} is a single "
                             f"{type(value).__name__}. Give a list or a dict with one entry for each output.")
        found = dict(walk(value))
        if list(found) == self.paths:
            if isinstance(value, (list, tuple)) or self.is_dict or self.count > 1:
                return list(found.values())
        if isinstance(value, dict):
            return self._by_name(value, found, what)
        if len(value) == self.count and all(map(_one_at_most, value)):
            entries = [_unwrap(entry) for entry in value]
            by_place = dict(zip(self.order, entries))
            return [by_place[k] for k in range(self.count)]
        if len(found) == self.count:                     # the same leaves in other containers
            return list(found.values())
        if self.count == 1:
            raise ValueError(f"The model has one output, but {what} is a list of {len(value)} entries.")
        raise ValueError(f"The model has {self.count} outputs{self._listing()}, but {what} is a list of "
                         f"{len(value)}. Give one entry for each output, in their order.")

    def _by_name(self, value, found, what):
        if all(key in self.names for key in value):
            return [_unwrap(value.get(name)) for name in self.names]
        if all(path in self.paths or _without_last(path) in self.paths for path in found):
            entries = {path if path in self.paths else _without_last(path): entry for path, entry in found.items()}
            return [entries.get(path) for path in self.paths]
        if all(name is None for name in self.names) and not self.is_dict and len(found) == self.count:
            return list(found.values())
        unknown = next((key for key in value if key not in self.names), next(iter(value)))
        known = self.listed if any(name is not None for name in self.names) else []
        hint = errors.did_you_mean(unknown, known)
        if what == "loss" and self.is_dict:
            if unknown in {path[0] for path in self.paths}:
                raise KeyError(f"A path below {unknown!r} in the `loss` argument can't be found in the model's output: "
                               f"{self._all()}.")
            raise KeyError(f"The key or path {unknown!r}, in the `loss` argument, can't be found in either the model's "
                           f"output (`y_pred`) or in the labels (`y_true`). Outputs: {self._all()}.{hint}")
        kind = f"Invalid `{what}`: expected keys" if what.endswith("metrics") else "Expected keys"
        raise ValueError(f"{kind} {list(known)} in {what} dict, but found keys {list(value)}: output '{unknown}' does "
                         f"not exist.{hint}")

    def _all(self):
        return ", ".join("/".join(map(str, path)) for path in self.paths)

    def _listing(self):
        named = [name for name in self.listed if name is not None]
        return f" ({', '.join(map(str, named))})" if named else ""


def _without_last(path):
    """Return a path without a trailing position 0: {'a': ['mse']} means 'a'."""
    return path[:-1] if path and path[-1] == 0 else path


def _one_at_most(entry):
    return not nest.is_nested(entry) or len(entry) >= 1 and not any(map(nest.is_nested, nest.flatten(entry)))


def _unwrap(entry):
    """Return the first of a list of entries for one output: ['mse'] means 'mse'."""
    return entry[0] if isinstance(entry, (list, tuple)) and entry else entry
