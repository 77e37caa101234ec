# SPDX-License-Identifier: Apache-2.0
"""Gradients of decompositions, real and complex, against differences; complex gradients point uphill, as TensorFlow's."""
import numpy as np
import pytest

import fitloom as tf

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(4, 4))


def weighted(x):
    """The sum of |x| ** 2 with weights: blind to the phases that a decomposition may choose."""
    square = tf.math.real(x * tf.math.conj(x)) if x.dtype.is_complex else x * x
    return tf.reduce_sum(square * WEIGHTS[:x.shape[-2], :x.shape[-1]])


def symmetric(a):
    return (a + tf.linalg.adjoint(a)) / 2


def several(parts):
    return tf.add_n([weighted(p if len(p.shape) > 1 else p[None]) for p in parts])


SQUARE = {
    "eigh": lambda a: several(tf.linalg.eigh(symmetric(a))),
    "eigvalsh": lambda a: several([tf.linalg.eigvalsh(symmetric(a))]),
    "eig": lambda a: several(tf.linalg.eig(a)), "eigvals": lambda a: several([tf.linalg.eigvals(a)]),
    "lu": lambda a: weighted(tf.linalg.lu(a)[0]), "det": lambda a: tf.abs(tf.linalg.det(a)),
    "sqrtm": lambda a: weighted(tf.linalg.sqrtm(a @ tf.linalg.adjoint(a))),
    "inv": lambda a: weighted(tf.linalg.inv(a)), "slogdet": lambda a: tf.math.real(tf.linalg.slogdet(a)[1]),
}
ANY = {
    "qr": lambda a: several(tf.linalg.qr(a)), "svd": lambda a: several(tf.linalg.svd(a)),
    "singular values": lambda a: several([tf.linalg.svd(a, compute_uv=False)]),
    "pinv": lambda a: weighted(tf.linalg.pinv(a)),
}
CASES = [(name, f, (3, 3), "complex") for name, f in {**SQUARE, **ANY}.items()]
CASES += [("eig", SQUARE["eig"], (3, 3), "real"), ("qr", ANY["qr"], (4, 3), "real"), ("svd", ANY["svd"], (3, 4), "real"),
          ("svd", ANY["svd"], (4, 3), "complex")]


@pytest.mark.parametrize("name,function,shape,kind", CASES, ids=[f"{n}-{s[0]}x{s[1]}-{k}" for n, _, s, k in CASES])
def test_gradient_of_a_decomposition(name, function, shape, kind):
    a, direction = [RNG.normal(size=shape) + (1j * RNG.normal(size=shape) if kind == "complex" else 0) for _ in "ab"]
    x = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    gradient = tape.gradient(y, x).numpy()
    above, below = [float(function(tf.constant(a + step * direction))) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(np.real(np.sum(np.conj(gradient) * direction)), (above - below) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eagerly", [False, True])
def test_complex_gradients_are_tensorflows(eagerly):
    """TensorFlow 2.21's values of the same lines."""
    z, upstream = tf.constant([1 + 2j, -1j]), tf.constant([1j, 2 + 1j])

    @tf.custom_gradient
    def twice(x):
        return 2.0 * x, lambda dy: 2.0 * dy

    tf.config.run_functions_eagerly(eagerly)
    try:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            square, length = z * z, tf.reduce_sum(tf.abs(z) ** 2)
            own = twice(z) * z
        np.testing.assert_allclose(tape.gradient(length, z), [2 + 4j, -2j], atol=1e-6)
        np.testing.assert_allclose(tape.gradient(square, z), [2 - 4j, 2j], atol=1e-6)
        np.testing.assert_allclose(tape.gradient(square, z, output_gradients=upstream), [4 + 2j, -2 + 4j], atol=1e-6)
        np.testing.assert_allclose(tape.gradient(own, z, output_gradients=upstream), [8 + 4j, -4 + 8j], atol=1e-6)
    finally:
        tf.config.run_functions_eagerly(False)


def test_eigenvalues_of_a_hermitian_matrix_have_its_dtype():
    a = tf.constant([[1, 1j], [-1j, 2]])
    assert tf.linalg.eigvalsh(a).dtype == tf.linalg.eigh(a)[0].dtype == a.dtype


def test_the_square_root_of_a_complex_matrix_is_complex():
    a = tf.constant(RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3)))
    root = tf.linalg.sqrtm(a)
    np.testing.assert_allclose(root @ root, a, atol=1e-9)
