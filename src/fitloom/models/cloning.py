# SPDX-License-Identifier: Apache-2.0
"""`clone_model`: the same architecture with new weights."""
from fitloom import engine
from fitloom.base import nest, serialization
from fitloom.layers.graph import Operation
from fitloom.layers.input_layer import Input, InputLayer
from fitloom.layers.layer import Layer
from fitloom.models.functional import make_layer
from fitloom.models.model import Model
from fitloom.models.sequential import Sequential

KerasTensor = engine.KerasTensor


def clone_model(model, input_tensors=None, clone_function=None, call_function=None, recursive=False, **kwargs):
    """Return a model of the same architecture with newly initialized weights.

    Args:
        model: a functional or Sequential model, or a subclassed one with `get_config`.
        input_tensors: symbolic tensors to build the copy on, instead of new Inputs.
        clone_function: function of a layer that returns its copy (or the layer, to share it); called for every
            layer but Inputs. By default the layer is made again from its configuration.
        call_function: function `(layer, *args, **kwargs)` that calls a copied layer; functional models only.
        recursive: whether `clone_function` is also applied inside nested models.

    Raises:
        ValueError: an argument that this kind of model cannot take.
    """
    cache = kwargs.pop("cache", None)
    if kwargs:
        raise ValueError(f"Unexpected keyword argument(s): {tuple(kwargs)}")
    cache = {} if cache is None else cache
    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError("`call_function` argument is not supported with Sequential models. In a Sequential model, "
                             "layers aren't called at model-construction time (they're merely listed). Use "
                             f"`call_function` with Functional models only. Received model of type "
                             f"'{type(model).__name__}', with call_function={call_function}")
        return _clone_sequential(model, input_tensors, _cloner(clone_function, None, recursive, cache))
    if isinstance(model, Model) and model._is_functional:
        function = clone_function or _clone_layer
        if clone_function is None and recursive:
            function = _clone_layer
        return _clone_functional(model, input_tensors, _cloner(function, call_function, recursive, cache),
                                 call_function)
    if recursive or clone_function is not None or call_function is not None:
        raise ValueError("Arguments clone_function, call_function and recursive are only supported for Sequential "
                         f"models or Functional models. Received model of type '{type(model).__name__}'.")
    if input_tensors is not None:
        raise ValueError("Argument `input_tensors` is only supported for Sequential or Functional models. "
                         f"Received model of type '{type(model).__name__}'.")
    return _clone_layer(model)


def _clone_layer(layer):
    return type(layer).from_config(layer.get_config())


def _cloner(clone_function, call_function, recursive, cache):
    """`clone_function` with memory, and with nested models cloned themselves if `recursive`."""
    function = clone_function or _clone_layer

    def clone(layer):
        if id(layer) not in cache:
            if recursive and isinstance(layer, Model) and (layer._is_functional or isinstance(layer, Sequential)):
                more = {} if isinstance(layer, Sequential) else {"call_function": call_function}
                copy = clone_model(layer, clone_function=clone_function, recursive=True, cache=cache, **more)
            else:
                copy = function(layer)
            cache[id(layer)] = copy
        return cache[id(layer)]

    return clone


def _clone_sequential(model, input_tensors, clone):
    layers = [layer if isinstance(layer, InputLayer) else clone(layer) for layer in model.layers]
    stack = model._stack
    begin = stack[0] if stack and isinstance(stack[0], InputLayer) else None
    if input_tensors is not None:
        given = input_tensors if isinstance(input_tensors, (list, tuple)) else [input_tensors]
        if len(given) != 1:
            raise ValueError("Argument `input_tensors` must contain a single tensor. "
                             f"Received: input_tensors={input_tensors}")
        if not isinstance(given[0], KerasTensor):
            raise ValueError(f"Argument `input_tensors` must be a KerasTensor. Received: {given[0]!r}")
        layers = [Input(tensor=given[0], name=given[0].name), *layers]
    elif begin is not None:
        layers = [Input(batch_shape=begin.batch_shape, dtype=begin.dtype, name=begin.name), *layers]
    copy = Sequential(layers, name=model.name, trainable=model.trainable)
    _copy_compilation(model, copy)
    return copy


def _clone_functional(model, input_tensors, clone, call_function):
    graph = model._graph
    if input_tensors is not None:
        given = nest.flatten(input_tensors)
        if not all(isinstance(x, KerasTensor) for x in given):
            raise ValueError(f"All entries in `input_tensors` must be KerasTensors. Received: {input_tensors}")
        try:
            nest.assert_same_structure(input_tensors, graph.inputs_structure, check_types=False)
        except (ValueError, TypeError) as error:
            raise ValueError("`input_tensors` must have the same structure as model.input\n"
                             f"Expected: {graph.inputs_structure}\nReceived: {input_tensors}") from error
        inputs = input_tensors
    else:
        inputs = nest.map_structure(lambda x: Input(batch_shape=x.shape, dtype=x.dtype, name=x.name,
                                                    optional=getattr(x._keras_history.operation, "optional", False)),
                                    graph.inputs_structure)

    def call(operation, args, kwargs):
        if isinstance(operation, Layer):
            copy = clone(operation)
        else:
            copy = make_layer(serialization.serialize_keras_object(operation), None)
        if not isinstance(copy, Operation):
            raise ValueError(f"clone_function must return a layer, but returned {copy!r} for '{operation.name}'.")
        if call_function is not None and isinstance(operation, Layer):
            return call_function(copy, *args, **kwargs)
        return copy(*args, **kwargs)

    outputs = graph.run(nest.flatten(inputs), call)
    same = type(model) is not Model and type(model).__init__ is Model.__init__
    copy = (type(model) if same else Model)(inputs, outputs, name=model.name)
    if not model.trainable:
        copy.trainable = False
    _copy_compilation(model, copy)
    return copy


def _copy_compilation(model, copy):
    if model.compiled:
        config = model.get_compile_config()
        if config is not None:
            copy.compile_from_config(config)


