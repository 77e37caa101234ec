# SPDX-License-Identifier: Apache-2.0
"""Products of matrices and what can be asked of a matrix: `tf.matmul`, `tf.einsum`, `tf.linalg`.

Matrices stand in the last two axes; the axes before them are batches.
"""

from __future__ import annotations

import builtins


import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import linalg as scipy_linalg


from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.arithmetic import absolute_value
from fitloom.ops.calling import alike, host_value, static_axis, static_int, tensor, unary
from fitloom.ops.casting import cast
from fitloom.ops.creating import eye as eye

# ---- products


def _flipped(x, transpose, adjoint):
    if adjoint:
        return jnp.conj(jnp.swapaxes(x, -1, -2))
    return jnp.swapaxes(x, -1, -2) if transpose else x


@op(name="matmul", same_dtype=True)
def multiply_matrices(a, b, *, flags=(False, False, False, False), output_type=None):
    if builtins.min(a.ndim, b.ndim) < 2:
        raise InvalidArgumentError(
            f"matmul expected tensors of at least 2 axes, but received shapes {tuple(a.shape)} and {tuple(b.shape)}. "
            "Add an axis (x[tf.newaxis, :]), or use tf.tensordot(a, b, 1) for vectors.")
    a, b = _flipped(a, flags[0], flags[2]), _flipped(b, flags[1], flags[3])
    if a.shape[-1] != b.shape[-2]:
        raise InvalidArgumentError(
            f"matmul expected matrices whose inner sizes agree, but received {tuple(a.shape)} and {tuple(b.shape)}: "
            f"{a.shape[-1]} columns against {b.shape[-2]} rows.")
    kind = output_type or a.dtype
    return jnp.matmul(a, b, preferred_element_type=kind)


def matmul(a, b, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False, a_is_sparse=False,
           b_is_sparse=False, output_type=None, grad_a=False, grad_b=False, name=None):
    """Return the matrix product a b.

    Args:
        a: (..., n, k); b: (..., k, m), of one dtype.
        transpose_a, transpose_b: take the transposed matrix instead; `adjoint_*` the conjugated one too.
        a_is_sparse, b_is_sparse, grad_a, grad_b: hints of TensorFlow's kernels, without effect on the result.

    Raises:
        InvalidArgumentError: the inner sizes or the dtypes differ, or an input has fewer than 2 axes.

    Example:
        >>> import fitloom as tf
        >>> tf.matmul([[1.0, 2.0]], [[3.0], [4.0]]).numpy().tolist()
        [[11.0]]
    """
    if not (transpose_a or transpose_b or adjoint_a or adjoint_b or output_type):
        return multiply_matrices(a, b)
    for side, transposed, adjoint in (("a", transpose_a, adjoint_a), ("b", transpose_b, adjoint_b)):
        if transposed and adjoint:
            raise ValueError(f"matmul takes transpose_{side} or adjoint_{side}, but both are True.")
    flags = (builtins.bool(transpose_a), builtins.bool(transpose_b), builtins.bool(adjoint_a), builtins.bool(adjoint_b))
    output_type = None if output_type is None else dtypes.name_of(output_type)
    return multiply_matrices(a, b, flags=flags, output_type=output_type)


def matvec(a, b, transpose_a=False, adjoint_a=False, a_is_sparse=False, b_is_sparse=False, name=None):
    """Return the product of matrices (..., n, k) and vectors (..., k)."""
    from fitloom.ops.shaping import expand_dims, squeeze

    return squeeze(matmul(a, expand_dims(b, -1), transpose_a=transpose_a, adjoint_a=adjoint_a), -1)


@op(name="einsum")
def _einsum(*operands, equation):
    return jnp.einsum(equation, *operands, preferred_element_type=operands[0].dtype)


def einsum(equation, *inputs, optimize=None, name=None, **unused):
    """Return the sum of products that `equation` describes: einsum('ij,jk->ik', a, b) is a matrix product."""
    return _einsum(*alike("einsum", *inputs), equation=equation.replace(" ", ""))


