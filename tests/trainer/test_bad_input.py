# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused before the first step, by an error that says what came, what was expected, and the fix."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((20, 4), np.float32)
Y = X.sum(1, keepdims=True)
LABELS = np.arange(20) % 3


def regression():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model


def classifier(loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(optimizer="sgd", loss=loss)
    return model


def with_value(row, column, value):
    x = X.copy()
    x[row, column] = value
    return x


def endless():
    while True:
        yield X, Y


CASES = [
    (dict(batch_size=0), ValueError, "batch_size must be >= 1, but received 0"),
    (dict(batch_size=2.5), TypeError, "batch_size must be an integer"),
    (dict(epochs=-1), ValueError, "epochs must be >= 0, but received -1"),
    (dict(steps_per_epoch=0), ValueError, "steps_per_epoch must be >= 1"),
    (dict(validation_split=1.5), ValueError, "validation_split.*less than 1.*1.5"),
    (dict(validation_split=0.99), ValueError, "validation_split=0.99 of 20 samples leaves"),
    (dict(validation_freq=0), ValueError, "validation_freq must be >= 1"),
    (dict(verbose=5), ValueError, "verbose must be 'auto', 0"),
    (dict(callbacks=[3]), TypeError, "Callback objects, but one is 3"),
    (dict(callbacks=[keras.callbacks.History]), TypeError, r"add \(\)"),
    (dict(sample_weight=np.ones(19)), ValueError, "x has 20, y has 20, sample_weight has 19"),
    (dict(y=Y[:10]), ValueError, "Data cardinality is ambiguous.*x has 20, y has 10"),
    (dict(x=X[:0], y=Y[:0]), ValueError, r"data is empty.*\(0, 4\)"),
    (dict(x=None, y=None), ValueError, "x is None"),
    (dict(x=np.random.rand(20, 5)), ValueError, "(?s)4.*5"),
    (dict(x=with_value(7, 2, np.nan)), ValueError, "x contains NaN in column 2: 1 of 20 rows, first 7"),
    (dict(x=with_value(3, 0, np.inf)), ValueError, "x contains infinity in column 0: 1 of 20 rows, first 3"),
    (dict(y=np.full((20, 1), np.nan)), ValueError, "y contains NaN"),
    (dict(x=X.astype(object)), ValueError, "dtype object.*float"),
    (dict(x=np.array([[1], [1, 2]] * 10, dtype=object)), ValueError, "pad_sequences|different"),
    (dict(x=[[1.0], [1.0, 2.0]] * 10), ValueError, "different lengths.*pad_sequences"),
    (dict(x=np.array([["a"] * 4] * 20)), ValueError, "x holds text.*takes numbers"),
    (dict(y=np.zeros((20, 3))), ValueError, r"y has shape \(batch, 3\), but the model's output has shape \(batch, 1\)"),
    (dict(validation_data=X), ValueError, r"Give the targets too: \(x, y\)"),
    (dict(validation_data=(X, Y[:3])), ValueError, "x has 20, y has 3"),
    (dict(x=endless(), y=None), ValueError, "'endless' never ends.*steps_per_epoch"),
    (dict(x=endless(), y=Y, steps_per_epoch=2), ValueError, "`y` should not be passed"),
    (dict(x=iter([]), y=None), ValueError, "yields no batch"),
    (dict(x=iter([(X, Y, Y, Y)]), y=None), ValueError, "tuple of 4"),
    (dict(x="data.csv", y=None), ValueError, "must be a NumPy array"),
]


@pytest.mark.parametrize("arguments, kind, message", CASES, ids=[str(i) for i in range(len(CASES))])
def test_fit_refuses(arguments, kind, message):
    model = regression()
    before = model.get_weights()
    with pytest.raises(kind, match=message) as raised:
        model.fit(**{"x": X, "y": Y, "verbose": 0, **arguments})
    assert len(str(raised.value).splitlines()) <= 15
    for left, right in zip(before, model.get_weights()):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("loss, y, message", [
    ("sparse_categorical_crossentropy", np.eye(3)[LABELS], "one-hot rows.*categorical_crossentropy"),
    ("categorical_crossentropy", LABELS, r"\(batch,\) \(class numbers.*sparse_categorical_crossentropy"),
    ("sparse_categorical_crossentropy", np.where(np.arange(20) == 11, 7, LABELS), r"label 7 \(row 11\).*3 units.*8 units"),
    ("sparse_categorical_crossentropy", LABELS - 1, r"label -1 \(row 0\)"),
])
def test_targets_that_do_not_fit_the_loss(loss, y, message):
    with pytest.raises(ValueError, match=message):
        classifier(loss).fit(X, y, verbose=0)
    with pytest.raises(ValueError, match=message):
        classifier(loss).evaluate(X, y, verbose=0)


def test_not_compiled():
    model = keras.Sequential([keras.layers.Dense(1)])
    for method in ("fit", "evaluate", "train_on_batch"):
        with pytest.raises(ValueError, match=r"must call `compile\(\)` before"):
            getattr(model, method)(X, Y)
    assert model.predict(X, verbose=0).shape == (20, 1)


def test_nan_check_can_be_turned_off():
    keras.utils.check_data(False)
    try:
        assert np.isnan(regression().fit(with_value(0, 0, np.nan), Y, verbose=0).history["loss"][0])
    finally:
        keras.utils.check_data(True)


def test_generator_that_raises_keeps_its_traceback_and_the_weights_so_far():
    def broken():
        yield X, Y
        yield X, Y
        raise KeyError("row 17 of my file")

    model = regression()
    with pytest.raises(KeyError, match="row 17 of my file") as raised:
        model.fit(broken(), verbose=0, epochs=1)
    assert any(entry.name == "broken" for entry in raised.traceback)
    assert int(model.optimizer.iterations.numpy()) == 2
    model.fit(X, Y, verbose=0)


def test_error_in_a_callback_or_a_layer_leaves_the_model_usable():
    class Broken(keras.layers.Layer):
        fail = True

        def call(self, x):
            if self.fail:
                raise RuntimeError("mine")
            return x

    layer = Broken()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")

    class Raise(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        model.fit(X, Y, verbose=0, callbacks=[Raise()])
    assert np.isfinite(model.evaluate(X, Y, verbose=0))
    with pytest.raises(RuntimeError, match="mine"):
        layer(X)


def test_unknown_keyword_of_evaluate():
    with pytest.raises(ValueError, match="not recognized.*foo"):
        regression().evaluate(X, Y, foo=1)


def test_multi_output_targets_are_named():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Dense(1, name="a")(inputs), keras.layers.Dense(1, name="b")(inputs)])
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ValueError, match=r"2 outputs \(a, b\), but y is a single"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match=r"Expected keys \['a', 'b'\] in y dict.*'c' does not exist"):
        model.fit(X, {"a": Y, "c": Y}, verbose=0)


