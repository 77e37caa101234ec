# SPDX-License-Identifier: Apache-2.0
"""Functions of several operations on symbolic tensors, unknown sizes included; arguments that no program could take."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
ops = keras.ops


def _both(a, b):
    return a[0] + b[0], a[1] + b[1]


@pytest.mark.parametrize("call, shape, expected", [
    (lambda x: ops.image.crop_images(x, 1, 1, target_height=2, target_width=3), (None, None, None, 1), (None, 2, 3, 1)),
    (lambda x: ops.image.crop_images(x, 1, 1, 1, 1), (None, None, 6, 1), (None, None, 4, 1)),
    (lambda x: ops.image.pad_images(x, 1, 2, target_height=9, target_width=9), (None, None, None, 1), (None, 9, 9, 1)),
    (lambda x: ops.image.pad_images(x, 1, 2, 1, 1), (None, None, 4, 1), (None, None, 7, 1)),
    (lambda x: ops.slice(x, (1, 1), (-1, 2)), (None, 5), (None, 2)),
    (lambda x: ops.slice(x, (1, 1), (-1, -1)), (4, 5), (3, 4)),
    (lambda x: ops.unstack(x, num=6, axis=1)[2], (2, None, 5), (2, 5)),
    (lambda x: ops.map(lambda row: row * 2, x), (None, 5), (None, 5)),
    (lambda x: ops.map(lambda row: {"a": row[0], "b": row[1]}, (x, x))["b"], (None, 5), (None, 5)),
    (lambda x: ops.vectorized_map(lambda row: row[0], x), (None, 5), (None,)),
    (lambda x: ops.scan(lambda carry, row: (carry + row, carry), x[0], x)[1], (6, None), (6, None)),
    (lambda x: ops.associative_scan(_both, (x, x))[1], (None, 5), (None, 5)),
    (lambda x: ops.fori_loop(0, 3, lambda i, v: v * 2, x), (None, 5), (None, 5)),
    (lambda x: ops.while_loop(lambda v: ops.sum(v) < 9, lambda v: v + 1, x), (None, 5), (None, 5)),
    (lambda x: ops.switch(ops.cast(x[0, 0], "int32"), [lambda v: v[:, 0], lambda v: v[:, 1]], x), (None, 5), (None,)),
])
def test_a_call_is_one_step_of_the_graph(rng, call, shape, expected):
    x = keras.KerasTensor(shape)
    y = call(x)
    assert y.shape == expected
    value = rng.uniform(size=[n or 6 for n in shape]).astype("float32")
    np.testing.assert_allclose(keras.Function(x, y)(value), call(tf.constant(value)), rtol=1e-6)


@keras.saving.register_keras_serializable(package="symbolic")
def _twice(x):
    return x + x


def test_such_steps_are_saved():
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, ops.vectorized_map(_twice, ops.image.pad_images(x, 1, 1, 1, 1)))
    again = keras.Model.from_config(model.get_config())
    value = np.ones((2, 4, 4, 1), "float32")
    np.testing.assert_array_equal(again(value), model(value))


@pytest.mark.parametrize("call", [
    lambda: ops.image.rgb_to_grayscale(np.ones((4, 4))),
    lambda: ops.image.rgb_to_grayscale(np.ones((4, 4, 4))),
    lambda: ops.image.rgb_to_hsv(np.ones((1, 1, 4, 4, 3), "float32")),
    lambda: ops.image.hsv_to_rgb(np.ones((4, 4, 2), "float32")),
    lambda: ops.image.resize(np.ones((4, 4, 1)), (0, 2)),
    lambda: ops.image.resize(np.ones((4, 4, 1)), (2, -1)),
    lambda: ops.image.crop_images(np.ones((4, 4)), 1, 1, 1, 1),
    lambda: ops.image.pad_images(np.ones((4, 4)), 1, 1, 1, 1),
    lambda: ops.image.extract_patches(np.ones((4, 4, 1)), (2, 2, 2)),
    lambda: ops.image.map_coordinates(np.ones((4, 4)), np.ones((3, 2)), order=1),
    lambda: ops.image.affine_transform(np.ones((4, 4, 1)), np.ones((6,))),
    lambda: ops.image.perspective_transform(np.ones((4, 4, 1)), np.ones((3, 2)), np.ones((4, 2))),
    lambda: ops.image.gaussian_blur(np.ones((4, 4))),
    lambda: ops.stft(np.ones(16, "float32"), 4, 0, 4),
    lambda: ops.stft(np.ones(16, "float32"), 8, 2, 4),
    lambda: ops.istft((np.ones((3, 3), "float32"),) * 2, 4, -1, 4),
    lambda: ops.depth_to_space(np.ones((1, 2, 2, 12), "float32"), 1),
    lambda: ops.space_to_depth(np.ones((1, 3, 4, 3), "float32"), 2),
    lambda: ops.unstack(np.ones((2, 3)), axis=10),
    lambda: ops.unstack(np.ones((2, 3)), num=3),
])
def test_nonsense_is_refused_with_a_value_error(call):
    with pytest.raises(ValueError, match="expected|out of range|num=|has 8 numbers"):
        call()


def test_one_hot_and_multi_hot_of_truth_values():
    assert ops.one_hot([1, 0], 2, dtype="bool").numpy().tolist() == [[False, True], [True, False]]
    assert ops.multi_hot([[0, 2]], 3, dtype="bool").numpy().tolist() == [[True, False, True]]
    assert ops.multi_hot(np.zeros((2, 3, 1), int), 5).shape == (2, 1, 5)
