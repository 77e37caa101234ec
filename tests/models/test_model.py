# SPDX-License-Identifier: Apache-2.0
"""Subclassed models, their training steps, and the patterns of the transfer learning guide."""
import copy
import pickle

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


class Small(keras.Model):
    """The model of the guide 'Making new layers and models via subclassing'."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(units, activation="relu")
        self.heads = [layers.Dense(2), layers.Dense(1)]
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        x = self.dropout(self.dense(inputs), training=training)
        for head in self.heads:
            x = head(x)
        return x


def data(rows=32, columns=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)).astype("float32")
    return x, (x @ rng.normal(size=(columns, 1))).astype("float32")


def test_built_by_data_or_by_shape():
    model = Small()
    assert model.layers == [model.dense, *model.heads, model.dropout] or len(model.layers) == 4
    assert not model.built
    assert model(np.ones((2, 4))).shape == (2, 1)
    assert model.built and len(model.weights) == 6
    by_shape = Small()
    by_shape.build((None, 4))
    assert [tuple(w.shape) for w in by_shape.weights] == [tuple(w.shape) for w in model.weights]
    assert by_shape.compute_output_shape((None, 4)) == (None, 1)


def test_a_model_without_call_says_so():
    class Empty(keras.Model):
        pass

    with pytest.raises(NotImplementedError, match="call"):
        Empty()(np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match="saving|Model"):
        raise NotImplementedError("Model")


def test_fit_evaluate_predict():
    x, y = data()
    model = Small()
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    assert set(history.history) == {"loss", "mae"}
    assert model.predict(x, verbose=0).shape == (32, 1)
    loss, mae = model.evaluate(x, y, verbose=0)
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose([result["loss"], result["mae"]], [loss, mae], rtol=1e-5)


def test_custom_train_step_of_the_guide():
    class Custom(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    i = keras.Input((4,))
    model = Custom(i, layers.Dense(1)(i))
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = data()
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and "mae" in history


def test_train_step_without_compile_arguments():
    tracker = keras.metrics.Mean(name="loss")

    class Custom(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            tracker.update_state(loss)
            return {"loss": tracker.result()}

        @property
        def metrics(self):
            return [tracker]

    i = keras.Input((4,))
    model = Custom(i, layers.Dense(1)(i))
    model.compile(optimizer="adam")
    x, y = data()
    assert np.isfinite(model.fit(x, y, epochs=1, verbose=0).history["loss"][0])


def test_compute_loss_overridden():
    class Custom(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return tf.reduce_mean(tf.square(y_pred - y)) + tf.add_n(self.losses)

    i = keras.Input((4,))
    model = Custom(i, layers.Dense(1, kernel_regularizer="l2")(i))
    model.compile("sgd")
    x, y = data()
    history = model.fit(x, y, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]


def test_test_step_and_predict_step_overridden():
    class Custom(keras.Model):
        def test_step(self, data):
            x, y = data
            return {"gap": tf.reduce_max(tf.abs(self(x, training=False) - y))}

        def predict_step(self, data):
            return self(data, training=False) * 0.0

    i = keras.Input((4,))
    model = Custom(i, layers.Dense(1)(i))
    model.compile("sgd", "mse")
    x, y = data()
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"gap"}
    assert not model.predict(x, verbose=0).any()


def test_losses_added_in_call_are_trained():
    class Activity(layers.Layer):
        def call(self, x):
            self.add_loss(1e-1 * tf.reduce_mean(tf.square(x)))
            return x

    i = keras.Input((4,))
    model = keras.Model(i, Activity()(layers.Dense(3)(i)))
    model.compile("sgd")
    x, _ = data()
    history = model.fit(x, x[:, :3], epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_transfer_learning():
    x, y = data(64)
    base = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(3)])
    base.trainable = False
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(1)(base(i, training=False)))
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 8
    frozen = [w.copy() for w in base.get_weights()]
    model.compile("adam", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    for old, new in zip(frozen, base.get_weights()):
        np.testing.assert_array_equal(old, new)
    base.trainable = True
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(x, y, epochs=1, verbose=0)
    assert any((old != new).any() for old, new in zip(frozen, base.get_weights()))
    # the moving statistics of BatchNormalization stay, because the graph says training=False
    np.testing.assert_array_equal(base.layers[1].moving_mean, frozen[4])


def test_freezing_some_layers():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 2
    for layer in model.layers:
        layer.trainable = False
    assert model.trainable_weights == []
    model.trainable = True
    assert len(model.trainable_weights) == 4


def test_a_model_holds_metrics_and_variables():
    class Holder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)
            self.tracker = keras.metrics.Mean(name="tracker")
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

        def call(self, x):
            self.count.assign_add(1.0)
            return self.dense(x)

    model = Holder()
    model(np.ones((1, 2)))
    model(np.ones((1, 2)))
    assert float(model.count) == 2.0
    assert model.tracker in model.metrics and len(model.weights) == 3
    assert len(model.trainable_weights) == 2


def test_layers_is_reserved():
    with pytest.raises(AttributeError, match="reserved"):
        Small().layers = []


def test_get_layer():
    model = Small()
    model(np.ones((1, 4)))
    assert model.get_layer(index=0) is model.dense
    assert model.get_layer(model.dropout.name) is model.dropout
    for wrong in ({}, {"name": "a", "index": 0}, {"index": 9}):
        with pytest.raises(ValueError):
            model.get_layer(**wrong)


def test_deep_copy_trains_apart():
    x, y = data()
    model = Small()
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    other = copy.deepcopy(model)
    np.testing.assert_allclose(other(x), model(x), rtol=1e-6)
    before = model.get_weights()
    other.fit(x, y, epochs=1, verbose=0)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_state_tree():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="head")], name="net")
    model.compile("sgd", "mse")
    tree = model.get_state_tree(value_format="numpy_array")
    assert tree["trainable_variables"]["net"]["head"]["kernel"].shape == (2, 1)
    tree["trainable_variables"]["net"]["head"]["bias"][:] = 5.0
    model.set_state_tree({"trainable_variables": tree["trainable_variables"]})
    assert float(model.weights[1][0]) == 5.0
    with pytest.raises(ValueError, match="net/tail/bias"):
        model.set_state_tree({"trainable_variables": {"net": {"tail": {"bias": [1.0]}}}})


def test_mixed_precision_model_trains():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"),
                                  layers.Dense(1, dtype="float32")])
        assert model.layers[0].compute_dtype == "bfloat16" and model.layers[0].kernel.dtype == "float32"
        model.compile("adam", "mse")
        x, y = data()
        history = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0]
        assert model.predict(x, verbose=0).dtype == np.float32
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_gradients_of_nested_models_in_a_loop():
    class Gan(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator = keras.Sequential([keras.Input((2,)), layers.Dense(4, activation="relu"), layers.Dense(3)])
            self.critic = keras.Sequential([keras.Input((3,)), layers.Dense(1)])

        def call(self, z):
            return self.critic(self.generator(z))

    gan = Gan()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(gan(np.ones((4, 2), "float32")))
    gradients = tape.gradient(loss, gan.generator.trainable_variables)
    assert len(gradients) == 4 and all(g is not None for g in gradients)


def test_a_required_training_argument():
    class Strict(keras.Model):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, x, training):
            return self.dropout(x, training=training)

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = Strict()

        def call(self, x):
            return self.inner(x)

    x = np.ones((2, 3), "float32")
    assert Strict()(x, training=True).shape == (2, 3)
    np.testing.assert_array_equal(Outer()(x), x)


def test_structured_inputs_and_outputs_of_a_subclass():
    class Structured(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            return {"a": self.dense(inputs["x"]), "b": inputs["y"]}

    model = Structured()
    model.build({"x": (None, 3), "y": (None, 1)})
    assert model.dense.kernel.shape == (3, 2)
    outputs = model({"x": np.ones((2, 3)), "y": np.ones((2, 1))})
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {"a": (2, 2), "b": (2, 1)}


def test_unknown_call_arguments_name_the_call():
    with pytest.raises(TypeError, match=r"Dense.call\(\).*'foo'.*inputs"):
        layers.Dense(1)(np.ones((1, 1)), foo=1)


def test_pickles_continue_where_they_were():
    x, y = data()
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(1)(tf.nn.relu(layers.Dense(3)(i)) + 1.0))
    model.compile("adam", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)
    assert again.compiled and int(again.optimizer.iterations) == int(model.optimizer.iterations)
    for each in (model, again):
        each.fit(x, y, epochs=1, shuffle=False, verbose=0)
    for mine, theirs in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
