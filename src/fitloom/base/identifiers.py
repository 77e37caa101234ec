# SPDX-License-Identifier: Apache-2.0
"""How `initializers.get`, `regularizers.get`, ... turn what the user wrote into an object, and back."""
from fitloom.base import registry, serialization
from fitloom.base.errors import unknown_name


def get(kind, identifier, namespace):
    """Return the object that a name, a configuration, a class or a callable stands for; None stays None.

    Args:
        kind: what is looked for, in words, for the error ('initializer').
        identifier: name, dict of `serialize`, class (called without arguments), callable, or None.
        namespace: where names are looked up ('keras.initializers').

    Raises:
        ValueError: an unknown name (near ones are shown), or something that is none of these.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return deserialize(kind, identifier, namespace)
    if isinstance(identifier, str):
        found = registry.lookup(identifier, namespace)
        if found is None:
            raise unknown_name(kind, identifier, registry.names_in(namespace))
        return found() if isinstance(found, type) else found
    if callable(identifier):
        return identifier() if isinstance(identifier, type) else identifier
    raise ValueError(f"Expected a name, an object or a configuration of {_article(kind)}, but received "
                     f"{identifier!r} (of type {type(identifier).__name__}).")


def deserialize(kind, config, namespace, custom_objects=None):
    """Return the object that a configuration or a name describes.

    Raises:
        ValueError: the configuration describes nothing known.
    """
    if isinstance(config, str):
        with registry.custom_object_scope(custom_objects):
            return get(kind, config, namespace)
    if isinstance(config, dict) and "class_name" in config and "module" not in config:
        # Written by Keras 2: the namespace is understood, the configuration may be a bare dict.
        config = {"module": namespace, "registered_name": None, **config}
    return serialization.deserialize_keras_object(config, custom_objects=custom_objects)


def _article(kind):
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
