# SPDX-License-Identifier: Apache-2.0
"""Paths inside the sources of Keras and TensorFlow (`keras.src.X`, `tensorflow.python.X`) that libraries import.

They exist only where `import tensorflow` means Fitloom (`base/aliases.py`). A path is a view: it holds nothing, and its
names are those of the public doors that the file was the source of. What Fitloom does not have is an ImportError that
says where it was looked for.
"""
import importlib
import sys
import types

KERAS, PYTHON = "fitloom.keras.src", "fitloom.python"

_PREPROCESSING = "keras.preprocessing.image keras.preprocessing.sequence keras.preprocessing.text"
# The first folder under keras.src: the rooms whose names the files there held.
_KERAS_FOLDERS = {
    **{name: f"keras.{name}" for name in """
        activations applications callbacks constraints datasets distribution dtype_policies export initializers layers
        losses metrics models ops optimizers quantizers random regularizers saving tree utils wrappers
        """.split()},
    "backend": "keras.ops keras.backend keras.random engine",
    "engine": "keras.layers keras.models",
    "legacy": f"{_PREPROCESSING} keras.losses keras.layers",
    "preprocessing": f"{_PREPROCESSING} keras.preprocessing",
    "trainers": "keras.utils keras.models",
}
# Files that are imported as a whole: from keras.src.saving import serialization_lib.
_KERAS_FILES = set("""
    backend_config backend_utils base_conv base_layer base_optimizer common compile_utils conv_utils core
    data_adapter data_adapter_utils data_adapters data_utils distribution_lib functional generic_utils image_utils
    input_layer input_spec io_utils keras_tensor layer_utils losses_utils math metrics_utils model nn np_utils numpy
    numerical_utils object_registration python_utils saving_lib sequential serialization_lib tensorflow tf_utils
    traceback_utils tracking trainer training variables vis_utils
    """.split())
# The last name of a path under tensorflow.python (gen_ and the version's number left out): where its names are first
# looked for; then among those of tf and tf.compat.v1.
_PYTHON_FILES = {file: room for room, files in {
    "": """
        array_ops backprop clip_ops composite_tensor cond constant_op context control_flow_ops
        control_flow_util custom_gradient data_flow_ops def_function deprecation device_lib function
        functional_ops gradients gradients_impl indexed_slices list_ops logging_ops map_fn math_grad
        monitoring ops polymorphic_function resource_variable_ops script_ops session smart_cond
        standard_ops state_ops tensor tensor_array_ops tensor_conversion tensor_shape tensor_spec
        tensor_util tf_export tf_inspect tf_logging tf_stack type_spec variable_scope variables
        weights_broadcast_ops while_loop while_loop_v2
        """,
    "audio": "audio_ops",
    "bitwise": "bitwise_ops",
    "config": "config",
    "data": "dataset_ops iterator_ops readers",
    "debugging": "check_ops control_flow_assert",
    "distribute": "distribute_lib distribution_strategy_context",
    "dtypes": "dtypes",
    "errors": "errors errors_impl",
    "image": "image_ops image_ops_impl",
    "io": "parsing_ops",
    "keras.initializers": "init_ops",
    "keras.metrics": "metrics",
    "linalg": "linalg_impl linalg_ops",
    "lookup": "lookup_ops",
    "math": "math_ops special_math_ops",
    "nest": "nest",
    "nn": "embedding_ops nn nn_impl nn_ops",
    "ragged": "ragged_array_ops ragged_tensor",
    "random": "random_ops random_seed stateless_random_ops",
    "signal": "signal",
    "sparse": "sparse sparse_ops sparse_tensor",
    "strings": "string_ops",
    "summary": "summary_ops",
    "test": "test test_util",
}.items() for file in files.split()}
_PYTHON_FOLDERS = """
    client compat data data.ops data.experimental data.experimental.ops distribute eager
    eager.polymorphic_function feature_column framework lib lib.io module ops ops.linalg
    ops.linalg.sparse ops.ragged ops.signal ops.losses platform profiler summary tools trackable
    training types util
    """.split()


class _View(types.ModuleType):
    """A module whose names are those of the rooms it stands for."""

    def __init__(self, name, rooms):
        super().__init__(name, f"A path of the original's own source; its names are those of {', '.join(rooms)}.")
        self._rooms = rooms
        self.__path__ = []                           # there may be paths below

    def __getattr__(self, name):
        if name == "__all__":                        # from keras.src.ops import *
            first = importlib.import_module(self._rooms[0])
            return [each for each in dir(first) if not each.startswith("_") and hasattr(first, each)]
        if not name.startswith("__"):
            own = self.__name__.rpartition(".")[2]
            extra = _extras().get((own, name), _extras().get(name, self))
            if extra is not self:
                return extra
            path = f"{self.__name__}.{name}"
            in_folder = self.__name__.removeprefix(PYTHON + ".") in _PYTHON_FOLDERS
            if path.removeprefix(PYTHON + ".") in _PYTHON_FOLDERS or in_folder and _rooms(path):
                return module(path)
            for room in self._rooms:
                value = getattr(importlib.import_module(room), name, self)
                if value is not self:
                    return value
            if path.startswith(KERAS) and name in (_KERAS_FOLDERS if self.__name__ == KERAS else _KERAS_FILES):
                return module(path)
        raise AttributeError(f"module '{self.__name__}' has no attribute {name!r}: it stands for a file of the "
                             f"original's own source, and its names are those of {', '.join(self._rooms)}. Import a "
                             "public name.")


