# SPDX-License-Identifier: Apache-2.0
"""Models whose first layer takes text: fit, evaluate, predict from arrays and datasets."""
import numpy as np
import pytest

import fitloom as tf

TEXTS, LABELS = np.array(["good film", "bad film", "good", "bad bad"] * 4), np.array([1, 0, 1, 0] * 4)
layers = tf.keras.layers


def made(kind):
    vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    vectorize.adapt(TEXTS)
    rest = [layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")]
    if kind == "functional":
        x = inputs = tf.keras.Input((1,), dtype=tf.string)
        for layer in [vectorize, *rest]:
            x = layer(x)
        model = tf.keras.Model(inputs, x)
    else:
        first = [tf.keras.Input((1,), dtype="string")] if kind == "with input" else []
        model = tf.keras.Sequential([*first, vectorize, *rest])
    model.compile(tf.keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("kind", ["plain", "with input", "functional"])
def test_text_in_numbers_out(kind):
    model = made(kind)
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(6)
    losses = model.fit(TEXTS, LABELS, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.fit(dataset, verbose=0)
    assert model.evaluate(dataset, verbose=0, return_dict=True)["loss"] < losses[0]
    expected = model.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(model.predict(tf.constant(TEXTS), verbose=0), expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict(TEXTS.astype(object), verbose=0), expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict(dataset, verbose=0), expected, rtol=1e-6)


def test_text_into_a_model_of_numbers():
    model = tf.keras.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="Turn it into numbers first"):
        model.fit(TEXTS[:, None], LABELS, verbose=0)
