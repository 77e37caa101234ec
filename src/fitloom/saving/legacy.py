# SPDX-License-Identifier: Apache-2.0
"""Whole models in one `.h5` file, as Keras 2 wrote them and Keras 3 still does.

Attributes of the file: `model_config`, `training_config` (JSON). Groups: `model_weights/<layer>` with the list
`weight_names` (trainable first), and `optimizer_weights`.
"""
import json
import warnings

import numpy as np

from fitloom import engine, losses, metrics, optimizers
from fitloom.base import nest, registry, serialization
from fitloom.saving import hdf5
from fitloom.saving.hdf5 import DamagedFileError
from fitloom.saving.keras2 import compile_arguments, complete, model_config, training_config
from fitloom.saving.weights import fits, fitted, table

_LARGEST_ATTRIBUTE = 64512      # bytes: HDF5 keeps attributes in an object's header
_TOP = "top_level_model_weights"


# -- writing

def save(model, file, include_optimizer, keras_version):
    """Write a model to an open h5py.File."""
    file.attrs[hdf5.SEALED] = True
    file.attrs["keras_version"], file.attrs["backend"] = keras_version, "jax"
    file.attrs["model_config"] = json.dumps(model_config(model))
    optimizer = getattr(model, "optimizer", None)
    if include_optimizer and optimizer is not None:
        config = training_config(model)
        if config is not None:
            file.attrs["training_config"] = json.dumps(config)
    group = file.create_group("model_weights")
    group.attrs["keras_version"], group.attrs["backend"] = keras_version, "jax"
    _put_names(group, "layer_names", [layer.name for layer in model.layers])
    for layer in sorted(model.layers, key=lambda layer: layer.name):
        _put_variables(group.create_group(layer.name), _ordered(layer))
    _put_variables(group.create_group(_TOP), model._own_variables())
    if include_optimizer and optimizer is not None and optimizer.variables:
        _put_variables(file.create_group("optimizer_weights"), optimizer.variables)


def _ordered(layer):
    """A layer's variables in the order of `.h5` files: what is trainable first."""
    return layer.trainable_weights + layer.non_trainable_weights


def _put_variables(group, variables):
    names, taken = [], set()
    for variable in variables:
        name = unique = variable.path.strip("/") or "variable"
        number = 0
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        names.append(unique)
        hdf5.put(group, unique, variable)
    _put_names(group, "weight_names", names)


