# SPDX-License-Identifier: Apache-2.0
"""`tf.random`: random numbers. Names only."""

from fitloom.ops import random_experimental as experimental
from fitloom.ops.generator import (
    Generator as Generator,
    create_rng_state as create_rng_state,
    get_global_generator as get_global_generator,
    set_global_generator as set_global_generator,
)
from fitloom.ops.random import (
    Algorithm as Algorithm,
    categorical as categorical,
    fold_in as fold_in,
    gamma as gamma,
    get_seed as get_seed,
    log_uniform_candidate_sampler as log_uniform_candidate_sampler,
    normal as normal,
    poisson as poisson,
    set_seed as set_seed,
    shuffle as shuffle,
    split as split,
    stateless_binomial as stateless_binomial,
    stateless_categorical as stateless_categorical,
    stateless_gamma as stateless_gamma,
    stateless_normal as stateless_normal,
    stateless_parameterized_truncated_normal as stateless_parameterized_truncated_normal,
    stateless_poisson as stateless_poisson,
    stateless_shuffle as stateless_shuffle,
    stateless_truncated_normal as stateless_truncated_normal,
    stateless_uniform as stateless_uniform,
    truncated_normal as truncated_normal,
    uniform as uniform,
    uniform_candidate_sampler as uniform_candidate_sampler,
)
