# SPDX-License-Identifier: Apache-2.0
"""Objects to plain data and back, in Keras 3's format: {"module", "class_name", "config", "registered_name"}.

Fail-closed: a configuration can name only what `base.registry` holds (this package's own table, the classes the
caller's program registered) and the `custom_objects` given. Nothing is imported by a name found in data, and byte
code runs only when the caller says `safe_mode=False`.
"""
import base64
import marshal
import threading
import types

import numpy as np

from fitloom.base import dtypes, registry
from fitloom.base.errors import did_you_mean
from fitloom.base.shapes import TensorShape

_PLAIN = (str, int, float, bool)
# class_name -> function of the inner config; upper rooms add "__tensor__" and "__keras_tensor__".
makers: dict = {}
# functions of an object that return its configuration or None; for tensors, whose classes live above.
describers: list = []


class _State(threading.local):
    def __init__(self):
        self.safe_mode = None      # None: nobody said anything, which means safe
        self.shared_configs = None  # id -> config, while writing
        self.shared_objects = None  # id -> object, while reading


_state = _State()


class SafeModeScope:
    """Context that decides for everything read inside whether byte code is refused."""

    def __init__(self, safe_mode=True):
        self.safe_mode = safe_mode

    def __enter__(self):
        self.before, _state.safe_mode = _state.safe_mode, self.safe_mode

    def __exit__(self, *_):
        _state.safe_mode = self.before


def in_safe_mode():
    """Return what the innermost SafeModeScope says, or None."""
    return _state.safe_mode


def enable_unsafe_deserialization():
    """Let configurations contain byte code of lambdas, in this thread, from now on."""
    _state.safe_mode = False


class ObjectSharingScope:
    """Context in which an object that occurs twice is written once and read as one object."""

    def __enter__(self):
        self.before = _state.shared_configs, _state.shared_objects
        _state.shared_configs, _state.shared_objects = {}, {}

    def __exit__(self, *_):
        _state.shared_configs, _state.shared_objects = self.before


def serialize_keras_object(obj):
    """Return an object as plain data that `deserialize_keras_object` takes.

    Raises:
        TypeError: an object without `get_config` that is not plain data, an array or a function.
    """
    if obj is None or type(obj) in _PLAIN:
        return obj
    if isinstance(obj, (list, tuple)) and not isinstance(obj, TensorShape):
        items = [serialize_keras_object(x) for x in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict) and not hasattr(obj, "get_config"):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    special = _serialize_special(obj)
    if special is not None:
        return special if special is not _NONE else None
    if isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)):
        return _serialize_function(obj)
    if callable(obj) and registry.builtin_name(obj) and not hasattr(obj, "get_config"):
        return _serialize_function(obj)
    if not hasattr(obj, "get_config"):
        raise TypeError(f"Cannot serialize {obj!r} (of type {type(obj).__name__}): it has no get_config() method.")
    return _serialize_instance(obj)


_NONE = object()


def _serialize_special(obj):
    if isinstance(obj, _PLAIN):
        return obj
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("utf-8")}}
    if isinstance(obj, slice):
        return {"class_name": "__slice__", "config": {
            name: serialize_keras_object(getattr(obj, name)) for name in ("start", "stop", "step")}}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, TensorShape):
        return obj.as_list() if obj.rank is not None else _NONE
    if isinstance(obj, dtypes.DType):
        return obj.name
    if isinstance(obj, np.ndarray) and obj.ndim > 0:
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": dtypes.name_of(obj.dtype)}}
    if isinstance(obj, (np.ndarray, np.generic)):
        return obj.item()
    if isinstance(obj, np.dtype):
        return obj.name
    if isinstance(obj, set):
        return [serialize_keras_object(x) for x in sorted(obj, key=str)]
    for describe in describers:
        config = describe(obj)
        if config is not None:
            return config
    return None


def _serialize_function(function):
    if getattr(function, "__name__", "") == "<lambda>":
        return {"class_name": "__lambda__", "config": {"value": dump_function(function)}}
    known = registry.builtin_name(function)
    registered = known[1] if known else registry.get_registered_name(function)
    return {"module": known[0] if known else _module_of(function), "class_name": "function",
            "config": function.__name__ if known else registered, "registered_name": registered}


def _module_of(thing):
    return None if thing.__module__ == "__main__" else thing.__module__


def _serialize_instance(obj):
    cls = type(obj)
    known = registry.builtin_name(cls)
    config = {"module": known[0] if known else _module_of(cls), "class_name": known[1] if known else cls.__name__,
              "config": _serialize_config(obj), "registered_name": None if known else registry.get_registered_name(cls)}
    for key, method in (("build_config", "get_build_config"), ("compile_config", "get_compile_config")):
        extra = getattr(obj, method, lambda: None)()
        if extra is not None:
            config[key] = serialize_keras_object(extra)
    if _state.shared_configs is not None:
        earlier = _state.shared_configs.setdefault(id(obj), config)
        if earlier is not config:
            earlier["shared_object_id"] = config["shared_object_id"] = id(obj)
    return config


