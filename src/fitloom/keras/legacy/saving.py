# SPDX-License-Identifier: Apache-2.0
"""`keras.legacy.saving` and `keras.utils.legacy`: objects as {"class_name", "config"}. Names only."""

from fitloom.base.serialization import (
    deserialize_legacy as deserialize_keras_object,
    serialize_legacy as serialize_keras_object,
)

__all__ = ["deserialize_keras_object", "serialize_keras_object"]
