# SPDX-License-Identifier: Apache-2.0
"""`tf.random.experimental`. Names only."""

from fitloom.ops.generator import (
    Generator as Generator,
    create_rng_state as create_rng_state,
    get_global_generator as get_global_generator,
    set_global_generator as set_global_generator,
)
from fitloom.ops.random import (
    Algorithm as Algorithm,
    fold_in as stateless_fold_in,
    split as stateless_split,
    stateless_shuffle as stateless_shuffle,
)

__all__ = ["Algorithm", "Generator", "create_rng_state", "get_global_generator", "set_global_generator",
           "stateless_fold_in", "stateless_shuffle", "stateless_split"]
