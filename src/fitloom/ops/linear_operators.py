# SPDX-License-Identifier: Apache-2.0
"""Linear operators of one array or two: diagonal, full, Toeplitz, circulant and so on."""
import math

import numpy as np

from fitloom import ops
from fitloom.base import dtypes
from fitloom.base.shapes import TensorShape
from fitloom.ops.calling import static_int, static_ints
from fitloom.ops.linear_operator import HINTS, LinearOperator, kept, transposed, value_of


class LinearOperatorDiag(LinearOperator):
    """Diagonal matrices, from `diag` [..., N]."""

    def __init__(self, diag, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None, is_square=None,
                 name="LinearOperatorDiag"):
        self._diag = kept(diag)
        if is_self_adjoint is False and not self._diag.dtype.is_complex:
            raise ValueError("A real diagonal matrix is self-adjoint.")
        if is_square is False:
            raise ValueError("A diagonal matrix is square.")
        real = not self._diag.dtype.is_complex
        super().__init__(self._diag.dtype, None, is_non_singular, True if real else is_self_adjoint,
                         is_positive_definite, True, name)

    diag = property(lambda self: self._diag)

    def _shape(self):
        shape = tuple(self._diag.shape)
        return (*shape, shape[-1])

    def _values(self, adjoint=False):
        values = value_of(self._diag)
        return ops.conj(values) if adjoint and self.dtype.is_complex else values

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return self._values(adjoint)[..., None] * transposed(x, adjoint_arg)

    def _matvec(self, x, adjoint=False):
        return self._values(adjoint) * x

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return transposed(rhs, adjoint_arg) / self._values(adjoint)[..., None]

    def _determinant(self):
        return ops.reduce_prod(self._values(), -1)

    def _log_abs_determinant(self):
        return ops.cast(ops.reduce_sum(ops.log(ops.abs(self._values())), -1), self.dtype)

    def _to_dense(self):
        return ops.diag(self._values())

    def _diag_part(self):
        return self._values()

    _eigvals = _diag_part

    def _cond(self):
        sizes = ops.abs(self._values())
        return ops.reduce_max(sizes, -1) / ops.reduce_min(sizes, -1)

    def _adjoint(self):
        return LinearOperatorDiag(self._values(True), self.is_non_singular, self.is_self_adjoint,
                                  self.is_positive_definite)

    def _inverse(self):
        return LinearOperatorDiag(1 / self._values(), True, self.is_self_adjoint, self.is_positive_definite)

    def _cholesky(self):
        return LinearOperatorDiag(ops.sqrt(self._values()), True, True, True)


class LinearOperatorScaledIdentity(LinearOperatorDiag):
    """`multiplier` [...] times the identity of `num_rows` rows."""

    def __init__(self, num_rows, multiplier, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=True, assert_proper_shapes=False, name="LinearOperatorScaledIdentity"):
        self._multiplier, self._rows = kept(multiplier), static_int(num_rows)
        if self._rows < 0:
            raise ValueError(f"num_rows must not be negative, but is {self._rows}.")
        super().__init__(self._multiplier, is_non_singular, is_self_adjoint, is_positive_definite, is_square, name)

    multiplier = property(lambda self: self._multiplier)

    def _shape(self):
        return (*tuple(self._multiplier.shape), self._rows, self._rows)

    def _values(self, adjoint=False):
        values = value_of(self._multiplier)[..., None]
        values = ops.conj(values) if adjoint and self.dtype.is_complex else values
        return ops.broadcast_to(values, (*tuple(self._multiplier.shape), self._rows))


class LinearOperatorIdentity(LinearOperatorScaledIdentity):
    """The identity of `num_rows` rows, in a batch of shape `batch_shape`."""

    def __init__(self, num_rows, batch_shape=None, dtype=None, is_non_singular=True, is_self_adjoint=True,
                 is_positive_definite=True, is_square=True, assert_proper_shapes=False, name="LinearOperatorIdentity"):
        for hint, value in zip(HINTS, (is_non_singular, is_self_adjoint, is_positive_definite, is_square)):
            if not value:
                raise ValueError(f"The identity has {hint}=True, but {value} was given.")
        ones = ops.ones(() if batch_shape is None else static_ints(batch_shape), dtype or dtypes.float32)
        super().__init__(num_rows, ones, True, True, True, True, name=name)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        x = transposed(x, adjoint_arg)
        batch = np.broadcast_shapes(tuple(self.batch_shape), tuple(x.shape)[:-2])
        return x if batch == tuple(x.shape)[:-2] else ops.broadcast_to(x, (*batch, *tuple(x.shape)[-2:]))

    _solve = _matmul

    def _adjoint(self):
        return self

    _inverse = _cholesky = _adjoint


