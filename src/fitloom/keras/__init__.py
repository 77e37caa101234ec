# SPDX-License-Identifier: Apache-2.0
"""`tf.keras` (and `keras`): the door of the Keras API. Names only, loaded on first touch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fitloom.keras import keras2

__version__ = "3.15.1"  # the version of the Keras API that is followed

# Each namespace is a file keras/<name>.py of explicit re-exports, written by the owner of the room.
_NAMESPACES = """
    activations applications backend callbacks config constraints datasets distillation distribution dtype_policies
    export initializers layers legacy losses metrics mixed_precision models ops optimizers preprocessing quantizers
    random regularizers saving tree utils visualization wrappers
""".split()

# Root names, by the module they come from.
_ROOMS = {
    "fitloom.base.naming": "name_scope",
    "fitloom.engine": "KerasTensor device",
    "fitloom.engine.stateless": "StatelessScope",
    "fitloom.initializers": "Initializer",
    "fitloom.layers": "Input InputSpec Layer",
    "fitloom.losses": "Loss",
    "fitloom.metrics": "Metric",
    "fitloom.models": "Function Model Sequential",
    "fitloom.optimizers": "Optimizer",
    "fitloom.layers.graph": "Operation",
    "fitloom.layers.recomputing": "RematScope",
    "fitloom.quantizers": "Quantizer",
    "fitloom.regularizers": "Regularizer",
    "fitloom.keras.dtype_policies": "DTypePolicy FloatDTypePolicy",
    "fitloom.keras.utils": "remat",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_HOMES["Variable"] = "fitloom.engine:KerasVariable"
_HOMES["version"] = "fitloom.keras:_version"

__all__ = sorted([*_HOMES, *_NAMESPACES])


def _version() -> str:
    """Return the version of the Keras API that is followed."""
    return __version__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        room, _, attribute = _HOMES[name].partition(":")
        if room == "fitloom.engine":
            importlib.import_module("fitloom.ops")           # gives tensors and variables their operators
            if name == "Variable":
                importlib.import_module("fitloom.initializers")       # which it may be given by name
        value = getattr(importlib.import_module(room), attribute or name)
    elif name in _NAMESPACES:
        try:
            value = importlib.import_module(f"fitloom.keras.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"fitloom.keras.{name}":
                raise
            raise AttributeError(f"module 'fitloom.keras' has no attribute {name!r}.") from None
    elif (value := keras2.older("", name)) is not None:
        return value
    else:
        import difflib

        near = difflib.get_close_matches(name, __all__, n=2)
        hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
        raise AttributeError(f"module 'fitloom.keras' has no attribute {name!r}.{hint}")
    globals()[name] = value
    return value


keras2.install()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from fitloom.engine import KerasVariable as Variable
    from fitloom.layers import Input as Input, InputSpec as InputSpec, Layer as Layer
    from fitloom.losses import Loss as Loss
    from fitloom.metrics import Metric as Metric
    from fitloom.models import Model as Model, Sequential as Sequential
    from fitloom.optimizers import Optimizer as Optimizer
