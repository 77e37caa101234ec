# SPDX-License-Identifier: Apache-2.0
"""How a model made of symbolic tensors takes its inputs, is cut out of a larger graph, and is written down."""
import copy
import warnings

from fitloom import engine, ops
from fitloom.base import dtypes, nest, serialization
from fitloom.layers import keras_operations, masks
from fitloom.layers.call_signature import is_tensor
from fitloom.layers.graph import Graph, Node, Operation, walk
from fitloom.layers.input_layer import Input, InputLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.ops import sparse

KerasTensor = engine.KerasTensor


def make_graph(inputs, outputs) -> Graph:
    """Return the graph between `inputs` and `outputs`; inputs in the middle of another graph get copies of the nodes.

    Raises:
        ValueError: anything that is not a symbolic tensor, and whatever Graph raises.
    """
    if isinstance(inputs, dict):
        for key, x in inputs.items():
            if isinstance(x, KerasTensor) and key != x.name:
                warnings.warn(f"When providing `inputs` as a dict, all keys in the dict must match the names of the "
                              f"corresponding tensors. Received key '{key}' mapping to a tensor which has name "
                              f"'{x.name}'. Change the tensor name to '{key}' (via `Input(..., name='{key}')`)",
                              stacklevel=4)
    for what, structure in (("inputs", inputs), ("outputs", outputs)):
        for x in nest.flatten(structure):
            if not isinstance(x, KerasTensor):
                raise ValueError(f"All `{what}` values must be KerasTensors (made by Input() or by calling layers on "
                                 f"it). Received: {what}={structure} including invalid value {x} of type {type(x)}")
            if x._keras_history is None:
                raise ValueError(f"The {what} contain {x}, which no Input() or layer made. Use tf.keras.Input(shape).")
    if not all(_starts_graph(x) for x in nest.flatten(inputs)):
        inputs, outputs = _clone_between(inputs, outputs)
    return Graph(inputs, outputs)


def _starts_graph(x):
    operation, index, _ = x._keras_history
    return operation is not None and operation._inbound_nodes[index].is_input


def _clone_between(inputs, outputs):
    """Copy the nodes between `inputs` and `outputs`, with new Inputs for inputs that layers made."""
    flat_inputs, flat_outputs = nest.flatten(inputs), nest.flatten(outputs)
    nodes, _ = walk(flat_inputs, flat_outputs)
    copies, new_inputs = {}, []
    for x in flat_inputs:
        if _starts_graph(x):
            new = x
        else:
            new = Input(batch_shape=x.shape, dtype=x.dtype, name=f"{x.name}CLONE")
        copies[id(x)] = new
        new_inputs.append(new)

    def copy_of(x):
        if not isinstance(x, KerasTensor):
            return x
        if id(x) not in copies:
            copies[id(x)] = KerasTensor(x.shape, dtype=x.dtype, name=f"{x.name}_clone")
        return copies[id(x)]

    for node in nodes:
        if not node.is_input:
            Node(node.operation, nest.map_structure(copy_of, node.args), nest.map_structure(copy_of, node.kwargs),
                 [copy_of(x) for x in node.outputs])
    new_outputs = [copies.get(id(x), x) for x in flat_outputs]
    return nest.pack_sequence_as(inputs, new_inputs), nest.pack_sequence_as(outputs, new_outputs)


# ---- inputs

