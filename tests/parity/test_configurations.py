# SPDX-License-Identifier: Apache-2.0
"""Configurations cross between Keras and us in both directions, and the models compute the same."""
import json

import keras as reference
import numpy as np
import pytest

import fitloom as tf
from fitloom.base import nest

RTOL, ATOL = 1e-5, 1e-6
# Keras reads its own variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def masked(keras):
    i = keras.Input((5,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(10, 4, mask_zero=True)(i)
    return keras.Model(i, keras.layers.LSTM(3)(x))


def branches(keras):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = keras.layers.Dense(4, activation="gelu")
    x = keras.layers.Concatenate()([shared(a), shared(shared(b)), a * 2.0 + b])
    return keras.Model({"a": a, "b": b}, {"x": x, "y": [keras.layers.Dense(2)(x), x - 1.0]})


def nested(keras):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dropout(0.5)])
    j = keras.Input((3,))
    head = keras.Model(j, keras.layers.LayerNormalization()(j))
    i = keras.Input((4,))
    return keras.Model(i, head(inner(i)))


def image(keras):
    return keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 3, padding="same", use_bias=False),
                             keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.MaxPooling2D(),
                             keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])


def deferred(keras):
    return keras.Sequential([keras.layers.Dense(3, kernel_regularizer="l2", kernel_constraint="max_norm")])


def data_for(model, rng):
    if not getattr(model, "built", True) or not model.inputs:
        return rng.normal(size=(2, 4)).astype("float32")
    def one(x):
        shape = (2, *x.shape[1:])
        return rng.integers(0, 10, shape) if "int" in x.dtype else rng.normal(size=shape).astype("float32")
    structure = model.inputs[0] if len(model.inputs) == 1 else model.input
    return {k: one(v) for k, v in structure.items()} if isinstance(structure, dict) else one(structure)


@pytest.mark.parametrize("direction", ["from_keras", "to_keras"])
@pytest.mark.parametrize("make", [masked, branches, nested, image, deferred])
def test_round(make, direction, rng):
    ours, theirs = (tf.keras, reference) if direction == "from_keras" else (reference, tf.keras)
    source = make(theirs)
    copy = type(make(ours)).from_config(json.loads(json.dumps(source.get_config())))
    data = data_for(source, rng) if source.built else rng.normal(size=(2, 4)).astype("float32")
    expected = source(data)
    found = copy(data)
    copy.set_weights(source.get_weights())
    found = copy(data)
    for a, b in zip(nest.flatten(expected), nest.flatten(found)):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=RTOL, atol=ATOL)


def test_the_same_structure_is_written():
    def strip(config):
        if isinstance(config, dict):
            # Keras leaves build_config out where a layer has no weights
            return {key: strip(value) for key, value in sorted(config.items())
                    if key not in ("quantization_config", "training", "seed", "build_config", "activity_regularizer")}
        return [strip(x) for x in config] if isinstance(config, (list, tuple)) else config

    reference.utils.clear_session()
    tf.keras.utils.clear_session()
    ours, theirs = (strip(json.loads(json.dumps(image(k).get_config()))) for k in (tf.keras, reference))
    assert ours == theirs


def test_every_operation_of_a_graph_by_keras(rng):
    ops = reference.ops
    i = reference.Input((4, 3))
    outputs = [ops.mean(i, axis=1, keepdims=True), i + 1.0, i * i, i[:, 0], ops.concatenate([i, i], axis=-1),
               ops.reshape(i, (-1, 12)), ops.softmax(i, axis=-1), ops.cast(i, "int32"), ops.transpose(i, (0, 2, 1)),
               ops.squeeze(ops.expand_dims(i, 1), 1), ops.matmul(i, ops.transpose(i, (0, 2, 1))), ops.sum(i),
               ops.relu(i), ops.not_equal(i, 0), 1 / i, i**2, -i, ops.norm(i), ops.stack([i, i]), ops.clip(i, 0, 1),
               *ops.split(i, 3, axis=-1), ops.einsum("bij,bkj->bik", i, i), ops.argmax(i, axis=-1),
               ops.where(i > 0, i, 0.0)]
    theirs = reference.Model(i, outputs)
    ours = tf.keras.Model.from_config(json.loads(json.dumps(theirs.get_config())))
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    for a, b in zip(theirs(x), ours(x)):
        assert np.dtype(str(a.dtype)).kind == b.dtype.numpy_dtype.kind   # the process's x64 mode widens Keras' ints
        np.testing.assert_allclose(b.numpy(), np.asarray(a), rtol=1e-4, atol=ATOL)
