# SPDX-License-Identifier: Apache-2.0
"""Which formulation runs where: the one place that knows about platforms.

Every kernel is written in plain JAX and is right on every platform. Some have a second
formulation that is faster on the CPU (measured on XLA:CPU), or a native one in C++. The choice
is made while a program is traced and, where foreign code is called, once more while it is
lowered: a program for a GPU, or one that is partitioned over several devices, gets plain XLA.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from fitloom.ops.kernels.native import library

_thread = threading.local()


def on_cpu() -> bool:
    """True if a program traced now will run on the CPU as far as can be told."""
    device = getattr(jax.config, "jax_default_device", None)
    if device is not None:
        return getattr(device, "platform", device) == "cpu"
    return jax.default_backend() == "cpu"


def inside_mesh() -> bool:
    """True while tracing under a mesh of more than one device (shard_map, explicit sharding)."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1


@contextlib.contextmanager
def native(enabled: bool) -> Iterator[None]:
    """Allow or forbid the native kernels for functions traced inside the `with` block.

    A function that was traced before keeps what it has: use a new function, not a new call.
    """
    previous = getattr(_thread, "native", True)
    _thread.native = enabled
    try:
        yield
    finally:
        _thread.native = previous


def native_enabled() -> bool:
    """True if a program traced now may call the native kernels."""
    return (
        getattr(_thread, "native", True) and not inside_mesh() and on_cpu() and native_instruction_set() != ""
    )


def native_instruction_set() -> str:
    """Name the native kernels of this process: 'avx512', 'avx2', 'neon', or '' for none."""
    return library.instruction_set()


def register_lowering(primitive: Primitive, reference: Callable, native: Callable) -> None:
    """Lower a primitive to `native` on one CPU, and to `reference` everywhere else.

    Both take the primitive's operands and parameters and return a list of arrays.
    """
    plain = mlir.lower_fun(reference, multiple_results=True)
    fast = mlir.lower_fun(native, multiple_results=True)

    def on_one_cpu(context: mlir.LoweringRuleContext, *operands: Any, **parameters: Any) -> Any:
        axis_context = context.module_context.axis_context
        devices = getattr(axis_context, "num_devices", None)
        # XLA cannot split a call into foreign code: it would gather all data on every device.
        if devices != 1 or not getattr(_thread, "native", True):
            return plain(context, *operands, **parameters)
        return fast(context, *operands, **parameters)

    mlir.register_lowering(primitive, plain)
    mlir.register_lowering(primitive, on_one_cpu, platform="cpu")