def standardize_inputs(model, inputs):
    """Return the flat list of input tensors, in the order, dtype and rank of the graph's inputs.

    Raises:
        ValueError: another structure, a missing input, or another rank.
    """
    graph = model._graph
    wanted = graph.inputs_structure
    if len(graph.inputs) == 1 and inputs.__class__ is engine.Tensor:      # the common case
        x = graph.inputs[0]
        if inputs.dtype == x.dtype and len(inputs.aval.shape) == len(x.shape):
            return [inputs]
        return _fit(graph, [inputs])
    if isinstance(inputs, dict) and not isinstance(wanted, dict):
        names = [x.name for x in graph.inputs]
        if isinstance(wanted, (list, tuple, KerasTensor)) and set(names) <= set(inputs):
            return _fit(graph, [inputs[name] for name in names])
        raise ValueError(_mismatch(wanted, inputs))
    if isinstance(wanted, dict) and isinstance(inputs, dict):
        return _fit(graph, _from_dict(wanted, inputs))
    if isinstance(wanted, dict) and not isinstance(inputs, dict) and list(wanted) != sorted(wanted):
        raise ValueError(_mismatch(wanted, inputs))
    flat = nest.flatten(inputs)
    if len(flat) != len(graph.inputs):
        raise ValueError(_mismatch(wanted, inputs))
    if nest.is_nested(wanted) and not nest.is_nested(inputs) and len(graph.inputs) == 1 or \
            nest.is_nested(inputs) and not nest.is_nested(wanted) and len(flat) == 1:
        return _fit(graph, flat)
    try:
        nest.assert_same_structure(_as_tuples(inputs), _as_tuples(wanted), check_types=False)
    except (ValueError, TypeError):
        warnings.warn(_mismatch(wanted, inputs), stacklevel=5)
    return _fit(graph, flat)


def _from_dict(wanted, inputs):
    missing = [key for key in wanted if key not in inputs]
    if missing:
        raise ValueError(_mismatch(wanted, inputs))
    if len(inputs) > len(wanted):
        warnings.warn(_mismatch(wanted, inputs), stacklevel=6)
    return [x for key in nest.sorted_keys(wanted)
            for x in (nest.flatten(inputs[key]) if nest.is_nested(wanted[key]) else [inputs[key]])]


def _as_tuples(structure):
    if isinstance(structure, dict):
        return {key: _as_tuples(value) for key, value in structure.items()}
    return tuple(_as_tuples(x) for x in structure) if isinstance(structure, (list, tuple)) else structure


def _mismatch(wanted, inputs):
    expected = nest.map_structure(lambda x: x.name, wanted)
    received = nest.map_structure(
        lambda x: "None" if x is None else f"Tensor(shape={tuple(x.shape)})" if hasattr(x, "shape") else
        type(x).__name__, inputs)
    return (f"The structure of `inputs` doesn't match the expected structure.\nExpected: {expected}\n"
            f"Received: inputs={received}")


def require_optional(wanted):
    """Raise ValueError unless None may be passed for this input."""
    operation = wanted._keras_history.operation
    if isinstance(operation, InputLayer) and not operation.optional:
        raise ValueError(f"The input '{wanted.name}' is not optional, but None was passed. "
                         "Please provide a valid tensor.")


def _fit(graph, flat):
    fitted = []
    for position, (x, wanted) in enumerate(zip(flat, graph.inputs)):
        if x is None:
            require_optional(wanted)
            fitted.append(None)
            continue
        mask = masks.get_mask(x)
        if not is_tensor(x):
            x = sparse.to_dense(x) if hasattr(x, "dense_shape") else engine.convert_to_tensor(x)
        if dtypes.name_of(x.dtype) == "string":
            pass                           # for a layer that takes text, whatever dtype its Input was made with
        elif dtypes.name_of(x.dtype) != wanted.dtype and not (isinstance(x, KerasTensor) and x.dtype == wanted.dtype):
            x = ops.cast(x, wanted.dtype)
        elif isinstance(x, engine.Variable):
            x = engine.convert_to_tensor(x)
        x = _fit_rank(graph, x, wanted, position)
        if mask is not None:
            masks.set_mask(x, mask)
        fitted.append(x)
    return fitted


