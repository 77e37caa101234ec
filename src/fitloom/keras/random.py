# SPDX-License-Identifier: Apache-2.0
"""`keras.random`: random numbers with seeds in Keras's sense. Names only."""

from fitloom.ops.random_style import (
    beta as beta,
    binomial as binomial,
    categorical as categorical,
    dropout as dropout,
    gamma as gamma,
    normal as normal,
    randint as randint,
    shuffle as shuffle,
    truncated_normal as truncated_normal,
    uniform as uniform,
)
from fitloom.ops.seed_generator import SeedGenerator as SeedGenerator
