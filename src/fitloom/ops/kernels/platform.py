# SPDX-License-Identifier: Apache-2.0
"""Which formulation runs where: the one place that knows about platforms.

Every kernel is written in plain JAX and is right on every platform. Some have a second
formulation that is faster on the CPU (measured on XLA:CPU), or a native one in C++.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import jax

_thread = threading.local()


def on_cpu() -> bool:
    """True if a program traced now will run on the CPU as far as can be told."""
    device = jax.config.jax_default_device
    if device is not None:
        return getattr(device, "platform", device) == "cpu"
    return jax.default_backend() == "cpu"


def select(cpu: Callable, default: Callable) -> Callable:
    """Return `cpu` or `default`, whichever suits the platform of the program being traced.

    Both must compute the same thing: where the guess is wrong (a function traced for one
    device and run on another) the program is slower, never wrong.
    """
    return cpu if on_cpu() else default


def inside_mesh() -> bool:
    """True while tracing under a mesh of more than one device (shard_map, explicit sharding)."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1


@contextlib.contextmanager
def native(enabled: bool) -> Iterator[None]:
    """Allow or forbid the native kernels for functions traced inside the `with` block.

    The engine forbids them where a program is partitioned over several devices: XLA cannot
    split a call into foreign code. A function that was traced before keeps what it has.
    """
    previous = getattr(_thread, "native", True)
    _thread.native = enabled
    try:
        yield
    finally:
        _thread.native = previous


def native_enabled() -> bool:
    """True if a program traced now may call the native kernels."""
    return getattr(_thread, "native", True) and not inside_mesh()
