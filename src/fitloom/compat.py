# SPDX-License-Identifier: Apache-2.0
"""`tf.compat`: text conversions, and the few names of `tf.compat.v1` that TF 2 scripts still call. Names only."""

import importlib
import sys
import types

from fitloom.ops import compatibility_v1 as _v1, older_images as _older_images
from fitloom.ops.compatibility import (
    as_bytes as as_bytes,
    as_str as as_str,
    as_str_any as as_str_any,
    as_text as as_text,
    dimension_at_index as dimension_at_index,
    forward_compatible as forward_compatible,
    path_to_str as path_to_str,
)


class _Older(types.ModuleType):
    """`tf.compat.v1`: its own names, then those of `tf`, most of which had the same arguments before TF 2."""

    def __getattr__(self, name: str) -> object:
        if not name.startswith("__"):
            for home in (_v1, importlib.import_module("fitloom")):
                value = getattr(home, name, self)
                if value is not self:
                    return value
        raise AttributeError(f"module 'tf.compat.v1' has no attribute {name!r} here: TensorFlow 1's graphs, sessions, "
                             "variables by name and their layers do not exist. Write it with the TF 2 interface.")

    def __dir__(self) -> list[str]:
        return [name for name in vars(_v1) if not name.startswith("_")]


class _OlderNetworks(types.ModuleType):
    """`tf.compat.v1.nn`: `tf.nn`, with the functions whose arguments were others."""

    def __getattr__(self, name: str) -> object:
        return getattr(_v1.networks, name, None) or getattr(importlib.import_module("fitloom.nn"), name)


class _OlderImages(types.ModuleType):
    """`tf.compat.v1.image`: `tf.image`, with the functions that gave other values."""

    def __getattr__(self, name: str) -> object:
        return getattr(_older_images, name, None) or getattr(importlib.import_module("fitloom.image"), name)


v1 = _Older("fitloom.compat.v1", _v1.__doc__)
v1.nn = _OlderNetworks("fitloom.compat.v1.nn", "`tf.nn` as TensorFlow 1 had it.")  # type: ignore[attr-defined]
v1.image = _OlderImages("fitloom.compat.v1.image", "`tf.image`, whose `resize` is TensorFlow 1's.")  # type: ignore[attr-defined]
v2 = sys.modules["fitloom"]
sys.modules.update({"fitloom.compat.v1": v1, "fitloom.compat.v2": v2})      # import fitloom.compat.v2 as tf
