# SPDX-License-Identifier: Apache-2.0
"""tf.linalg beyond products: bands of diagonals, factors of LU, systems of three diagonals, logarithms."""
import numpy as np
import pytest

import fitloom as tf

linalg = tf.linalg
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 3, 3)), RNG.normal(size=(2, 3, 2))


def test_several_diagonals():
    compact = [[0, 8, 9], [1, 2, 3], [4, 5, 0]]
    whole = [[1, 8, 0], [4, 2, 9], [0, 5, 3]]
    assert linalg.diag(compact, k=(-1, 1)).numpy().tolist() == whole
    assert linalg.diag([[8, 9, 0], [1, 2, 3], [0, 4, 5]], k=(-1, 1), align="LEFT_RIGHT").numpy().tolist() == whole
    assert linalg.diag_part(whole, k=(-1, 1)).numpy().tolist() == compact
    assert linalg.diag_part(whole, k=(1, 2), padding_value=7, align="LEFT_LEFT").numpy().tolist() == [[0, 7], [8, 9]]
    changed = linalg.set_diag(np.zeros((3, 4), int), [[6, 7, 8], [1, 2, 3]], k=(0, 1))
    assert changed.numpy().tolist() == [[1, 6, 0, 0], [0, 2, 7, 0], [0, 0, 3, 8]]
    assert linalg.diag([1, 2], k=1, num_rows=2, padding_value=9).numpy().tolist() == [[9, 1, 9], [9, 9, 2]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one of both exactly"):
        linalg.diag([1, 2], k=-1, num_rows=4, num_cols=3)


def test_factors_of_lu():
    factors = linalg.lu(A)
    np.testing.assert_allclose(linalg.lu_reconstruct(*factors), A, rtol=1e-10)
    np.testing.assert_allclose(linalg.lu_solve(*factors, rhs=B), np.linalg.solve(A, B), rtol=1e-8)
    np.testing.assert_allclose(linalg.lu_matrix_inverse(*factors), np.linalg.inv(A), rtol=1e-8)


def test_three_diagonals():
    d, rhs = RNG.normal(size=(3, 4)) + [[0], [5], [0]], RNG.normal(size=(4, 2))
    dense = np.diag(d[1]) + np.diag(d[0, :-1], 1) + np.diag(d[2, 1:], -1)
    np.testing.assert_allclose(linalg.tridiagonal_solve(d, rhs), np.linalg.solve(dense, rhs), rtol=1e-8)
    np.testing.assert_allclose(linalg.tridiagonal_solve(list(d), rhs[:, 0], "sequence"),
                               np.linalg.solve(dense, rhs[:, 0]), rtol=1e-8)
    np.testing.assert_allclose(linalg.tridiagonal_solve(dense, rhs.T, "matrix", transpose_rhs=True),
                               np.linalg.solve(dense, rhs), rtol=1e-8)
    np.testing.assert_allclose(linalg.tridiagonal_matmul(d, rhs), dense @ rhs, rtol=1e-8)
    symmetric = np.diag([1.0, 2, 3]) + np.diag([0.5, 0.3], 1) + np.diag([0.5, 0.3], -1)
    values, vectors = linalg.eigh_tridiagonal([1.0, 2.0, 3.0], [0.5, 0.3], eigvals_only=False)
    np.testing.assert_allclose(symmetric @ vectors.numpy(), vectors.numpy() * values.numpy(), atol=1e-5)
    assert linalg.eigh_tridiagonal([1.0, 2.0, 3.0], [0.5, 0.3], select="i", select_range=(1, 2)).shape == (2,)


def test_bands():
    lower = np.asarray([[2.0, 0, 0], [2, 3, 0], [0, 3, 4]])
    for bands, matrix, options in (([[2.0, 3, 4], [99, 2, 3]], lower, {}),
                                   ([[2.0, 3, 99], [2, 3, 4]], lower.T, {"lower": False}),
                                   ([[2.0, 3, 4], [99, 2, 3]], lower.T, {"adjoint": True})):
        found = linalg.banded_triangular_solve(bands, tf.ones([3, 1]), **options)
        np.testing.assert_allclose(found, np.linalg.solve(matrix, np.ones((3, 1))), rtol=1e-5)


def test_logarithm():
    m = np.asarray([[2, 1], [1, 3]], "complex128")
    np.testing.assert_allclose(linalg.expm(linalg.logm(m)), m, rtol=1e-8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="complex64"):
        linalg.logm([[1.0]])
