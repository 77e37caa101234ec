# SPDX-License-Identifier: Apache-2.0
"""Systems of equations with structure: factors of LU, three diagonals, bands; the logarithm of a matrix."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, as_index, tensor

# ---- factors of lu()


@op(name="lu_reconstruct")
def _lu_reconstruct(packed, permutation):
    n = packed.shape[-1]
    product = (jnp.tril(packed, -1) + jnp.eye(n, dtype=packed.dtype)) @ jnp.triu(packed)
    return jnp.take_along_axis(product, jnp.argsort(permutation, -1)[..., None], -2)


def lu_reconstruct(lower_upper, perm, validate_args=False, name=None):
    """Return the matrix whose `tf.linalg.lu` is (lower_upper, perm)."""
    return _lu_reconstruct(tensor(lower_upper), as_index(perm))


def _solved(packed, permutation, rhs):
    batch = jnp.broadcast_shapes(packed.shape[:-2], rhs.shape[:-2])
    packed, rhs = (jnp.broadcast_to(x, batch + x.shape[-2:]) for x in (packed, rhs))
    permutation = jnp.broadcast_to(permutation, batch + permutation.shape[-1:])
    rhs = jnp.take_along_axis(rhs, permutation[..., None], -2)
    y = lax.linalg.triangular_solve(packed, rhs, left_side=True, lower=True, unit_diagonal=True)
    return lax.linalg.triangular_solve(packed, y, left_side=True, lower=False)


_lu_solve = op(_solved, name="lu_solve")


def lu_solve(lower_upper, perm, rhs, validate_args=False, name=None):
    """Return x with A x = rhs, from the `tf.linalg.lu` of A; rhs (..., n, k)."""
    packed, rhs = alike("lu_solve", lower_upper, rhs)
    return _lu_solve(packed, as_index(perm), rhs)


@op(name="lu_matrix_inverse")
def _lu_inverse(packed, permutation):
    return _solved(packed, permutation, jnp.broadcast_to(jnp.eye(packed.shape[-1], dtype=packed.dtype), packed.shape))


def lu_matrix_inverse(lower_upper, perm, validate_args=False, name=None):
    """Return the inverse of A, from the `tf.linalg.lu` of A.

    Example:
        >>> import fitloom as tf
        >>> tf.linalg.lu_matrix_inverse(*tf.linalg.lu([[2.0, 0.0], [0.0, 4.0]])).numpy().tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    return _lu_inverse(tensor(lower_upper), as_index(perm))


# ---- three diagonals

_FORMATS = ("compact", "sequence", "matrix")


def _diagonals(diagonals, diagonals_format, name):
    """Return (superdiagonal, diagonal, subdiagonal) of the same length; the last and first element do not count."""
    from fitloom.ops.linear_algebra import diag_part
    from fitloom.ops.creating import zeros_like
    from fitloom.ops.shaping import concat

    if diagonals_format == "sequence":
        return alike(name, *diagonals)
    if diagonals_format == "compact":
        diagonals = tensor(diagonals)
        if len(diagonals.shape) < 2 or diagonals.shape[-2] != 3:
            raise InvalidArgumentError(f"{name} expected diagonals of shape (..., 3, n), but received "
                                       f"{tuple(diagonals.shape)}.")
        return [diagonals[..., i, :] for i in range(3)]
    if diagonals_format != "matrix":
        raise ValueError(f"{name} expected diagonals_format {', '.join(map(repr, _FORMATS))}, but received "
                         f"{diagonals_format!r}.")
    whole = tensor(diagonals)
    above, main, below = (diag_part(whole, k=k) for k in (1, 0, -1))
    nothing = zeros_like(main[..., :1])
    return [concat([above, nothing], -1), main, concat([nothing, below], -1)]


@op(name="tridiagonal_solve")
def _tridiagonal_solve(above, main, below, rhs):
    n = main.shape[-1]
    above, below = above.at[..., n - 1].set(0), below.at[..., 0].set(0)
    batch = jnp.broadcast_shapes(main.shape[:-1], rhs.shape[:-2])
    above, main, below = (jnp.broadcast_to(d, batch + (n,)) for d in (above, main, below))
    rows = jnp.arange(n)
    dense = jnp.zeros(batch + (n, n), main.dtype).at[..., rows, rows].set(main)
    dense = dense.at[..., rows[:-1], rows[1:]].set(above[..., :-1]).at[..., rows[1:], rows[:-1]].set(below[..., 1:])
    return jnp.linalg.solve(dense, jnp.broadcast_to(rhs, batch + rhs.shape[-2:]))


