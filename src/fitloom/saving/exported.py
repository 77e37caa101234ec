# SPDX-License-Identifier: Apache-2.0
"""Exported folders read back: `tf.saved_model.load`, its functions and signatures, `TFSMLayer`."""
import json
import os

from fitloom import engine
from fitloom.base import nest
from fitloom.base.errors import DataLossError, NotFoundError
from fitloom.engine import TensorSpec
from fitloom.layers import Layer
from fitloom.saving.checkpoint import read_graph
from fitloom.tracing import exporting

FORMAT = "fitloom-saved-model-1"


# -- structures as JSON

def encode(value):
    if isinstance(value, TensorSpec):
        return {"spec": [None if value.shape.rank is None else value.shape.as_list(), value.dtype.name, value.name]}
    if isinstance(value, dict):
        return {"dict": [[key, encode(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(item) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise ValueError(f"A saved function cannot take or return a {type(value).__name__}: {value!r:.80}.")


def decode(value):
    (kind, content), = value.items()
    if kind == "spec":
        return TensorSpec(content[0], content[1], name=content[2])
    if kind == "dict":
        return {key: decode(item) for key, item in content}
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(decode(item) for item in content)
    return content


# -- reading

class LoadedFunction:
    """A function of a loaded folder: it has the signatures that it was saved with."""

    def __init__(self, name, folder, entries, variables):
        self.__name__, self._signatures = name, []
        for entry in entries:
            with open(os.path.join(folder, os.path.basename(entry["file"])), "rb") as file:
                content = file.read()
            given = [variables[key] for key in entry["variables"]]
            call, _ = exporting.loaded_function(content, len(given))
            self._signatures.append((decode(entry["arguments"]), decode(entry["result"]), entry, given, call))

    def __call__(self, *args, **kwargs):
        for (wanted, named), result, entry, given, call in self._signatures:
            tensors = _matching((wanted, named), args, kwargs)
            if tensors is None:
                continue
            outputs = call([variable.value_tensor() for variable in given], tensors)
            for place, value in zip(entry["written"], outputs[entry["outputs"]:]):
                given[place].assign(value)
            return _filled(result, outputs)
        listing = "; ".join(str((*wanted, *named.items())) for (wanted, named), *_ in self._signatures)
        raise ValueError(f"Could not find a matching signature of '{self.__name__}' for {_describe(args, kwargs)}. It "
                         f"was saved with: {listing}.")

    @property
    def structured_input_signature(self):
        """(args, kwargs) of the first signature."""
        return self._signatures[0][0]

    @property
    def structured_outputs(self):
        """TensorSpecs of the first signature's result."""
        specs = [decode(spec) for spec in self._signatures[0][2]["output_specs"]]
        return _filled(self._signatures[0][1], specs)


class Signature(LoadedFunction):
    """A signature: takes tensors by the names of its arguments (or in order), returns a dict of tensors."""

    def __call__(self, *args, **kwargs):
        (wanted, named), result, entry, given, call = self._signatures[0]
        leaves = [leaf for leaf in nest.flatten((wanted, named)) if isinstance(leaf, TensorSpec)]
        names = self._names(leaves)
        values = list(args)
        if kwargs:
            unknown = set(kwargs) - set(names)
            if unknown or len(kwargs) != len(leaves):
                raise TypeError(f"The signature '{self.__name__}' takes {', '.join(names)}, but received "
                                f"{', '.join(kwargs)}.")
            values = [kwargs[name] for name in names]
        tensors = _matching((tuple(leaves), {}), tuple(values), {})
        if tensors is None:
            raise ValueError(f"The signature '{self.__name__}' takes {leaves}, but received {_describe(args, kwargs)}.")
        outputs = call([variable.value_tensor() for variable in given], tensors)
        return self._as_dict(outputs[:entry["outputs"]], result)

    @staticmethod
    def _names(leaves):
        return [leaf.name or f"args_{i}" for i, leaf in enumerate(leaves)]

    @staticmethod
    def _as_dict(outputs, result):
        if isinstance(result, dict) and all(type(leaf) is int for leaf in result.values()):
            return {name: outputs[leaf] for name, leaf in result.items()}
        return {f"output_{i}": output for i, output in enumerate(outputs)}

    @property
    def structured_input_signature(self):
        """((), {name: TensorSpec})."""
        leaves = [leaf for leaf in nest.flatten(self._signatures[0][0]) if isinstance(leaf, TensorSpec)]
        return (), dict(zip(self._names(leaves), leaves))

    @property
    def structured_outputs(self):
        """{name: TensorSpec}."""
        entry, result = self._signatures[0][2], self._signatures[0][1]
        return self._as_dict([decode(spec) for spec in entry["output_specs"]], result)


def _filled(structure, values):
    """Return a result's structure with the values in the places of their numbers."""
    return nest.map_structure(lambda leaf: values[leaf] if type(leaf) is int else leaf, structure)


def _describe(args, kwargs):
    return ", ".join([*(_brief(a) for a in nest.flatten(args)), *(f"{k}={_brief(v)}" for k, v in kwargs.items())])


def _brief(value):
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    return f"{getattr(value.dtype, 'name', value.dtype)}{list(value.shape)}" if is_array else repr(value)[:40]


def _matching(wanted, args, kwargs):
    """Return the tensors of a call in order, or None where it does not match a signature."""
    try:
        nest.assert_same_structure(wanted, (args, kwargs), check_types=False)
    except (ValueError, TypeError):
        return None
    tensors = []
    for spec, value in zip(nest.flatten(wanted), nest.flatten((args, kwargs))):
        if not isinstance(spec, TensorSpec):
            if spec != value:
                return None
            continue
        try:
            tensor = engine.convert_to_tensor(value, dtype_hint=spec.dtype)
        except (TypeError, ValueError):
            return None
        if tensor.dtype != spec.dtype or not spec.shape.is_compatible_with(tensor.shape):
            return None
        tensors.append(tensor)
    return tensors


class LoadedObject(engine.Module):
    """What `load` returns: the saved object's variables, lists, dicts and functions, as attributes."""

    def __init__(self):
        super().__init__(name="loaded")

    def __call__(self, *args, **kwargs):
        function = self.__dict__.get("__call__") or self.__dict__.get("serve")
        if function is None:
            raise TypeError("The saved object had no __call__ that was a tf.function with a known signature.")
        return function(*args, **kwargs)


def load(export_dir, tags=None, options=None):
    """Return the object in a folder that `save` or `model.export` wrote: `tf.saved_model.load`.

    Its variables can be read, set, trained and checkpointed; its functions take what they were saved for, and its
    `signatures` return dicts. Nothing of the folder is run but compiled programs.

    Raises:
        NotFoundError: no such folder.
        ValueError: it is TensorFlow's own SavedModel.
        DataLossError: it is damaged.
    """
    folder = os.fspath(export_dir)
    path = os.path.join(folder, "manifest.json")
    if not os.path.exists(path):
        if os.path.exists(os.path.join(folder, "saved_model.pb")):
            raise ValueError(f"'{folder}' is TensorFlow's own SavedModel, a graph that only TensorFlow runs. Save the "
                             "model from TensorFlow as .keras, or export it again from here.")
        raise NotFoundError(f"SavedModel file does not exist at: {folder}")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        if manifest["format"] != FORMAT:
            raise ValueError("unknown format")
        state = read_graph(os.path.join(folder, "variables", "variables"))
        things, variables = _objects(state, set(manifest["trainable"]))
        root = things[0]
        for name, entries in manifest["functions"].items():
            *owner, last = name.split("/")
            _follow(root, owner).__dict__[last] = LoadedFunction(last, folder, entries, variables)
        root.__dict__["signatures"] = {
            name: Signature(name, folder, [entry], variables) for name, entry in manifest["signatures"].items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DataLossError(f"The folder '{folder}' is damaged: {type(error).__name__} {error}.") from error
    return root


def _objects(state, trainable):
    """Return the objects of a stored graph and its variables by key."""
    made, variables = [], {}
    for node in state["nodes"]:
        if "key" in node:
            value = state["values"][node["key"]]
            if not hasattr(value, "dtype"):
                made.append(None)                       # an iterator or a table
                continue
            thing = engine.Variable(value, trainable=node["key"] in trainable, name=node["key"].split("/")[-3])
            variables[node["key"]] = thing
        elif made and node["children"] and all(name.isdigit() for name in node["children"]):
            thing = [None] * len(node["children"])
        else:
            thing = LoadedObject()
        made.append(thing)
    for thing, node in zip(made, state["nodes"]):
        for name, child in node["children"].items():
            if isinstance(thing, list):
                thing[min(int(name), len(thing) - 1)] = made[child]
            elif not hasattr(type(thing), name):
                thing.__dict__[name] = made[child]
    return made, variables


def _follow(thing, names):
    for name in names:
        thing = thing[int(name)] if isinstance(thing, list) else thing.__dict__[name]
    return thing


def contains_saved_model(export_dir):
    """Whether `load` can read a folder."""
    return os.path.exists(os.path.join(os.fspath(export_dir), "manifest.json"))


class TFSMLayer(Layer):
    """A layer that runs an exported folder's function: `tf.keras.layers.TFSMLayer`.

    Args:
        filepath: the folder.
        call_endpoint: the function's name.
        call_training_endpoint: the function's name in training.
        trainable: whether its weights may be trained.

    A model file never opens a folder: a model with this layer is built by code, not loaded.
    """

    def __init__(self, filepath, call_endpoint="serve", call_training_endpoint=None, trainable=True, name=None,
                 dtype=None):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        self.filepath, loaded = os.fspath(filepath), load(filepath)
        self.call_endpoint, self.call_training_endpoint = call_endpoint, call_training_endpoint
        known = {**loaded.signatures, **{k: v for k, v in vars(loaded).items() if isinstance(v, LoadedFunction)}}
        for endpoint in filter(None, (call_endpoint, call_training_endpoint)):
            if endpoint not in known:
                raise ValueError(f"The endpoint '{endpoint}' is not among those of '{self.filepath}': "
                                 f"{', '.join(sorted(known))}.")
        self._loaded_weights = list(loaded.variables)
        state = self.__dict__
        state["_endpoint"], state["_training"] = known[call_endpoint], known.get(call_training_endpoint)
        self.built = True

    def call(self, inputs, training=False, **kwargs):
        endpoint = self._training if training and self._training is not None else self._endpoint
        return endpoint(inputs, **kwargs)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "filepath": self.filepath, "call_endpoint": self.call_endpoint,
                "call_training_endpoint": self.call_training_endpoint}

    @classmethod
    def from_config(cls, config):
        """Refused: a configuration must not open a folder."""
        raise ValueError(f"A TFSMLayer reads the folder {config.get('filepath')!r}, which a model file must not do. "
                         "Make the layer in code.")
