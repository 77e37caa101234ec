# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.saving`."""
from typing import Any

from fitloom.base.registry import CustomObjectScope as CustomObjectScope
from fitloom.base.registry import custom_object_scope as custom_object_scope
from fitloom.base.registry import get_custom_objects as get_custom_objects
from fitloom.base.registry import get_registered_name as get_registered_name
from fitloom.base.registry import get_registered_object as get_registered_object
from fitloom.base.registry import register_keras_serializable as register_keras_serializable
from fitloom.base.serialization import deserialize_keras_object as deserialize_keras_object
from fitloom.base.serialization import serialize_keras_object as serialize_keras_object

_FILES = ("load_model", "save_model", "load_weights", "save_weights", "KerasFileEditor")


def __getattr__(name: str) -> Any:
    if name in _FILES:
        try:
            from fitloom import saving

            return getattr(saving, name)
        except (ImportError, AttributeError):
            raise NotImplementedError(f"tf.keras.saving.{name} is not implemented yet in this version.") from None
    raise AttributeError(f"module 'fitloom.keras.saving' has no attribute {name!r}")
