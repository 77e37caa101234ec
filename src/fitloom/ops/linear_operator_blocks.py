# SPDX-License-Identifier: Apache-2.0
"""Linear operators that are made of others: blocks, Kronecker products, updates of low rank."""
import functools
import math

import numpy as np

from fitloom import ops
from fitloom.ops.linear_operator import (
    LinearOperator,
    broadcast_batches,
    conjugated,
    flipped,
    kept,
    operators_of,
    transposed,
    value_of,
)
from fitloom.ops.linear_operators import LinearOperatorDiag


def _batch_of(operators):
    return np.broadcast_shapes(*[tuple(o.batch_shape) for o in operators])


def _all(operators, hint):
    return True if all(getattr(o, hint) for o in operators) else None


class LinearOperatorKronecker(LinearOperator):
    """The Kronecker product of operators."""

    def __init__(self, operators, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name=None):
        self.operators = operators_of(operators, "Kronecker")
        known = [_all(self.operators, hint) for hint in ("is_non_singular", "is_self_adjoint", "is_positive_definite")]
        given = (is_non_singular, is_self_adjoint, is_positive_definite)
        super().__init__(self.operators[0].dtype, None, *[g if g is not None else k for g, k in zip(given, known)],
                         is_square, name or "_x_".join(o.name for o in self.operators))

    def _shape(self):
        return (*_batch_of(self.operators), math.prod(o.range_dimension for o in self.operators),
                math.prod(o.domain_dimension for o in self.operators))

    def _along(self, x, apply, sizes):
        """Apply each operator along its own axis of the rows of x, which are split into `sizes`."""
        *batch, _, columns = tuple(x.shape)
        batch = np.broadcast_shapes(batch, _batch_of(self.operators))
        x = ops.broadcast_to(x, (*batch, *tuple(x.shape)[-2:]))
        for operator, size in zip(self.operators, sizes):
            rest = math.prod(tuple(x.shape)[-2:]) // size
            flat = ops.reshape(x, (*batch, size, rest))                  # this operator's axis first
            made = apply(operator, flat)                                 # (..., new, rest)
            x = ops.matrix_transpose(ops.reshape(made, (*batch, tuple(made.shape)[-2], rest)))
            x = ops.reshape(x, (*batch, rest, tuple(made.shape)[-2]))
        # every axis has gone to the end in turn: what stands first now are the columns
        rows = math.prod(tuple(x.shape)[-2:]) // columns
        return ops.matrix_transpose(ops.reshape(x, (*batch, columns, rows)))

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        sizes = [o.range_dimension if adjoint else o.domain_dimension for o in self.operators]
        return self._along(transposed(x, adjoint_arg), lambda o, flat: o.matmul(flat, adjoint=adjoint), sizes)

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        if not all(o.is_square for o in self.operators):
            return super()._solve(rhs, adjoint, adjoint_arg)
        sizes = [o.range_dimension for o in self.operators]
        return self._along(transposed(rhs, adjoint_arg), lambda o, flat: o.solve(flat, adjoint=adjoint), sizes)

    def _combined(self, parts):
        """Return the Kronecker product of vectors."""
        def product(a, b):
            made = a[..., :, None] * b[..., None, :]
            return ops.reshape(made, (*tuple(made.shape)[:-2], math.prod(tuple(made.shape)[-2:])))
        return functools.reduce(product, parts)

    def _diag_part(self):
        if not all(o.is_square for o in self.operators):
            return super()._diag_part()
        return self._combined([o.diag_part() for o in self.operators])

    def _eigvals(self):
        return ops.sort(self._combined([o.eigvals() for o in self.operators]), -1)

    def _determinant(self):
        if not all(o.is_square for o in self.operators):
            return super()._determinant()
        size = self.domain_dimension
        return functools.reduce(lambda a, b: a * b, [
            o.determinant() ** ops.cast(size // o.domain_dimension, self.dtype) for o in self.operators])

    def _log_abs_determinant(self):
        if not all(o.is_square for o in self.operators):
            return super()._log_abs_determinant()
        size = self.domain_dimension
        return functools.reduce(lambda a, b: a + b, [
            o.log_abs_determinant() * ops.cast(size // o.domain_dimension, self.dtype) for o in self.operators])

    def _adjoint(self):
        return LinearOperatorKronecker([o.adjoint() for o in self.operators], self.is_non_singular)

    def _inverse(self):
        if not all(o.is_square for o in self.operators):
            return super()._inverse()
        return LinearOperatorKronecker([o.inverse() for o in self.operators], True)


def _pieces(x, sizes):
    """Return the rows of x in blocks of `sizes`."""
    return ops.split(x, list(sizes), axis=-2)


def _joined(blocks):
    return ops.concat(broadcast_rows(blocks), -2)


def broadcast_rows(blocks):
    """Return blocks of rows with the batch axes that all of them broadcast to."""
    return broadcast_batches(*blocks)


class _Blocks(LinearOperator):
    """Operators of blocks: they also take a list with one argument for each block, and return a list then."""

    def matmul(self, x, adjoint=False, adjoint_arg=False, name="matmul"):
        """Return the product with x [..., N, R], with another operator, or with a list of blocks."""
        if not isinstance(x, (list, tuple)):
            return super().matmul(x, adjoint, adjoint_arg)
        made = super().matmul(_joined([transposed(self._argument(b), adjoint_arg) for b in x]), adjoint)
        return _pieces(made, self._sizes(rows=not adjoint))

    def matvec(self, x, adjoint=False, name="matvec"):
        """Return the product with vectors, or with a list of their blocks."""
        if not isinstance(x, (list, tuple)):
            return super().matvec(x, adjoint)
        return [b[..., 0] for b in self.matmul([self._argument(b)[..., None] for b in x], adjoint)]

    def solve(self, rhs, adjoint=False, adjoint_arg=False, name="solve"):
        """Return X with A X = rhs; `rhs` may be a list of blocks."""
        if not isinstance(rhs, (list, tuple)):
            return super().solve(rhs, adjoint, adjoint_arg)
        made = super().solve(_joined([transposed(self._argument(b), adjoint_arg) for b in rhs]), adjoint)
        return _pieces(made, self._sizes(rows=adjoint))

    def solvevec(self, rhs, adjoint=False, name="solve"):
        """Return x with A x = rhs; `rhs` may be a list of blocks."""
        if not isinstance(rhs, (list, tuple)):
            return super().solvevec(rhs, adjoint)
        return [b[..., 0] for b in self.solve([self._argument(b)[..., None] for b in rhs], adjoint)]

    def _sizes(self, rows):
        raise NotImplementedError


class LinearOperatorBlockDiag(_Blocks):
    """Operators along the diagonal, zeros elsewhere."""

    def __init__(self, operators, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=True, name=None):
        self.operators = operators_of(operators, "BlockDiag")
        known = [_all(self.operators, hint) for hint in ("is_non_singular", "is_self_adjoint", "is_positive_definite")]
        given = (is_non_singular, is_self_adjoint, is_positive_definite)
        square = all(o.is_square for o in self.operators) or (False if is_square is False else None)
        super().__init__(self.operators[0].dtype, None, *[g if g is not None else k for g, k in zip(given, known)],
                         square, name or "_ds_".join(o.name for o in self.operators))

    def _shape(self):
        return (*_batch_of(self.operators), sum(self._sizes(True)), sum(self._sizes(False)))

    def _sizes(self, rows):
        return [o.range_dimension if rows else o.domain_dimension for o in self.operators]

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        parts = _pieces(transposed(x, adjoint_arg), self._sizes(rows=adjoint))
        return _joined([o.matmul(p, adjoint=adjoint) for o, p in zip(self.operators, parts)])

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        parts = _pieces(transposed(rhs, adjoint_arg), self._sizes(rows=not adjoint))
        return _joined([o.solve(p, adjoint=adjoint) for o, p in zip(self.operators, parts)])

    def _row(self, values):
        batch = _batch_of(self.operators)
        return ops.concat([ops.broadcast_to(v, (*batch, tuple(v.shape)[-1])) for v in values], -1)

    def _diag_part(self):
        if not all(o.is_square for o in self.operators):
            return super()._diag_part()
        return self._row([o.diag_part() for o in self.operators])

    def _eigvals(self):
        return self._row([o.eigvals() for o in self.operators])

    def _determinant(self):
        return functools.reduce(lambda a, b: a * b, [o.determinant() for o in self.operators])

    def _log_abs_determinant(self):
        return functools.reduce(lambda a, b: a + b, [o.log_abs_determinant() for o in self.operators])

    def _adjoint(self):
        return LinearOperatorBlockDiag([o.adjoint() for o in self.operators], self.is_non_singular)

    def _inverse(self):
        return LinearOperatorBlockDiag([o.inverse() for o in self.operators], True)

    def _cholesky(self):
        return LinearOperatorBlockDiag([o.cholesky() for o in self.operators], True)


class LinearOperatorBlockLowerTriangular(_Blocks):
    """Blocks on and below the diagonal: a list of rows, row i with i + 1 operators; the last of each is square."""

    def __init__(self, operators, is_non_singular=None, is_self_adjoint=None, is_positive_definite=None,
                 is_square=None, name="LinearOperatorBlockLowerTriangular"):
        self.operators = [operators_of(row, "BlockLowerTriangular") for row in operators]
        for position, row in enumerate(self.operators):
            if len(row) != position + 1:
                raise ValueError(f"Row {position} of a block lower triangular operator has {position + 1} operators, "
                                 f"but received {len(row)}.")
        self._diagonal = [row[-1] for row in self.operators]
        if not all(o.is_square for o in self._diagonal):
            raise ValueError("The operators on the diagonal must be square.")
        if is_non_singular is None:
            is_non_singular = _all(self._diagonal, "is_non_singular")
        super().__init__(self._diagonal[0].dtype, None, is_non_singular, is_self_adjoint, is_positive_definite,
                         True if is_square is None else is_square, name)

    def _shape(self):
        size = sum(self._sizes(True))
        return (*_batch_of([o for row in self.operators for o in row]), size, size)

    def _sizes(self, rows):
        return [o.range_dimension for o in self._diagonal]

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        parts = _pieces(transposed(x, adjoint_arg), self._sizes(True))
        count = len(parts)
        if adjoint:
            found = [[self.operators[i][j].matmul(parts[i], adjoint=True) for i in range(j, count)]
                     for j in range(count)]
        else:
            found = [[o.matmul(p) for o, p in zip(row, parts)] for row in self.operators]
        return _joined([functools.reduce(lambda a, b: a + b, terms) for terms in found])

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        parts = _pieces(transposed(rhs, adjoint_arg), self._sizes(True))
        count, found = len(parts), {}
        for i in reversed(range(count)) if adjoint else range(count):
            rest = parts[i]
            for j in range(i + 1, count) if adjoint else range(i):
                rest = rest - (self.operators[j][i].matmul(found[j], adjoint=True) if adjoint
                               else self.operators[i][j].matmul(found[j]))
            found[i] = self._diagonal[i].solve(rest, adjoint=adjoint)
        return _joined([found[i] for i in range(count)])

    def _diag_part(self):
        batch = tuple(self.batch_shape)
        return ops.concat([ops.broadcast_to(o.diag_part(), (*batch, o.range_dimension)) for o in self._diagonal], -1)

    def _determinant(self):
        return functools.reduce(lambda a, b: a * b, [o.determinant() for o in self._diagonal])

    def _log_abs_determinant(self):
        return functools.reduce(lambda a, b: a + b, [o.log_abs_determinant() for o in self._diagonal])

    def _eigvals(self):
        batch = tuple(self.batch_shape)
        return ops.concat([ops.broadcast_to(o.eigvals(), (*batch, o.range_dimension)) for o in self._diagonal], -1)


class LinearOperatorLowRankUpdate(LinearOperator):
    """L + U D V^H for an operator L, U [..., M, K], a diagonal D [..., K] (ones if None) and V (U if None)."""

    def __init__(self, base_operator, u, diag_update=None, v=None, is_diag_update_positive=None, is_non_singular=None,
                 is_self_adjoint=None, is_positive_definite=None, is_square=None, name="LinearOperatorLowRankUpdate"):
        self.base_operator, self._u = base_operator, kept(u, base_operator.dtype)
        self._v = self._u if v is None else kept(v, base_operator.dtype)
        self._diag_update = None if diag_update is None else kept(diag_update, base_operator.dtype)
        self.is_diag_update_positive = True if diag_update is None else is_diag_update_positive
        alike = v is None and base_operator.is_self_adjoint and not (
            self._diag_update is not None and base_operator.dtype.is_complex and not is_diag_update_positive)
        if is_self_adjoint is None and alike:
            is_self_adjoint = True
        if is_positive_definite is None and alike and base_operator.is_positive_definite and \
                self.is_diag_update_positive:
            is_positive_definite = True
        super().__init__(base_operator.dtype, None, is_non_singular, is_self_adjoint, is_positive_definite, is_square,
                         name)

    u = property(lambda self: self._u)
    v = property(lambda self: self._v)
    diag_update = property(lambda self: self._diag_update)

    @property
    def diag_operator(self):
        """The operator of D."""
        return LinearOperatorDiag(self._diagonal())

    def _diagonal(self):
        if self._diag_update is not None:
            return value_of(self._diag_update)
        return ops.ones(tuple(self._u.shape)[-1:], self.dtype)

    def _shape(self):
        batch = np.broadcast_shapes(tuple(self.base_operator.batch_shape), tuple(self._u.shape)[:-2],
                                    tuple(self._v.shape)[:-2], tuple(self._diagonal().shape)[:-1])
        return (*batch, *tuple(self.base_operator.shape)[-2:])

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        x, u, v = transposed(x, adjoint_arg), value_of(self._u), value_of(self._v)
        diagonal = self._diagonal()[..., None]
        if adjoint:
            u, v, diagonal = v, u, conjugated(diagonal)
        update = ops.matmul(u, diagonal * ops.matmul(v, x, adjoint_a=True))
        return self.base_operator.matmul(x, adjoint=adjoint) + update

    def _capacitance(self):
        """Return D^-1 + V^H L^-1 U."""
        inner = ops.matmul(value_of(self._v), self.base_operator.solve(value_of(self._u)), adjoint_a=True)
        return ops.diag(1 / self._diagonal()) + inner

    def _solve(self, rhs, adjoint=False, adjoint_arg=False):
        # (L + U D V^H)^-1 = L^-1 - L^-1 U C^-1 V^H L^-1
        if self.base_operator.is_non_singular is False:
            return super()._solve(rhs, adjoint, adjoint_arg)
        u, v, middle = value_of(self._u), value_of(self._v), self._capacitance()
        if adjoint:
            u, v, middle = v, u, flipped(middle)
        first = self.base_operator.solve(transposed(rhs, adjoint_arg), adjoint=adjoint)
        middle, projected = broadcast_batches(middle, ops.matmul(v, first, adjoint_a=True))
        return first - self.base_operator.solve(ops.matmul(u, ops.solve(middle, projected)), adjoint=adjoint)

    def _determinant(self):
        if self.base_operator.is_non_singular is False:
            return super()._determinant()
        return ops.det(self._capacitance()) * ops.reduce_prod(self._diagonal(), -1) * self.base_operator.determinant()

    def _log_abs_determinant(self):
        if self.base_operator.is_non_singular is False:
            return super()._log_abs_determinant()
        inner = ops.slogdet(self._capacitance())[1]
        update = ops.reduce_sum(ops.log(ops.abs(self._diagonal())), -1)
        return inner + ops.cast(update, inner.dtype) + self.base_operator.log_abs_determinant()
