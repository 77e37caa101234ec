# SPDX-License-Identifier: Apache-2.0
"""Finding optimizers by name, and their configurations."""
from fitloom.base import identifiers, serialization
from fitloom.optimizers.optimizer import Optimizer


def serialize(optimizer):
    """Return the configuration of an optimizer."""
    return serialization.serialize_keras_object(optimizer)


def deserialize(config, custom_objects=None):
    """Return the optimizer that a configuration or a name stands for.

    Raises:
        ValueError: it stands for none.
    """
    if isinstance(config, str):
        return get(config)
    return identifiers.deserialize("optimizer", config, "keras.optimizers", custom_objects)


def get(identifier):
    """Return an optimizer: None stays None, a name gives one with default settings, a config or an Optimizer that one.

    Args:
        identifier: a name ('adam', 'SGD'), a config dict or an Optimizer.

    Raises:
        ValueError: it stands for no optimizer (near names are shown).

    Example:
        >>> import fitloom as tf
        >>> tf.keras.optimizers.get("adam")
        <Adam name=adam>
    """
    if isinstance(identifier, Optimizer):
        return identifier
    found = identifiers.get("optimizer", identifier, "keras.optimizers")
    if found is None or isinstance(found, Optimizer):
        return found
    raise ValueError(f"An optimizer must be a name, a configuration or an Optimizer, but is {identifier!r} of type "
                     f"{type(identifier).__name__}.")
