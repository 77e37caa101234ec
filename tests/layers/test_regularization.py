# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers
ONES = np.ones((200, 50), "float32")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_rate_scale_and_mean(rate):
    y = layers.Dropout(rate)(ONES, training=True).numpy()
    dropped = (y == 0).mean()
    assert dropped == pytest.approx(rate, abs=5 * (rate * (1 - rate) / y.size) ** 0.5)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_draws_anew_and_rests_in_inference():
    layer = layers.Dropout(0.5)
    a, b = layer(ONES, training=True).numpy(), layer(ONES, training=True).numpy()
    assert (a != b).any()
    assert (layer(ONES, training=False).numpy() == 1).all() and (layer(ONES).numpy() == 1).all()


def test_same_seed_same_masks():
    def run():
        tf.keras.utils.set_random_seed(3)
        return layers.Dropout(0.5)(ONES, training=True).numpy()
    assert (run() == run()).all()


def test_gradient_passes_where_the_output_does():
    x, layer = tf.constant(ONES), layers.Dropout(0.5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    gradient = tape.gradient(y, x).numpy()
    np.testing.assert_array_equal(gradient, y.numpy())


def test_noise_shape_and_spatial_dropout_share_draws():
    y = layers.Dropout(0.5, noise_shape=(None, 1))(ONES, training=True).numpy()
    assert ((y == y[:, :1]).all(axis=1)).all() and len(np.unique(y)) == 2
    images = np.ones((20, 4, 4, 6), "float32")
    y = layers.SpatialDropout2D(0.5)(images, training=True).numpy()
    assert (y == y[:, :1, :1]).all() and len(np.unique(y)) == 2
    first = np.ones((20, 6, 4, 4), "float32")
    y = layers.SpatialDropout2D(0.5, data_format="channels_first")(first, training=True).numpy()
    assert (y == y[:, :, :1, :1]).all()
    y = layers.SpatialDropout1D(0.5)(np.ones((20, 4, 6), "float32"), training=True).numpy()
    assert (y == y[:, :1]).all()


def test_gaussian_noise_and_dropout_have_their_moments():
    noise = layers.GaussianNoise(0.3)(ONES, training=True).numpy()
    assert noise.mean() == pytest.approx(1, abs=0.02) and noise.std() == pytest.approx(0.3, rel=0.05)
    noise = layers.GaussianDropout(0.2)(ONES, training=True).numpy()
    assert noise.mean() == pytest.approx(1, abs=0.03) and noise.std() == pytest.approx(0.5, rel=0.05)


def test_alpha_dropout_keeps_mean_and_variance(rng):
    x = rng.normal(size=(400, 100)).astype("float32")
    y = layers.AlphaDropout(0.3)(x, training=True).numpy()
    assert y.mean() == pytest.approx(0, abs=0.03) and y.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("make", [lambda: layers.Dropout(1.5), lambda: layers.Dropout(-0.1),
                                  lambda: layers.GaussianNoise(-1), lambda: layers.Dropout(0.5, noise_shape=(0,))])
def test_bad_arguments(make):
    with pytest.raises(ValueError):
        make()


def test_rate_one_drops_all():
    assert (layers.Dropout(1.0)(ONES, training=True).numpy() == 0).all()


def test_activity_regularization_adds_a_loss():
    layer = layers.ActivityRegularization(l1=0.1, l2=0.2)
    layer(tf.constant([[1.0, -2.0]]))
    assert float(sum(layer.losses)) == pytest.approx((0.3 + 1.0) / 1)