def test_an_unknown_argument_is_one_of_the_model():
    with pytest.raises(TypeError, match=r"Model\.fit\(\) got an unexpected keyword argument 'epoch'"):
        regression().fit(X, Y, epoch=3)


@pytest.mark.parametrize("call", [
    lambda model: model.fit(tf.data.Dataset.from_tensor_slices((X, Y)), verbose=0),
    lambda model: model.predict(X[0], verbose=0),
], ids=["a dataset without batches", "one row"])
def test_a_missing_batch_axis_is_named(call):
    with pytest.raises(ValueError, match=r"Expected shape \(None, 4\).*shape \(4,\)\. The axis of the batch is missing"):
        call(regression())


def _first(*stack):
    model = tf.keras.Sequential([*stack, tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_indices_that_an_embedding_has_no_row_for():
    layers = tf.keras.layers
    model = _first(tf.keras.Input((3,)), layers.Embedding(5, 2), layers.Flatten())
    with pytest.raises(ValueError, match=r"index 9 \(row 1\).*input_dim=5.*0\.\.4\. Make input_dim 10 or more"):
        model.fit(np.array([[1, 2, 4], [1, 2, 9]]), np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="index -1 .*begin at 0"):
        model.evaluate(np.array([[1, 2, -1]]), np.ones(1), verbose=0)
    a, b = tf.keras.Input((1,), name="a"), tf.keras.Input((4,), name="b")
    two = tf.keras.Model([a, b], layers.Dense(1)(layers.concatenate([layers.Flatten()(layers.Embedding(3, 2)(a)), b])))
    two.compile("sgd", "mse")
    two.fit({"a": np.array([[1], [2]]), "b": np.full((2, 4), 99.0)}, np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="input_dim=3"):
        two.fit([np.array([[1], [3]]), np.ones((2, 4))], np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="index 5 .*input_dim=5"):
        model.predict(np.array([[1, 2, 5]]), verbose=0)
    with pytest.raises(ValueError, match="index 7 .*input_dim=5"):       # a later batch of a stream
        model.fit(((np.full((1, 3), i), np.ones(1)) for i in (1, 7)), verbose=0)


def test_what_beginners_write():
    x, y = np.ones((3, 2), "float32"), np.array([0, 1, 1])
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="class_weight expected a dict.*list.*dict\\(enumerate"):
        model.fit(x, y, class_weight=[1.0, 2.0], verbose=0)
    with pytest.raises(ValueError, match="label -1 .*Renumber the labels"):
        model.fit(x, y - 1, verbose=0)
    with pytest.raises(ValueError, match="timedelta64"):
        model.fit(np.array(["2020-01-01"] * 3, "datetime64[D]"), y, verbose=0)
    model.compile("sgd")
    with pytest.raises(ValueError, match="has no loss to train with.*loss='mse'"):
        model.fit(x, y, verbose=0)
    with pytest.raises(TypeError, match="one list of layers"):
        tf.keras.Sequential(tf.keras.layers.Dense(1), tf.keras.layers.Dense(1))
    with pytest.warns(UserWarning, match="one unit and the activation softmax"):
        tf.keras.layers.Dense(1, activation="softmax")
    with pytest.raises(ValueError, match="np.unique"):
        tf.keras.utils.to_categorical(["a", "b"])


class _Forgetful(tf.keras.Model):
    """Computes, and returns nothing; its train_step returns what it likes."""

    def __init__(self, logs=None):
        super().__init__()
        self.dense, self.logs = tf.keras.layers.Dense(1), logs

    def call(self, inputs):
        self.dense(inputs)


class _OwnStep(_Forgetful):
    def train_step(self, data):
        return self.logs(self.dense(data[0]))


def test_what_returns_nothing_or_the_wrong_thing_is_named():
    x = np.ones((2, 3), "float32")
    forgetful = _Forgetful()
    forgetful.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Output 0 of the model is None.*call\\(\\) return its outputs"):
        forgetful.fit(x, x, verbose=0)
    model = _first(tf.keras.Input((3,)), tf.keras.layers.Dense(3))
    model.compile("sgd", lambda y_true, y_pred: None)
    with pytest.raises(ValueError, match="The loss 'lambda' returned None"):
        model.fit(x, x, verbose=0)
    own = _OwnStep(lambda outputs: outputs)
    own.compile("sgd")
    with pytest.raises(TypeError, match="train_step of model '.*' must return a dict of logs"):
        own.fit(x, x, verbose=0)
    silent = _OwnStep(lambda outputs: None)
    silent.compile("sgd")
    assert silent.fit(x, x, verbose=0).history == {}


def test_arguments_of_layers_and_optimizers_that_fit_nothing():
    x = tf.ones((2, 3, 4))
    with pytest.raises(TypeError, match=r"MultiHeadAttention.call\(\) misses value"):
        tf.keras.layers.MultiHeadAttention(2, 4)(x)
    for layer in (tf.keras.layers.BatchNormalization, tf.keras.layers.LayerNormalization):
        with pytest.raises(ValueError, match="has axis=5, but its inputs have 3 axes"):
            layer(axis=5)(x)
    with pytest.raises(TypeError, match="learning_rate must be a number.*'fast'"):
        tf.keras.optimizers.Adam("fast")
    with pytest.raises(TypeError, match="decay_steps must be a number"):
        tf.keras.optimizers.schedules.ExponentialDecay(0.1, "a", 0.9)
