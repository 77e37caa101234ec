# SPDX-License-Identifier: Apache-2.0
"""The configurations inside `.h5` files: written as Keras 3 writes them there, read from Keras 2 and 3."""
from fitloom.base import registry, serialization
from fitloom.layers import keras_operations

_NAMES = ("accuracy", "acc", "crossentropy", "ce")        # whose function depends on the model
_SETTINGS = ("run_eagerly", "steps_per_execution", "jit_compile")


def model_config(model):
    """Return {"class_name", "config"} of a model."""
    config = serialization.serialize_keras_object(model)
    own = config["registered_name"] not in (None, config["class_name"])
    found = {"class_name": config["registered_name"] if own else config["class_name"], "config": config["config"],
             "module": config["module"], "registered_name": config["registered_name"]}
    if getattr(model, "_graph", None) is None and config.get("build_config"):
        found["build_config"] = config["build_config"]      # Keras cannot load subclassed models from .h5
    return found


def complete(config):
    """Return a model's configuration with the modules that `.h5` files of Keras leave out."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ValueError(f"The file's model configuration has no 'class_name': {str(config)[:200]}")
    config, inner = dict(config), config.get("config")
    if isinstance(inner, list):                     # Keras before 2.2: a Sequential model was a list of layers
        inner = {"layers": inner}
    if isinstance(inner, dict) and isinstance(inner.get("layers"), list) and (
            config["class_name"] in ("Sequential", "Functional", "Model")):
        inner = {**inner, "layers": [complete(layer) for layer in inner["layers"]]}
    config["config"] = inner
    if "module" not in config:
        name = config["class_name"]
        if name in ("Sequential", "Functional", "Model"):
            config.update(module="keras.models", registered_name=None,
                          class_name="Functional" if name == "Model" else name)
        elif _is_operation(config):
            config.update(module="keras.src.ops.numpy", registered_name=name)
        elif registry.lookup(name, "keras.layers") is not None and not registry.get_registered_object(name):
            config.update(module="keras.layers", registered_name=None)
        else:
            config.update(module=None, registered_name=name)
    return config


def _is_operation(config):
    """Whether a nameless step of a graph is an operation, like x * 2.0: layers that merge take one list."""
    name, nodes = config["class_name"], config.get("inbound_nodes") or [None]
    if registry.lookup(name, "keras.layers") is None:
        return keras_operations.is_operation(name)
    arguments = nodes[0].get("args") if isinstance(nodes[0], dict) else None
    return isinstance(arguments, list) and len(arguments) == 2 and keras_operations.is_operation(name) and (
        name in ("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Dot", "Concatenate"))


def training_config(model):
    """Return what `compile` was told as plain data, or None if it cannot be written down."""
    config = getattr(model, "get_compile_config", lambda: None)()
    if not config or "optimizer" not in config:
        return None
    found = {name: _short(config.get(name)) for name in ("loss", "loss_weights", "metrics", "weighted_metrics")}
    found["loss"] = _full_names(found["loss"])
    found.update({name: config.get(name) for name in _SETTINGS if name in config})
    optimizer = config["optimizer"]
    found["optimizer_config"] = {"class_name": optimizer.get("registered_name") or optimizer["class_name"],
                                 "config": optimizer["config"]}
    return found


def _short(config):
    """Return a Keras 3 configuration as `.h5` files have it: functions by name, classes without their module."""
    if isinstance(config, dict) and "class_name" in config and "config" in config:
        if config["class_name"] == "function":
            return config["config"]
        return {"class_name": config.get("registered_name") or config["class_name"], "config": config["config"]}
    if isinstance(config, dict):
        return {key: _short(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_short(value) for value in config]
    return config


def _full_names(loss):
    if isinstance(loss, dict) and "class_name" not in loss:
        return {key: _full_names(value) for key, value in loss.items()}
    if isinstance(loss, list):
        return [_full_names(value) for value in loss]
    return _FULL_NAMES.get(loss, loss) if isinstance(loss, str) else loss


# Keras cannot load its own .h5 files with these names in them
_FULL_NAMES = {
    "mse": "mean_squared_error", "MSE": "mean_squared_error", "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error", "mape": "mean_absolute_percentage_error", "MAPE": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error", "MSLE": "mean_squared_logarithmic_error"}


def compile_arguments(config, optimizers, losses, metrics):
    """Return the arguments of `compile` in a training configuration."""
    found = {"optimizer": optimizers.deserialize(_optimizer(config["optimizer_config"])),
             "loss": _each(losses.deserialize, config.get("loss"), by_name=True),
             "loss_weights": config.get("loss_weights")}
    for name in ("metrics", "weighted_metrics"):
        value = config.get(name)
        found[name] = _each(_metric(metrics), value, by_name=True) if value is not None else None
    for name in _SETTINGS:
        if config.get(name) is not None:
            found[name] = config[name]
    return found


def _optimizer(config):
    """Keras 2's names of arguments are understood; what Keras 3 does not have is dropped."""
    inner = dict(config["config"])
    if "lr" in inner:
        inner["learning_rate"] = inner.pop("lr")
    for name in ("is_legacy_optimizer", "jit_compile"):
        inner.pop(name, None)
    for name in [name for name in inner if name == "weight_decay" and inner[name] == 0]:
        inner[name] = None
    return {**config, "config": inner}


def _metric(metrics):
    def make(config):
        if isinstance(config, dict) and config.get("class_name") == "MeanMetricWrapper":
            name, function = config["config"].get("name"), config["config"].get("fn")
            return name if name in _NAMES or not isinstance(function, str) else _yours(function)
        return metrics.deserialize(config)
    return make


def _yours(name):
    """Return the caller's function of this name; the name itself where it is one of ours."""
    yours = registry.get_registered_object(name)
    if yours is not None:
        return yours
    if name is None or name in _NAMES or any(registry.lookup(name, room) for room in ("keras.losses", "keras.metrics")):
        return name
    return serialization.deserialize_keras_object(
        {"module": "builtins", "class_name": "function", "config": name, "registered_name": name})


def _each(make, config, by_name):
    if config is None or (by_name and isinstance(config, str)):
        return _yours(config)
    if isinstance(config, dict) and "class_name" in config:
        return make(config)
    if isinstance(config, dict):
        return {key: _each(make, value, by_name) for key, value in config.items()}
    return [_each(make, value, by_name) for value in config]
