# SPDX-License-Identifier: Apache-2.0
"""Finding optimizers by name, and their configurations."""
from fitloom.base import identifiers, registry, serialization
from fitloom.optimizers.optimizer import Optimizer


def serialize(optimizer):
    """Return the configuration of an optimizer."""
    return serialization.serialize_keras_object(optimizer)


def _known(name):
    """Return an optimizer's name as it is known: 'RMSProp' and 'ADAM' mean 'rmsprop' and 'adam'."""
    space = "keras.optimizers"
    return name.lower() if registry.lookup(name, space) is None and registry.lookup(name.lower(), space) else name


def deserialize(config, custom_objects=None):
    """Return the optimizer that a configuration or a name stands for.

    Raises:
        ValueError: it stands for none.
    """
    if isinstance(config, str):
        return get(config)
    if isinstance(config, dict) and isinstance(config.get("class_name"), str) and custom_objects is None:
        config = {**config, "class_name": _known(config["class_name"])}
    return identifiers.deserialize("optimizer", config, "keras.optimizers", custom_objects)


def get(identifier):
    """Return an optimizer: None stays None, a name gives one with default settings, a config or an Optimizer that one.

    Args:
        identifier: a name ('adam', 'SGD'), a config dict or an Optimizer.

    Raises:
        ValueError: it stands for no optimizer (near names are shown).

    Example:
        >>> import fitloom as tf
        >>> type(tf.keras.optimizers.get("adam")).__name__
        'Adam'
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        identifier = _known(identifier)
    elif isinstance(identifier, dict):
        return deserialize(identifier)
    found = identifiers.get("optimizer", identifier, "keras.optimizers")
    if found is None or isinstance(found, Optimizer):
        return found
    raise ValueError(f"An optimizer must be a name, a configuration or an Optimizer, but is {identifier!r} of type "
                     f"{type(identifier).__name__}.")