@op(name="tensordot", same_dtype=True)
def _tensordot(a, b, *, axes):
    return jnp.tensordot(a, b, axes, preferred_element_type=a.dtype)


def tensordot(a, b, axes, name=None):
    """Return the sum of products over `axes`: a number (last of a, first of b) or a pair of lists."""
    if isinstance(axes, (list, tuple)):
        axes = tuple(static_axis(part) for part in axes)
        axes = tuple((part,) if isinstance(part, int) else part for part in axes)
    else:
        axes = static_axis(axes)
        axes = axes if isinstance(axes, int) else tuple(axes)
    return _tensordot(*alike("tensordot", a, b), axes=axes)


@op(name="cross")
def _cross(a, b):
    return jnp.cross(a, b)


def cross(a, b, name=None):
    """Return the cross product of vectors of length 3 in the last axis."""
    return _cross(*alike("cross", a, b))


# ---- norms and normalization

_ORDERS = {"euclidean": 2, "fro": 2, 1: 1, 2: 2}


@op(name="norm")
def _norm(x, *, ord, axis, keepdims):
    if ord == "svd":
        largest = jnp.linalg.svd(jnp.moveaxis(x, axis, (-2, -1)), compute_uv=False)[..., 0]
        return jnp.expand_dims(largest, axis) if keepdims else largest
    if isinstance(axis, tuple) and len(axis) == 2 and ord in (1, "inf"):
        rows, columns = (a % x.ndim for a in axis)
        summed, kept = (rows, columns) if ord == 1 else (columns, rows)
        total = jnp.max(jnp.sum(absolute_value(x), axis=summed, keepdims=True), axis=kept, keepdims=True)
        return total if keepdims else jnp.squeeze(total, (rows, columns))
    if ord == 2:
        return jnp.sqrt(jnp.sum(jnp.real(x * jnp.conj(x)), axis=axis, keepdims=keepdims))
    if ord == 1:
        return jnp.sum(absolute_value(x), axis=axis, keepdims=keepdims)
    if ord == "inf":
        return jnp.max(absolute_value(x), axis=axis, keepdims=keepdims)
    power = jnp.asarray(ord, x.dtype)
    return jnp.sum(absolute_value(x) ** power, axis=axis, keepdims=keepdims) ** (1 / power)


def norm(tensor, ord="euclidean", axis=None, keepdims=None, name=None):
    """Return the norm of vectors (`axis` a number), matrices (`axis` a pair) or of everything (None).

    Args:
        ord: 'euclidean' (also 'fro' and 2), 1, infinity, or any positive number for vectors.
    """
    axis = static_axis(axis)
    pair = isinstance(axis, tuple) and len(axis) == 2
    if isinstance(axis, tuple) and len(axis) == 1:
        axis = axis[0]
    if ord == np.inf:
        ord = "inf"
    elif pair and ord == 2:
        ord = "svd"
    elif ord in _ORDERS:
        ord = _ORDERS[ord]
    elif not isinstance(ord, (int, float)) or ord <= 0:
        raise ValueError(f"norm expected ord 'euclidean', 'fro', infinity or a positive number, but received {ord!r}.")
    return _norm(tensor, ord=ord, axis=axis, keepdims=builtins.bool(keepdims))


def normalize(tensor, ord="euclidean", axis=None, name=None):
    """Return (tensor / norm, norm)."""
    length = norm(tensor, ord, axis, keepdims=True)
    return tensor / length, length


@op(name="l2_normalize")
def _l2_normalize(x, *, axis, epsilon):
    total = jnp.sum(jnp.real(x * jnp.conj(x)), axis=axis, keepdims=True)
    floor = jnp.asarray(epsilon, total.dtype)
    return x * lax.rsqrt(jnp.where(total >= floor, total, floor)).astype(x.dtype)


