# SPDX-License-Identifier: Apache-2.0
"""The closed table of names that a saved configuration may use, and the caller's custom objects beside it.

Nothing here imports a module by name: a class or function can be found only if a room of this package put it
into the table (`builtin`), or the caller's own program did (`register_keras_serializable`, `custom_objects=`).
"""
import threading

_by_name: dict = {}    # (namespace, name) -> class or function of this package
_by_object: dict = {}  # id(class or function) -> (namespace, name)
_custom: dict = {}     # 'package>name' or a bare name -> the caller's class or function
_custom_names: dict = {}  # the caller's class or function -> its registered name


class _Scopes(threading.local):
    def __init__(self):
        self.stack = []


_scopes = _Scopes()


def builtin(namespace, *aliases, written=None):
    """Decorate a class or function of this package so that configurations may name it.

    Args:
        namespace: public namespace, such as 'keras.layers'.
        *aliases: further names under which it can be found.
        written: the name that configurations give it, if it is not the class's own.

    Example:
        @registry.builtin("keras.initializers", "zeros")
        class Zeros(Initializer): ...
    """
    def add(thing):
        for name in (thing.__name__, *aliases):
            _by_name[namespace, name] = thing
        _by_object[id(thing)] = (namespace, written or thing.__name__)
        return thing

    return add


def register_builtins(namespace, things):
    """Call `builtin(namespace)` on each of `things` (classes and functions)."""
    for thing in things:
        builtin(namespace)(thing)


def builtin_name(thing):
    """Return ('keras.layers', 'Dense') for the class or function of this package, None for anybody else's."""
    return _by_object.get(id(thing))


def names_in(namespace) -> list:
    """Return the names known in a namespace."""
    return sorted(name for space, name in _by_name if space == namespace)


def _namespace_of(module):
    """'keras.src.layers.core.dense' and 'keras.layers' both give 'keras.layers'."""
    parts = [part for part in str(module).split(".") if part not in ("src", "_tf_keras", "api")]
    if parts and parts[0] in ("keras", "tf_keras", "fitloom", "tensorflow"):
        parts = [part for part in parts if part not in ("tensorflow", "fitloom", "tf_keras", "keras")]
        if parts[:2] == ["optimizers", "schedules"]:
            return "keras.optimizers.schedules"
        return "keras." + parts[0] if parts else "keras"
    return None


def lookup(name, module=None, custom_objects=None):
    """Return the class or function a configuration means, or None.

    Args:
        name: class or function name, or a registered 'package>name'.
        module: the configuration's module field; None searches every namespace.
        custom_objects: dict that the caller gave.
    """
    for table in (custom_objects or {}, *reversed(_scopes.stack), _custom):
        if name in table:
            return table[name]
    if module is None:
        found = [thing for (_, known), thing in _by_name.items() if known == name]
        return found[0] if found else None
    return _by_name.get((_namespace_of(module), name))


def register_keras_serializable(package="Custom", name=None):
    """Decorate your class or function so that saved models that use it can be loaded.

    Args:
        package: prefix of the registered name, 'package>name'.
        name: name to use instead of the class's own.

    Raises:
        ValueError: a class without `get_config`, or a name taken by another object.
    """
    def register(thing):
        registered = f"{package}>{name or thing.__name__}"
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(
                f"Cannot register a class that does not have a get_config() method: {thing.__name__}. Add one.")
        _custom[registered] = thing
        _custom_names[thing] = registered
        return thing

    return register


def get_registered_name(obj) -> str:
    """Return the name under which a class or function was registered, or its own name."""
    try:
        return _custom_names.get(obj) or obj.__name__
    except TypeError:
        return obj.__name__


def get_registered_object(name, custom_objects=None, module_objects=None):
    """Return the class or function registered under `name`, or None."""
    for table in (*reversed(_scopes.stack), _custom, custom_objects or {}, module_objects or {}):
        if name in table:
            return table[name]
    return None


def registered_function(name):
    """Return the caller's function registered as 'package>name' for any package, or None."""
    return next((thing for key, thing in _custom.items() if key.endswith(f">{name}") and not isinstance(thing, type)),
                None)


def get_custom_objects() -> dict:
    """Return the process-wide dict of custom objects; what you put in can be loaded by its key."""
    return _custom


class custom_object_scope:
    """Context in which the given names can be loaded from configurations.

    Example:
        >>> import fitloom as tf
        >>> with tf.keras.utils.custom_object_scope({"Swish2": abs}):
        ...     tf.keras.utils.get_registered_object("Swish2") is abs
        True
    """

    def __init__(self, custom_objects=None, *more):
        self.objects: dict = {}
        for part in (custom_objects, *more):
            self.objects.update(part or {})

    def __enter__(self):
        _scopes.stack.append(self.objects)
        return self

    def __exit__(self, *_):
        _scopes.stack.pop()


CustomObjectScope = custom_object_scope
