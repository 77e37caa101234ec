# SPDX-License-Identifier: Apache-2.0
"""Automatic names (`dense`, `dense_1`, ...) and name scopes."""
import collections
import re
import threading

_counts: collections.Counter = collections.Counter()
_lock = threading.Lock()


class _Scopes(threading.local):
    def __init__(self):
        self.names = []


_scopes = _Scopes()


def to_snake_case(name: str) -> str:
    """Return a class name in snake case: 'Conv2DTranspose' gives 'conv2d_transpose'."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unique_name(prefix: str) -> str:
    """Return 'dense', then 'dense_1', 'dense_2', ... for the prefix 'dense'."""
    with _lock:
        _counts[prefix] += 1
        count = _counts[prefix]
    return prefix if count == 1 else f"{prefix}_{count - 1}"


def get_uid(prefix: str = "") -> int:
    """Return a number that grows by one at each call with the same prefix, starting at 1."""
    with _lock:
        _counts[prefix] += 1
        return _counts[prefix]


def reset():
    """Forget all automatic names (`clear_session`)."""
    with _lock:
        _counts.clear()


class name_scope:
    """Context in which the names and paths of created variables begin with `name`.

    A name that ends with '/' is a whole scope: the scopes around it do not count. The context's value is such a name.
    """

    def __init__(self, name, **_):
        self.name, self._around = name, []

    def __enter__(self):
        names = _scopes.names
        self._around.append(list(names))
        if self.name and self.name.endswith("/"):
            names[:] = [self.name[:-1]]
        else:
            names.append(self.name)
        path = current_path()
        return f"{path}/" if path else ""

    def __exit__(self, *_):
        _scopes.names[:] = self._around.pop()


def current_path() -> str:
    """Return the open scopes joined by '/'."""
    return "/".join(n for n in _scopes.names if n)


def open_names() -> list:
    """Return this thread's list of open scope names, for `Layer.__call__`, which pushes and pops at each call."""
    return _scopes.names


def get_current_name_scope() -> str:
    """Return the open scopes joined by '/' (`tf.get_current_name_scope`)."""
    return current_path()
