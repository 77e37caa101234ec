# SPDX-License-Identifier: Apache-2.0
"""Configurations: what can be written comes back; what a stranger writes reaches nothing."""
import json
import os
import sys

import numpy as np
import pytest

import fitloom as tf
from fitloom.base import registry, serialization

keras = tf.keras


def round_trip(value, **kwargs):
    return serialization.deserialize_keras_object(json.loads(json.dumps(serialization.serialize_keras_object(value))),
                                                  **kwargs)


@pytest.mark.parametrize("value", [None, 1, 2.5, "text", True, b"bytes", slice(1, None, 2), ..., [1, [2, "a"]],
                                   {"a": {"b": [1]}}], ids=str)
def test_plain_values(value):
    assert round_trip(value) == value


def test_arrays_shapes_and_dtypes():
    array = round_trip(np.array([[1.5, 2.0]], "float32"))
    assert array.dtype == np.float32 and array.tolist() == [[1.5, 2.0]]
    assert round_trip(np.float32(2.0)) == 2.0
    assert round_trip(tf.TensorShape([None, 3])) == [None, 3]
    assert round_trip(tf.float16) == "float16"
    tensor = round_trip(tf.constant([1, 2], "int64"))
    assert tensor.dtype == "int64" and tensor.numpy().tolist() == [1, 2]


def test_layers_have_keras_form():
    config = serialization.serialize_keras_object(keras.layers.Dense(3, activation="relu", name="d"))
    assert (config["module"], config["class_name"], config["registered_name"]) == ("keras.layers", "Dense", None)
    assert config["config"]["units"] == 3 and config["config"]["activation"] == "relu"
    layer = round_trip(keras.layers.Dense(3, name="d"))
    assert layer.units == 3 and not layer.built
    built = keras.layers.Dense(3)
    built.build((None, 2))
    assert round_trip(built).kernel.shape == (2, 3)


def test_custom_classes_need_to_be_given_or_registered():
    class Mine(keras.layers.Layer):
        def __init__(self, n=1, **kwargs):
            super().__init__(**kwargs)
            self.n = n

    with pytest.raises(TypeError, match="custom_objects={'Mine'"):
        round_trip(Mine(2))
    assert round_trip(Mine(2), custom_objects={"Mine": Mine}).n == 2
    with keras.saving.custom_object_scope({"Mine": Mine}):
        assert round_trip(Mine(3)).n == 3
    registered = keras.saving.register_keras_serializable("tests")(Mine)
    try:
        assert serialization.serialize_keras_object(registered(4))["registered_name"] == "tests>Mine"
        assert round_trip(registered(4)).n == 4
        assert keras.saving.get_registered_object("tests>Mine") is Mine
    finally:
        registry.get_custom_objects().pop("tests>Mine")


def test_functions():
    def double(x):
        return x * 2.0

    assert round_trip(double, custom_objects={"double": double}) is double
    with pytest.raises(TypeError, match="double"):
        round_trip(double)
    assert round_trip(keras.activations.relu) is keras.activations.relu


def test_byte_code_only_when_asked_for():
    config = json.loads(json.dumps(serialization.serialize_keras_object(lambda x, k=3: x + k)))
    with pytest.raises(ValueError, match="safe_mode=False"):
        serialization.deserialize_keras_object(config)
    assert serialization.deserialize_keras_object(config, safe_mode=False)(1) == 4
    with serialization.SafeModeScope(True), pytest.raises(ValueError, match="safe_mode"):
        serialization.deserialize_keras_object(config, safe_mode=False)


def test_a_lambda_layer_is_refused_everywhere():
    layer = keras.layers.Lambda(lambda x: x * 2.0)
    model = keras.Sequential([keras.Input((1,)), layer])
    configs = [json.loads(json.dumps(serialization.serialize_keras_object(each))) for each in (layer, model)]
    for config in configs:
        with pytest.raises(ValueError, match="safe_mode=False"):
            serialization.deserialize_keras_object(config)
        with pytest.raises(ValueError, match="safe_mode=False"):
            serialization.deserialize_keras_object(config, safe_mode=None)
        serialization.deserialize_keras_object(config, safe_mode=False)
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.layers.Lambda.from_config(configs[0]["config"])
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.Sequential.from_config(configs[1]["config"])
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.models.model_from_json(model.to_json())


