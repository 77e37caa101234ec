# SPDX-License-Identifier: Apache-2.0
"""Whole models and optimizers cross between Keras and us: nested, shared, several inputs, attention, mixed precision."""
import keras as reference
import numpy as np
import pytest

import fitloom as tf
from interop.test_layers_cross import assert_same_state, train
from parity.test_optimizers import PLAIN, SCHEDULES, SETTINGS
from tolerances import BFLOAT16

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
ROWS = 8


def dense(keras, optimizer):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def nested(keras):
    i = keras.Input((4,), name="x")
    block = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.BatchNormalization()], name="block")
    inner = keras.Model(i, block(block(i)), name="inner")       # a shared block inside a nested model
    j = keras.Input((4,), name="y")
    model = keras.Model(j, keras.layers.Dense(2, kernel_regularizer="l2", kernel_constraint="max_norm")(inner(j)))
    model.compile(keras.optimizers.AdamW(0.01), keras.losses.Huber(), metrics=["mae", keras.metrics.RootMeanSquaredError()])
    return model, (ROWS, 4), (ROWS, 2)


def several(keras):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = keras.layers.Dense(4, activation="gelu", name="shared")
    x = keras.layers.Concatenate()([shared(a), shared(b), a * 2.0 + b])
    model = keras.Model([a, b], [keras.layers.Dense(2, name="p")(x), keras.layers.Dense(1, name="q")(x - 1.0)])
    model.compile(keras.optimizers.RMSprop(0.01, momentum=0.9), ["mse", "mae"], loss_weights=[1.0, 0.5],
                  metrics=[["mae"], ["mse"]])
    return model, [(ROWS, 4), (ROWS, 4)], [(ROWS, 2), (ROWS, 1)]


def sequences(keras):
    i = keras.Input((6,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(10, 4, mask_zero=True)(i)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(x)
    x = keras.layers.GRU(4, return_sequences=True)(x)
    model = keras.Model(i, keras.layers.Dense(5, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, ("int", 10, (ROWS, 6)), ("int", 5, (ROWS, 6))


def transformer(keras):
    i = keras.Input((5, 8), name="x")
    x = keras.layers.LayerNormalization(epsilon=1e-6)(i)
    x = keras.layers.MultiHeadAttention(2, 4, dropout=0.0)(x, x)
    x = keras.layers.Add()([i, x])
    y = keras.layers.Dense(8)(keras.layers.Dense(16, activation="gelu")(keras.layers.LayerNormalization()(x)))
    model = keras.Model(i, keras.layers.GlobalAveragePooling1D()(x + y))
    model.compile(keras.optimizers.Nadam(0.01, clipnorm=1.0), "mse")
    return model, (ROWS, 5, 8), (ROWS, 8)


def image(keras):
    model = keras.Sequential([
        keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.MaxPooling2D(), keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.HeNormal(seed=1))])
    model.compile(keras.optimizers.SGD(0.05, nesterov=True, momentum=0.9), "categorical_crossentropy",
                  metrics=["accuracy", keras.metrics.AUC(num_thresholds=20)])
    return model, (ROWS, 8, 8, 2), (ROWS, 3)


def half(keras):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, dtype="mixed_bfloat16"),
                              keras.layers.Dense(1, dtype=keras.dtype_policies.DTypePolicy("float32"))])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)), "mse")
    return model, (ROWS, 4), (ROWS, 1)


def make_data(shape, rng):
    if isinstance(shape, list):
        return [make_data(s, rng) for s in shape]
    if shape[0] == "int":
        return rng.integers(0, shape[1], shape[2]).astype("int32")
    return rng.uniform(size=shape).astype("float32")


def sides(direction):
    return (tf.keras, reference) if direction == "from_keras" else (reference, tf.keras)


DIRECTIONS = pytest.mark.parametrize("direction", ["from_keras", "to_keras"])