def tridiagonal_solve(diagonals, rhs, diagonals_format="compact", transpose_rhs=False, conjugate_rhs=False, name=None,
                      partial_pivoting=True, perturb_singular=False):
    """Return x with A x = rhs for a matrix A of three diagonals.

    Args:
        diagonals: 'compact': (..., 3, n), the superdiagonal (its last element does not count), the diagonal, the
            subdiagonal (its first element does not count); 'sequence': these three; 'matrix': A.
        rhs: (..., n) or (..., n, k).
        transpose_rhs, conjugate_rhs: solve for the transposed or conjugated right side.
        partial_pivoting: always done.
    """
    from fitloom.ops.linear_algebra import matrix_transpose

    if perturb_singular:
        raise NotImplementedError("tridiagonal_solve(perturb_singular=True) is not supported. Add a small multiple of "
                                  "the identity to the diagonal.")
    above, main, below = _diagonals(diagonals, diagonals_format, "tridiagonal_solve")
    main, rhs = alike("tridiagonal_solve", main, rhs)
    single = len(rhs.shape) == len(main.shape)
    rhs = rhs[..., None] if single else rhs
    if transpose_rhs and not single:
        rhs = matrix_transpose(rhs)
    if conjugate_rhs:
        from fitloom.ops.arithmetic import conj

        rhs = conj(rhs)
    solved = _tridiagonal_solve(above, main, below, rhs)
    return solved[..., 0] if single else solved


@op(name="tridiagonal_matmul")
def _tridiagonal_matmul(above, main, below, rhs):
    n = main.shape[-1]
    above, below = above.at[..., n - 1].set(0), below.at[..., 0].set(0)
    following = jnp.roll(rhs, -1, -2)
    before = jnp.roll(rhs, 1, -2)
    return above[..., None] * following + main[..., None] * rhs + below[..., None] * before


def tridiagonal_matmul(diagonals, rhs, diagonals_format="compact", name=None):
    """Return A rhs for a matrix A of three diagonals, given as for `tridiagonal_solve`; rhs (..., n, k)."""
    above, main, below = _diagonals(diagonals, diagonals_format, "tridiagonal_matmul")
    main, rhs = alike("tridiagonal_matmul", main, rhs)
    return _tridiagonal_matmul(above, main, below, rhs)


def eigh_tridiagonal(alpha, beta, eigvals_only=True, select="a", select_range=None, tol=None, name=None):
    """Return the eigenvalues, rising, of a Hermitian matrix of three diagonals, and its eigenvectors if asked.

    Args:
        alpha: (n,) the diagonal; beta: (n - 1,) the one above it.
        select: 'a' all, 'i' those numbered select_range = (first, last), 'v' those with values in select_range.
        tol: accepted; the eigenvalues are exact to rounding.
    """
    from fitloom.ops.linear_algebra import adjoint, diag, eigh
    from fitloom.ops.calling import host_value

    alpha, beta = alike("eigh_tridiagonal", alpha, beta)
    values, vectors = eigh(diag(alpha) + adjoint(diag(beta, k=-1)) * 0 + diag(beta, k=1) + adjoint(diag(beta, k=1)))
    if select == "i":
        kept = slice(int(select_range[0]), int(select_range[1]) + 1)
    elif select == "v":
        known = np.real(host_value(values, "eigenvalues to select by value"))
        inside = np.flatnonzero((known > select_range[0]) & (known <= select_range[1]))
        kept = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
    elif select == "a":
        kept = slice(None)
    else:
        raise ValueError(f"eigh_tridiagonal expected select 'a', 'i' or 'v', but received {select!r}.")
    return values[kept] if eigvals_only else (values[kept], vectors[:, kept])


# ---- bands


@op(name="banded_triangular_solve", same_dtype=True)
def _banded_solve(bands, rhs, *, lower, adjoint):
    count, n = bands.shape[-2:]
    i, j = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    offset = i - j if lower else j - i
    inside = (offset >= 0) & (offset < count)
    row = jnp.clip(offset, 0, count - 1) if lower else jnp.clip(count - 1 - offset, 0, count - 1)
    dense = jnp.where(inside, bands[..., row, i], 0)
    batch = jnp.broadcast_shapes(dense.shape[:-2], rhs.shape[:-2])
    dense, rhs = (jnp.broadcast_to(x, batch + x.shape[-2:]) for x in (dense, rhs))
    return lax.linalg.triangular_solve(dense, rhs, left_side=True, lower=lower, transpose_a=adjoint,
                                       conjugate_a=adjoint)


def banded_triangular_solve(bands, rhs, lower=True, adjoint=False, name=None):
    """Return x with A x = rhs for a triangular matrix A of a few diagonals.

    Args:
        bands: (..., count, n): for `lower` the diagonal and those below it, each aligned to the right; else those
            above the diagonal, the farthest first and aligned to the left, and the diagonal last.
        rhs: (..., n, k).
    """
    return _banded_solve(tensor(bands), tensor(rhs), lower=bool(lower), adjoint=bool(adjoint))


# ---- logarithm


@op(name="logm")
def _logm(x):
    values, vectors = jnp.linalg.eig(x)
    return ((vectors * jnp.log(values)[..., None, :]) @ jnp.linalg.inv(vectors)).astype(x.dtype)


def logm(input, name=None):
    """Return the principal logarithm of complex matrices that have a full set of eigenvectors.

    Raises:
        InvalidArgumentError: a real dtype; the logarithm of a real matrix may be complex.
    """
    input = tensor(input)
    if not input.dtype.is_complex:
        raise InvalidArgumentError(f"logm expected complex64 or complex128, but received {input.dtype.name}. Use "
                                   "tf.cast(x, tf.complex64).")
    return _logm(input)