def _put_names(group, attribute, names):
    encoded = np.asarray([name.encode() for name in names]) if names else np.zeros(0, "S1")
    if encoded.nbytes <= _LARGEST_ATTRIBUTE:
        group.attrs[attribute] = encoded
        return
    parts = -(-encoded.nbytes // _LARGEST_ATTRIBUTE) + 1
    for number, part in enumerate(np.array_split(encoded, parts)):
        group.attrs[f"{attribute}{number}"] = part


# -- reading

def load(reader, custom_objects, compile, building):
    """Return the model in a `.h5` file.

    Args:
        reader: the opened file.
        building: context in which configurations may become objects.
    """
    text = reader.text("", "model_config")
    if text is None:
        raise ValueError(f"{reader.label} holds no model configuration: it is a weights file. Make the model and call "
                         "model.load_weights(path).")
    config = complete(_json(reader, "model_config", text))
    training = reader.text("", "training_config") if compile else None
    training = _json(reader, "training_config", training) if training is not None else None
    with building:
        model = serialization.deserialize_keras_object(config, custom_objects)
        if not hasattr(model, "layers"):
            raise ValueError(f"{reader.label} describes no model, but {type(model).__name__}.")
        arguments = compile_arguments(training, optimizers, losses, metrics) if training is not None else None
        if arguments is not None:
            for part in ("loss", "metrics", "weighted_metrics"):
                arguments[part] = nest.map_structure(_callers, arguments.get(part))
            model.compile(**arguments)
            if model.built and model.optimizer is not None:
                model.optimizer.build(model.trainable_variables)
    assignments = _matched(model, reader, "model_weights", by_name=False, skip_mismatch=False)
    if arguments is not None:
        assignments += _matched_optimizer(model, reader)
    _assign(model, assignments, reader)
    if compile and training is None:
        warnings.warn("No training configuration found in the save file, so the model was *not* compiled. Compile it "
                      "manually.", stacklevel=3)
    return model


def _callers(name):
    """Return the caller's own loss or metric of a name, which is looked up now: at the first step the scope is over."""
    return (registry.get_registered_object(name) or name) if isinstance(name, str) else name


def _json(reader, name, text):
    try:
        return json.loads(text, object_hook=_revive)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{reader.label}: the attribute '{name}' is no JSON: {error}") from error


def _revive(found):
    """Turn Keras 2's marks of tuples and shapes into lists."""
    kind = found.get("class_name")
    if kind in ("__tuple__", "TensorShape") and "items" in found:
        return found["items"]
    return ... if kind == "__ellipsis__" and "config" not in found else found


def load_weights(model, reader, by_name=False, skip_mismatch=False):
    """Set a model's variables from a `.h5` file, layer by layer in their order or by name.

    Raises:
        ValueError: another number of layers or variables, or shapes that differ, with a table; nothing is changed.
    """
    top = "model_weights" if "model_weights" in reader.groups and not reader.names("", "layer_names") else ""
    _assign(model, _matched(model, reader, top, by_name, skip_mismatch), reader)


def _assign(model, assignments, reader):
    values = [(variable, fitted(reader.array(path), variable)) for variable, path in assignments]
    reader.check_altered()
    engine.set_host_values(values)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state") and layer.weights:      # Normalization computes with what it derives
            layer.finalize_state()


def _stored(reader, group):
    """Return the paths of a layer's arrays, in their order."""
    paths = [f"{group}/{name}" if group else name for name in reader.names(group, "weight_names") or ()]
    for path in paths:
        if path not in reader.arrays:
            raise DamagedFileError(f"{reader.label} has no array '{path}', which its list of weights names.")
    return paths


def _matched(model, reader, top, by_name, skip_mismatch):
    """Return (variable, path in the file) pairs.

    Raises:
        ValueError: what does not fit, with a table.
    """
    if top and top not in reader.groups:
        raise DamagedFileError(f"{reader.label} has no group '{top}'.")
    prefix = f"{top}/" if top else ""
    names = reader.names(top, "layer_names")
    if names is None:
        raise DamagedFileError(f"{reader.label} does not list its layers (attribute 'layer_names'): it is no weights "
                               "file of Keras.")
    stored = [(name, _stored(reader, f"{prefix}{name}")) for name in names if f"{prefix}{name}" in reader.groups]
    layers = model.layers
    if by_name:
        pairs = [(layer, name, paths) for name, paths in stored for layer in layers if layer.name == name]
    else:
        layers = [layer for layer in layers if _ordered(layer)]
        stored = [(name, paths) for name, paths in stored if paths]
        if len(layers) != len(stored):
            raise ValueError(f"Layer count mismatch when loading weights from file. Model '{model.name}' expected "
                             f"{len(layers)} layers with weights, found {len(stored)} saved layers in {reader.label}.\n"
                             f"In the model: {[layer.name for layer in layers][:20]}\n"
                             f"In the file: {[name for name, _ in stored][:20]}")
        pairs = [(layer, name, paths) for layer, (name, paths) in zip(layers, stored)]
    found, problems = [], []
    for layer, _name, paths in pairs:
        variables = _ordered(layer)
        rows = _rows(layer.name, variables, paths, reader)
        if rows:
            problems += rows
        else:
            found += zip(variables, paths)
    own, own_paths = model._own_variables(), _stored(reader, f"{prefix}{_TOP}") if f"{prefix}{_TOP}" in reader.groups \
        else []
    if own_paths or own:
        rows = _rows(model.name, own, own_paths, reader) if own_paths else []
        problems += rows
        found += zip(own, own_paths) if not rows else ()
    if problems:
        reader.check_altered()      # a damaged file is said to be one
        text = f"{len(problems)} arrays of {reader.label} do not fit model '{model.name}':\n{table(problems)}"
        if not skip_mismatch:
            raise ValueError(f"{text}\nNothing was loaded. Load into the model that was saved, or pass "
                             "skip_mismatch=True to skip these.")
        warnings.warn(f"{text}\nTheir layers were skipped (skip_mismatch=True).", stacklevel=5)
    return found


def _rows(name, variables, paths, reader):
    rows = []
    for index in range(max(len(variables), len(paths))):
        variable = variables[index] if index < len(variables) else None
        array = reader.arrays[paths[index]] if index < len(paths) else None
        if variable is None or array is None or not fits(array, variable):
            rows.append((f"{name}/{variable.name}" if variable is not None else paths[index],
                         "nothing" if array is None else str(array),
                         "nothing" if variable is None else f"{tuple(variable.shape)} {np.dtype(variable.aval.dtype)}"))
    return rows


def _matched_optimizer(model, reader):
    """Return (variable, path) pairs of the optimizer; nothing, with a warning, if its state has another form."""
    if "optimizer_weights" not in reader.groups or model.optimizer is None:
        return []
    variables, paths = model.optimizer.variables, _stored(reader, "optimizer_weights")
    if len(paths) <= 2:         # saved before its first step: no slots yet
        variables = variables[:len(paths)]
    if len(variables) != len(paths) or any(not fits(reader.arrays[p], v) for v, p in zip(variables, paths)):
        reader.check_altered()
        warnings.warn(f"Error in loading the saved optimizer state of {reader.label}: it has {len(paths)} arrays, "
                      f"'{model.optimizer.name}' here {len(variables)} or other shapes. The optimizer starts freshly.",
                      stacklevel=4)
        return []
    return list(zip(variables, paths))