def l2_normalize(x, axis=None, epsilon=1e-12, name=None, dim=None):
    """Return x / sqrt(max(sum(x ** 2), epsilon)), the sum over `axis`."""
    return _l2_normalize(x, axis=static_axis(axis if dim is None else dim), epsilon=float(epsilon))


# ---- one matrix in, one thing out

_trace = op(lambda x: jnp.trace(x, axis1=-2, axis2=-1, dtype=x.dtype), name="trace")
_inverse = op(lambda x, *, adjoint: jnp.linalg.inv(_flipped(x, False, adjoint)), name="inverse")
det = unary("det", jnp.linalg.det, "Return the determinant.", x="input")
slogdet = unary("slogdet", lambda x: tuple(jnp.linalg.slogdet(x)), "Return (sign, log |determinant|).", x="input")
logdet = unary("logdet", lambda x: 2 * jnp.sum(jnp.log(jnp.diagonal(_lower(x), axis1=-2, axis2=-1)), -1),
               "Return log(determinant) of a positive definite matrix.", x="matrix")
cholesky = unary("cholesky", lambda x: _lower(x), "Return the lower triangular L with L L^H = x.", x="input")
expm = unary("expm", lambda x: jnp.vectorize(scipy_linalg.expm, signature="(n,n)->(n,n)")(x),
             "Return the matrix exponential.", x="input")
matrix_square_root = unary("matrix_square_root",
                           lambda x: jnp.vectorize(_square_root, signature="(n,n)->(n,n)")(x),
                           "Return S with S S = x.", x="input")
eigvalsh = unary("eigvalsh", lambda x: jnp.linalg.eigvalsh(x).astype(x.dtype),
                 "Return the eigenvalues of a Hermitian matrix, rising.", x="tensor")
eigh = unary("eigh", lambda x: tuple(part.astype(x.dtype) for part in jnp.linalg.eigh(x)),
             "Return (eigenvalues, eigenvectors) of a Hermitian matrix.", x="tensor")


@jax.custom_jvp
def _square_root(m):
    root = scipy_linalg.sqrtm(m)
    return (root if jnp.iscomplexobj(m) else jnp.real(root)).astype(m.dtype)


@_square_root.defjvp
def _square_root_jvp(primals, tangents):
    (m,), (dm,) = primals, tangents
    s, n = _square_root(m), m.shape[0]
    one = jnp.eye(n, dtype=m.dtype)  # S dS + dS S = dM, solved for dS as one vector
    ds = jnp.linalg.solve(jnp.kron(s, one) + jnp.kron(one, s.T), dm.reshape(-1, 1)).reshape(n, n)
    return s, ds


def _lower(x):
    return jnp.linalg.cholesky(x)


def trace(x, name=None):
    """Return the sum of the diagonal."""
    return _trace(x)


def inv(input, adjoint=False, name=None):
    """Return the inverse matrix (of the adjoint, if `adjoint`)."""
    return _inverse(input, adjoint=builtins.bool(adjoint))


@op(name="eig")
def _eig(x):
    return _decomposed(x)


@jax.custom_jvp
def _decomposed(x):
    return tuple(jnp.linalg.eig(x))


@_decomposed.defjvp
def _(primals, tangents):
    values, vectors = _decomposed(*primals)
    moved = jnp.linalg.solve(vectors, tangents[0].astype(vectors.dtype) @ vectors)
    apart = values[..., None, :] - values[..., :, None]
    same = jnp.eye(values.shape[-1], dtype=bool)
    change = vectors @ jnp.where(same, 0, moved / jnp.where(same, 1, apart))
    along = jnp.sum(jnp.conj(vectors) * change, -2, keepdims=True).real     # the vectors keep the length 1
    return (values, vectors), (jnp.diagonal(moved, axis1=-2, axis2=-1), change - vectors * along)


def eig(tensor, name=None):
    """Return (eigenvalues, eigenvectors) of a general matrix, complex (computed on the CPU)."""
    return _eig(tensor)