class LinearOperatorZeros(LinearOperator):
    """Zeros of `num_rows` and `num_columns` (as many if None)."""

    def __init__(self, num_rows, num_columns=None, batch_shape=None, dtype=None, is_non_singular=False,
                 is_self_adjoint=True, is_positive_definite=False, is_square=True, assert_proper_shapes=False,
                 name="LinearOperatorZeros"):
        if is_non_singular or is_positive_definite:
            raise ValueError("Zeros are singular: is_non_singular and is_positive_definite must be False.")
        rows = static_int(num_rows)
        columns = rows if num_columns is None else static_int(num_columns)
        self._sizes = (*(() if batch_shape is None else static_ints(batch_shape)), rows, columns)
        square = rows == columns
        super().__init__(dtype or dtypes.float32, None, False, square and is_self_adjoint, False, square, name)

    def _shape(self):
        return self._sizes

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        x = transposed(x, adjoint_arg)
        batch = np.broadcast_shapes(self._sizes[:-2], tuple(x.shape)[:-2])
        return ops.zeros((*batch, self._sizes[-1 if adjoint else -2], tuple(x.shape)[-1]), self.dtype)

    def _to_dense(self):
        return ops.zeros(self._sizes, self.dtype)

    def _determinant(self):
        return ops.zeros(self._sizes[:-2], self.dtype)


class LinearOperatorFullMatrix(LinearOperator):
    """Any matrices, from `matrix` [..., M, N]."""

    def __init__(self, matrix, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None, is_square=None,
                 name="LinearOperatorFullMatrix"):
        self._matrix = kept(matrix)
        if len(self._matrix.shape) < 2:
            raise ValueError(f"{name} needs a tensor of at least two axes, but received shape "
                             f"{tuple(self._matrix.shape)}.")
        super().__init__(self._matrix.dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, is_square,
                         name)

    matrix = property(lambda self: self._matrix)

    def _shape(self):
        return tuple(self._matrix.shape)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return ops.matmul(value_of(self._matrix), x, adjoint_a=adjoint, adjoint_b=adjoint_arg)

    def _to_dense(self):
        return value_of(self._matrix)


class LinearOperatorPermutation(LinearOperator):
    """Permutations: row i of the product is row perm[i] of the argument."""

    def __init__(self, perm, dtype=dtypes.float32, is_non_singular=None, is_self_adjoint=None,
                 is_positive_definite=None, is_square=None, name="LinearOperatorPermutation"):
        if is_non_singular is False or is_square is False:
            raise ValueError("A permutation is square and has an inverse.")
        self._perm = kept(perm)
        if not self._perm.dtype.is_integer:
            raise TypeError(f"perm must hold whole numbers, but has dtype {self._perm.dtype.name}.")
        super().__init__(dtype, None, True, is_self_adjoint, is_positive_definite, True, name)

    perm = property(lambda self: self._perm)

    def _shape(self):
        shape = tuple(self._perm.shape)
        return (*shape, shape[-1])

    def _to_dense(self):
        return ops.one_hot(value_of(self._perm), self.domain_dimension, dtype=self.dtype)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return ops.matmul(self._to_dense(), x, adjoint_a=adjoint, adjoint_b=adjoint_arg)

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return self._matmul(rhs, not adjoint, adjoint_arg)

    def _log_abs_determinant(self):
        return ops.zeros(tuple(self.batch_shape), self.dtype)

    def _cond(self):
        return ops.ones(tuple(self.batch_shape), self.dtype)


