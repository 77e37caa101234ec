# SPDX-License-Identifier: Apache-2.0
"""The functional API, as its guide uses it, in small."""
import json
import warnings

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


def test_the_guides_first_model():
    inputs = keras.Input(shape=(8,), name="img")
    x = layers.Dense(6, activation="relu")(inputs)
    outputs = layers.Dense(3)(x)
    model = keras.Model(inputs=inputs, outputs=outputs, name="mnist_model")
    assert (inputs.shape, inputs.dtype) == ((None, 8), "float32")
    assert model.count_params() == 8 * 6 + 6 + 6 * 3 + 3
    assert [layer.name for layer in model.layers][0] == "img"
    assert model(np.ones((2, 8))).shape == (2, 3)
    assert model.input_shape == (None, 8) and model.output_shape == (None, 3)
    assert model.input is inputs and model.output is outputs
    assert model.layers[1].input is inputs and model.layers[1].output is x


def test_two_models_share_one_graph():
    encoder_input = keras.Input(shape=(12, 12, 1), name="img")
    x = layers.Conv2D(4, 3, activation="relu")(encoder_input)
    encoder_output = layers.GlobalMaxPooling2D()(x)
    encoder = keras.Model(encoder_input, encoder_output, name="encoder")
    x = layers.Reshape((2, 2, 1))(encoder_output)
    decoder_output = layers.Conv2DTranspose(1, 3)(x)
    autoencoder = keras.Model(encoder_input, decoder_output, name="autoencoder")
    image = np.ones((1, 12, 12, 1), "float32")
    assert encoder(image).shape == (1, 4) and autoencoder(image).shape == (1, 4, 4, 1)
    assert encoder.weights[0] is autoencoder.weights[0]


def test_models_are_callable_like_layers():
    def part():
        i = keras.Input((4,))
        return keras.Model(i, layers.Dense(1)(i))
    first, second = part(), part()
    i = keras.Input((4,))
    ensemble = keras.Model(i, layers.average([first(i), second(i)]))
    x = np.arange(8.0, dtype="float32").reshape(2, 4)
    np.testing.assert_allclose(ensemble(x), (first(x) + second(x)) / 2.0, rtol=1e-6)
    assert len(ensemble.weights) == 4


def test_several_inputs_and_outputs_by_name():
    title = keras.Input(shape=(None,), name="title", dtype="int32")
    tags = keras.Input(shape=(3,), name="tags")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(title))
    x = layers.concatenate([x, tags])
    model = keras.Model([title, tags], {"priority": layers.Dense(1, name="priority")(x),
                                        "department": layers.Dense(4, name="department")(x)})
    data = {"title": np.ones((2, 5), "int64"), "tags": np.ones((2, 3))}
    by_name, by_order = model(data), model([data["title"], data["tags"]])
    assert {k: tuple(v.shape) for k, v in by_name.items()} == {"priority": (2, 1), "department": (2, 4)}
    np.testing.assert_array_equal(by_name["priority"], by_order["priority"])
    assert model.output_names == ["department", "priority"]
    with pytest.raises(ValueError, match="structure"):
        model({"title": data["title"], "tagz": data["tags"]})


def test_a_shared_layer_has_one_set_of_weights_and_two_nodes():
    shared = layers.Dense(3)
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], shared(a) + shared(b))
    assert len(model.weights) == 2 and len(shared._inbound_nodes) == 2
    x = np.ones((1, 4), "float32")
    np.testing.assert_allclose(model([x, x]), 2.0 * shared(x), rtol=1e-6)


def test_operators_and_operations_become_steps():
    x = keras.Input((3,))
    y = tf.nn.relu(2.0 * x - 1.0)[:, 1:]
    y = tf.reduce_mean(y, axis=-1, keepdims=True) / (1.0 + tf.abs(x))
    model = keras.Model(x, -y)
    value = np.array([[1.0, 2.0, -3.0]], "float32")
    expected = -np.maximum(2 * value - 1, 0)[:, 1:].mean(-1, keepdims=True) / (1 + np.abs(value))
    np.testing.assert_allclose(model(value), expected, rtol=1e-6)
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    np.testing.assert_allclose(again(value), expected, rtol=1e-6)


