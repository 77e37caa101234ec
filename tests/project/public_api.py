# SPDX-License-Identifier: Apache-2.0
"""Find every public name of the package, and say each one's signature in one line."""

import __future__

import inspect
import types
import warnings
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "public_api.txt"


def public_names(module):
    """The names a namespace shows: its `__all__`, or what it holds without a leading underscore."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and not isinstance(value, __future__._Feature)
        ]
    return sorted(set(names))


def public_objects():
    """Yield (public path, object), each namespace after the names of its parent; absent ones yield an exception.

    A module inside a namespace is a namespace if it is part of the door or named in `__all__`; else it is a file.
    """
    import fitloom

    seen, queue = set(), [("tf", fitloom)]
    while queue:
        path, module = queue.pop(0)
        if id(module) in seen:
            continue
        seen.add(id(module))
        for name in public_names(module):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # deprecated names say so when they are touched
                    value = getattr(module, name)
            except (AttributeError, ImportError) as error:
                yield f"{path}.{name}", error
                continue
            if isinstance(value, types.ModuleType):
                if value.__name__.startswith("fitloom.keras.") or name in getattr(module, "__all__", ()):
                    queue.append((f"{path}.{name}", value))
                continue
            yield f"{path}.{name}", value


def signature(value):
    """The signature as text, without annotations and without addresses in the defaults."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    plain = [
        parameter.replace(annotation=parameter.empty, default=_shown(parameter.default)) for parameter in parameters
    ]
    return str(inspect.Signature(plain))


class _Shown:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def _shown(default):
    if default is inspect.Parameter.empty:
        return default
    text = repr(default)
    if " at 0x" in text:
        text = getattr(default, "__name__", type(default).__name__)
    return _Shown(text)


def lines():
    """The golden file's lines: a signature for every function, class and method, sorted."""
    homes, result = {}, []
    for path, value in public_objects():
        if isinstance(value, Exception):
            result.append(f"{path}: absent")
        elif isinstance(value, type):
            if id(value) in homes:
                result.append(f"{path} = {homes[id(value)]}")
                continue
            homes[id(value)] = path
            result.append(f"class {path}{signature(value)}")
            result.extend(_members(path, value))
        elif callable(value):
            result.append(f"{path}{signature(value)}")
        else:
            result.append(f"{path}: {type(value).__name__}")
    return sorted(result, key=lambda line: line.removeprefix("class "))


def _members(path, cls):
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"{path}.{name}: property"
        elif isinstance(member, (staticmethod, classmethod)):
            yield f"{path}.{name}{signature(getattr(cls, name))}"
        elif inspect.isfunction(member):
            yield f"{path}.{name}{signature(member)}"