def module(name):
    """Return the view at `name`, a path under `fitloom.keras.src` or `fitloom.python`; None if there is none.

    `keras.src.engine`, which is Keras 2's, is there, too.
    """
    made = sys.modules.get(name)
    if made is None and (rooms := _rooms(name)) is not None:
        made = sys.modules[name] = _View(name, rooms)
    return made


def _rooms(name):
    if name == KERAS:
        return ("fitloom.engine",)
    if name.startswith(KERAS + "."):
        folder, *files = name.removeprefix(KERAS + ".").split(".")
        if folder not in _KERAS_FOLDERS:
            return None
        rooms = [f"fitloom.{room}" for room in _KERAS_FOLDERS[folder].split()]
        if len(files) == 1 and folder == "applications":
            rooms.insert(0, f"fitloom.keras.applications.{files[0]}")
        below = [f"fitloom.{folder}"] if folder in ("layers", "losses", "saving") else []
        return (*rooms, "fitloom.keras", *below)
    if name == PYTHON:
        return ("fitloom",)
    path = name.removeprefix(PYTHON + ".")
    if path in _PYTHON_FOLDERS:
        return ("fitloom", "fitloom.compat.v1")
    file = path.rpartition(".")[2].removeprefix("gen_").removesuffix("_v2")
    if file not in _PYTHON_FILES:
        return None
    return (*(f"fitloom.{room}" for room in _PYTHON_FILES[file].split()), "fitloom", "fitloom.compat.v1")


def _extras():
    """Return what has no public name: by name, or by (last part of the path, name)."""
    global _EXTRAS
    if _EXTRAS is None:
        import inspect

        settings = importlib.import_module("fitloom.engine.context").SETTINGS
        engine = importlib.import_module("fitloom.engine")
        convolution = importlib.import_module("fitloom.layers.convolution")._Conv
        _EXTRAS = {
            "BaseConv": convolution,
            ("base_conv", "Conv"): convolution,
            ("convolutional", "Conv"): convolution,
            "EagerTensor": engine.Tensor,
            "any_symbolic_tensors": any_symbolic_tensors,
            "class_weight_to_sample_weights": class_weight_to_sample_weights,
            "deprecated": _decorator,
            "deprecated_args": _decorator,
            "getfullargspec": inspect.getfullargspec,
            "get_keras_mask": engine.get_mask,
            "in_grain_data_pipeline": lambda: False,
            "in_tf_graph": lambda: False,
            "disable_op_determinism": lambda: setattr(settings, "deterministic", False),
            "enable_op_determinism": importlib.import_module("fitloom.engine.settings").enable_op_determinism,
            "global_seed": engine.get_seed,
            "is_op_determinism_enabled": lambda: settings.deterministic,
            "keras_export": _decorator,
            "list_local_devices": list_local_devices,
            "set_keras_mask": engine.set_mask,
            "smart_cond": smart_cond,
            "tf_export": _decorator,
        }
    return _EXTRAS


_EXTRAS = None


def _decorator(*names, **options):
    """Return a decorator that leaves a function or class as it is: `tf_export`, `deprecated`."""
    return lambda decorated: decorated


def any_symbolic_tensors(args=None, kwargs=None):
    """Return whether a KerasTensor is among the values."""
    flatten = importlib.import_module("fitloom.base.nest").flatten
    symbolic = importlib.import_module("fitloom.engine").KerasTensor
    return any(isinstance(leaf, symbolic) for leaf in flatten((args or (), kwargs or {})))


def class_weight_to_sample_weights(y, class_weight):
    """Return the weight of each row's class."""
    weigh = importlib.import_module("fitloom.trainer.batches").weigh_classes
    return weigh(importlib.import_module("numpy").asarray(y), None, class_weight)


def list_local_devices(session_config=None):
    """Return the devices of this process, each with a `name` and a `device_type`."""
    devices = importlib.import_module("fitloom.config").list_logical_devices()
    return [types.SimpleNamespace(name=each.name, device_type=each.device_type, physical_device_desc="")
            for each in devices]


def smart_cond(pred, true_fn=None, false_fn=None, name=None):
    """Call one of two functions, at once if `pred` is a Python value."""
    if isinstance(pred, (bool, int)):
        return true_fn() if pred else false_fn()
    return importlib.import_module("fitloom").cond(pred, true_fn, false_fn)
