# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


@pytest.fixture
def x(rng):
    return (rng.normal(size=(16, 4, 3)) * 3 + 2).astype("float32")


def test_batch_normalization_moves_its_averages(x):
    layer = layers.BatchNormalization(momentum=0.9)
    y = layer(x, training=True).numpy()
    np.testing.assert_allclose(y.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1)), 1, atol=1e-3)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.var((0, 1)), rtol=1e-5)
    before = layer.moving_mean.numpy()
    layer(x, training=False)
    assert (layer.moving_mean.numpy() == before).all()


def test_frozen_batch_normalization_uses_its_averages_in_training(x):
    layer = layers.BatchNormalization()
    layer(x)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True).numpy(), layer(x, training=False).numpy())
    assert layer.moving_mean.numpy().tolist() == [0, 0, 0]


def test_masked_positions_do_not_count(x):
    mask = np.zeros((16, 4), bool)
    mask[:, :2] = True
    masked, plain = layers.BatchNormalization(), layers.BatchNormalization()
    y = masked(x, mask=mask, training=True).numpy()[:, :2]
    np.testing.assert_allclose(y, plain(x[:, :2], training=True).numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="mask"):
        layers.BatchNormalization()(x, mask=np.ones((16,), bool), training=True)


@pytest.mark.parametrize("make", [
    lambda: layers.BatchNormalization(dtype="mixed_float16"), lambda: layers.LayerNormalization(dtype="mixed_float16"),
    lambda: layers.GroupNormalization(3, dtype="mixed_float16"), lambda: layers.RMSNormalization(dtype="mixed_float16")])
def test_statistics_are_computed_in_float32(make):
    # 300^2 overflows float16; the statistics must not.
    x = np.linspace(-300, 300, 24).reshape(2, 4, 3)
    y = make()(x, training=True) if "Batch" in type(make()).__name__ else make()(x)
    assert y.dtype.name == "float16" and np.isfinite(y.numpy()).all() and np.abs(y.numpy()).max() > 0.5


def test_spectral_normalization_bounds_the_largest_singular_value(rng):
    layer = layers.SpectralNormalization(layers.Dense(6), power_iterations=3)
    x = rng.normal(size=(4, 5)).astype("float32")
    layer(x)
    layer.layer.kernel.assign(rng.normal(size=(5, 6)).astype("float32") * 4)
    for _ in range(10):
        layer(x, training=True)
    assert np.linalg.svd(layer.layer.kernel.numpy())[1][0] == pytest.approx(1, abs=1e-3)
    assert [w.name for w in layer.weights] == ["kernel", "vector_u", "bias"]
    with pytest.raises(ValueError, match="greater than zero"):
        layers.SpectralNormalization(layers.Dense(2), power_iterations=0)


def test_normalization_adapts_to_arrays_and_batches(x):
    whole, parts = layers.Normalization(), layers.Normalization()
    whole.adapt(x)
    parts.adapt(tf.data.Dataset.from_tensor_slices(x).batch(5))
    np.testing.assert_allclose(parts.mean.numpy().ravel(), whole.mean.numpy().ravel(), rtol=1e-5)
    np.testing.assert_allclose(parts.variance.numpy().ravel(), whole.variance.numpy().ravel(), rtol=1e-5)
    y = whole(x).numpy()
    np.testing.assert_allclose(y.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1)), 1, atol=1e-5)
    back = layers.Normalization(mean=whole.mean.numpy().ravel(), variance=whole.variance.numpy().ravel(), invert=True)
    np.testing.assert_allclose(back(y).numpy(), x, rtol=1e-4, atol=1e-4)


def test_normalization_errors(x):
    with pytest.raises(ValueError, match="both `mean` and `variance`"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ValueError, match="static"):
        layers.Normalization(mean=1.0, variance=1.0).adapt(x)
    layer = layers.Normalization()
    layer.adapt(x)
    with pytest.raises(ValueError, match="cannot adapt"):
        layer.adapt(np.ones((2, 4, 5)))


def test_layer_normalization_with_rms_scaling_only_divides_by_the_deviation():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4)).astype("float32")
    layer = tf.keras.layers.LayerNormalization(axis=(1, 2), rms_scaling=True, gamma_initializer="random_normal")
    outputs = layer(x)
    assert [w.name for w in layer.weights] == ["gamma"]
    np.testing.assert_allclose(outputs, x / np.sqrt(x.var((1, 2), keepdims=True) + 1e-3) * layer.gamma.numpy(),
                               rtol=1e-5, atol=1e-7)
    assert layer.get_config()["rms_scaling"] is True


def test_spectral_normalization_gives_the_dtype_of_its_inputs():
    layer = tf.keras.layers.SpectralNormalization(tf.keras.layers.Dense(2), dtype="mixed_float16")
    assert layer(tf.ones((1, 3))).dtype == "float16"


def test_batch_renormalization():
    x = np.random.default_rng(0).normal(2.0, 3.0, (16, 4)).astype("float32")
    layer = tf.keras.layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.5, "rmin": 0.5, "dmax": 1.0},
                                               renorm_momentum=0.5)
    with tf.GradientTape() as tape:
        v = tf.Variable(x)
        outputs = layer(v, training=True)
        loss = tf.reduce_sum(outputs * x)
    std = np.sqrt(x.var(0) + 1e-3)
    r, d = np.clip(std, 0.5, 1.5), np.clip(x.mean(0), -1, 1)          # the averages begin with mean 0, variance 1
    np.testing.assert_allclose(outputs, (x - x.mean(0)) / std * r + d, atol=1e-4)
    np.testing.assert_allclose(layer.renorm_mean, 0.5 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.renorm_stddev, 0.5 + 0.5 * std, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, (0.99 + 0.01 * std) ** 2 - 1e-3, rtol=1e-4)
    # r and d are constants for the gradient: that of x is orthogonal to a shift of all rows
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(loss, v), 0), np.zeros(4), atol=1e-4)
    with pytest.raises(ValueError, match="rmax should be greater"):
        tf.keras.layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 0.5, "rmin": 1.5})