class LinearOperatorHouseholder(LinearOperator):
    """Reflections I - 2 v v^H / |v|^2, from `reflection_axis` v [..., N]."""

    def __init__(self, reflection_axis, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name="LinearOperatorHouseholder"):
        if is_self_adjoint is False or is_square is False or is_non_singular is False or is_positive_definite:
            raise ValueError("A reflection is square, self-adjoint and has an inverse, but is not positive definite.")
        self._reflection_axis = kept(reflection_axis)
        super().__init__(self._reflection_axis.dtype, None, True, True, False, True, name)

    reflection_axis = property(lambda self: self._reflection_axis)

    def _shape(self):
        shape = tuple(self._reflection_axis.shape)
        return (*shape, shape[-1])

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        axis, x = value_of(self._reflection_axis)[..., None], transposed(x, adjoint_arg)
        axis = axis / ops.cast(ops.norm(axis, axis=-2, keepdims=True), self.dtype)
        return x - 2 * axis * ops.matmul(axis, x, adjoint_a=True)

    _solve = _matmul

    def _determinant(self):
        return -ops.ones(tuple(self.batch_shape), self.dtype)

    def _log_abs_determinant(self):
        return ops.zeros(tuple(self.batch_shape), self.dtype)

    def _inverse(self):
        return self


class LinearOperatorToeplitz(LinearOperator):
    """Matrices that are constant along their diagonals, from their first column and first row [..., N]."""

    def __init__(self, col, row, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None, is_square=None,
                 name="LinearOperatorToeplitz"):
        if is_square is False:
            raise ValueError("A Toeplitz operator is square.")
        self._col, self._row = kept(col), kept(row)
        super().__init__(self._col.dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, True, name)

    col = property(lambda self: self._col)
    row = property(lambda self: self._row)

    def _shape(self):
        size = tuple(self._col.shape)[-1]
        return (*np.broadcast_shapes(tuple(self._col.shape)[:-1], tuple(self._row.shape)[:-1]), size, size)

    def _to_dense(self):
        *batch, size, _ = self._shape()
        col, row = (ops.broadcast_to(value_of(v), (*batch, size)) for v in (self._col, self._row))
        line = ops.concat([ops.reverse(row[..., 1:], [-1]), col], -1)      # row[n - 1], ..., row[1], col[0], ...
        places = np.arange(size)[:, None] - np.arange(size) + size - 1
        return ops.gather(line, places, axis=-1)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return ops.matmul(self._to_dense(), x, adjoint_a=adjoint, adjoint_b=adjoint_arg)

    def _diag_part(self):
        *batch, size, _ = self._shape()
        return ops.broadcast_to(value_of(self._col)[..., :1], (*batch, size))


class LinearOperatorTridiag(LinearOperator):
    """Matrices of three diagonals.

    Args:
        diagonals: 'compact': [..., 3, N], above, on and below the diagonal (the last of the first and the first of the
            last do not count); 'sequence': these three as a list; 'matrix': [..., N, N].
        diagonals_format: which of them.
    """

    def __init__(self, diagonals, diagonals_format="compact", is_non_singular=None, is_self_adjoint=None,
                 is_positive_definite=None, is_square=None, name="LinearOperatorTridiag"):
        if diagonals_format not in ("compact", "sequence", "matrix"):
            raise ValueError("diagonals_format must be 'compact', 'sequence' or 'matrix', but is "
                             f"{diagonals_format!r}.")
        self.diagonals_format = diagonals_format
        self._diagonals = [kept(d) for d in diagonals] if diagonals_format == "sequence" else kept(diagonals)
        first = self._diagonals[1] if diagonals_format == "sequence" else self._diagonals
        super().__init__(first.dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, is_square, name)

    diagonals = property(lambda self: self._diagonals)

    def _compact(self):
        if self.diagonals_format == "compact":
            return value_of(self._diagonals)
        if self.diagonals_format == "matrix":
            return ops.diag_part(value_of(self._diagonals), k=(-1, 1), align="LEFT_RIGHT")
        above, on, below = (value_of(d) for d in self._diagonals)
        size, zero = tuple(on.shape)[-1], ops.zeros_like(on[..., :1])
        if tuple(above.shape)[-1] == size - 1:
            above = ops.concat([above, zero], -1)
        if tuple(below.shape)[-1] == size - 1:
            below = ops.concat([zero, below], -1)
        batch = np.broadcast_shapes(*[tuple(d.shape)[:-1] for d in (above, on, below)])
        return ops.stack([ops.broadcast_to(d, (*batch, size)) for d in (above, on, below)], -2)

    def _shape(self):
        if self.diagonals_format == "matrix":
            return tuple(self._diagonals.shape)
        if self.diagonals_format == "compact":
            *batch, _, size = tuple(self._diagonals.shape)
        else:
            size = tuple(self._diagonals[1].shape)[-1]
            batch = np.broadcast_shapes(*[tuple(d.shape)[:-1] for d in self._diagonals])
        return (*batch, size, size)

    def _to_dense(self):
        if self.diagonals_format == "matrix":
            return value_of(self._diagonals)
        return ops.diag(self._compact(), k=(-1, 1), align="LEFT_RIGHT")

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return ops.matmul(self._to_dense(), x, adjoint_a=adjoint, adjoint_b=adjoint_arg)

    def _diag_part(self):
        return self._compact()[..., 1, :]


