# SPDX-License-Identifier: Apache-2.0
"""Operations called with their parameters' names, as TensorFlow documents them."""
import inspect

import numpy as np
import pytest

import fitloom as tf

MATRIX = [[2.0, 1.0], [1.0, 3.0]]


@pytest.mark.parametrize("names, operations", [
    ("features", [tf.nn.relu, tf.nn.relu6, tf.nn.selu, tf.nn.elu, tf.nn.softsign, tf.nn.softplus]),
    ("input", [tf.math.real, tf.math.imag, tf.math.angle, tf.linalg.det, tf.linalg.cholesky, tf.linalg.expm,
               tf.linalg.slogdet, tf.linalg.sqrtm, tf.linalg.inv]),
    ("tensor", [tf.linalg.eigh, tf.linalg.eigvalsh, tf.linalg.svd]), ("matrix", [tf.linalg.logdet]),
    ("x", [tf.abs, tf.sqrt, tf.sigmoid]), ("x y", [tf.add, tf.maximum, tf.math.xlogy]), ("y x", [tf.atan2]),
    ("a x", [tf.math.igamma, tf.math.igammac, tf.math.polygamma]), ("x q", [tf.math.zeta]),
    ("x1 x2", [tf.math.nextafter]), ("x message", [tf.debugging.assert_all_finite]),
    ("nest1 nest2", [tf.nest.assert_same_structure]),
    ("tensor message name", [tf.debugging.assert_scalar]),
    ("values uniform_row_length nrows validate name", [tf.RaggedTensor.from_uniform_row_length])])
def test_names(names, operations):
    for operation in operations:
        assert list(inspect.signature(operation).parameters)[:len(names.split())] == names.split(), operation


def test_calls_by_name():
    assert float(tf.atan2(y=1.0, x=2.0)) == pytest.approx(np.arctan2(1, 2))
    assert tf.nn.relu(features=[-1.0, 2.0]).numpy().tolist() == [0, 2]
    assert float(tf.linalg.det(input=MATRIX)) == pytest.approx(5)
    assert float(tf.math.igamma(a=1.0, x=2.0)) == pytest.approx(1 - np.exp(-2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'x'"):
        tf.nn.relu(x=[1.0])


def test_images_adjusted_by_name():
    image = tf.fill([2, 2, 3], 0.5)
    np.testing.assert_allclose(tf.image.adjust_gamma(image, gamma=2, gain=2), np.full((2, 2, 3), 0.5))
    assert tf.image.adjust_contrast(images=image, contrast_factor=2.0).shape == (2, 2, 3)
    assert tf.image.adjust_hue(image, delta=0.1).shape == (2, 2, 3)
    assert tf.image.adjust_saturation(image=tf.cast(image * 255, tf.uint8), saturation_factor=3).dtype == tf.uint8


def test_lookup_with_defaults_of_the_call():
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(["a"], [5])
    keys, defaults = tf.constant(["a", "b", "c"]), tf.constant([7, 8, 9], tf.int64)
    assert table.lookup(keys, dynamic_default_values=defaults).numpy().tolist() == [5, 8, 9]
    assert table.lookup(keys).numpy().tolist() == [5, -1, -1]
