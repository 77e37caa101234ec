# SPDX-License-Identifier: Apache-2.0
"""Files made to do harm, and the canary that shows whether they did."""
import io
import json
import zipfile

import h5py
import numpy as np

import fitloom as tf


def small_model():
    """A compiled model of two Dense layers."""
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4), tf.keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def weights_bytes(arrays=None, edit=None):
    """An HDF5 file with these arrays by path; `edit(file)` may do more."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for path, value in (arrays or {}).items():
            file[path] = value
        if edit is not None:
            edit(file)
    return memory.getvalue()


def archive(path, config, weights=None, more=(), compression=zipfile.ZIP_STORED):
    """Write a `.keras` file of a configuration (data or text), weights and further (name, content) members."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", text)
        file.writestr("model.weights.h5", weights_bytes() if weights is None else weights)
        for name, content in more:
            file.writestr(name, content)
    return path


def sequential(*layers):
    """The configuration of a Sequential model of these layers after an Input of 3."""
    return {"module": "keras", "class_name": "Sequential", "registered_name": None, "config": {
        "name": "m", "trainable": True, "layers": [
            {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
             "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "i"}}, *layers]}}


def layer(kind, module="keras.layers", **config):
    """A layer's configuration."""
    return {"module": module, "class_name": kind, "config": {"name": kind.lower(), **config}, "registered_name": None}


def function(module, name):
    """A function's configuration."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def functional(layer_config, kwargs=None, args=None):
    """A functional model that calls a layer with these arguments in its inbound node."""
    x = {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "dtype": "float32",
                                                      "keras_history": ["i", 0, 0]}}
    name = layer_config["config"].get("name", "x")
    node = {"args": [x] if args is None else args, "kwargs": kwargs or {}}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
            "config": {"name": "f", "trainable": True, "layers": [
                {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "name": "i",
                 "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "i"}, "inbound_nodes": []},
                {**layer_config, "name": name, "inbound_nodes": [node]}],
                "input_layers": [["i", 0, 0]], "output_layers": [[name, 0, 0]]}}


def legacy(path, config, training=None, edit=None):
    """Write a `.h5` file of a model configuration."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.zeros(0, "S1")
        if edit is not None:
            edit(file)
    return path