class LinearOperatorCirculant(LinearOperator):
    """Circulant matrices, from their eigenvalues `spectrum` [..., N]: F^-1 diag(spectrum) F."""

    _depth = 1

    def __init__(self, spectrum, input_output_dtype=dtypes.complex64, is_non_singular=None, is_self_adjoint=None,
                 is_positive_definite=None, is_square=True, name=None):
        if is_square is False:
            raise ValueError("A circulant operator is square.")
        self._spectrum = kept(spectrum)
        if not self._spectrum.dtype.is_complex:
            if is_self_adjoint is False:
                raise ValueError("A circulant operator of a real spectrum is self-adjoint.")
            is_self_adjoint = True
        super().__init__(input_output_dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, True, name)

    spectrum = property(lambda self: self._spectrum)
    block_depth = property(lambda self: self._depth)
    block_shape = property(lambda self: TensorShape(tuple(self._spectrum.shape)[-self._depth:]))

    def _shape(self):
        shape = tuple(self._spectrum.shape)
        size = math.prod(shape[-self._depth:])
        return (*shape[:-self._depth], size, size)

    def _complex(self):
        wide = self.dtype in (dtypes.float64, dtypes.complex128)
        return dtypes.complex128 if wide else dtypes.complex64

    def _values(self, adjoint=False):
        values = ops.cast(value_of(self._spectrum), self._complex())
        return ops.conj(values) if adjoint else values

    def _filtered(self, x, values):
        forward, backward = ((ops.signal.fft, ops.signal.ifft), (ops.signal.fft2d, ops.signal.ifft2d),
                             (ops.signal.fft3d, ops.signal.ifft3d))[self._depth - 1]
        sizes = tuple(self.block_shape)
        rows = ops.matrix_transpose(ops.cast(x, self._complex()))           # [..., R, N]
        blocks = ops.reshape(rows, (*tuple(rows.shape)[:-1], *sizes))
        values = ops.expand_dims(values, -self._depth - 1)
        made = backward(forward(blocks) * values)
        flat = ops.reshape(made, (*tuple(made.shape)[:-self._depth], math.prod(sizes)))
        return ops.cast(ops.matrix_transpose(flat), self.dtype)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return self._filtered(transposed(x, adjoint_arg), self._values(adjoint))

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return self._filtered(transposed(rhs, adjoint_arg), 1 / self._values(adjoint))

    def _axes(self):
        return list(range(-self._depth, 0))

    def _determinant(self):
        return ops.cast(ops.reduce_prod(self._values(), self._axes()), self.dtype)

    def _log_abs_determinant(self):
        return ops.cast(ops.reduce_sum(ops.log(ops.abs(self._values())), self._axes()), self.dtype)

    def _trace(self):
        return ops.cast(ops.reduce_sum(self._values(), self._axes()), self.dtype)

    def _diag_part(self):
        size = self.domain_dimension
        mean = self._trace()[..., None] / ops.cast(size, self.dtype)
        return ops.broadcast_to(mean, (*tuple(self.batch_shape), size))

    def _eigvals(self):
        shape = (*tuple(self.batch_shape), self.domain_dimension)
        return ops.reshape(value_of(self._spectrum), shape)


class LinearOperatorCirculant2D(LinearOperatorCirculant):
    """Block circulant matrices with circulant blocks, from `spectrum` [..., N0, N1]."""

    _depth = 2


class LinearOperatorCirculant3D(LinearOperatorCirculant):
    """Circulant matrices nested three deep, from `spectrum` [..., N0, N1, N2]."""

    _depth = 3
