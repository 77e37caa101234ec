# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.Sequential`: a plain stack of layers."""
import copy
import inspect

from fitloom import engine
from fitloom.base import nest, registry, serialization
from fitloom.layers import masks, tracking
from fitloom.layers.call_context import STRUCTURE
from fitloom.layers.call_signature import is_shape, signature_of
from fitloom.layers.graph import Graph
from fitloom.layers.input_layer import InputLayer
from fitloom.layers.layer import Layer
from fitloom.models.functional import make_layer
from fitloom.models.model import Model

KerasTensor = engine.KerasTensor


class Sequential(Model):
    """A stack of layers: each takes the output of the one before it.

    With an `Input` first, or `input_shape=` in the first layer, the weights are made at once; otherwise when the
    model is first called, built or fitted.

    Args:
        layers: list of layers.
        trainable: whether the weights may be trained.
        name: name of the model.

    Raises:
        ValueError: something that is not a layer, or a name used twice.

    Example:
        >>> import fitloom as tf
        >>> model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
        >>> model.output_shape
        (None, 2)
    """

    def __init__(self, layers=None, trainable=True, name=None):
        if isinstance(trainable, Layer) or isinstance(layers, Layer):
            raise TypeError("Sequential takes one list of layers, but received a layer. Write "
                            "Sequential([layer1, layer2]).")
        super().__init__(trainable=trainable, name=name)
        self.__dict__["_stack"] = []
        if layers is not None and not isinstance(layers, (list, tuple)):
            raise TypeError(f"Sequential takes a list of layers, but received {layers!r} (of type "
                            f"{type(layers).__name__}). Write Sequential([layer1, layer2]).")
        for layer in layers or ():
            self.add(layer, rebuild=False)
        if layers:
            self._maybe_rebuild()

    def add(self, layer, rebuild=True):
        """Put a layer on top.

        Raises:
            ValueError: not a layer, a name used twice, or a second Input.
        """
        stack = self._stack
        if not stack and getattr(layer, "_input_shape_arg", None) is not None:
            self.add(InputLayer(batch_shape=layer._input_shape_arg))
        origin = getattr(layer, "_keras_history", None) if isinstance(layer, KerasTensor) else None
        if origin is not None and isinstance(origin.operation, InputLayer):
            layer = origin.operation
        if isinstance(layer, type) and issubclass(layer, Layer):
            raise ValueError(f"Only instances of layers can be added to a Sequential model, but received the class "
                             f"{layer.__name__}. Call it: {layer.__name__}(...).")
        if not isinstance(layer, Layer):
            raise ValueError("Only instances of `keras.Layer` can be added to a Sequential model. "
                             f"Received: {layer} (of type {type(layer)})")
        if any(other.name == layer.name and other is not layer for other in stack):
            raise ValueError(f"All layers added to a Sequential model should have unique names. Name '{layer.name}' is "
                             "already the name of a layer in this model. Update the `name` argument to pass a unique "
                             "name.")
        if isinstance(layer, InputLayer) and stack and isinstance(stack[0], InputLayer):
            raise ValueError(f"Sequential model '{self.name}' has already been configured to use input shape "
                             f"{stack[0].batch_shape}. You cannot add a different Input layer to it.")
        stack.append(layer)
        tracking.track(self, layer)
        graph = self._graph
        if rebuild and graph is not None and self.built and len(stack) > 2:
            self._extend(graph, layer)
        elif rebuild:
            self._maybe_rebuild()
        else:
            self._forget_graph()

    def pop(self, rebuild=True):
        """Take the last layer away and return it."""
        layer = self._stack.pop()
        if not any(other is layer for other in self._stack):
            tracking.untrack(self, layer)
        self._forget_graph()
        if rebuild and self._stack:
            self._maybe_rebuild()
        return layer

    def _forget_graph(self):
        self.__dict__.update(_graph=None, built=False)
        STRUCTURE.changed(self)

    def _lock_state(self):
        """A Sequential model may grow after it was built."""

    def _maybe_rebuild(self):
        self._forget_graph()
        first = self._stack[0]
        if len(self._stack) > 1:
            if isinstance(first, InputLayer):
                self.build(first.batch_shape)
            elif isinstance(first, Model) and first._graph is not None:
                self.build(first.input_shape)

    def build(self, input_shape=None):
        """Make the weights for inputs of this shape.

        Raises:
            ValueError: no layers, or another shape than the model's Input has.
        """
        stack = self._stack
        if not stack:
            raise ValueError(f"Sequential model {self.name} cannot be built because it has no layers. "
                             "Call `model.add(layer)`.")
        if input_shape is None or not (is_shape(input_shape) or hasattr(input_shape, "rank")):
            return      # several inputs: the layers are simply called one after another
        input_shape = tuple(input_shape)
        if isinstance(stack[0], InputLayer):
            if stack[0].batch_shape != input_shape:
                raise ValueError(f"Sequential model '{self.name}' has already been configured to use input shape "
                                 f"{stack[0].batch_shape}. You cannot build it with input_shape {input_shape}")
        else:
            begin = InputLayer(batch_shape=input_shape, dtype=stack[0].compute_dtype)
            stack.insert(0, begin)
            tracking.track(self, begin)
        x = stack[0].output
        for layer in stack[1:]:
            try:
                x = layer(x)
            except NotImplementedError:
                return          # a layer that cannot be traced: it is called on data instead
            except TypeError:
                self._explain_signature(layer)
                raise
        self._set_graph(Graph(stack[0].output, x))

    def _set_graph(self, graph):
        self.__dict__["_graph"] = graph
        self.__dict__["output_names"] = [x._keras_history.operation.name for x in graph.outputs]
        self.__dict__["input_names"] = [x._keras_history.operation.name for x in graph.inputs]
        STRUCTURE.changed(self)

    def _extend(self, graph, layer):
        """Put one more layer on a graph that exists, instead of tracing all of them again."""
        outputs = graph.outputs_structure
        with engine.outside(), self._name_scope():
            try:
                self._set_graph(Graph(graph.inputs_structure, layer(outputs)))
            except NotImplementedError:
                self.__dict__["_graph"] = None

    @staticmethod
    def _explain_signature(layer):
        parameters = inspect.signature(layer.call).parameters.values()
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        required = [p.name for p in positional if p.default is p.empty]
        if not positional:
            raise ValueError("Layers added to a Sequential model should have a single positional argument, the input "
                             f"tensor. Layer {type(layer).__name__} has no positional arguments.")
        if len(required) > 1:
            raise ValueError("Layers added to a Sequential model can only have a single required positional argument, "
                             f"the input tensor. Layer {type(layer).__name__} has multiple required positional "
                             f"arguments: {required}")

    def predict_classes(self, x, batch_size=32, verbose=0):
        """Return the class of each row: Keras 2's name for the argmax of `predict`, or for `predict` > 0.5."""
        probabilities = self.predict(x, batch_size=batch_size, verbose=verbose)
        if probabilities.shape[-1] > 1:
            return probabilities.argmax(axis=-1)
        return (probabilities > 0.5).astype("int32")

    def predict_proba(self, x, batch_size=32, verbose=0):
        """Return the outputs for all of x: Keras 2's name for `predict`."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)

    def call(self, inputs, training=None, mask=None, **kwargs):
        """Call the layers one after another."""
        if self._graph is not None:
            return Model.call(self, inputs, training=training, mask=mask)
        for layer in self.layers:
            call = signature_of(layer.call)
            given = {"mask": mask} if call.has_mask else {}
            inputs = layer(inputs, **given)
            mask = nest.map_structure(masks.get_mask, inputs)
        return inputs

    def compute_output_spec(self, inputs, training=None, mask=None, **kwargs):
        """Return symbolic outputs for symbolic inputs."""
        if self._graph is not None:
            return self._graph.run(nest.flatten(inputs), lambda o, a, k: o.compute_output_spec(*a, **{
                name: value for name, value in k.items() if name != "training"}))
        for layer in self.layers:
            inputs = layer.compute_output_spec(inputs)
        return inputs

    def compute_output_shape(self, input_shape):
        """Return the output's shape for an input's shape."""
        if self._graph is not None:
            x = self._graph.inputs[0]
            return nest.map_structure(lambda y: y.shape,
                                      self.compute_output_spec(KerasTensor(tuple(input_shape), dtype=x.dtype)))
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    @property
    def layers(self):
        """The layers, without the Input."""
        stack = self._stack
        return stack[1:] if stack and isinstance(stack[0], InputLayer) else stack[:]

    @layers.setter
    def layers(self, _):
        raise AttributeError("`Sequential.layers` attribute is reserved and should not be used. Use `add()` and "
                             "`pop()` to change the layers in this model.")

    inputs = property(lambda self: self._needs_graph("inputs").inputs, doc="Flat list of the symbolic inputs.")
    outputs = property(lambda self: self._needs_graph("outputs").outputs, doc="Flat list of the symbolic outputs.")
    input = property(lambda self: self._needs_graph("input").inputs_structure, doc="The symbolic input.")
    output = property(lambda self: self._needs_graph("output").outputs_structure, doc="The symbolic output.")

    @property
    def input_dtype(self):
        """The dtype that inputs are cast to."""
        stack = self._stack
        return stack[0].dtype if stack and isinstance(stack[0], InputLayer) else super().input_dtype

    def get_config(self):
        """Return the layers as plain data."""
        config = {"name": self.name, "trainable": self.trainable,
                  "dtype": serialization.serialize_keras_object(self.dtype_policy),
                  "layers": [serialization.serialize_keras_object(layer) for layer in self._stack]}
        if self._graph is not None:
            config["build_input_shape"] = self._stack[0].batch_shape
        return copy.deepcopy(config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a Sequential model from `get_config`'s dict."""
        if "name" not in config or "layers" not in config:
            raise ValueError("A Sequential model configuration must be a dictionary containing the 'name' and 'layers' "
                             f"keys. Received: config={config}")
        model = cls(name=config["name"])
        with registry.custom_object_scope(custom_objects):
            for layer_config in config["layers"]:
                model.add(make_layer(layer_config, custom_objects))
        shape = config.get("build_input_shape")
        if model._graph is None and isinstance(shape, (list, tuple)) and is_shape(shape):
            model.build(tuple(shape))
        if config.get("trainable") is False:
            model.trainable = False
        return model


registry.builtin("keras", "Sequential")(Sequential)
registry.builtin("keras.models")(Sequential)

