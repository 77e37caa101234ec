# SPDX-License-Identifier: Apache-2.0
"""`tf.linalg.LinearOperator`: matrices that are known by what they do. The base, and what it makes of itself."""
import functools

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape

HINTS = ("is_non_singular", "is_self_adjoint", "is_positive_definite", "is_square")


def value_of(parameter):
    """Return an operator's array, which may be a variable, as a tensor."""
    return ops.identity(parameter)


def kept(parameter, dtype=None):
    """Return what an operator keeps of its argument: variables as they are, everything else as a tensor."""
    if getattr(parameter.__class__, "is_variable", False):
        return parameter
    return engine.convert_to_tensor(parameter, dtype_hint=dtype)


def flipped(x):
    """Return the adjoint of a matrix."""
    return ops.adjoint(x)


def broadcast_batches(*matrices):
    """Return matrices with the batch axes that all of them broadcast to."""
    batch = np.broadcast_shapes(*[tuple(m.shape)[:-2] for m in matrices])
    return [m if tuple(m.shape)[:-2] == batch else ops.broadcast_to(m, (*batch, *tuple(m.shape)[-2:]))
            for m in matrices]


def conjugated(x):
    """Return the conjugate of a complex tensor, a real one as it is."""
    return ops.conj(x) if x.dtype.is_complex else x


def operators_of(operators, who):
    """Return a list of operators of one dtype."""
    operators = list(operators)
    if not operators:
        raise ValueError(f"LinearOperator{who} needs at least one operator.")
    kinds = {o.dtype.name for o in operators}
    if len(kinds) > 1:
        raise TypeError(f"LinearOperator{who} needs operators of one dtype, but received {sorted(kinds)}.")
    return operators


def _taken_over(operator, *hints):
    known = (operator.is_non_singular, operator.is_self_adjoint, operator.is_positive_definite, operator.is_square)
    return [mine if mine is not None else theirs for mine, theirs in zip(hints, known)]


