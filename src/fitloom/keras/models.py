# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.models`."""
from typing import Any

from fitloom.models import Functional as Functional
from fitloom.models import Model as Model
from fitloom.models import Sequential as Sequential
from fitloom.models import clone_model as clone_model
from fitloom.models import model_from_json as model_from_json


def __getattr__(name: str) -> Any:
    if name in ("load_model", "save_model"):
        from fitloom.keras import saving

        return getattr(saving, name)
    raise AttributeError(f"module 'fitloom.keras.models' has no attribute {name!r}")