def test_a_model_cut_out_of_the_middle():
    i = keras.Input((4,))
    h1 = layers.Dense(5, activation="relu", name="h1")(i)
    h2 = layers.Dense(3, name="h2")(h1)
    full = keras.Model(i, h2)
    features = keras.Model(full.inputs, [layer.output for layer in full.layers[1:]])
    head = keras.Model(full.get_layer("h1").output, full.output)
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    first, second = features(x)
    np.testing.assert_allclose(head(first), full(x), rtol=1e-6)
    np.testing.assert_allclose(second, full(x), rtol=1e-6)
    assert head.weights[0] is full.get_layer("h2").kernel


def test_configuration_round_trip_with_nested_and_shared_parts():
    inner_input = keras.Input((4,), name="inner_input")
    inner = keras.Model(inner_input, layers.Dense(4, name="inner_dense")(inner_input), name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(2, name="shared")
    outputs = {"sum": layers.Add(name="plus")([shared(inner(a)), shared(b)]), "twice": [inner(inner(a))]}
    model = keras.Model({"a": a, "b": b}, outputs, name="outer")
    config = json.loads(json.dumps(model.get_config()))
    again = keras.Model.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    again.set_weights(model.get_weights())
    x = {"a": np.ones((1, 4), "float32"), "b": np.zeros((1, 4), "float32")}
    mine, theirs = model(x), again(x)
    np.testing.assert_allclose(mine["sum"], theirs["sum"], rtol=1e-6)
    np.testing.assert_allclose(mine["twice"][0], theirs["twice"][0], rtol=1e-6)
    from_json = keras.models.model_from_json(model.to_json())
    assert from_json.name == "outer" and len(from_json.weights) == len(model.weights)


def test_masks_are_part_of_the_graph():
    i = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(i)
    model = keras.Model(i, layers.GlobalAveragePooling1D()(x))
    embedding = model.layers[1].get_weights()[0]
    np.testing.assert_allclose(model(np.array([[3, 5, 0, 0]])), [(embedding[3] + embedding[5]) / 2], rtol=1e-6)


def test_optional_inputs():
    class AddIfGiven(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

        def compute_output_shape(self, x_shape):
            return x_shape

    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b", optional=True)
    model = keras.Model([a, b], AddIfGiven()(a, b))
    x = np.ones((1, 2))
    np.testing.assert_array_equal(model([x, x]), [[2.0, 2.0]])
    np.testing.assert_array_equal(model([x, None]), [[1.0, 1.0]])
    with pytest.raises(ValueError, match="not optional"):
        model([None, x])


def test_an_input_that_is_an_output():
    i = keras.Input((2,))
    model = keras.Model(i, [i, layers.Dense(1)(i)])
    x = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(model(x)[0], x)


def test_an_explicit_training_flag_in_the_graph_stays():
    # Keras 3.15 lets fit's training=True override it, against its own transfer learning guide.
    base = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5)])
    i = keras.Input((4,))
    model = keras.Model(i, base(i, training=False))
    x = np.ones((64, 4), "float32") * 3
    before = [w.copy() for w in base.get_weights()]
    y = model(x, training=True)
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-3), rtol=1e-5)
    for old, new in zip(before, base.get_weights()):
        np.testing.assert_array_equal(old, new)
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    np.testing.assert_allclose(again(x, training=True), x / np.sqrt(1 + 1e-3), rtol=1e-5)


def test_inherited_training_is_not_written_into_the_graph():
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dropout(0.999)(i))
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    x = np.ones((4, 4), "float32")
    assert float(tf.reduce_sum(again(x, training=True))) != 16.0
    np.testing.assert_array_equal(again(x), x)