def _serialize_config(obj):
    config = obj.get_config()
    if not isinstance(config, dict):
        raise TypeError(f"The get_config() method of {obj!r} should return a dict. It returned: {config!r}")
    return {key: serialize_keras_object(value) for key, value in config.items()}


def deserialize_keras_object(config, custom_objects=None, safe_mode=True, **unknown):
    """Return the object that plain data from `serialize_keras_object` describes.

    Args:
        config: the data.
        custom_objects: dict from names to your classes and functions.
        safe_mode: whether to refuse byte code (lambdas).
        **unknown: `module_objects`, a dict like `custom_objects` and asked after it, in which a text alone stands for
            the function or an instance of the class; `printable_module_name` is of no use.

    Raises:
        TypeError: a class or function that is neither this package's nor yours.
        ValueError: byte code in safe mode.
    """
    module_objects = unknown.pop("module_objects", None)
    unknown.pop("printable_module_name", None)
    if module_objects:
        if isinstance(config, str) and config in module_objects and config not in (custom_objects or {}):
            found = module_objects[config]
            return found() if isinstance(found, type) else found
        custom_objects = {**module_objects, **(custom_objects or {})}
    if unknown:
        raise TypeError(f"deserialize_keras_object received unknown arguments {sorted(unknown)}.")
    if _state.safe_mode is not None:
        safe_mode = _state.safe_mode
    safe_mode = safe_mode is not False      # nothing said (None) means safe
    if isinstance(config, str):
        found = registry.get_registered_object(config, custom_objects)
        return config if found is None else found
    if config is None or isinstance(config, _PLAIN):
        return config
    if isinstance(config, (list, tuple)):
        return [deserialize_keras_object(x, custom_objects, safe_mode) for x in config]
    if not isinstance(config, dict):
        raise TypeError(f"Could not parse config: {config!r} (of type {type(config).__name__}).")
    if "class_name" not in config or "config" not in config:
        return {key: deserialize_keras_object(value, custom_objects, safe_mode) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    if not isinstance(name, str):
        raise TypeError(f"Expected 'class_name' to be a string, but received {name!r}.")
    if name.startswith("__"):
        return _deserialize_special(name, inner or {}, custom_objects, safe_mode)
    if name == "function":
        if not isinstance(inner, str):
            raise TypeError(f"Expected 'config' to be a non-null str for a function, its name, but received {inner!r}.")
        return _retrieve(inner, config, custom_objects)
    return _deserialize_instance(config, {} if inner is None else inner, custom_objects, safe_mode)


def _deserialize_special(name, inner, custom_objects, safe_mode):
    if name == "__lambda__":
        if safe_mode:
            raise ValueError(
                "Requested the deserialization of a Python lambda. This carries a potential risk of arbitrary code "
                "execution and thus it is disallowed by default. If you trust the source of the artifact, you can "
                "override this error by passing `safe_mode=False` to the loading function.")
        return load_function(inner["value"])
    if name == "__bytes__":
        return inner["value"].encode("utf-8")
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__slice__":
        return slice(*[deserialize_keras_object(inner[part], custom_objects, safe_mode)
                       for part in ("start", "stop", "step")])
    if name == "__numpy__":
        return np.array(inner["value"], dtype=dtypes.numpy_dtype(inner["dtype"]))
    if name == "__tuple__":
        return tuple(deserialize_keras_object(inner.get("items", []), custom_objects, safe_mode))
    if name in makers:
        return makers[name](inner)
    raise TypeError(f"Could not parse the special class '{name}' in the configuration.")


def _deserialize_instance(config, inner, custom_objects, safe_mode):
    if not isinstance(inner, dict):
        raise TypeError(f"Expected 'config' to be a dict for {config['class_name']}, instead got {type(inner)}.")
    shared = config.get("shared_object_id")
    if shared is not None and _state.shared_objects is not None and shared in _state.shared_objects:
        return _state.shared_objects[shared]
    cls = _retrieve(config["class_name"], config, custom_objects)
    if not isinstance(cls, type):
        return cls
    if not hasattr(cls, "from_config"):
        raise TypeError(f"Unable to reconstruct an instance of '{config['class_name']}' because the class is missing "
                        "a `from_config()` method.")
    with registry.custom_object_scope(custom_objects), SafeModeScope(safe_mode):
        instance = cls.from_config(dict(inner))
        if config.get("build_config") and not instance.built:
            instance.build_from_config(config["build_config"])
            instance.built = True
        if config.get("compile_config"):
            instance.compile_from_config(config["compile_config"])
    if shared is not None and _state.shared_objects is not None:
        _state.shared_objects[shared] = instance
    return instance


def _retrieve(name, config, custom_objects):
    """Find the class or function a configuration means, among those that may be named."""
    registered = config.get("registered_name") or name
    for candidate in dict.fromkeys((registered, name)):
        if isinstance(candidate, str):
            found = registry.get_registered_object(candidate, custom_objects)
            if found is not None:
                return found
    module = config.get("module")
    if config["class_name"] == "function" and module == "builtins" and ">" not in name:
        bare = registry.registered_function(name)   # Keras up to 3.6 wrote registered functions without the package
        if bare is not None and registry.lookup(name, None) is None:
            return bare
    if module == "builtins" and config["class_name"] == "function":
        module = None   # Keras writes its own functions so, by name alone
        found = registry.lookup(name, None)
    else:
        found = registry.lookup(name, module) if module else None
    if found is not None:
        if registered not in (name, config["class_name"]):
            raise ValueError(f"`registered_name={registered!r}` was provided in the config, but '{name}' resolved to a "
                             "Keras built-in and does not use registered names. Remove the registered_name.")
        return found
    kind = "function" if config["class_name"] == "function" else "class"
    known = [n for _, n in registry._by_name]
    raise TypeError(
        f"Could not locate {kind} '{name}'{f' of module {module!r}' if module else ''}. Make sure custom classes and "
        "functions are decorated with `@keras.saving.register_keras_serializable()` and imported, or pass them: "
        f"custom_objects={{'{name}': {name}}}.{did_you_mean(name, known)}")


# ---- `keras.utils.legacy`: the form before Keras 3, {"class_name": ..., "config": ...} or a name


def serialize_legacy(instance):
    """Return an object as {"class_name", "config"}, or a function or class as its name; None stays None."""
    if instance is None:
        return None
    if hasattr(instance, "get_config"):
        config = {key: serialize_legacy(value) if hasattr(value, "get_config") or callable(value) else value
                  for key, value in instance.get_config().items()}
        return {"class_name": registry.get_registered_name(type(instance)), "config": config}
    if hasattr(instance, "__name__"):
        return registry.get_registered_name(instance)
    raise ValueError("serialize_keras_object expected an object with get_config(), a function or a class, but "
                     f"received {instance!r} (of type {type(instance).__name__}).")


def deserialize_legacy(identifier, module_objects=None, custom_objects=None, printable_module_name="object"):
    """Return the object that `serialize_legacy` described.

    Args:
        identifier: None, a dict with "class_name" and "config", or a name; anything else is returned as it is.
        module_objects: name -> class or function, asked after `custom_objects` and before what is built in.
        custom_objects: name -> class or function.
        printable_module_name: what the error calls the kind of object.
    """
    if isinstance(identifier, dict):
        if "class_name" not in identifier or "config" not in identifier:
            raise ValueError(f"Expected a configuration with 'class_name' and 'config', but it has the keys "
                             f"{sorted(map(str, identifier))}.")
        name, config = identifier["class_name"], identifier["config"]
    elif isinstance(identifier, str):
        name, config = identifier, None
    else:
        return identifier
    found = (custom_objects or {}).get(name) or registry.get_registered_object(name, custom_objects, module_objects) \
        or registry.lookup(name, None)
    if found is None:
        raise ValueError(f"Unknown {printable_module_name}: '{name}'. Pass it in custom_objects, or decorate it "
                         "with @keras.saving.register_keras_serializable()." + did_you_mean(name, module_objects or ()))
    if config is None:
        return found() if isinstance(found, type) else found
    if not hasattr(found, "from_config"):
        return found(**config)
    with registry.custom_object_scope(custom_objects or {}):
        return found.from_config(config)


serialize, deserialize = serialize_keras_object, deserialize_keras_object


def dump_function(function):
    """Return a Python function's byte code, defaults and closure values as plain data."""
    closure = [cell.cell_contents for cell in function.__closure__] if function.__closure__ else None
    return {"code": base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii"),
            "defaults": function.__defaults__, "closure": closure}


def load_function(data, global_names=None):
    """Make a function from `dump_function`'s data. It is the caller's job to have asked for it (safe_mode=False)."""
    if isinstance(data, (list, tuple)):   # Keras writes [code, defaults, closure]
        data = dict(zip(("code", "defaults", "closure"), data))
    code = marshal.loads(base64.decodebytes(data["code"].encode("ascii")))
    closure = tuple(types.CellType(value) for value in data["closure"]) if data.get("closure") else None
    defaults = data.get("defaults")
    defaults = tuple(tuple(d) if isinstance(d, list) else d for d in defaults) if defaults else None
    return types.FunctionType(code, global_names or {}, code.co_name, defaults, closure)
