# SPDX-License-Identifier: Apache-2.0
"""Quantizers: numbers of few bits, their scales, and what comes back from them."""
import numpy as np
import pytest

import fitloom as tf

quantizers = tf.keras.quantizers
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("to_numpy", [False, True])
@pytest.mark.parametrize(("axis", "dtype"), [(-1, "float32"), ((0, 2), "float32"), (1, "bfloat16")])
def test_the_largest_magnitude_becomes_the_largest_number(axis, dtype, to_numpy):
    x = tf.cast(RNG.normal(size=(3, 4, 5)), dtype)
    numbers, scale = quantizers.abs_max_quantize(x, axis, to_numpy=to_numpy)
    assert numbers.dtype == "int8" and scale.dtype == dtype
    assert (np.abs(numbers.numpy()).max(axis=axis if isinstance(axis, tuple) else (axis,)) >= 126).all()
    back = tf.cast(numbers, "float32") / tf.cast(scale, "float32")
    np.testing.assert_allclose(back, tf.cast(x, "float32"), atol=0.03)


def test_groups_of_rows_have_scales_and_zeros_of_their_own():
    x = RNG.normal(3.0, 1.0, (10, 4)).astype("float32")
    numbers, scale, zero = quantizers.abs_max_quantize_grouped_with_zero_point(x, 4)
    assert numbers.shape == (10, 4) and scale.shape == zero.shape == (3, 4)
    assert numbers.numpy().min() >= -8 and numbers.numpy().max() <= 7 and zero.dtype == "int8"


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("dtype", "low"), [("int8", -8), ("uint8", 0)])
def test_two_numbers_share_a_byte(axis, dtype, low):
    x = RNG.integers(low, low + 16, (5, 3, 7)).astype(dtype)
    packed, shape, length = quantizers.pack_int4(tf.constant(x), axis=axis, dtype=dtype)
    assert tuple(packed.shape) == shape and packed.dtype == dtype and shape[axis] == (x.shape[axis] + 1) // 2
    np.testing.assert_array_equal(quantizers.unpack_int4(packed, length, axis=axis, dtype=dtype), x)


def test_two_numbers_share_a_byte_as_in_keras():
    packed, _, _ = quantizers.pack_int4(np.array([[-3, 7], [2, -8], [1, 0]], "int8"))
    assert packed.numpy().tolist() == [[45, -121], [1, 0]]
    with pytest.raises(TypeError, match="int8"):
        quantizers.pack_int4(np.zeros((2, 2), "int32"))


def test_eight_bit_floats():
    np.testing.assert_allclose(quantizers.compute_float8_scale(3.0, 4.0, 448.0), 3.0 / 448.0)
    assert float(quantizers.compute_float8_scale(0.0, 4.0, 448.0)) == 4.0
    history = quantizers.compute_float8_amax_history(tf.constant([1.0, -5.0]), tf.constant([1.0, 2.0, 3.0]))
    assert history.numpy().tolist() == [5.0, 3.0, 1.0]
    rounded = quantizers.quantize_and_dequantize(tf.constant([0.1, 1000.0]), 1.0, "float8_e4m3fn", "float32")
    assert rounded.numpy().tolist() == [0.1015625, 448.0]


def test_fake_quantization_keeps_the_gradient_at_the_ends_of_the_range():
    x, low, high = tf.constant([-0.2, 0.0, 1.5, 2.0]), tf.Variable(0.0), tf.Variable(1.5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantizers.fake_quant_with_min_max_vars(x, low, high)
    assert [g.numpy().tolist() for g in tape.gradient(y, [x, low, high])] == [[0.0, 1.0, 1.0, 0.0], 1.0, 1.0]


def test_fake_quantization_along_an_axis_is_that_of_each_slice():
    x = RNG.normal(size=(2, 3)).astype("float32")
    low, high = np.array([-1.0, -0.5], "float32"), np.array([1.0, 2.0], "float32")
    rows = quantizers.fake_quant_with_min_max_vars(x, low, high, num_bits=4, axis=0)
    for row, *ends in zip(range(2), low, high):
        np.testing.assert_allclose(
            rows[row], tf.quantization.fake_quant_with_min_max_vars(x[row], *ends, num_bits=4), rtol=1e-6)


def test_they_are_found_by_name_and_make_the_round_trip():
    quantizer = quantizers.get("abs_max_quantizer")
    again = quantizers.deserialize(quantizers.serialize(quantizers.AbsMaxQuantizer(axis=1, value_range=(-8, 7))))
    assert isinstance(quantizer, quantizers.AbsMaxQuantizer) and (again.axis, again.value_range) == ((1,), (-8, 7))
    assert quantizers.get(None) is None
    with pytest.raises(ValueError, match="quantizer"):
        quantizers.get("typo")
    config = quantizers.deserialize(quantizers.serialize(quantizers.Int8QuantizationConfig(activation_quantizer=None)))
    assert config.mode == "int8" and config.activation_quantizer is None
    with pytest.raises(ValueError, match="-128"):
        quantizers.AbsMaxQuantizer(value_range=(-200, 127))