class LinearOperator(engine.Module):
    """A batch of matrices [..., M, N]. Subclasses define `_shape` and `_matmul`; all else follows, or is overridden.

    Hints say what is known of the matrices; None: nothing. They are trusted, not checked.

    Args:
        dtype: of the matrices.
        is_non_singular, is_self_adjoint, is_positive_definite, is_square: hints.
        name: the operator's name.
        graph_parents, parameters: kept.
    """

    def __init__(self, dtype, graph_parents=None, is_non_singular=None, is_self_adjoint=None,
                 is_positive_definite=None, is_square=None, name=None, parameters=None):
        super().__init__()
        given = (is_non_singular, is_self_adjoint, is_positive_definite, is_square)
        for hint, value in zip(HINTS, given):
            if value is not None and not isinstance(value, (bool, np.bool_)):
                raise ValueError(f"{hint} must be True, False or None, but is {value!r}.")
        if is_positive_definite:
            if is_non_singular is False:
                raise ValueError("A positive definite matrix is not singular: is_non_singular=False contradicts it.")
            is_non_singular = True
        if is_non_singular or is_self_adjoint:
            if is_square is False:
                raise ValueError("A non-singular or self-adjoint matrix is square: is_square=False contradicts it.")
            is_square = True
        self.is_non_singular, self.is_self_adjoint = is_non_singular, is_self_adjoint
        self.is_positive_definite, self._square_hint = is_positive_definite, is_square
        self._dtype, self._label = dtypes.as_dtype(dtype), name or type(self).__name__
        self.graph_parents, self.parameters = graph_parents, dict(parameters or {})

    dtype = property(lambda self: self._dtype)
    name = property(lambda self: self._label)
    shape = property(lambda self: TensorShape(self._shape()))
    batch_shape = property(lambda self: self.shape[:-2])
    tensor_rank = property(lambda self: self.shape.rank)
    domain_dimension = property(lambda self: self.shape[-1])
    range_dimension = property(lambda self: self.shape[-2])
    H = property(lambda self: self.adjoint())

    @property
    def is_square(self):
        """Whether the matrices are square."""
        return self._square_hint if self._square_hint is not None else self.shape[-1] == self.shape[-2]

    def shape_tensor(self, name="shape_tensor"):
        """Return the shape as a tensor."""
        return ops.constant(tuple(self.shape), dtypes.int32)

    def batch_shape_tensor(self, name="batch_shape_tensor"):
        """Return the shape of the batch as a tensor."""
        return ops.constant(tuple(self.batch_shape), dtypes.int32)

    def tensor_rank_tensor(self, name="tensor_rank_tensor"):
        """Return the number of axes as a tensor."""
        return ops.constant(self.tensor_rank)

    def domain_dimension_tensor(self, name="domain_dimension_tensor"):
        """Return the number of columns as a tensor."""
        return ops.constant(self.domain_dimension)

    def range_dimension_tensor(self, name="range_dimension_tensor"):
        """Return the number of rows as a tensor."""
        return ops.constant(self.range_dimension)

    # -- what subclasses define

    def _shape(self):
        raise NotImplementedError(f"{type(self).__name__} must define _shape.")

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        raise NotImplementedError(f"{type(self).__name__} must define _matmul.")

    def _matvec(self, x, adjoint=False):
        return self.matmul(x[..., None], adjoint=adjoint)[..., 0]

    def _to_dense(self):
        size = self.domain_dimension
        return self.matmul(ops.eye(size, batch_shape=tuple(self.batch_shape), dtype=self.dtype))

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        rhs = flipped(rhs) if adjoint_arg else rhs
        dense, rhs = broadcast_batches(self.to_dense(), rhs)
        if self.is_positive_definite and self.is_self_adjoint:
            return ops.cholesky_solve(ops.cholesky(dense), rhs)
        return ops.solve(dense, rhs, adjoint=adjoint)

    def _solvevec(self, rhs, adjoint=False):
        return self.solve(rhs[..., None], adjoint=adjoint)[..., 0]

    def _determinant(self):
        if self.is_positive_definite:
            return ops.exp(self.log_abs_determinant())
        return ops.det(self.to_dense())

    def _log_abs_determinant(self):
        if self.is_positive_definite and self.is_self_adjoint:
            return 2 * ops.reduce_sum(ops.log(ops.diag_part(ops.cholesky(self.to_dense()))), -1)
        return ops.slogdet(self.to_dense())[1]

    def _diag_part(self):
        return ops.diag_part(self.to_dense())

    def _trace(self):
        return ops.reduce_sum(self.diag_part(), -1)

    def _add_to_tensor(self, x):
        return self.to_dense() + x

    def _eigvals(self):
        return ops.eigvalsh(self.to_dense())

    def _cond(self):
        values = ops.svd(self.to_dense(), compute_uv=False)
        return ops.reduce_max(values, -1) / ops.reduce_min(values, -1)

    def _adjoint(self):
        return LinearOperatorAdjoint(self)

    def _inverse(self):
        return LinearOperatorInversion(self)

    def _cholesky(self):
        return LinearOperatorLowerTriangular(ops.cholesky(self.to_dense()), is_non_singular=True)

    # -- what users call

    def matmul(self, x, adjoint=False, adjoint_arg=False, name="matmul"):
        """Return the product with x [..., N, R] or another operator; `adjoint` flips this one, `adjoint_arg` x."""
        if isinstance(x, LinearOperator):
            left, right = self.adjoint() if adjoint else self, x.adjoint() if adjoint_arg else x
            _fit(left, left.domain_dimension, right.range_dimension, "matmul")
            return LinearOperatorComposition([left, right])
        x = self._argument(x)
        self._check(x, -1 if adjoint_arg else -2, adjoint, "matmul")
        return self._matmul(x, adjoint=adjoint, adjoint_arg=adjoint_arg)

    def __matmul__(self, other):
        return self.matmul(other)

    def matvec(self, x, adjoint=False, name="matvec"):
        """Return the product with vectors x [..., N]."""
        x = self._argument(x)
        self._check(x, -1, adjoint, "matvec")
        return self._matvec(x, adjoint=adjoint)

    def solve(self, rhs, adjoint=False, adjoint_arg=False, name="solve"):
        """Return X with A X = rhs, rhs [..., M, R] or another operator."""
        self._invertible("solve")
        if isinstance(rhs, LinearOperator):
            right = rhs.adjoint() if adjoint_arg else rhs
            return (self.adjoint() if adjoint else self).inverse().matmul(right)
        rhs = self._argument(rhs)
        self._check(rhs, -1 if adjoint_arg else -2, not adjoint, "solve")
        return self._solve(rhs, adjoint=adjoint, adjoint_arg=adjoint_arg)

    def solvevec(self, rhs, adjoint=False, name="solve"):
        """Return x with A x = rhs, rhs [..., M]."""
        self._invertible("solve")
        rhs = self._argument(rhs)
        self._check(rhs, -1, not adjoint, "solvevec")
        return self._solvevec(rhs, adjoint=adjoint)

    def to_dense(self, name="to_dense"):
        """Return the matrices as a tensor."""
        return self._to_dense()

    def __tf_tensor__(self, dtype=None):
        dense = self.to_dense()
        return dense if dtype is None else ops.cast(dense, dtype)

    def diag_part(self, name="diag_part"):
        """Return the diagonals [..., min(M, N)]."""
        return self._diag_part()

    def trace(self, name="trace"):
        """Return the sums of the diagonals."""
        return self._trace()

    def add_to_tensor(self, x, name="add_to_tensor"):
        """Return x plus the matrices."""
        return self._add_to_tensor(self._argument(x))

    def determinant(self, name="det"):
        """Return the determinants."""
        self._needs_square("determinant")
        return self._determinant()

    def log_abs_determinant(self, name="log_abs_det"):
        """Return the logarithms of the determinants' absolute values."""
        self._needs_square("log_abs_determinant")
        return self._log_abs_determinant()

    def eigvals(self, name="eigvals"):
        """Return the eigenvalues of a self-adjoint operator."""
        if not self.is_self_adjoint:
            raise NotImplementedError("eigvals is for self-adjoint operators only: say is_self_adjoint=True.")
        return self._eigvals()

    def cond(self, name="cond"):
        """Return the condition numbers: largest by smallest singular value."""
        return self._cond()

    def adjoint(self, name="adjoint"):
        """Return the operator of the conjugated and transposed matrices."""
        return self if self.is_self_adjoint else self._adjoint()

    def inverse(self, name="inverse"):
        """Return the operator of the inverse matrices."""
        self._needs_square("inverse")
        if self.is_non_singular is False:
            raise ValueError(f"{self.name} is singular by its hint: it has no inverse.")
        return self._inverse()

    def cholesky(self, name="cholesky"):
        """Return the operator of the lower triangular L with L L^H = A, for self-adjoint, positive definite A."""
        if not (self.is_self_adjoint and self.is_positive_definite):
            raise ValueError("cholesky needs an operator with is_self_adjoint=True and is_positive_definite=True.")
        return self._cholesky()

    def assert_non_singular(self, name="assert_non_singular"):
        """Raise InvalidArgumentError where a matrix is singular (to the precision of its dtype)."""
        limit = 1 / np.finfo(self.dtype.as_numpy_dtype).eps
        self._assert(ops.reduce_all(self.cond() < limit), "is singular to the precision of its dtype")

    def assert_positive_definite(self, name="assert_positive_definite"):
        """Raise InvalidArgumentError where a matrix is not positive definite."""
        dense = self.to_dense()
        values = ops.eigvalsh((dense + flipped(dense)) / 2)
        self._assert(ops.reduce_all(values > 0), "is not positive definite")

    def assert_self_adjoint(self, name="assert_self_adjoint"):
        """Raise InvalidArgumentError where a matrix differs from its adjoint."""
        dense = self.to_dense()
        self._assert(ops.reduce_all(ops.equal(dense, flipped(dense))), "is not self-adjoint")

    # -- checks

    def _assert(self, holds, what):
        if not bool(holds):
            raise InvalidArgumentError(f"{self.name} {what}.")

    def _argument(self, x):
        x = engine.convert_to_tensor(x, dtype_hint=self.dtype)
        if x.dtype != self.dtype:
            raise TypeError(f"{self.name} of dtype {self.dtype.name} received values of dtype {x.dtype.name}. "
                            f"Cast them: tf.cast(x, tf.{self.dtype.name}).")
        return x

    def _check(self, x, axis, adjoint, what):
        wanted = self.range_dimension if adjoint else self.domain_dimension
        _fit(self, wanted, tuple(x.shape)[axis], what)

    def _needs_square(self, what):
        if not self.is_square:
            raise NotImplementedError(f"{what} is for square matrices, but {self.name} has shape {self.shape}.")

    def _invertible(self, what):
        self._needs_square(what)
        if self.is_non_singular is False:
            raise NotImplementedError(f"{what} needs matrices that have an inverse, but {self.name} is singular by its "
                                      "hint.")

    def __repr__(self):
        return f"<{type(self).__name__} shape={self.shape} dtype={self.dtype.name}>"


