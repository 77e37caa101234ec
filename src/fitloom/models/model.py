# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.Model`: layers put together, which can be trained, evaluated, saved and shown."""
import json
import re
import warnings

from fitloom import engine, quantizers
from fitloom.base import nest, registry, serialization
from fitloom.layers import masks, tracking
from fitloom.layers.call_signature import is_shape, map_shapes
from fitloom.layers.graph import Graph
from fitloom.layers.layer import Layer, default, is_default
from fitloom.layers.call_context import STRUCTURE
from fitloom.models import functional
from fitloom.models.summary import print_summary
from fitloom.models.training_methods import TrainingMethods

KerasTensor = engine.KerasTensor


def _is_functional_call(args, kwargs):
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or ("inputs" in kwargs and "outputs" in kwargs)


class Model(TrainingMethods):
    """Layers grouped into one object that can be trained.

    Three ways to make one: `Model(inputs, outputs)` from symbolic tensors; a subclass with layers made in
    `__init__` and used in `call`; or `Sequential`.

    Args:
        inputs: symbolic tensor made by `Input`, or list, dict or nested structure of them.
        outputs: symbolic tensors computed from the inputs.
        name: name of the model.
        trainable: whether the weights may be trained.

    Example:
        >>> import fitloom as tf
        >>> inputs = tf.keras.Input(shape=(3,))
        >>> outputs = tf.keras.layers.Dense(2)(inputs)
        >>> tf.keras.Model(inputs, outputs).count_params()
        8
    """

    _graph = None             # the graph of a functional model, or of a Sequential one that is built
    _is_functional = False    # whether the model was made from inputs and outputs

    @default
    def __init__(self, *args, **kwargs):
        if _is_functional_call(args, kwargs):
            if type(self) is Model:
                self.__class__ = Functional
            self._init_functional(*args, **kwargs)
        else:
            super().__init__(*args, **kwargs)

    def _init_functional(self, inputs, outputs, name=None, trainable=None, **kwargs):
        if trainable is not None:
            kwargs["trainable"] = trainable
        super().__init__(name=name, **kwargs)
        self.__dict__.update(_graph=functional.make_graph(inputs, outputs), _is_functional=True,
                             _convert_input_args=False, _allow_non_tensor_positional_args=True)
        for operation in self._graph.operations:
            tracking.track(self, operation)
        if trainable is not None and not trainable:
            self.trainable = False
        self.output_names = [x._keras_history.operation.name for x in self._graph.outputs]
        self.input_names = [x._keras_history.operation.name for x in self._graph.inputs]
        self.__dict__.update(_build_shapes={"input_shape": None}, _path=self._own_path())
        self.built = True

    def _lock_state(self):
        if not self._is_functional:   # a functional model may get further layers as attributes
            super()._lock_state()

    # ---- the layers

    @property
    def layers(self):
        """The layers, one level deep."""
        if self._is_functional:
            return [operation for operation in self._graph.operations if isinstance(operation, Layer)]
        return self._flatten_layers(include_self=False, recursive=False)

    @layers.setter
    def layers(self, _):
        raise AttributeError("`Model.layers` attribute is reserved and should not be used. Please use another name.")

    @property
    def operations(self):
        """The steps of the graph: layers and single operations."""
        return self._needs_graph("operations").operations[:]

    def _needs_graph(self, what) -> Graph:
        if self._graph is None:
            raise AttributeError(f"{type(self).__name__} model '{self.name}' has no defined {what} yet: it is not made "
                                 "from Input() tensors.")
        return self._graph

    def get_layer(self, name=None, index=None):
        """Return the layer with this name, or at this index.

        Raises:
            ValueError: both or neither given, or no such layer.
        """
        if index is not None and name is not None:
            raise ValueError(f"Provide only a layer name or a layer index. Received: index={index}, name={name}.")
        layers = self.layers
        if index is not None:
            if len(layers) <= index:
                raise ValueError(f"Was asked to retrieve layer at index {index} but model only has {len(layers)} "
                                 "layers.")
            return layers[index]
        if name is None:
            raise ValueError("Provide either a layer name or layer index at `get_layer`.")
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"No such layer: {name}. Existing layers are: {[layer.name for layer in layers]}.")

    def reset_states(self):
        """Set the kept states of all stateful layers to zero (Keras 2)."""
        for layer in self._flatten_layers(include_self=False, recursive=True):
            if getattr(layer, "stateful", False):
                layer.reset_state()

    # ---- what a functional model computes

    @default
    def call(self, inputs, training=None, mask=None):
        """Compute the outputs; a subclass defines it, a functional model runs its graph."""
        if self._graph is None:
            raise NotImplementedError(f"Model {type(self).__name__} does not have a `call()` method implemented.")
        flat = functional.standardize_inputs(self, inputs)
        if mask is not None:
            for x, each in zip(flat, nest.flatten(mask)):
                if each is not None:
                    masks.set_mask(x, each)
        if self.__dict__.get("_symbolic_losses"):
            outputs = self._graph_of_losses.run(flat)
            count = len(self._graph.outputs)
            super().add_loss(outputs[count:])
            outputs = nest.pack_sequence_as(self._graph.outputs_structure, list(outputs[:count]))
        else:
            outputs = self._graph.run(flat)
        return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

    @default
    def build(self, input_shape):
        """Make the weights of a subclassed model by tracing its call on inputs of this shape."""
        self._check_super_called()
        if self._graph is not None:
            return
        if self._layers and is_default(self.call):
            raise NotImplementedError(f"Model {type(self).__name__} does not have a `call()` method implemented.")
        if input_shape is not None and any(not layer.built for layer in self._layers):
            try:
                self._trace_build(input_shape)
            except Exception as error:
                raise ValueError(
                    f"Model '{self.name}' could not be built for input shape {input_shape} by tracing its call(): "
                    f"{error} Call the model on real data instead, or give it a build() method.") from error
        super().build(input_shape)

    def _trace_build(self, input_shape):
        symbols = map_shapes(lambda shape: KerasTensor(shape, dtype=self.input_dtype), input_shape)
        with self._name_scope(), engine.outside():
            if isinstance(symbols, dict) and not is_shape(input_shape) and len(
                    set(symbols) & set(self._read_signature().names)) == len(symbols):
                self._abstract(self.call, (), symbols)
            else:
                self._abstract(self.call, (symbols,), {})

    def build_from_config(self, config):
        """Make the weights of a loaded subclassed model, from the shapes it was built with."""
        if not config or self.built:
            return
        shape = config.get("input_shape", config.get("shapes_dict"))
        try:
            if "input_shape" in config and shape is not None:
                self.build(_as_shapes(shape))
            elif "shapes_dict" in config:
                self.build(**{name: _as_shapes(value) for name, value in shape.items()})
        except (ValueError, NotImplementedError, TypeError) as error:
            warnings.warn(f"Model '{self.name}' could not be built from its configuration and has no weights until it "
                          f"is called on data: {error}", stacklevel=2)

    def compute_output_spec(self, inputs, *args, **kwargs):
        """Return symbolic outputs for symbolic inputs."""
        if self._graph is None or not is_default(self.call):
            return super().compute_output_spec(inputs, *args, **kwargs)
        if len(self._graph.inputs) == len(nest.flatten(inputs)):
            inputs = functional.standardize_inputs(self, inputs)
        outputs = functional.compute_output_spec(self._graph, inputs)
        return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

    @default
    def compute_output_shape(self, input_shape):
        """Return the outputs' shape(s) for the inputs' shape(s)."""
        if self._graph is None or not is_default(self.call):
            return super().compute_output_shape(input_shape)
        symbols = nest.flatten(map_shapes(KerasTensor, input_shape))
        symbols = [KerasTensor(x.shape, dtype=y.dtype) for x, y in zip(symbols, self._graph.inputs)]
        outputs = functional.compute_output_spec(self._graph, symbols)
        shapes = nest.map_structure(lambda x: x.shape, outputs)
        return shapes[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else shapes

    @property
    def input_spec(self):
        """What the model expects of its inputs."""
        if self._input_spec is not None or not self._is_functional:
            return self._input_spec
        found = self.__dict__.get("_graph_spec")
        if found is None:
            found = self.__dict__["_graph_spec"] = (functional.input_specs(self._graph),)
        return found[0]

    @input_spec.setter
    def input_spec(self, value):
        self.__dict__.update(_checked_aval=None, _input_spec=value)

    def _check_input(self, spec, args, kwargs, first):
        wanted = self._graph.inputs_structure if self._is_functional else None
        if isinstance(wanted, dict) and not nest.is_nested(first) and len(wanted) > 1:
            raise ValueError(f"Layer '{self.name}' expects {len(wanted)} named input(s) with keys {list(wanted)}, but "
                             "it received a single tensor.")
        if self._is_functional and nest.is_nested(first):
            if isinstance(first, dict) and not isinstance(wanted, dict):
                return      # standardize_inputs finds the order, and says what is missing
            if isinstance(first, dict):
                pairs = [(first.get(key), x) for key, x in wanted.items()]
            else:
                pairs = zip(nest.flatten(first), self._graph.inputs)
            for x, symbol in pairs:
                if x is None and isinstance(symbol, KerasTensor):
                    functional.require_optional(symbol)
        super()._check_input(spec, args, kwargs, first)

    @property
    def input(self):
        """The symbolic input(s)."""
        return self._graph.inputs_structure if self._graph is not None else super().input

    @property
    def output(self):
        """The symbolic output(s)."""
        return self._graph.outputs_structure if self._graph is not None else super().output

    @property
    def inputs(self):
        """Flat list of the symbolic inputs."""
        return self._graph.inputs if self._graph is not None else None

    @property
    def outputs(self):
        """Flat list of the symbolic outputs."""
        return self._graph.outputs if self._graph is not None else None

    @property
    def input_shape(self):
        """The shape(s) of the inputs."""
        return _only(x.shape for x in self._needs_graph("input shape").inputs)

    @property
    def output_shape(self):
        """The shape(s) of the outputs."""
        return _only(x.shape for x in self._needs_graph("output shape").outputs)

    def add_loss(self, loss):
        """Add scalar tensors to `losses`, inside `call`.

        To a functional model, symbolic tensors that come from its inputs are added (Keras 2): they are computed and
        count in every call. They are no part of its configuration: a model that was loaded has them no more.
        """
        symbols = [x for x in nest.flatten(loss) if isinstance(x, KerasTensor)]
        if not (self._is_functional and is_default(self.call)):
            super().add_loss(loss)
        elif not symbols:
            raise NotImplementedError("add_loss() on a functional model takes symbolic tensors of its graph. Write a "
                                      "layer that calls self.add_loss(...) in its call(), and use it in the graph.")
        else:
            losses = [*self.__dict__.get("_symbolic_losses", ()), *symbols]
            graph = functional.make_graph(self._graph.inputs, [*self._graph.outputs, *losses])
            for operation in graph.operations:
                tracking.track(self, operation)
            self.__dict__.update(_symbolic_losses=losses, _graph_of_losses=graph)
            STRUCTURE.changed(self)

    # ---- text and files

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
                layer_range=None):
        """Print a table of the layers, their output shapes and numbers of weights.

        Args:
            line_length: width in characters.
            positions: relative or absolute ends of the columns.
            print_fn: function that receives the text instead of the terminal.
            expand_nested: whether the layers of nested models are shown.
            show_trainable: whether a column says what is trainable.
            layer_range: names (or patterns) of the first and last layer to show.
        """
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    @default
    def get_config(self):
        """Return what `from_config` needs to make the same model without its weights."""
        if self._is_functional and _takes_inputs_and_outputs(type(self)):
            return functional.get_config(self)
        return super().get_config()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a model from `get_config`'s dict."""
        if {"name", "layers", "input_layers", "output_layers"} <= set(config) and _takes_inputs_and_outputs(cls):
            with registry.custom_object_scope(custom_objects):
                return functional.from_config(cls, config, custom_objects)
        with registry.custom_object_scope(custom_objects):
            return super().from_config(config)

    def to_json(self, **kwargs):
        """Return the configuration as a JSON string; `kwargs` go to `json.dumps`."""
        return json.dumps(serialization.serialize_keras_object(self), **kwargs)

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """Write the architecture, weights, and compile state to a `.keras` or `.h5` file."""
        return _saving().save_model(self, filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """Write the weights to a `.weights.h5` file."""
        return _saving().save_weights(self, filepath, overwrite=overwrite, max_shard_size=max_shard_size)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Read the weights from a file that `save_weights` (or Keras) wrote."""
        return _saving().load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """Write the forward pass for serving."""
        saving = _saving()
        if not hasattr(saving, "export_model"):
            raise NotImplementedError("Model.export() is not implemented yet. Use model.save('model.keras').")
        return saving.export_model(self, filepath, format=format, verbose=verbose, input_signature=input_signature,
                                   **kwargs)

    # ---- state as a tree

    def quantize(self, mode=None, config=None, filters=None, type_check=True):
        """Turn the weights of the layers inside into numbers of few bits, where the layers can (`Layer.quantize`).

        Args:
            mode: 'int8'; may be left out if `config` says it.
            config: `tf.keras.quantizers.Int8QuantizationConfig`.
            filters: which layers: a regular expression that the name matches somewhere, a list of them, or a function
                of the layer.
            type_check: whether subclasses of the built-in layers are left alone.

        Layers with weights that cannot be quantized are left as they are, with a warning.

        Raises:
            ValueError: an unknown mode, or layers that are not built.
        """
        mode, config = quantizers.resolve(mode, config)
        if mode != "int8":
            raise NotImplementedError(f"Quantization mode '{mode}' is not implemented; 'int8' is.")
        if filters is not None and not callable(filters) and not isinstance(filters, (str, list, tuple)):
            raise ValueError("The `filters` argument must be a regex string, a list of regex strings, or a callable. "
                             f"Received: {type(filters)}")
        for layer in self._flatten_layers(include_self=False):
            if layer._layers or not _wanted(layer, filters):
                continue
            try:
                layer.quantize(mode, type_check=type_check, config=config)
            except NotImplementedError as error:
                if layer.weights:
                    warnings.warn(str(error), stacklevel=2)
        self.__dict__["_programs"] = {}
        for attribute in ("train_function", "test_function", "predict_function"):
            self.__dict__[attribute] = None

    def get_state_tree(self, value_format="backend_tensor"):
        """Return the model's state as nested dicts by path: weights, optimizer and metrics variables.

        Args:
            value_format: 'backend_tensor' for Tensors, 'numpy_array' for arrays.
        """
        if value_format not in ("backend_tensor", "numpy_array"):
            raise ValueError(f"Invalid `value_format` argument. Expected 'numpy_array' or 'backend_tensor'. "
                             f"Received: value_format={value_format}")
        trees = {}
        for key, variables in self._state_groups().items():
            tree = trees[key] = {}
            for variable in variables:
                *folders, leaf = variable.path.split("/")
                node = tree
                for folder in folders:
                    node = node.setdefault(folder, {})
                if leaf in node:
                    raise ValueError(f"The following variable path is found twice in the model: '{variable.path}'. "
                                     "get_state_tree() can only be called when all variable paths are unique: give the "
                                     "layers different names.")
                node[leaf] = variable.numpy() if value_format == "numpy_array" else engine.convert_to_tensor(variable)
        return trees

    def set_state_tree(self, state_tree):
        """Assign the values of a tree from `get_state_tree`; paths that the model lacks are an error."""
        for key, tree in state_tree.items():
            by_path = {variable.path: variable for variable in self._state_groups().get(key, ())}
            for path, value in _leaves_by_path(tree):
                if path not in by_path:
                    raise ValueError(f"The state tree has a value for '{path}', but model '{self.name}' has no such "
                                     f"variable among its {key}.")
                by_path[path].assign(value)

    def _state_groups(self):
        optimizer = getattr(self, "optimizer", None)
        return {"trainable_variables": self.trainable_variables,
                "non_trainable_variables": self.non_trainable_variables,
                "optimizer_variables": optimizer.variables if optimizer is not None else [],
                "metrics_variables": self.metrics_variables}


def _wanted(layer, filters):
    """Whether a layer is one that the filters of `quantize` name."""
    if filters is None:
        return True
    if callable(filters):
        return bool(filters(layer))
    return any(re.search(pattern, layer.name) for pattern in ([filters] if isinstance(filters, str) else filters))


class _FunctionalKind(type):
    """Makes a subclass of Model that was made from inputs and outputs an instance of Functional, too."""

    def __instancecheck__(cls, instance):
        return super().__instancecheck__(instance) or (
            cls is Functional and isinstance(instance, Model) and instance._is_functional)


class Functional(Model, metaclass=_FunctionalKind):
    """What `Model(inputs, outputs)` makes: a graph of layers."""

    def __init__(self, inputs, outputs, name=None, **kwargs):
        self._init_functional(inputs, outputs, name=name, **kwargs)


def _takes_inputs_and_outputs(cls):
    """Whether a class is constructed from inputs and outputs (and so can be made again from a graph)."""
    import inspect
    if cls.__init__ in (Model.__init__, Functional.__init__):
        return True
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = {p.kind for p in parameters}
    return [p.name for p in parameters][:2] == ["inputs", "outputs"] or (
        inspect.Parameter.VAR_POSITIONAL in kinds and inspect.Parameter.VAR_KEYWORD in kinds)


def _leaves_by_path(tree, prefix=""):
    """Yield ('layer/kernel', value) for nested dicts."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves_by_path(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _only(shapes):
    shapes = list(shapes)
    return shapes[0] if len(shapes) == 1 else shapes


def _as_shapes(value):
    """A shape structure read from JSON, lists turned into tuples."""
    return map_shapes(tuple, value) if value is not None else None


def _saving():
    try:
        from fitloom import saving
        saving.save_model  # noqa: B018
    except (ImportError, AttributeError):
        raise NotImplementedError("Saving is not implemented yet in this version.") from None
    return saving


def model_from_json(json_string, custom_objects=None):
    """Make a model from `Model.to_json`'s string, without weights."""
    return model_from_config(json.loads(json_string), custom_objects=custom_objects)


def model_from_config(config, custom_objects=None):
    """Make a model from {"class_name": ..., "config": model.get_config()}, without weights; Keras 2's name."""
    home = {"Sequential": "keras", "Functional": "keras.models"}.get(config.get("class_name"))
    config = {"module": home, **config} if home else config              # Keras 2 wrote the class's name alone
    return serialization.deserialize_keras_object(config, custom_objects=custom_objects)


registry.builtin("keras")(Model)
registry.builtin("keras.models")(Functional)
registry.builtin("keras.src.models.functional")(Functional)   # the module that Keras writes for it