def _fit_rank(graph, x, wanted, position):
    have, want = len(x.shape), len(wanted.shape)
    if have == want:
        return x
    if have == want + 1 and x.shape[-1] == 1:
        return ops.squeeze(x, axis=-1)
    if have == want - 1 and wanted.shape[-1] == 1:
        return ops.expand_dims(x, axis=-1)
    path = ".".join(str(p) for p in nest.flatten_with_paths(graph.inputs_structure)[position][0])
    at = f" and path '{path}'" if path else ""
    no_batch = have == want - 1 and all(n is None or n == m for n, m in zip(wanted.shape[1:], x.shape))
    raise ValueError(f"Invalid input shape for input with name '{wanted.name}'{at}. "
                     f"Expected shape {tuple(wanted.shape)}, but input has incompatible shape {tuple(x.shape)}."
                     + (" The axis of the batch is missing: use dataset.batch(n), or x[None] for one row."
                        if no_batch else ""))


def input_specs(graph):
    """Return what the graph expects of its inputs, as InputSpecs; None for dicts within dicts."""
    def spec(x, name=None):
        operation = x._keras_history.operation
        shape = (None, *x.shape[1:]) if x.shape else x.shape
        return InputSpec(shape=shape, allow_last_axis_squeeze=True, name=name or operation.name,
                         optional=bool(getattr(operation, "optional", False)))
    structure = graph.inputs_structure
    if isinstance(structure, dict):
        if not all(isinstance(x, KerasTensor) for x in structure.values()):
            return None
        return [spec(structure[name], name) for name in sorted(structure)]
    return [spec(x) for x in graph.inputs]


def compute_output_spec(graph, inputs):
    """Return symbolic outputs for symbolic inputs."""
    flat = nest.flatten(inputs)
    if all(x is not None and x.shape == y.shape for x, y in zip(flat, graph.inputs)):
        return nest.map_structure(lambda x: KerasTensor(x.shape, dtype=x.dtype), graph.outputs_structure)

    def call(operation, args, kwargs):
        if "training" in kwargs:
            kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        return operation.compute_output_spec(*args, **kwargs)
    return graph.run(flat, call)


# ---- configuration

def get_config(model):
    """Return the layers and connections of a functional model as plain data, in Keras 3's format."""
    graph = model._graph
    kept = {}       # node -> its index among the nodes of its operation that belong to this model
    for operation in graph.operations:
        # Keras counts a functional model's own construction as its first node
        count = 1 if getattr(operation, "_graph", None) is not None and operation._is_functional else 0
        for node in operation._inbound_nodes:
            if node in graph.nodes:
                kept[node] = count
                count += 1

    def key_of(x):
        operation, index, position = x._keras_history
        return [operation.name, kept[operation._inbound_nodes[index]], position]

    layers = []
    for operation in graph.operations:
        config = serialization.serialize_keras_object(operation)
        config["name"] = operation.name
        config["inbound_nodes"] = [_node_config(node, graph) for node in operation._inbound_nodes
                                   if node in graph.nodes and node.input_tensors]
        layers.append(config)
    return copy.deepcopy({
        "name": model.name, "trainable": model.trainable, "layers": layers,
        "input_layers": nest.map_structure(key_of, graph.inputs_structure),
        "output_layers": nest.map_structure(key_of, graph.outputs_structure)})


def _node_config(node, graph):
    def describe(x):
        if not isinstance(x, KerasTensor):
            return x
        operation, index, position = x._keras_history
        skipped = sum(other not in graph.nodes for other in operation._inbound_nodes[:index])
        return {"class_name": "__keras_tensor__", "config": {
            "shape": x.shape, "dtype": x.dtype, "keras_history": [operation.name, index - skipped, position]}}
    config = {"args": serialization.serialize_keras_object(nest.map_structure(describe, node.args)),
              "kwargs": serialization.serialize_keras_object(nest.map_structure(describe, node.kwargs))}
    if "training" in node.kwargs:
        config["training_is_explicit"] = True   # Keras also writes inherited values here, which must not be kept
    return config


def from_config(cls, config, custom_objects=None):
    """Make a functional model from `get_config`'s dict.

    Raises:
        ValueError: unknown layers in the connections, or connections that cannot be resolved.
    """
    try:
        return _from_config(cls, config, custom_objects)
    except (KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"Invalid Functional model configuration of model {config.get('name')!r}: "
                         f"{type(error).__name__}: {error}") from error


