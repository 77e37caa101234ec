# SPDX-License-Identifier: Apache-2.0
"""`tf.autograph`. Names only."""

from fitloom.tracing.conversion import (
    experimental as experimental,
    set_verbosity as set_verbosity,
    trace as trace,
)
