# SPDX-License-Identifier: Apache-2.0
"""Layers with weights of eight bits: near to their float selves, trained around, saved, adapted."""
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers
RNG = np.random.default_rng(0)
CASES = {
    "dense": (lambda: layers.Dense(8, activation="tanh"), RNG.normal(size=(4, 3, 16)), (8,)),
    "heads": (lambda: layers.EinsumDense("btd,ndh->btnh", (None, 8, 32), bias_axes="nh"),
              RNG.normal(size=(2, 3, 16)), (1, 1, 8, 32)),
    "ellipsis": (lambda: layers.EinsumDense("...x,yx->...y", (8,)), RNG.normal(size=(4, 3, 16)), (1, 1, 8)),
    "embedding": (lambda: layers.Embedding(6, 8), np.array([[1, 2], [5, 0]]), (6,)),
}


@pytest.mark.parametrize("case", CASES)
def test_eight_bits_are_near(case):
    make, x, scale_shape = CASES[case]
    layer = make()
    x = tf.constant(x, "int32" if case == "embedding" else "float32")
    expected = layer(x)
    layer.quantize("int8")
    name = "embeddings" if case == "embedding" else "kernel"
    assert getattr(layer, "_" + name).dtype == "int8" and getattr(layer, name + "_scale").shape == scale_shape
    assert layer.dtype_policy.name == "int8_from_float32" and layer.quantization_mode == "int8"
    assert float(tf.reduce_mean((layer(x) - expected) ** 2)) < 1e-3 * max(1.0, float(tf.reduce_mean(expected ** 2)))
    assert not any(v.dtype == "int8" for v in layer.trainable_weights)


def test_the_gradient_of_the_inputs_is_that_of_the_float_weights():
    layer = layers.Dense(3)
    x = tf.constant(RNG.normal(size=(2, 4)).astype("float32"))
    layer(x)
    kernel = layer.kernel.numpy()
    layer.quantize("int8")
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x))
    np.testing.assert_allclose(tape.gradient(loss, x), np.tile(kernel.sum(1), (2, 1)), atol=0.02)


def model():
    return tf.keras.Sequential([tf.keras.Input((16,)), layers.Dense(32, activation="relu", name="inner"),
                                layers.Dropout(0.1), layers.Dense(4, name="outer")])


def test_a_quantized_model_is_saved_and_loaded(tmp_path):
    made, x = model(), RNG.normal(size=(8, 16)).astype("float32")
    expected = made.predict(x, verbose=0)
    made.quantize("int8")
    quantized = made.predict(x, verbose=0)
    assert 0 < np.abs(quantized - expected).max() < 0.1
    made.save(tmp_path / "m.keras")
    again = tf.keras.models.load_model(tmp_path / "m.keras")
    assert again.get_layer("inner")._kernel.dtype == "int8"
    np.testing.assert_array_equal(again.predict(x, verbose=0), quantized)
    fresh = model()
    fresh.quantize("int8", filters="inner")
    assert fresh.get_layer("outer").quantization_mode is None
    with pytest.raises(ValueError, match="already quantized"):
        fresh.get_layer("inner").quantize("int8")
    with pytest.raises(ValueError):
        fresh.load_weights(tmp_path / "m.keras")


def test_a_quantized_layer_is_adapted():
    layer = layers.Dense(4)
    x = tf.constant(RNG.normal(size=(2, 8)).astype("float32"))
    layer(x)
    layer.quantize("int8")
    before = layer(x)
    layer.enable_lora(2)
    np.testing.assert_array_equal(layer(x), before)
    layer.lora_kernel_b.assign(np.full((2, 4), 0.5))
    added = x.numpy() @ layer.lora_kernel_a.numpy() @ layer.lora_kernel_b.numpy()
    np.testing.assert_allclose(layer(x), before + added, rtol=1e-4, atol=1e-5)
    saved: dict = {}
    layer.save_own_variables(saved)
    plain = layers.Dense(4, dtype="int8_from_float32")
    plain.build((None, 8))
    plain.load_own_variables(saved)
    np.testing.assert_allclose(plain(x), layer(x), atol=0.1)


def test_a_policy_says_it_before_and_after_the_weights_are_made():
    before = layers.Dense(4, dtype="int8_from_mixed_bfloat16")
    assert before(tf.ones((1, 3))).dtype == "bfloat16" and before._kernel.dtype == "int8"
    after = layers.Dense(4)
    after(tf.ones((1, 3)))
    after.dtype_policy = "int8_from_float32"
    assert after._kernel.dtype == "int8"


def test_inputs_may_stay_as_they_are():
    config = tf.keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    layer = layers.Dense(4)
    x = RNG.normal(size=(2, 8)).astype("float32")
    layer(x)
    bias = layer.bias.numpy()
    layer.quantize(config=config)
    np.testing.assert_allclose(layer(x), x @ (layer._kernel.numpy() / layer.kernel_scale.numpy()) + bias, rtol=1e-4,
                               atol=1e-5)


def test_what_is_refused():
    with pytest.raises(ValueError, match="isn't yet built"):
        layers.Dense(2).quantize("int8")
    layer = layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="Invalid quantization mode"):
        layer.quantize("int7")
    with pytest.raises(NotImplementedError, match="int8"):
        layer.quantize("int4")
    half = layers.Dense(2, dtype="float16")
    half.build((None, 3))
    with pytest.raises(ValueError, match="float16"):
        half.quantize("int8")

    class Own(layers.Dense):
        pass

    own = Own(2)
    own.build((None, 3))
    with pytest.raises(NotImplementedError, match="subclasses"):
        own.quantize("int8")
    own.quantize("int8", type_check=False)
    assert own._kernel.dtype == "int8"
    reversible = layers.ReversibleEmbedding(4, 2)
    reversible.build()
    with pytest.raises(NotImplementedError, match="only Dense"):
        reversible.quantize("int8")
    with pytest.warns(UserWarning, match="cannot be quantized"):
        tf.keras.Sequential([tf.keras.Input((4, 1)), layers.Conv1D(1, 1)]).quantize("int8")
