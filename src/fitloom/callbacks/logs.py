# SPDX-License-Identifier: Apache-2.0
"""The logs that callbacks receive: a dict whose values stay on the device until somebody reads one."""
import numpy as np

from fitloom import engine


def to_python(value):
    """Return a log value as a float, or as a NumPy array when it has several elements."""
    if isinstance(value, (float, int, str)) or value is None:
        return value
    host = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return host.item() if host.size == 1 else host


def wait(logs):
    """Wait until the work behind `logs` is done, without fetching their values."""
    for value in dict.values(logs or {}):
        if isinstance(value, engine.Tensor) and hasattr(value.array, "block_until_ready"):
            value.array.block_until_ready()
            return


class Logs(dict):
    """A dict of floats, fetched from the device in one go at the first read (`logs["loss"]`, `logs.items()`...).

    Keys are sorted, as Keras sorts them; a metric whose result is a dict contributes its own keys.
    """

    def __init__(self, values=(), **more):
        flat = {}
        for key, value in sorted({**dict(values), **more}.items()):
            if isinstance(value, dict):
                flat.update(sorted(value.items()))
            else:
                flat[key] = value
        super().__init__(flat)
        self._pending = [key for key, value in flat.items() if value.__class__ is not float]

    def settle(self):
        """Fetch what is still on the device; return self."""
        pending, self._pending = self._pending, ()
        if pending:
            values = [super(Logs, self).__getitem__(key) for key in pending]
            for value in values:                       # all copies are under way before the first is waited for
                if isinstance(value, engine.Tensor) and hasattr(value.array, "copy_to_host_async"):
                    value.array.copy_to_host_async()
            for key, value in zip(pending, values):
                super().__setitem__(key, to_python(value))
        return self

    def copy(self):
        """Return a plain dict of the values."""
        return dict(self.settle())

    def __reduce__(self):
        return dict, (self.copy(),)


def _reading(name):
    plain = getattr(dict, name)

    def method(self, *arguments, **keywords):
        if self._pending:
            self.settle()
        return plain(self, *arguments, **keywords)

    method.__name__ = name
    return method


# __iter__ is overridden so that dict(logs) and {**logs} read through __getitem__ instead of copying raw entries.
for _name in ("__getitem__", "__setitem__", "__delitem__", "__iter__", "__eq__", "__ne__", "__or__", "__ror__",
              "__ior__", "__repr__", "get", "items", "values", "pop", "popitem", "setdefault", "update"):
    setattr(Logs, _name, _reading(_name))