def _fit(operator, wanted, given, what):
    if wanted != given:
        raise ValueError(f"{operator.name}.{what} expected an argument of size {wanted}, but received {given}.")


def transposed(x, adjoint_arg):
    """Return the argument of a product."""
    return flipped(x) if adjoint_arg else x


class LinearOperatorLowerTriangular(LinearOperator):
    """Lower triangular matrices, from `tril` [..., N, N]; what stands above the diagonal does not count."""

    def __init__(self, tril, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None, is_square=None,
                 name="LinearOperatorLowerTriangular"):
        self._tril = kept(tril)
        if is_square is False:
            raise ValueError("A lower triangular operator is square.")
        super().__init__(self._tril.dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, True, name)

    tril = property(lambda self: self._tril)

    def _shape(self):
        return tuple(self._tril.shape)

    def _to_dense(self):
        return ops.band_part(value_of(self._tril), -1, 0)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return ops.matmul(self._to_dense(), x, adjoint_a=adjoint, adjoint_b=adjoint_arg)

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return ops.triangular_solve(self._to_dense(), transposed(rhs, adjoint_arg), lower=True, adjoint=adjoint)

    def _diag_part(self):
        return ops.diag_part(value_of(self._tril))

    def _determinant(self):
        return ops.reduce_prod(self._diag_part(), -1)

    def _log_abs_determinant(self):
        return ops.cast(ops.reduce_sum(ops.log(ops.abs(self._diag_part())), -1), self.dtype)

    _eigvals = _diag_part


