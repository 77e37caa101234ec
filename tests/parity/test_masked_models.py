# SPDX-License-Identifier: Apache-2.0
"""Whole models against Keras: masks travel through layers as they do there, and training moves weights alike."""
import numpy as np
import pytest

import fitloom as tf

keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
              pytest.mark.filterwarnings("ignore:Layer '.*' was passed an input with a mask"),
              pytest.mark.filterwarnings("ignore:Layer '.*' .of type .* was passed an input with a mask")]
RNG = np.random.default_rng(4)
TOKENS = np.array([[1, 2, 3, 0, 0, 0], [4, 0, 0, 0, 0, 0], [5, 6, 7, 8, 9, 1], [2, 2, 0, 3, 0, 0]])
SERIES = RNG.normal(size=(4, 6, 3)).astype("float32")
SERIES[:2, 3:] = 0


def encoder(L, K):
    x = inputs = K.Input((6,), dtype="int32")
    x = L.Embedding(10, 4, mask_zero=True)(x)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    x = L.LayerNormalization()(x)
    x = L.GRU(3, return_sequences=True)(x)
    return K.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


def attention(L, K):
    inputs = K.Input((6,), dtype="int32")
    x = L.Embedding(10, 4, mask_zero=True)(inputs)
    # No residual around it: Keras's MultiHeadAttention strips the mask off its caller's tensor, ours leaves it.
    x = L.MultiHeadAttention(2, 2)(x, x)
    y = L.Attention()([x, x])
    return K.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(L.Concatenate()([x, y]))))


def masking(L, K):
    inputs = K.Input((6, 3))
    x = L.Masking()(inputs)
    x = L.TimeDistributed(L.Dense(4, activation="tanh"))(x)
    x = L.Dropout(0.0)(x)
    return K.Model(inputs, L.Dense(2)(L.SimpleRNN(3)(x)))


def images(L, K):
    inputs = K.Input((6, 3))
    x = L.Reshape((6, 3, 1))(inputs)
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = L.BatchNormalization()(x)
    x = L.SeparableConv2D(4, 3, padding="same")(x)
    x = L.MaxPooling2D((2, 1))(x)
    x = L.Flatten()(x)
    return K.Model(inputs, L.Dense(2)(L.UnitNormalization()(x)))


MODELS = {"encoder": (encoder, TOKENS), "attention": (attention, TOKENS), "masking": (masking, SERIES),
          "images": (images, SERIES)}


@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps_equal_keras(name):
    make, x = MODELS[name]
    keras.utils.set_random_seed(3)         # from some starting points rounding grows a hundredfold in twenty steps
    theirs, ours = make(keras.layers, keras), make(tf.keras.layers, tf.keras)
    rng = np.random.default_rng(7)
    values = [np.asarray(w.value) for w in theirs.weights]
    values = [(v + rng.uniform(0, 0.2, v.shape)).astype(v.dtype) for v in values]
    theirs.set_weights(values)
    ours.set_weights(values)
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    y = rng.normal(size=(4, 2)).astype("float32")
    losses = []
    for model, K in ((theirs, keras), (ours, tf.keras)):
        model.compile(K.optimizers.SGD(0.05), "mse")
        losses.append(model.fit(x, y, epochs=20, batch_size=4, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    for mine, reference in zip(ours.weights, theirs.weights):
        np.testing.assert_allclose(mine.numpy(), np.asarray(reference.value), rtol=1e-4, atol=1e-5,
                                   err_msg=mine.path)
