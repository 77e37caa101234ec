# SPDX-License-Identifier: Apache-2.0
"""`tf.autograph`. Names only."""

from fitloom.tracing.autograph import (
    to_code as to_code,
    to_graph as to_graph,
)
from fitloom.tracing.conversion import (
    experimental as experimental,
    set_verbosity as set_verbosity,
    trace as trace,
)
