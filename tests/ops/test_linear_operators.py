# SPDX-License-Identifier: Apache-2.0
"""Linear operators agree with their matrices in everything they compute."""
import numpy as np
import pytest

import fitloom as tf

L = tf.linalg
RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def positive(n):
    m = draw(n, n)
    return m @ m.T + 2 * np.eye(n, dtype=np.float32)


M2, N2, M4, U, V = positive(2), positive(2), positive(4), draw(4, 2), draw(4, 2)
full, diag = L.LinearOperatorFullMatrix, L.LinearOperatorDiag

OPERATORS = {
    "diag": (diag([1.0, 2.0, -3.0, 4.0]), np.diag([1, 2, -3, 4])),
    "identity": (L.LinearOperatorIdentity(4, [2]), np.broadcast_to(np.eye(4), (2, 4, 4))),
    "scaled": (L.LinearOperatorScaledIdentity(4, [2.0, -3.0]), np.eye(4) * np.array([2, -3])[:, None, None]),
    "full": (full(M4 + np.triu(M4)), M4 + np.triu(M4)),
    "positive": (full(M4, is_self_adjoint=True, is_positive_definite=True), M4),
    "triangular": (L.LinearOperatorLowerTriangular(M4), np.tril(M4)),
    "composition": (L.LinearOperatorComposition([full(M4), diag([1.0, 2.0, 3.0, 4.0])]), M4 @ np.diag([1, 2, 3, 4])),
    "adjoint": (L.LinearOperatorAdjoint(full(np.triu(M4))), np.triu(M4).T),
    "inversion": (L.LinearOperatorInversion(full(M4)), np.linalg.inv(M4)),
    "kronecker": (L.LinearOperatorKronecker([full(M2), full(np.tril(N2))]), np.kron(M2, np.tril(N2))),
    "update": (L.LinearOperatorLowRankUpdate(full(M4), U, [1.0, 2.0], V), M4 + U @ np.diag([1, 2]) @ V.T),
    "blocks": (L.LinearOperatorBlockDiag([full(M2), diag([1.0, 3.0])]),
               np.block([[M2, np.zeros((2, 2))], [np.zeros((2, 2)), np.diag([1, 3])]])),
    "lower": (L.LinearOperatorBlockLowerTriangular([[full(M2)], [full(N2), diag([1.0, 3.0])]]),
              np.block([[M2, np.zeros((2, 2))], [N2, np.diag([1, 3])]])),
    "permutation": (L.LinearOperatorPermutation([2, 0, 1, 3]), np.eye(4)[[2, 0, 1, 3]]),
    "reflection": (L.LinearOperatorHouseholder([1.0, 1.0, 0.0, 0.0]),
                   np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
    "toeplitz": (L.LinearOperatorToeplitz([5.0, 2.0, 3.0, 1.0], [5.0, 0.0, 1.0, 2.0]),
                 np.array([[5, 0, 1, 2], [2, 5, 0, 1], [3, 2, 5, 0], [1, 3, 2, 5]])),
    "tridiagonal": (L.LinearOperatorTridiag([[1.0, 1.0, 1.0], [4.0, 5.0, 6.0, 7.0], [2.0, 2.0, 2.0]], "sequence"),
                    np.array([[4, 1, 0, 0], [2, 5, 1, 0], [0, 2, 6, 1], [0, 0, 2, 7]])),
    "circulant": (L.LinearOperatorCirculant([1.0, 2.0, 3.0, 2.0], tf.float32),
                  np.array([[2, -0.5, 0, -0.5], [-0.5, 2, -0.5, 0], [0, -0.5, 2, -0.5], [-0.5, 0, -0.5, 2]])),
}
X = draw(4, 3)
TOLERANCE = {"rtol": 3e-4, "atol": 3e-4}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_its_matrix(name):
    operator, matrix = OPERATORS[name]
    flipped = np.swapaxes(matrix, -1, -2)
    inverse = np.linalg.inv(matrix)
    for compute, wanted in [
            (operator.to_dense, matrix), (lambda: operator @ X, matrix @ X),
            (lambda: operator.matmul(X.T, adjoint=True, adjoint_arg=True), flipped @ X),
            (lambda: operator.solve(X), inverse @ X),
            (lambda: operator.solve(X, adjoint=True), np.swapaxes(inverse, -1, -2) @ X),
            (operator.determinant, np.linalg.det(matrix)),
            (operator.log_abs_determinant, np.linalg.slogdet(matrix)[1]),
            (operator.diag_part, np.diagonal(matrix, axis1=-2, axis2=-1)),
            (operator.adjoint().to_dense, flipped), (lambda: operator.inverse().matvec(X[:, 0]), inverse @ X[:, 0])]:
        np.testing.assert_allclose(compute().numpy(), wanted, **TOLERANCE)
    assert tuple(operator.shape) == matrix.shape == tuple(operator.shape_tensor().numpy())


def test_hints_are_checked_against_each_other():
    with pytest.raises(ValueError, match="is_square=False"):
        full(M4, is_square=False, is_non_singular=True)
    with pytest.raises(NotImplementedError, match="square"):
        full(U).solve(X)
    with pytest.raises(ValueError, match="size 4"):
        full(M4).matmul(draw(3, 2))
    with pytest.raises(NotImplementedError, match="self-adjoint"):
        full(M4).eigvals()
    with pytest.raises(tf.errors.InvalidArgumentError, match="singular"):
        diag([1.0, 0.0]).assert_non_singular()
    with pytest.raises(tf.errors.InvalidArgumentError, match="positive definite"):
        diag([1.0, -1.0]).assert_positive_definite()


def test_positive_operators_have_roots():
    operator = OPERATORS["positive"][0]
    np.testing.assert_allclose(operator.cholesky().to_dense().numpy(), np.linalg.cholesky(M4), **TOLERANCE)
    np.testing.assert_allclose(operator.eigvals().numpy(), np.linalg.eigvalsh(M4), **TOLERANCE)


def test_blocks_take_lists_and_variables_have_gradients():
    parts = OPERATORS["lower"][0].solve([X[:2], X[2:]])
    np.testing.assert_allclose(tf.concat(parts, 0).numpy(), OPERATORS["lower"][0].solve(X).numpy(), **TOLERANCE)
    values = tf.Variable([1.0, 2.0])
    operator = diag(values)
    with tf.GradientTape() as tape:
        y = operator.matvec([3.0, 4.0])
    assert tape.gradient(y, values).numpy().tolist() == [3.0, 4.0] and len(operator.trainable_variables) == 1
    solved = tf.function(lambda d: diag(d).solve(X))(tf.constant([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_allclose(solved.numpy(), X / np.array([[1], [2], [4], [8]]), rtol=1e-6)


def test_own_operators_need_a_shape_and_a_product():
    class Double(L.LinearOperator):
        def __init__(self):
            super().__init__(tf.float32, name="double")

        def _shape(self):
            return tf.TensorShape([2, 2])

        def _matmul(self, x, adjoint=False, adjoint_arg=False):
            return 2 * (tf.linalg.adjoint(x) if adjoint_arg else x)

    operator = Double()
    assert operator.to_dense().numpy().tolist() == [[2, 0], [0, 2]] and float(operator.determinant()) == 4
    assert operator.is_square and operator.name == "double" and operator.H.to_dense().numpy().tolist() == [[2, 0], [0, 2]]