def _from_config(cls, config, custom_objects):
    config = dict(config)
    layer_configs = config.pop("layers")
    input_layers, output_layers = config.pop("input_layers"), config.pop("output_layers")
    name, trainable = config.pop("name", None), config.pop("trainable", None)
    created, waiting = {}, {}
    for layer_config in layer_configs:
        layer = make_layer(layer_config, custom_objects)
        created[layer_config["name"]] = layer
        nodes = layer_config.get("inbound_nodes") or []
        if nodes:
            waiting[layer_config["name"]] = list(nodes)
    while waiting:
        progress = False
        for layer_name in list(waiting):
            queue = waiting[layer_name]
            while queue:
                try:
                    args, kwargs = _read_node(queue[0], created)
                except IndexError:
                    break       # an input's node does not exist yet
                created[layer_name](*args, **kwargs)
                queue.pop(0)
                progress = True
            if not queue:
                del waiting[layer_name]
        if not progress:
            raise ValueError("Invalid Functional model configuration. The graph of the Functional model either has "
                             f"loops or disconnected nodes. The following nodes failed to be resolved: {list(waiting)}")

    def find(key):
        if isinstance(key, (list, tuple)) and len(key) == 3 and isinstance(key[0], str):
            return _tensor_of(created, *key)
        if isinstance(key, dict):
            return {k: find(v) for k, v in key.items()}
        return type(key)(find(k) for k in key)

    more = {} if trainable is None else {"trainable": trainable}
    return cls(inputs=find(input_layers), outputs=find(output_layers), name=name, **more, **config)


def make_layer(config, custom_objects):
    if not isinstance(config, dict) or "config" not in config or "class_name" not in config:
        raise ValueError("Expected a dictionary containing a 'config' key and a 'class_name' key for each layer. "
                         f"Received: {config!r}")
    if "module" not in config and "class_name" in config:
        config = {**config, "module": "keras.layers", "registered_name": None}
        if config["class_name"] in ("Functional", "Model", "Sequential"):
            config["module"] = "keras.models"
    layer = keras_operations.from_keras(config)
    if layer is not None:
        return layer
    layer = serialization.deserialize_keras_object(
        {key: value for key, value in config.items() if key not in ("name", "inbound_nodes")}, custom_objects)
    if not isinstance(layer, Operation):
        raise ValueError("Unexpected object from deserialization, expected a layer or operation, got a "
                         f"{type(layer)}")
    return layer


def _tensor_of(created, name, node_index, tensor_index):
    layer = created.get(name)
    if layer is None:
        raise ValueError(f"Invalid Functional model configuration. Missing node: {name}")
    if getattr(layer, "_graph", None) is not None and layer._is_functional:
        node_index -= 1     # Keras counts a functional model's own construction as its first node
    return layer._inbound_nodes[node_index].output_tensors[tensor_index]


def _read_node(data, created):
    """Return the (args, kwargs) of one call; IndexError if an input does not exist yet."""
    if isinstance(data, list):                  # Keras 2: [[layer, node, tensor, kwargs], ...]
        tensors, kwargs = [], {}
        for entry in ([data] if data and isinstance(data[0], str) else data):
            tensors.append(_tensor_of(created, *entry[:3]))
            kwargs = entry[3] if len(entry) > 3 else {}
        return [tensors[0] if len(tensors) == 1 else tensors], dict(kwargs)

    def revive(x):
        history = getattr(x, "_history_from_config", None) if isinstance(x, KerasTensor) else None
        if history is None:
            return x
        layer = created.get(history[0])
        if layer is None:
            raise ValueError(f"Invalid Functional model configuration. Missing node: {history[0]}")
        return layer._inbound_nodes[history[1]].output_tensors[history[2]]
    args = nest.map_structure(revive, serialization.deserialize_keras_object(data["args"]))
    kwargs = nest.map_structure(revive, serialization.deserialize_keras_object(data["kwargs"]))
    if not data.get("training_is_explicit"):
        kwargs.pop("training", None)
    return args, kwargs

