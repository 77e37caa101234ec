# SPDX-License-Identifier: Apache-2.0
"""Loads the native library when it is first needed, and makes its functions callable from XLA."""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fitloom.ops.kernels.native.build import LIBRARY

_TARGETS = (
    "conv_forward",
    "conv_input_gradient",
    "conv_weight_gradient",
    "conv_bias_forward",
    "conv_relu_input_gradient",
    "conv_bias_weight_gradient",
    "conv_pool_forward",
    "conv_pool_weight_gradient",
    "depthwise_forward",
    "depthwise_input_gradient",
    "depthwise_weight_gradient",
    "lstm",
    "lstm_inference",
    "lstm_backward",
    "gru_forward",
    "gru_inference",
    "gru_backward",
    "dense",
    "dense_gradient",
    "recurrent_gradients",
    "channel_moments",
    "channel_products",
    "column_sum",
    "gelu",
    "gelu_gradient",
    "adam",
    "layer_norm",
    "layer_norm_gradient",
    "attention",
    "attention_gradient",
    "max_pool",
    "max_pool_gradient",
)


def _opened() -> ctypes.CDLL | None:
    path = os.environ.get("FITLOOM_NATIVE_LIBRARY", "") or pathlib.Path(__file__).with_name(LIBRARY)
    try:
        return None if os.environ.get("FITLOOM_NATIVE", "") == "0" else ctypes.CDLL(str(path))
    except OSError:
        return None


@functools.cache
def host_function(name: str, *types: Any) -> Any:
    """Return a plain function of the library for ctypes (it runs without Python's lock), or None where it is absent."""
    function = getattr(_opened(), f"fitloom_{name}", None)
    if function is not None:
        function.argtypes, function.restype = types, None
    return function


@functools.cache
def instruction_set() -> str:
    """Name the instruction set of the kernels that will run: 'avx512', 'avx2' or 'neon'.

    '' means that everything runs on XLA alone: the library was not built or is older than this file, this
    processor is too old for it, or `FITLOOM_NATIVE=0` is set in the environment. The library is loaded and its
    functions are registered with XLA at the first call; no XLA backend is started.
    """
    library = _opened()
    if library is None:
        return ""
    library.fitloom_instruction_set.restype = ctypes.c_char_p
    name = library.fitloom_instruction_set().decode()
    if not all(hasattr(library, f"fitloom_{target}") for target in _TARGETS):
        return ""  # built from older sources
    if name:
        for target in _TARGETS:
            handler = jax.ffi.pycapsule(getattr(library, f"fitloom_{target}"))
            jax.ffi.register_ffi_target(f"fitloom_{target}", handler, platform="cpu")
    return name


def call(
    target: str,
    results: Any,
    *arguments: jax.Array,
    reuse: Mapping[int, int] | None = None,
    **attributes: int | float | Sequence[int],
) -> Any:
    """Call a native function from a function that is being traced for the CPU.

    Args:
        target: Its name, without the library's prefix.
        results: Shape and dtype of the result (`jax.ShapeDtypeStruct`), or a tuple of them.
        *arguments: Arrays.
        reuse: Maps places of arguments to places of results of the same shape that are written over them (XLA copies
            an argument first that somebody else still reads).
        **attributes: Numbers and tuples of integers.
    """
    numbers = {
        name: np.float32(value) if isinstance(value, float) else np.asarray(value, np.int64)[()]
        for name, value in attributes.items()
    }
    return jax.ffi.ffi_call(f"fitloom_{target}", results, input_output_aliases=dict(reuse or {}))(*arguments, **numbers)
