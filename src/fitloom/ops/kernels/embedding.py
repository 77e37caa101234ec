# SPDX-License-Identifier: Apache-2.0
"""Looking rows up in a table."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def embedding(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Take rows of a table: `y[..., :] = table[ids[...], :]`.

    The gradient is scattered into zeros of the table's shape; ids that occur twice add up.

    Args:
        table: `(rows, ...)`.
        ids: Integers in [0, rows), any shape. Others, negative ones too, give rows of NaN (the
            largest value for integer tables) and pass no gradient on.

    Returns:
        `(*ids.shape, *table.shape[1:])` in the table's dtype.
    """
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, received dtype {ids.dtype}")
    if jnp.issubdtype(ids.dtype, jnp.signedinteger):
        # Indexing counts negative numbers from the end; here they are as wrong as too large ones.
        ids = jnp.where(ids < 0, jnp.array(table.shape[0], ids.dtype), ids)
    return jnp.asarray(table).at[ids].get(mode="fill")
