# SPDX-License-Identifier: Apache-2.0
"""Finding losses by name, and their configurations."""
from fitloom.base import identifiers, serialization


def serialize(loss):
    """Return the configuration of a Loss or a loss function."""
    return serialization.serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """Return the loss that a configuration or a name stands for.

    Raises:
        ValueError: it stands for none.
    """
    return identifiers.deserialize("loss", name, "keras.losses", custom_objects)


def get(identifier):
    """Return a loss: None stays None, a name gives the function or an instance of the class, a config an object.

    Args:
        identifier: None, a name ('mse', 'MeanSquaredError'), a config dict, a function or a Loss.

    Raises:
        ValueError: it stands for no loss.
    """
    return identifiers.get("loss", identifier, "keras.losses")
