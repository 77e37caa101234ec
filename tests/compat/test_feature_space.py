# SPDX-License-Identifier: Apache-2.0
"""Tables of mixed columns through FeatureSpace and through preprocessing layers, as the structured-data guides do."""
import numpy as np
import pytest

import fitloom as tf

FeatureSpace, layers = tf.keras.utils.FeatureSpace, tf.keras.layers


def table(rows=24):
    random = np.random.default_rng(0)
    return {"age": random.uniform(20, 80, rows).astype("float32"), "sex": random.integers(0, 2, rows),
            "kind": random.choice(["fixed", "normal"], rows)}, random.integers(0, 2, rows)


def space(output_mode="concat"):
    columns, _ = table()
    made = FeatureSpace({"age": "float_normalized", "sex": FeatureSpace.integer_categorical(num_oov_indices=0),
                         "kind": "string_categorical"}, crosses=[("sex", "kind")], crossing_dim=8,
                        output_mode=output_mode)
    made.adapt(tf.data.Dataset.from_tensor_slices(columns))
    return made


def test_columns_become_vectors():
    columns, _ = table()
    encoded = space()(columns).numpy()
    assert encoded.shape == (24, 1 + 2 + 3 + 8)
    assert abs(encoded[:, 0].mean()) < 1e-5 and np.all(encoded[:, 1:].sum(1) == 3)
    apart = space("dict")(columns)
    assert set(apart) == {"age", "sex", "kind", "sex_X_kind"} and apart["kind"].shape == (24, 3)
    one = space()({"age": 30.0, "sex": 1, "kind": "fixed"})
    assert one.shape == (14,)


def test_trained_on_encoded_and_on_raw_columns():
    columns, labels = table()
    made = space()
    dataset = tf.data.Dataset.from_tensor_slices((columns, labels)).batch(8)
    encoded = made.get_encoded_features()
    output = layers.Dense(1, activation="sigmoid")(encoded)
    training = tf.keras.Model(encoded, output)
    training.compile("adam", "binary_crossentropy")
    training.fit(dataset.map(lambda x, y: (made(x), y)), verbose=0)
    inference = tf.keras.Model(made.get_inputs(), output)
    raw = {name: tf.convert_to_tensor(column) for name, column in columns.items()}
    np.testing.assert_allclose(inference.predict(raw, verbose=0), training.predict(made(columns), verbose=0), rtol=1e-5)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="Did you mean 'float'"):
        FeatureSpace({"age": "flot"})
    with pytest.raises(ValueError, match="adapt"):
        FeatureSpace({"age": "float_normalized"})({"age": 3.0})
    with pytest.raises(ValueError, match="'sex', which is not among"):
        FeatureSpace({"age": "float"}, crosses=[("age", "sex")])


def test_lookup_layers_in_a_model_of_raw_columns():
    columns, labels = table()
    dataset = tf.data.Dataset.from_tensor_slices((columns, labels)).batch(8)
    parts, inputs = [], []
    for name, lookup in (("sex", layers.IntegerLookup), ("kind", layers.StringLookup)):
        layer = lookup(output_mode="binary")
        layer.adapt(dataset.map(lambda x, y, name=name: tf.expand_dims(x[name], -1)))
        inputs.append(tf.keras.Input((1,), name=name, dtype="string" if name == "kind" else "int64"))
        parts.append(layer(inputs[-1]))
    model = tf.keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.concatenate(parts)))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(dataset.map(lambda x, y: ({"sex": x["sex"], "kind": x["kind"]}, y)), verbose=0)
    assert model.predict({"sex": tf.convert_to_tensor([1]), "kind": tf.convert_to_tensor(["fixed"])}, verbose=0).shape == (1, 1)
