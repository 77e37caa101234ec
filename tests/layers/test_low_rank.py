# SPDX-License-Identifier: Apache-2.0
"""Low-rank adaptation: the frozen weight, the product beside it, what is trained and what files hold."""
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers
CASES = {
    "dense": (lambda **more: layers.Dense(4, **more), (3, 5), "kernel"),
    "einsum": (lambda **more: layers.EinsumDense("ab,bcd->acd", (2, 3), bias_axes="d", **more), (3, 5), "kernel"),
    "convolution": (lambda **more: layers.Conv2D(4, 2, **more), (2, 4, 4, 3), "kernel"),
    "embedding": (lambda **more: layers.Embedding(5, 4, **more), (3, 2), "embeddings"),
}


def data(case):
    make, shape, name = CASES[case]
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    return make, tf.constant(np.abs(values * 2).astype("int32") % 5 if name == "embeddings" else values), name


@pytest.mark.parametrize("case", CASES)
def test_it_starts_as_the_layer_it_was_and_adds_the_scaled_product(case):
    make, x, name = data(case)
    layer = make()
    before, weight = layer(x), layer.get_weights()[0]
    layer.enable_lora(2, lora_alpha=6)
    assert layer.lora_enabled and (layer.lora_rank, layer.lora_alpha) == (2, 6)
    np.testing.assert_array_equal(layer(x), before)
    a, b = getattr(layer, f"lora_{name}_a"), getattr(layer, f"lora_{name}_b")
    b.assign(np.full(b.shape, 0.1))
    expected = weight + 3.0 * (a.numpy() @ b.numpy())
    np.testing.assert_allclose(getattr(layer, name), expected, rtol=1e-5)
    plain = make()
    plain.build(x.shape)
    plain.set_weights([expected, *layer.get_weights()[1:len(plain.weights)]])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_only_the_small_matrices_and_the_bias_are_trained(case):
    make, x, name = data(case)
    model = tf.keras.Sequential([make(lora_rank=2), layers.Flatten(), layers.Dense(1)])
    model.build(x.shape)
    layer = model.layers[0]
    layer.trainable = False
    layer.trainable = True
    frozen = getattr(layer, "_" + name)
    assert not any(frozen is v for v in model.trainable_weights)
    before, small = frozen.numpy(), getattr(layer, f"lora_{name}_b").numpy()
    model.compile("sgd", "mse")
    model.fit(x, np.ones((len(x), 1), "float32"), verbose=0)
    np.testing.assert_array_equal(frozen, before)
    assert np.abs(getattr(layer, f"lora_{name}_b").numpy() - small).max() > 0


def test_files_hold_the_merged_weight_and_training_goes_on(tmp_path):
    def model(**more):
        made = tf.keras.Sequential([tf.keras.Input((3,)), layers.Dense(4, **more), layers.Dense(2)])
        made.compile("sgd", "mse")
        return made

    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    adapted = model(lora_rank=2, lora_alpha=4)
    adapted.fit(x, np.ones((8, 2), "float32"), verbose=0, epochs=3)
    adapted.save(tmp_path / "a.keras")
    adapted.save_weights(tmp_path / "a.weights.h5")
    plain = model()
    plain.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(plain.predict(x, verbose=0), adapted.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    again = tf.keras.models.load_model(tmp_path / "a.keras")
    layer = again.layers[0]
    assert (layer.lora_rank, layer.lora_alpha) == (2, 4) and not layer.lora_kernel_b.numpy().any()
    np.testing.assert_allclose(again.predict(x, verbose=0), adapted.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    again.fit(x, np.zeros((8, 2), "float32"), verbose=0)
    assert layer.lora_kernel_b.numpy().any()
    with pytest.raises(ValueError, match="do not fit|shapes"):
        tf.keras.Sequential([tf.keras.Input((3,)), layers.Dense(5, lora_rank=2), layers.Dense(2)]).load_weights(
            tmp_path / "a.weights.h5")


def test_half_precision_keeps_the_matrices_in_float32():
    layer = layers.Dense(4, lora_rank=2, dtype="float16")
    assert layer(tf.ones((2, 3), "float16")).dtype == "float16"
    assert layer.lora_kernel_a.dtype == "float32" and layer.kernel.dtype == "float16"


def test_it_is_refused_where_it_makes_no_sense():
    layer = layers.Dense(4)
    with pytest.raises(ValueError, match="isn't yet built"):
        layer.enable_lora(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="rank"):
        layer.enable_lora(0)
    layer.enable_lora(2)
    with pytest.raises(ValueError, match="already enabled"):
        layer.enable_lora(2)
    constrained = layers.Dense(4, kernel_constraint="max_norm")
    constrained.build((None, 3))
    with pytest.raises(ValueError, match="constraint"):
        constrained.enable_lora(2)
    with pytest.raises(AttributeError, match="build the layer before accessing `kernel`"):
        layers.Dense(4).kernel
