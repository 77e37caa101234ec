# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.saving`."""
from fitloom.base.registry import CustomObjectScope as CustomObjectScope
from fitloom.base.registry import custom_object_scope as custom_object_scope
from fitloom.base.registry import get_custom_objects as get_custom_objects
from fitloom.base.registry import get_registered_name as get_registered_name
from fitloom.base.registry import get_registered_object as get_registered_object
from fitloom.base.registry import register_keras_serializable as register_keras_serializable
from fitloom.base.serialization import deserialize_keras_object as deserialize_keras_object
from fitloom.base.serialization import serialize_keras_object as serialize_keras_object
from fitloom.saving import KerasFileEditor as KerasFileEditor
from fitloom.saving import load_model as load_model
from fitloom.saving import load_weights as load_weights
from fitloom.saving import save_model as save_model
from fitloom.saving import save_weights as save_weights
