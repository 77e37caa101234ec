# SPDX-License-Identifier: Apache-2.0
"""Module paths of Keras 1 and 2 (`keras.layers.embeddings`, `keras.utils.np_utils`, ...): views of today's doors.

The views stand in `sys.modules`, where the import system finds them once it has imported the door above them. A view
holds nothing: its names are those of its doors, the first that has one.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

# old path under keras: doors that have its names
_VIEWS = {
    **{f"layers.{name}": "layers" for name in """
        advanced_activations convolutional convolutional_recurrent core embeddings experimental
        experimental.preprocessing merge noise normalization normalization.batch_normalization
        normalization.layer_normalization pooling preprocessing recurrent recurrent_v2 wrappers
        """.split()},
    **{f"utils.{name}": "utils" for name in "data_utils generic_utils io_utils np_utils vis_utils".split()},
    "backend_config": "config",
    "callbacks.callbacks": "callbacks",
    "callbacks.experimental": "callbacks",
    "engine": "layers models",
    **{f"engine.{name}": "layers models" for name in """
        base_layer functional input_layer input_spec network sequential topology training
        """.split()},
    "experimental": "optimizers.schedules",
    "mixed_precision.experimental": "mixed_precision",
    "models.sequential": "models",
    "objectives": "losses",
    "saving.legacy": "saving",
    "utils.legacy": "legacy.saving",
}
# names that are others today
_RENAMED = {
    "layers": {"CuDNNGRU": "GRU", "CuDNNLSTM": "LSTM"},
    "mixed_precision.experimental": {"set_policy": "set_global_policy"},
}


class _View(types.ModuleType):
    """A module whose names are those of the doors it stands for."""

    def __getattr__(self, name: str) -> Any:
        path = self.__name__.removeprefix("fitloom.keras.")
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute {name!r}")
        if f"{path}.{name}" in _VIEWS:
            return sys.modules[f"{self.__name__}.{name}"]
        own = _RENAMED.get(path, {}).get(name, name)
        for door in _VIEWS[path].split():
            value = getattr(importlib.import_module(f"fitloom.keras.{door}"), own, self)
            if value is not self:
                return value
        raise AttributeError(f"module '{self.__name__}', a path of Keras 2, has no {name!r} here: its names are those "
                             f"of {' and '.join(f'keras.{door}' for door in _VIEWS[path].split())}.")


def install() -> None:
    """Put the views where `import` finds them."""
    for path in _VIEWS:
        name = f"fitloom.keras.{path}"
        sys.modules.setdefault(name, _View(name, f"Names of Keras 2's `keras.{path}`."))


def older(door: str, name: str) -> Any:
    """Return what Keras 2 had at `keras.<door>.<name>`: the view of a path, or what another name has today; or None."""
    path = f"{door}.{name}" if door else name
    if path in _VIEWS:
        return sys.modules[f"fitloom.keras.{path}"]
    today = _RENAMED.get(door, {}).get(name)
    return today and getattr(importlib.import_module(f"fitloom.keras.{door}"), today)
