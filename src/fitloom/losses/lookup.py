# SPDX-License-Identifier: Apache-2.0
"""Finding losses by name, and their configurations."""
from fitloom.base import errors, registry, serialization
from fitloom.losses.loss import Loss


def serialize(loss):
    """Return the configuration of a Loss, or the name of a loss function."""
    return serialization.serialize(loss)


def deserialize(name, custom_objects=None):
    """Return the loss a configuration or name stands for.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(name, str):
        found = registry.lookup(name, "keras.losses", custom_objects)
        if found is None:
            raise errors.unknown_name("loss", name, registry.names_in("keras.losses"),
                                      "Custom losses: pass the function itself, or register it with "
                                      "tf.keras.utils.register_keras_serializable().")
        return found
    return serialization.deserialize(name, custom_objects=custom_objects)


def get(identifier):
    """Return a loss: None stays None, a name gives the function or an instance of the class, a config an object.

    Args:
        identifier: None, a name ('mse', 'MeanSquaredError'), a config dict, a function or a Loss.

    Raises:
        ValueError: it stands for no loss.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        found = deserialize(identifier)
    elif callable(identifier):
        found = identifier
    else:
        raise ValueError(f"A loss must be a name, a function or a Loss, but is {identifier!r} of type "
                         f"{type(identifier).__name__}.")
    return found() if isinstance(found, type) and issubclass(found, Loss) else found