def test_ranks_and_dtypes_are_fitted():
    i = keras.Input((3, 1))
    model = keras.Model(i, layers.Flatten()(i))
    assert model(np.ones((2, 3))).shape == (2, 3)
    j = keras.Input((), dtype="int32")
    assert keras.Model(j, j + 1)(np.array([[1], [2]])).shape == (2,)
    with pytest.raises(ValueError, match=r"\(None, 3, 1\)"):
        model(np.ones((2, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 3, 1\), found shape=\(2, 4, 1\)"):
        model(np.ones((2, 4, 1)))


def test_clear_errors():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    with pytest.raises(ValueError, match="disconnected.*b"):
        keras.Model(a, layers.Add()([a, b]))
    with pytest.raises(ValueError, match='name "same" is used 2 times'):
        keras.Model(a, layers.Dense(1, name="same")(layers.Dense(1, name="same")(a)))
    with pytest.raises(ValueError, match="KerasTensors"):
        keras.Model(a, np.ones(3))
    with pytest.raises(ValueError, match="cannot be empty"):
        keras.Model([], a)
    model = keras.Model([a, b], a + b)
    with pytest.raises(ValueError, match="expects 2 input"):
        model(np.ones((1, 2)))
    with pytest.raises(ValueError, match="No such layer: c.*Existing layers"):
        model.get_layer("c")
    with pytest.raises(TypeError, match="no value|not known|bool"):
        if a > 0:
            pass


def test_deep_graphs_do_not_hit_the_recursion_limit():
    x = i = keras.Input((2,))
    layer = layers.Activation("linear")
    for _ in range(1200):
        x = layer(x)
    model = keras.Model(i, x)
    assert len(model._graph.steps) == 1200


def test_subclass_of_model_with_inputs_and_outputs():
    class Custom(keras.Model):
        def describe(self):
            return len(self.layers)

    i = keras.Input((2,))
    model = Custom(inputs=i, outputs=layers.Dense(1)(i))
    assert model.describe() == 2 and isinstance(model, keras.models.Functional)
    assert isinstance(Custom.from_config(model.get_config()), Custom)


def test_a_layer_added_to_a_functional_model_is_tracked():
    i = keras.Input((2,))
    model = keras.Model(i, layers.Dense(1)(i))
    model.extra = layers.Dense(3)
    model.extra.build((None, 2))
    assert len(model.weights) == 4 and len(model.layers) == 2


def test_damaged_configurations_are_errors_of_known_kinds(rng):
    a = keras.Input((4,), name="a")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()], name="inner")
    shared = layers.Dense(4, name="shared")
    text = keras.Model({"a": a}, {"x": layers.Add()([shared(a), shared(shared(a))]), "y": inner(a) * 2.0}).to_json()

    def paths(node, path=()):
        yield path
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield from paths(node[key], (*path, key))

    every = [path for path in paths(json.loads(text)) if path]
    values = [None, 0, -1, "x", [], {}, True, "Dense", ["a", 0, 0], {"class_name": "Dense", "config": {}}]
    for _ in range(60):
        config = json.loads(text)
        *way, last = every[rng.integers(len(every))]
        node = config
        for key in way:
            node = node[key]
        if rng.random() < 0.3:
            node.pop(last)
        else:
            node[last] = values[rng.integers(len(values))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                keras.models.model_from_json(json.dumps(config))
            except (ValueError, TypeError, NotImplementedError) as error:
                assert str(error)


def test_sparse_inputs_are_made_dense_as_they_come():
    x = np.array([[0, 1, 0], [2, 0, 0]], "float32")
    sparse = tf.sparse.from_dense(x)
    inputs = tf.keras.Input((3,), sparse=True)
    assert inputs.sparse
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(2)(inputs))
    np.testing.assert_array_equal(model(sparse), model(x))
    np.testing.assert_array_equal(model.layers[1](sparse), model(x))
    assert model.layers[0].get_config()["sparse"]
    model.compile("sgd", "mse")
    model.fit(sparse, np.ones((2, 2)), verbose=0)
    np.testing.assert_array_equal(model.predict(sparse, verbose=0), model.predict(x, verbose=0))