def eigvals(tensor, name=None):
    """Return the eigenvalues of a general matrix, complex."""
    return _eig(tensor)[0]


@op(name="svd")
def _svd(x, *, full, vectors):
    if not vectors:
        return jnp.linalg.svd(x, compute_uv=False)
    u, s, vh = jnp.linalg.svd(x, full_matrices=full)
    return s, u, jnp.conj(jnp.swapaxes(vh, -1, -2))


def svd(tensor, full_matrices=False, compute_uv=True, name=None):
    """Return (s, u, v) with x = u diag(s) v^H, or s alone."""
    return _svd(tensor, full=builtins.bool(full_matrices), vectors=builtins.bool(compute_uv))


@op(name="qr")
def _qr(x, *, mode):
    return tuple(jnp.linalg.qr(x, mode=mode))


def qr(input, full_matrices=False, name=None):
    """Return (q, r): q with orthonormal columns, r upper triangular, x = q r."""
    return _qr(input, mode="complete" if full_matrices else "reduced")


@op(name="lu")
def _lu(x):
    packed, _, permutation = lax.linalg.lu(x)
    return packed, permutation.astype(jnp.int32)


def lu(input, output_idx_type=dtypes.int32, name=None):
    """Return (L and U in one matrix, the permutation of the rows)."""
    packed, permutation = _lu(input)
    return packed, cast(permutation, output_idx_type)


@op(name="matrix_rank")
def _matrix_rank(x, *, tol):
    s = jnp.linalg.svd(x, compute_uv=False)
    if tol is None:
        tol = builtins.max(x.shape[-2:]) * jnp.finfo(x.dtype).eps * jnp.max(s, axis=-1, keepdims=True)
    return jnp.sum(s > tol, axis=-1).astype(jnp.int32)


def matrix_rank(a, tol=None, validate_args=False, name=None):
    """Return the number of singular values above `tol` (max(n, m) * eps * the largest, if None)."""
    return _matrix_rank(a, tol=None if tol is None else float(tol))


@op(name="pinv")
def _pinv(x, *, rcond):
    return jnp.linalg.pinv(x, rtol=rcond)


def pinv(a, rcond=None, validate_args=False, name=None):
    """Return the Moore-Penrose inverse."""
    return _pinv(a, rcond=None if rcond is None else float(rcond))


# ---- solving




@op(name="solve", same_dtype=True)
def _solve(a, b, *, adjoint):
    return jnp.linalg.solve(_flipped(a, False, adjoint), b)


def solve(matrix, rhs, adjoint=False, name=None):
    """Return x with matrix x = rhs, rhs (..., n, k)."""
    return _solve(matrix, rhs, adjoint=builtins.bool(adjoint))


@op(name="triangular_solve", same_dtype=True)
def _triangular_solve(a, b, *, lower, adjoint):
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = jnp.broadcast_to(a, batch + a.shape[-2:]), jnp.broadcast_to(b, batch + b.shape[-2:])
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=lower, transpose_a=adjoint, conjugate_a=adjoint)


def triangular_solve(matrix, rhs, lower=True, adjoint=False, name=None):
    """Return x with matrix x = rhs for a triangular matrix."""
    return _triangular_solve(matrix, rhs, lower=builtins.bool(lower), adjoint=builtins.bool(adjoint))


@op(name="cholesky_solve", same_dtype=True)
def _cholesky_solve(chol, rhs):
    y = lax.linalg.triangular_solve(chol, rhs, left_side=True, lower=True)
    return lax.linalg.triangular_solve(chol, y, left_side=True, lower=True, transpose_a=True, conjugate_a=True)


def cholesky_solve(chol, rhs, name=None):
    """Return x with L L^H x = rhs, from the lower triangular L."""
    return _cholesky_solve(chol, rhs)


