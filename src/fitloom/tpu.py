# SPDX-License-Identifier: Apache-2.0
"""`tf.tpu`. Names only."""
import types as _types

from fitloom.distribute.mirrored import (
    initialize_tpu_system as _initialize_tpu_system,
    shutdown_tpu_system as _shutdown_tpu_system,
)

experimental = _types.SimpleNamespace(
    initialize_tpu_system=_initialize_tpu_system, shutdown_tpu_system=_shutdown_tpu_system)
