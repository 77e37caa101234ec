# SPDX-License-Identifier: Apache-2.0
"""Which target, weight, loss and metric belongs to which output of a model."""
from fitloom.base import errors, nest


class Outputs:
    """The flat outputs of a model and their names.

    Args:
        y_pred: one prediction: a tensor, or a list, tuple or dict of tensors.
        output_names: the names of a functional model's outputs, or None.
    """

    def __init__(self, y_pred, output_names=None):
        self.single = not nest.is_nested(y_pred)
        self.is_dict = isinstance(y_pred, dict)
        leaves = nest.flatten(y_pred)
        if self.is_dict and not any(nest.is_nested(value) for value in y_pred.values()):
            self.names = nest.sorted_keys(y_pred)
        elif output_names and len(output_names) == len(leaves):
            self.names = list(output_names)
        else:
            self.names = [None] * len(leaves)
        self.count = len(leaves)
        self.ordered_names = list(y_pred) if self.is_dict else self.names    # the order a user lists them in
        self.structure = y_pred if not self.single else None

    def align(self, value, what, whole=False):
        """Return one entry for each output, in flat order; None where nothing was given.

        Args:
            value: a structure like the outputs, a list in their order, a dict by their names, or one thing.
            what: what `value` is called in an error ("loss", "y", ...).
            whole: one thing that is not a list or dict goes to every output.
        """
        if value is None:
            return [None] * self.count
        if isinstance(value, dict):
            return self._by_name(value, what)
        if isinstance(value, (list, tuple)):
            if self.count == 1:
                if len(value) != 1:
                    raise ValueError(f"The model has one output, but {what} is a list of {len(value)} entries.")
                return [value[0]]
            if len(value) == self.count:
                if self.is_dict:
                    by_name = dict(zip(self.ordered_names, value))
                    return [by_name[name] for name in self.names]
                return list(value)
            flat = nest.flatten(value)
            if len(flat) == self.count and len(value) > 1:
                return flat
            raise ValueError(f"The model has {self.count} outputs{self._listing()}, but {what} is a list of "
                             f"{len(value)}. Give one entry for each output, in their order.")
        if whole or self.count == 1:
            return [value] * self.count
        raise ValueError(f"The model has {self.count} outputs{self._listing()}, but {what} is a single "
                         f"{type(value).__name__}. Give a list or a dict with one entry for each output.")

    def _by_name(self, value, what):
        if any(name is None for name in self.names):
            flat = nest.flatten(value)
            if self.count == 1 and len(value) == 1:
                return [next(iter(value.values()))]
            if len(flat) == self.count:
                return flat
            raise ValueError(f"{what} is a dict with the keys {list(value)}, but the model's {self.count} "
                             f"output(s) have no names. Give a list in the order of the outputs.")
        for key in value:
            if key not in self.names:
                raise errors.unknown_name(f"output in {what}:", key, self.names)
        return [value.get(name) for name in self.names]

    def _listing(self):
        named = [name for name in self.names if name is not None]
        return f" ({', '.join(map(str, named))})" if named else ""