@DIRECTIONS
@pytest.mark.parametrize("make", [nested, several, sequences, transformer, image, half])
def test_models(make, direction, tmp_path, rng):
    ours, theirs = sides(direction)
    source, x_shape, y_shape = make(theirs)
    x, y = make_data(x_shape, rng), make_data(y_shape, rng)
    # A sum that differs in its last float32 bit may round to the next bfloat16.
    near = BFLOAT16 if make is half else {"rtol": 2e-5, "atol": 2e-5}
    train(source, x, y, 2)
    expected = source.predict_on_batch(x)
    copies = {}
    for name in ("m.keras", "m.h5"):
        source.save(tmp_path / name)
        copy = copies[name] = ours.models.load_model(tmp_path / name)
        assert_same_state(copy, source, optimizer=name == "m.keras" or direction == "from_keras")
        for a, b in zip(as_list(copy.predict_on_batch(x)), as_list(expected)):
            np.testing.assert_allclose(np.asarray(a, "float64"), np.asarray(b, "float64"), **near, err_msg=name)
    source.save_weights(tmp_path / "m.weights.h5")
    source.reset_metrics()
    for copy in copies.values() if direction == "from_keras" else [copies["m.keras"]]:
        copy.load_weights(tmp_path / "m.weights.h5")
        assert_same_state(copy, source)
    losses = train(source, x, y)
    for copy in copies.values() if direction == "from_keras" else [copies["m.keras"]]:
        np.testing.assert_allclose(train(copy, x, y), losses, **near)
    if direction == "from_keras":       # the compiled metrics travelled as well
        assert set(copies["m.h5"].get_metrics_result()) == set(copies["m.keras"].get_metrics_result()) \
            == set(source.get_metrics_result())


def as_list(x):
    return x if isinstance(x, list) else [x]


# One setting of each, then those whose state has another form.
OPTIMIZERS = [(name, {"learning_rate": 0.01}) for name in PLAIN] + [
    setting for setting in SETTINGS if {"use_ema", "gradient_accumulation_steps", "amsgrad", "centered"} & set(setting[1])]


@DIRECTIONS
@pytest.mark.parametrize("setting", OPTIMIZERS, ids=lambda s: s[0] + "".join(f"-{k}" for k in s[1]))
def test_optimizers(setting, direction, tmp_path, rng):
    name, arguments = setting
    ours, theirs = sides(direction)
    source = dense(theirs, getattr(theirs.optimizers, name)(**arguments))
    x, y = make_data((ROWS, 4), rng), make_data((ROWS, 1), rng)
    train(source, x, y, 2)
    source.save(tmp_path / "m.keras")
    copy = ours.models.load_model(tmp_path / "m.keras")
    if direction == "from_keras" and name != "Adafactor":      # Keras cannot: "name already exists"
        source.save(tmp_path / "m.h5")
        assert_same_state(ours.models.load_model(tmp_path / "m.h5"), source)
    assert_same_state(copy, source)
    np.testing.assert_allclose(train(copy, x, y), train(source, x, y), rtol=2e-5, atol=2e-5)
    assert_same_state(copy, source)


@DIRECTIONS
def test_schedules(direction, tmp_path):
    ours, theirs = sides(direction)
    for name, arguments in SCHEDULES:
        source = dense(theirs, theirs.optimizers.SGD(getattr(theirs.optimizers.schedules, name)(**arguments)))
        source.optimizer.build(source.trainable_variables)
        source.save(tmp_path / "m.keras")
        copy = ours.models.load_model(tmp_path / "m.keras")
        assert copy.optimizer._learning_rate.get_config() == source.optimizer._learning_rate.get_config()
        source.save(tmp_path / "m.h5")
        copy = ours.models.load_model(tmp_path / "m.h5")
        assert copy.optimizer._learning_rate.get_config() == source.optimizer._learning_rate.get_config()


NAMES = [("losses", "Loss"), ("metrics", "Metric"), ("initializers", "Initializer"), ("regularizers", "Regularizer"),
         ("constraints", "Constraint")]


@DIRECTIONS
@pytest.mark.parametrize("space", [name for name, _ in NAMES])
def test_small_objects(space, direction):
    """Losses, metrics, initializers...: what one serializes the other reads, and serializes the same."""
    import inspect
    ours, theirs = sides(direction)
    base = getattr(getattr(theirs, space), dict(NAMES)[space])
    for name, cls in sorted(vars(getattr(reference, space)).items()):
        cls = getattr(getattr(theirs, space), name, None)
        if not inspect.isclass(cls) or not issubclass(cls, base) or cls is base or name.startswith("Fake"):
            continue
        try:
            source = cls()
        except (TypeError, ValueError, NotImplementedError):
            continue        # needs arguments
        try:
            config = theirs.saving.serialize_keras_object(source)
        except NotImplementedError:
            continue
        copy = ours.saving.deserialize_keras_object(config)
        assert type(copy).__name__ == type(source).__name__
        mine, other = copy.get_config(), source.get_config()     # CosineSimilarity's axis and so on: Keras forgets them
        assert {k: mine[k] for k in mine if k in other and k not in ("name", "seed")} == \
            {k: other[k] for k in other if k in mine and k not in ("name", "seed")}, name
