# SPDX-License-Identifier: Apache-2.0
"""One step of Adam for many variables.

XLA:CPU reads the moments and the gradient once for each of the three results, and inside a loop it copies the variables
that their own gradients' products still need. One native pass reads everything once and writes it where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated


def adam(
    gradients: Sequence[jax.Array],
    values: Sequence[jax.Array],
    means: Sequence[jax.Array],
    squares: Sequence[jax.Array],
    rate: jax.Array,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[list[jax.Array], list[jax.Array], list[jax.Array]]:
    """Compute `m' = m + (g - m) (1 - b1)`, `v' = v + (g^2 - v) (1 - b2)`, `w' = w - rate m' / (sqrt(v') + e)`.

    Args:
        gradients, values, means, squares: g, w, m and v of each variable, float32.
        rate: float32 scalar, the learning rate with both corrections of the bias.
        beta_1, beta_2, epsilon: b1, b2 and e.

    Returns:
        `(new values, new means, new squares)`.
    """
    arrays = (*gradients, *values, *means, *squares)
    results = _steps(rate, *arrays, beta_1=float(beta_1), beta_2=float(beta_2), epsilon=float(epsilon))
    count = len(gradients)
    return results[:count], results[count : 2 * count], results[2 * count :]


def _steps_reference(rate, *arrays, beta_1, beta_2, epsilon):
    count = len(arrays) // 4
    values, means, squares = [], [], []
    for g, w, m, v in zip(*(arrays[i * count : (i + 1) * count] for i in range(4)), strict=True):
        means.append(m + (g - m) * (1 - beta_1))
        squares.append(v + (jnp.square(g) - v) * (1 - beta_2))
        values.append(w - means[-1] * rate / (jnp.sqrt(squares[-1]) + epsilon))
    return (*values, *means, *squares)


def _steps_native(rate, *arrays, beta_1, beta_2, epsilon):
    count = len(arrays) // 4
    results = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays[count:])
    places = {1 + count + i: i for i in range(3 * count)}
    weights = {"mean_weight": 1 - beta_1, "square_weight": 1 - beta_2, "epsilon": epsilon}
    return library.call("adam", results, rate, *arrays, reuse=places, **weights)


_steps = Accelerated("adam", _steps_reference, _steps_native)