@op(name="lstsq", same_dtype=True)
def _lstsq(a, b, *, regularizer):
    gram = jnp.conj(jnp.swapaxes(a, -1, -2)) @ a
    gram = gram + jnp.asarray(regularizer, a.dtype) * jnp.eye(gram.shape[-1], dtype=a.dtype)
    if regularizer == 0:
        return jnp.linalg.pinv(a) @ b
    return jnp.linalg.solve(gram, jnp.conj(jnp.swapaxes(a, -1, -2)) @ b)


def lstsq(matrix, rhs, l2_regularizer=0.0, fast=True, name=None):
    """Return the x that minimizes |matrix x - rhs|^2 + l2_regularizer |x|^2."""
    return _lstsq(matrix, rhs, regularizer=float(l2_regularizer))


# ---- diagonals and bands


_ALIGNMENTS = ("RIGHT_LEFT", "LEFT_RIGHT", "LEFT_LEFT", "RIGHT_RIGHT")


def _band(rows, columns, low, high, align):
    """Return where the diagonals low..high of a matrix lie in their compact form, the highest in its first row.

    Three arrays: (diagonal, element) in the compact form of (row, column) in the matrix, and the compact width.
    """
    numbers, lengths = np.arange(high, low - 1, -1), []
    for d in numbers:
        lengths.append(min(rows + min(d, 0), columns - max(d, 0)))
        if lengths[-1] <= 0:
            raise InvalidArgumentError(f"A matrix of {rows} rows and {columns} columns has no diagonal {d}.")
    places, width = [], max(lengths)
    above, below = align.split("_")
    for number, (d, length) in enumerate(zip(numbers, lengths, strict=True)):
        left = d >= 0 and above == "LEFT" or d <= 0 and below == "LEFT"
        shift = 0 if left else width - length
        places += [(number, n + shift, n - min(d, 0), n + max(d, 0)) for n in range(length)]
    return np.asarray(places).T, width


def _diagonal_range(k, align):
    """Return (low, high) of one number k or of a pair."""
    if align not in _ALIGNMENTS:
        raise ValueError(f"align was expected to be one of {', '.join(_ALIGNMENTS)}, but is {align!r}.")
    low, high = (static_int(k),) * 2 if np.ndim(host_value(k)) == 0 else map(int, host_value(k))
    if low > high:
        raise InvalidArgumentError(f"k was expected to rise, but is ({low}, {high}).")
    return low, high


def _diagonal_matrix(x, padding, low, high, rows, columns, align):
    several = low != high
    if several and (x.ndim < 2 or x.shape[-2] != high - low + 1):
        raise InvalidArgumentError(f"linalg.diag expected {high - low + 1} diagonals in the axis before the last, but "
                                   f"received shape {tuple(x.shape)}.")
    x = x if several else x[..., None, :]
    width = x.shape[-1]
    least_rows, least_columns = width - min(high, 0), width + max(low, 0)
    if rows is None and columns is None:
        rows = columns = max(least_rows, least_columns)
    rows = least_rows if rows is None else rows
    columns = least_columns if columns is None else columns
    if rows < least_rows or columns < least_columns or rows != least_rows and columns != least_columns:
        raise InvalidArgumentError(f"linalg.diag expected at least {least_rows} rows and {least_columns} columns, one "
                                   f"of both exactly, so that the diagonal fits, but received {rows} and {columns}.")
    (number, element, row, column), _ = _band(rows, columns, low, high, align)
    out = jnp.full((*x.shape[:-2], rows, columns), padding, x.dtype)
    return out.at[..., row, column].set(x[..., number, element])


_diag = op(lambda x, padding, *, low, high, rows, columns, align: _diagonal_matrix(
    x, padding, low, high, rows, columns, align), name="diag", same_dtype=True)