def test_shared_objects_stay_shared():
    activation = keras.layers.ReLU(name="r")
    with serialization.ObjectSharingScope():
        configs = serialization.serialize_keras_object([activation, activation])
    with serialization.ObjectSharingScope():
        first, second = serialization.deserialize_keras_object(json.loads(json.dumps(configs)))
    assert first is second


HOSTILE = [
    {"module": "os", "class_name": "system", "config": {"command": "touch /tmp/owned"}, "registered_name": None},
    {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
    {"module": "builtins", "class_name": "eval", "config": {}, "registered_name": None},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}, "registered_name": "Popen"},
    {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
    {"module": "keras.src.utils.file_utils", "class_name": "function", "config": "get_file", "registered_name": "x"},
    {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization",
     "registered_name": "enable_unsafe_deserialization"},
    {"module": "fitloom.base.serialization", "class_name": "function", "config": "load_function",
     "registered_name": "load_function"},
    {"module": "fitloom.base.registry", "class_name": "function", "config": "builtin", "registered_name": "builtin"},
    {"module": "keras.datasets.mnist", "class_name": "function", "config": "load_data", "registered_name": "load_data"},
    {"module": "keras.models", "class_name": "function", "config": "load_model", "registered_name": "load_model"},
    {"module": "numpy", "class_name": "load", "config": {"file": "x"}, "registered_name": None},
    {"module": "__main__", "class_name": "__import__", "config": {}, "registered_name": None},
    {"module": "antigravity", "class_name": "Layer", "config": {}, "registered_name": None},
    {"module": ["os"], "class_name": "system", "config": {}, "registered_name": None},
    {"module": "keras.layers", "class_name": ["Dense"], "config": {}, "registered_name": None},
    {"module": "keras.layers", "class_name": "Dense", "config": [1, 2], "registered_name": None},
    {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}, "registered_name": {"a": 1}},
    {"class_name": "__typespec__", "config": [], "module": "os", "spec_name": "system"},
    {"class_name": "__class__", "config": {}},
]


@pytest.mark.parametrize("config", HOSTILE, ids=lambda c: f"{c.get('module')}.{c['class_name']}:{c['config']}")
def test_a_stranger_reaches_nothing(config):
    modules = set(sys.modules)
    with pytest.raises((TypeError, ValueError)):
        serialization.deserialize_keras_object(config)
    assert not os.path.exists("/tmp/owned")
    assert "antigravity" not in set(sys.modules) - modules
    assert serialization.in_safe_mode() is None


def test_unknown_names_have_near_ones():
    with pytest.raises(TypeError, match="Dense"):
        serialization.deserialize_keras_object(
            {"module": "keras.layers", "class_name": "Dens", "config": {}, "registered_name": None})


def test_the_form_before_keras_3():
    class Steps:
        def __init__(self, count, act=None):
            self.count, self.act = count, act

        def get_config(self):
            return {"count": self.count, "act": self.act}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    legacy = keras.utils.legacy
    written = legacy.serialize_keras_object(Steps(3, keras.activations.relu))
    assert written == {"class_name": "Steps", "config": {"count": 3, "act": "relu"}}
    assert legacy.deserialize_keras_object(written, None, {"Steps": Steps}).count == 3
    assert legacy.deserialize_keras_object(written, {"Steps": Steps}).act == "relu"
    adam = legacy.deserialize_keras_object({"class_name": "Adam", "config": {"learning_rate": 0.5}})
    assert isinstance(adam, keras.optimizers.Adam)
    assert keras.legacy.saving.deserialize_keras_object("relu") is keras.activations.relu
    assert legacy.serialize_keras_object(None) is None is legacy.deserialize_keras_object(None)
    with pytest.raises(ValueError, match="Unknown step: 'Stepz'.*Did you mean 'Steps'"):
        legacy.deserialize_keras_object("Stepz", {"Steps": Steps}, printable_module_name="step")


def test_names_of_the_callers_own_module():
    class Greedy:
        pass

    def score():
        pass

    table = {"greedy": Greedy, "score": score}
    named = dict(module_objects=table, printable_module_name="samplers")
    assert isinstance(keras.saving.deserialize_keras_object("greedy", **named), Greedy)
    assert keras.saving.deserialize_keras_object("score", **named) is score
    with pytest.raises(TypeError, match="unknown arguments"):
        keras.saving.deserialize_keras_object("score", nonsense=1)