class LinearOperatorComposition(LinearOperator):
    """The product of operators: the last acts first."""

    def __init__(self, operators, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name=None):
        self.operators = operators_of(operators, "Composition")
        for left, right in zip(self.operators, self.operators[1:]):
            _fit(left, left.domain_dimension, right.range_dimension, "compose")
        if is_non_singular is None and all(o.is_non_singular for o in self.operators):
            is_non_singular = True
        super().__init__(self.operators[0].dtype, None, is_non_singular, is_self_adjoint, is_positive_definite,
                         is_square, name or "_o_".join(o.name for o in self.operators))

    def _shape(self):
        batch = np.broadcast_shapes(*[tuple(o.batch_shape) for o in self.operators])
        return (*batch, self.operators[0].range_dimension, self.operators[-1].domain_dimension)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        x = transposed(x, adjoint_arg)
        for operator in self.operators if adjoint else reversed(self.operators):
            x = operator.matmul(x, adjoint=adjoint)
        return x

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        if not all(o.is_square for o in self.operators):
            return super()._solve(rhs, adjoint, adjoint_arg)
        rhs = transposed(rhs, adjoint_arg)
        for operator in reversed(self.operators) if adjoint else self.operators:
            rhs = operator.solve(rhs, adjoint=adjoint)
        return rhs

    def _determinant(self):
        if not all(o.is_square for o in self.operators):
            return super()._determinant()
        return functools.reduce(lambda a, b: a * b, [o.determinant() for o in self.operators])

    def _log_abs_determinant(self):
        if not all(o.is_square for o in self.operators):
            return super()._log_abs_determinant()
        return functools.reduce(lambda a, b: a + b, [o.log_abs_determinant() for o in self.operators])

    def _adjoint(self):
        return LinearOperatorComposition([o.adjoint() for o in reversed(self.operators)], self.is_non_singular)

    def _inverse(self):
        if not all(o.is_square for o in self.operators):
            return super()._inverse()
        return LinearOperatorComposition([o.inverse() for o in reversed(self.operators)], True)


class LinearOperatorAdjoint(LinearOperator):
    """The conjugated and transposed matrices of `operator`."""

    def __init__(self, operator, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name=None):
        self.operator = operator
        hints = _taken_over(operator, is_non_singular, is_self_adjoint, is_positive_definite, is_square)
        super().__init__(operator.dtype, None, *hints, name or f"{operator.name}_adjoint")

    def _shape(self):
        *batch, rows, columns = tuple(self.operator.shape)
        return (*batch, columns, rows)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return self.operator.matmul(x, adjoint=not adjoint, adjoint_arg=adjoint_arg)

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return self.operator.solve(rhs, adjoint=not adjoint, adjoint_arg=adjoint_arg)

    def _to_dense(self):
        return flipped(self.operator.to_dense())

    def _determinant(self):
        return conjugated(self.operator.determinant())

    def _log_abs_determinant(self):
        return self.operator.log_abs_determinant()

    def _diag_part(self):
        return conjugated(self.operator.diag_part())

    def _adjoint(self):
        return self.operator


class LinearOperatorInversion(LinearOperator):
    """The inverse matrices of `operator`."""

    def __init__(self, operator, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name=None):
        if not operator.is_square or operator.is_non_singular is False or is_non_singular is False:
            raise ValueError(f"{operator.name} has no inverse: it is not square, or singular by its hint.")
        self.operator = operator
        hints = _taken_over(operator, True, is_self_adjoint, is_positive_definite, is_square)
        super().__init__(operator.dtype, None, *hints, name or f"{operator.name}_inverse")

    def _shape(self):
        return tuple(self.operator.shape)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        return self.operator.solve(x, adjoint=adjoint, adjoint_arg=adjoint_arg)

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        return self.operator.matmul(rhs, adjoint=adjoint, adjoint_arg=adjoint_arg)

    def _determinant(self):
        return 1 / self.operator.determinant()

    def _log_abs_determinant(self):
        return -self.operator.log_abs_determinant()

    def _cond(self):
        return self.operator.cond()

    def _inverse(self):
        return self.operator