def diag(diagonal, name=None, k=0, num_rows=-1, num_cols=-1, padding_value=0, align="RIGHT_LEFT"):
    """Return matrices with the last axis of `diagonal` on their k-th diagonal, or several diagonals.

    Args:
        k: a number; or (low, high) for several diagonals: the highest comes first in the axis before the last.
        num_rows, num_cols: the size of the matrices, -1 for the smallest square one.
        padding_value: the value of the other elements.
        align: how shorter diagonals lie in their rows: 'RIGHT_LEFT' for those above the main one to the right, those
            below it to the left, and so on.
    """
    low, high = _diagonal_range(k, align)
    rows, columns = (None if count == -1 else static_int(count) for count in (num_rows, num_cols))
    return _diag(tensor(diagonal), padding_value, low=low, high=high, rows=rows, columns=columns, align=align)


@op(name="diag_part", same_dtype=True)
def _diag_part(x, padding, *, low, high, align):
    (number, element, row, column), width = _band(*x.shape[-2:], low, high, align)
    out = jnp.full((*x.shape[:-2], high - low + 1, width), padding, x.dtype)
    out = out.at[..., number, element].set(x[..., row, column])
    return out if low != high else out[..., 0, :]


def diag_part(input, name="diag_part", k=0, padding_value=0, align="RIGHT_LEFT"):
    """Return the k-th diagonal of matrices in the last axis, or several in the last two: see `diag`."""
    low, high = _diagonal_range(k, align)
    return _diag_part(tensor(input), padding_value, low=low, high=high, align=align)


@op(name="set_diag")
def _set_diag(x, diagonal, *, low, high, align):
    (number, element, row, column), _ = _band(*x.shape[-2:], low, high, align)
    diagonal = diagonal if low != high else diagonal[..., None, :]
    return x.at[..., row, column].set(diagonal[..., number, element])


def set_diag(input, diagonal, name="set_diag", k=0, align="RIGHT_LEFT"):
    """Return `input` with its k-th diagonal replaced, or several: see `diag`."""
    low, high = _diagonal_range(k, align)
    return _set_diag(*alike("set_diag", input, diagonal), low=low, high=high, align=align)


@op(name="tensor_diag")
def _tensor_diag(x):
    flat = x.reshape(-1)
    return jnp.zeros((flat.size, flat.size), x.dtype).at[jnp.arange(flat.size), jnp.arange(flat.size)].set(flat) \
        .reshape(x.shape + x.shape)


def tensor_diag(diagonal, name=None):
    """Return the tensor of twice as many axes with `diagonal` on its diagonal and zeros elsewhere."""
    return _tensor_diag(diagonal)


@op(name="tensor_diag_part")
def _tensor_diag_part(x):
    shape = x.shape[:x.ndim // 2]
    size = int(np.prod(shape))
    return jnp.diagonal(x.reshape(size, size)).reshape(shape)


def tensor_diag_part(input, name=None):
    """Return the diagonal of a tensor whose axes come in two equal halves."""
    return _tensor_diag_part(input)


@op(name="band_part")
def _band_part(x, *, lower, upper):
    i, j = jnp.arange(x.shape[-2])[:, None], jnp.arange(x.shape[-1])[None, :]
    keep = jnp.ones((), bool)
    if lower >= 0:
        keep = keep & (i - j <= lower)
    if upper >= 0:
        keep = keep & (j - i <= upper)
    return jnp.where(keep, x, jnp.zeros((), x.dtype))


def band_part(input, num_lower, num_upper, name=None):
    """Return `input` with zeros outside the band of `num_lower` and `num_upper` diagonals (-1: all of that side)."""
    return _band_part(input, lower=static_int(num_lower), upper=static_int(num_upper))


matrix_transpose_op = op(lambda x, *, conjugate: _flipped(x, True, conjugate), name="matrix_transpose")


def matrix_transpose(a, name="matrix_transpose", conjugate=False):
    """Return `a` with its last two axes exchanged."""
    return matrix_transpose_op(a, conjugate=builtins.bool(conjugate))


def adjoint(matrix, name=None):
    """Return the conjugate transpose."""
    return matrix_transpose(matrix, conjugate=True)


@op(name="matrix_power")
def _matrix_power(x, *, n):
    return jnp.linalg.matrix_power(x, n)


