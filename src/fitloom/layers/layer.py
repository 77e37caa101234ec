# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.layers.Layer`: weights, a computation on tensors, and what both were made from."""
import functools
import inspect
import warnings

import numpy as np

from fitloom import constraints, engine, initializers, regularizers
from fitloom.base import completion, dtypes, naming, nest, registry
from fitloom.layers import call_signature, dtype_policy, recomputing, tracking
from fitloom.layers.call_context import STRUCTURE, context
from fitloom.layers.call_signature import is_tensor
from fitloom.layers.graph import Operation
from fitloom.layers.layer_calls import UNCHANGED, LayerCalls, default as default, is_default as is_default

KerasTensor = engine.symbolic.KerasTensor

def _guarded_build(build):
    """Wrap a class's `build`: it runs outside any trace, under the layer's name, and leaves the layer built."""
    if getattr(build, "_guarded", False):
        return build

    @functools.wraps(build)
    def guarded(self, *args, **kwargs):
        if self.__dict__.get("_building"):          # super().build() inside a subclass's build
            build(self, *args, **kwargs)
            return
        self._check_super_called()
        state = self.__dict__
        state["_building"] = True
        try:
            with engine.outside(), self._name_scope():
                state["_path"] = naming.current_path()
                build(self, *args, **kwargs)
        finally:
            state["_building"] = False
        bound = inspect.signature(build).bind(self, *args, **kwargs).arguments
        state["_build_shapes"] = dict(list(bound.items())[1:])
        self.built = True
        STRUCTURE.changed(self)
        self._lock_state()
        completion.completed(self)
        if state.get("_initial_weights") is not None:
            self.set_weights(state.pop("_initial_weights"))

    guarded._guarded = True
    return guarded


class Layer(LayerCalls):
    """A computation with weights: `build` makes the weights, `call` computes outputs from inputs.

    Args:
        activity_regularizer: regularizer of the outputs; its value (over the batch size) joins `losses`.
        trainable: whether its weights may be trained.
        dtype: dtype policy, or its name: in which precision it computes and keeps weights.
        autocast: whether float inputs are cast to the compute dtype.
        name: unique name.

    Raises:
        ValueError: an unknown argument.

    Example:
        >>> import fitloom as tf
        >>> class Scale(tf.keras.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        ...     def call(self, inputs):
        ...         return inputs * self.scale
        >>> Scale()(tf.ones((2, 3))).shape
        TensorShape([2, 3])
    """

    _tracked_as = "layers"
    _own_class = True     # defined in this package; set for each subclass
    per_example = False   # built-in layers: whether each output row depends on its input row only
    _built_when_made = False   # built-in layers without weights and layers inside

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not getattr(cls.build, "_guarded", False) and not is_default(cls.build):
            cls.build = _guarded_build(cls.build)
        # Attributes of user classes may change in every call; only our own classes are ever replayed.
        cls._own_class = cls.__module__.split(".")[0] == "fitloom"
        if cls._own_class and not cls.__name__.startswith("_"):
            room = cls.__module__.split(".")[1]
            registry.builtin("keras.models" if room == "models" else "keras.layers")(cls)

    @default
    def __init__(self, *, activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, **kwargs):
        if "_tracked_ids" not in self.__dict__:      # attributes set before super().__init__() are tracked too
            tracking.start(self)
        Operation.__init__(self, name=name)
        state = self.__dict__
        input_dim = kwargs.pop("input_dim", None)
        input_shape = kwargs.pop("input_shape", None if input_dim is None else (input_dim,))
        batch_input_shape = kwargs.pop("batch_input_shape", None)   # Keras 2
        if batch_input_shape is not None:
            state["_input_shape_arg"] = tuple(batch_input_shape)
        elif input_shape is not None:
            input_shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
            state["_input_shape_arg"] = (kwargs.pop("batch_size", None), *input_shape)
        initial_weights = kwargs.pop("weights", None)               # Keras 2
        if kwargs:
            shown = ", ".join(f"{key}={value!r}" if len(repr(value)) <= 60 else key for key, value in kwargs.items())
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {shown}")
        if not isinstance(trainable, bool):
            raise ValueError(f"Expected `trainable` to be a boolean. Received: trainable={trainable} "
                             f"(of type {type(trainable)})")
        state.update(
            _dtype_policy=dtype_policy.get(dtype), activity_regularizer=regularizers.get(activity_regularizer),
            autocast=autocast, built=False, _trainable=trainable, _losses=[], _input_spec=None, _path=None,
            _build_shapes=None, _called=False, supports_jit=True, _checked_aval=None, _autocast_dtype=False,
            _supports_masking=not is_default(self.compute_mask), _makes_masks=not is_default(self.compute_mask),
            _call_context_args=frozenset(("training",)),
            _initial_weights=initial_weights, _convert_input_args=True, _allow_non_tensor_positional_args=False,
            _super_called=True)
        if recomputing.OPEN.scopes:
            state["_recompute"] = recomputing.OPEN.scopes[-1], None
        if self._built_when_made:
            self._build_at_init()

    def _check_super_called(self):
        if "_super_called" not in self.__dict__:
            raise RuntimeError(f"In layer '{type(self).__name__}', you forgot to call `super().__init__()` as the "
                               "first statement in the `__init__()` method. Go add it!")

    # ---- attributes

    def __setattr__(self, name, value):
        state = self.__dict__
        if value.__class__ not in UNCHANGED:
            if "_tracked_ids" not in state:
                tracking.start(self)
            value = tracking.track(self, value)
        if self._own_class and name[0] != "_" and state.get("built") and state.get("_called"):
            STRUCTURE.changed(self)
        super().__setattr__(name, value)
        if completion.USED:
            completion.completed(self)

    def __delattr__(self, name):
        value = self.__dict__.get(name)
        if value is not None and "_tracked_ids" in self.__dict__:
            for item in nest.flatten(value):
                tracking.untrack(self, item)
        STRUCTURE.changed(self)
        super().__delattr__(name)

    def __getstate__(self):
        dropped = ("_replay", "_plain", "_collected", "_programs", "_checked_aval", "_signature",
                   "_told_when_completed")
        state = {name: value for name, value in self.__dict__.items() if name not in dropped}
        return {**state, "_checked_aval": None, "_losses": []}

    def __setstate__(self, state):
        self.__dict__.update(state)
        tracking.rewrap(self)

    def _tracking_changed(self):
        STRUCTURE.changed(self)

    def _lock_state(self):
        self.__dict__["_tracker_locked"] = True

    @property
    def path(self):
        """The names of the enclosing layers and its own, joined by '/'; None before it is built."""
        return self._path or (self.name if self.built else None)

    @property
    def dtype_policy(self):
        """In which precision the layer computes and keeps its weights."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value):
        policy, own = dtype_policy.get(value), self._dtype_policy
        if isinstance(own, dtype_policy.DTypePolicyMap) and self._path:
            own.pop(self._path, None)
            own[self._path] = policy
        else:
            self.__dict__["_dtype_policy"] = policy
        self.__dict__["_autocast_dtype"] = False
        STRUCTURE.changed(self)
        if policy.quantization_mode is not None and self.built and not self._is_quantized:
            self.quantize(policy.quantization_mode)

    _is_quantized = False

    def _policy(self):
        policy = self._dtype_policy
        if isinstance(policy, dtype_policy.DTypePolicyMap) and self._path:
            return policy[self._path]
        return policy

    variable_dtype = property(lambda self: self._policy().variable_dtype, doc="The dtype of the weights.")
    compute_dtype = property(lambda self: self._policy().compute_dtype, doc="The dtype of the computation.")
    dtype = property(lambda self: self.variable_dtype, doc="The same as `variable_dtype`.")
    input_dtype = property(lambda self: self.compute_dtype, doc="The dtype to which float inputs are cast.")
    quantization_mode = property(lambda self: self._policy().quantization_mode,
                                 doc="'int8' if the weights are quantized, else None.")

    @property
    def supports_masking(self):
        """Whether the layer passes its input mask on."""
        return self._supports_masking

    @supports_masking.setter
    def supports_masking(self, value):
        self._supports_masking = value

    @property
    def input_spec(self):
        """InputSpec, or structure of them, that inputs are checked against."""
        return self._input_spec

    @input_spec.setter
    def input_spec(self, value):
        self.__dict__["_checked_aval"] = None
        self._input_spec = value

    # ---- making weights

    @default
    def build(self, input_shape):
        """Make the layer's weights for inputs of this shape; override it in layers that have weights."""
        self._check_super_called()
        if is_default(self.build) and any(not layer.built for layer in self._layers):
            warnings.warn(
                f"`build()` was called on layer '{self.name}', however the layer does not have a `build()` method "
                "implemented and it looks like it has unbuilt state. This will cause the layer to be marked as "
                "built, despite not being actually built, which may cause failures down the line. Make sure to "
                "implement a proper `build()` method.", stacklevel=2)
        self.__dict__.update(_path=self._own_path(), _build_shapes={"input_shape": input_shape})
        self.built = True
        if is_default(self.build):
            self._lock_state()                     # else at the end of the subclass's own build, which called this one

    def _build_at_init(self):
        """Mark a layer without a `build` of its own as built, in its constructor."""
        if is_default(self.build):
            self.__dict__["built"] = True

    def _own_path(self):
        with self._name_scope():
            return naming.current_path()

    def _name_scope(self):
        """The scope in which the layer's variables are named; entered once although calls and builds nest."""
        return _LayerScope(self)

    def get_build_config(self):
        """Return what `build_from_config` needs to make the weights again: the shapes that `build` was given."""
        shapes = self._build_shapes
        if shapes is None:
            return None
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": shapes}

    def build_from_config(self, config):
        """Make the weights from `get_build_config`'s dict."""
        if config:
            if "input_shape" in config:
                self.build(config["input_shape"])
            elif "shapes_dict" in config:
                self.build(**config["shapes_dict"])

    def _maybe_build(self, arguments):
        """Build an unbuilt layer for a call's arguments; return whether the call itself still has to do it."""
        shapes = call_signature.shapes_of(arguments)
        if not is_default(self.build):
            self.build(**call_signature.shapes_for(self.build, shapes, arguments, type(self).__name__))
            return False
        if any(not layer.built for layer in self._layers):
            if engine.executing_eagerly() and not self._any_symbolic((), arguments):
                return True     # this very call builds the layers inside as it meets them
            try:
                self._abstract(self.call, (), arguments)
            except Exception as error:
                if not self._any_symbolic((), arguments):
                    return True     # the call that follows raises the user's own error, or succeeds
                warnings.warn(
                    f"Layer '{self.name}' looks like it has unbuilt state, but its call() could not be traced to "
                    "build it: try it on data first, or implement `build(self, input_shape)` and build every "
                    f"sublayer there. Exception encountered: ''{error}''", stacklevel=4)
        self._build_plainly(shapes)
        return False

    def _build_plainly(self, shapes):
        """Mark a layer without a `build` of its own as built."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Layer.build(self, next(iter(shapes.values()), None))

    # ---- making weights and losses

    def add_weight(self, *args, shape=None, initializer=None, dtype=None, trainable=True, autocast=True,
                   regularizer=None, constraint=None, aggregation="none", overwrite_with_gradient=False, name=None):
        """Make a variable that belongs to the layer.

        Args:
            shape: shape without unknown dimensions; () for a scalar.
            initializer: initial values; 'glorot_uniform' for float dtypes and 'zeros' for others by default.
            dtype: dtype; by default the layer's variable dtype.
            trainable: whether optimizers may change it.
            autocast: whether it is read in the compute dtype.
            regularizer: function of the weight whose value joins `losses`.
            constraint: function applied after each optimizer update.
            aggregation: how replicas combine it: 'none', 'mean', 'sum' or 'only_first_replica'.
            overwrite_with_gradient: whether the gradient replaces the value.
            name: its name; its path is the layer's path and this.

        Raises:
            ValueError: a string as the shape (a name passed first), or a shape with unknown dimensions.
        """
        self._check_super_called()
        if args:
            shape, initializer, dtype = _positional(args, shape, initializer, dtype)
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        if any(size is None for size in shape):
            raise ValueError(f"Shapes used to initialize variables must be fully-defined (no `None` dimensions). "
                             f"Received: shape={shape} for variable '{name}' of layer '{self.name}'.")
        dtype = self.variable_dtype if dtype is None else dtypes.name_of(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if "float" in dtype else "zeros"
        with engine.outside(), self._name_scope():
            variable = engine.KerasVariable(
                initializers.get(initializer), shape=shape, dtype=dtype, trainable=trainable, autocast=autocast,
                aggregation=aggregation, name=name)
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        self._track_variable(variable)
        return variable

    add_variable = add_weight

    def _track_variable(self, variable):
        tracking.track(self, variable)
        if not self.trainable:
            variable.trainable = False

    def _untrack_variable(self, variable):
        tracking.untrack(self, variable)

    def add_loss(self, loss, inputs=None):
        """Add scalar tensors to `losses` until the next call from outside; use it inside `call`.

        Args:
            loss: tensor or number, or a list of them.
            inputs: Keras 2's: what the loss depends on; without meaning here, as a loss counts for its call.
        """
        for x in nest.flatten(loss):
            if isinstance(x, (int, float, np.floating)):
                x = engine.convert_to_tensor(np.asarray(x, self.compute_dtype))
            if not is_tensor(x) or isinstance(x, KerasTensor):
                raise ValueError("`add_loss()` can only be called from inside `build()` or `call()`, on a tensor "
                                 f"input. Received invalid value: {x}")
            self._note_loss(x)

    @property
    def _tracker(self):
        return tracking.Lock(self)

    def add_metric(self, *args, **kwargs):
        """Refuse: Keras 3 has no add_metric."""
        raise NotImplementedError(
            "Layer `add_metric()` method is deprecated. Add your metric in `Model.compile(metrics=[...])`, or make "
            "metric objects in __init__() and call `metric.update_state()` whenever necessary.")

    def quantize(self, mode=None, type_check=True, config=None):
        """Turn the weights into numbers of few bits; Dense, EinsumDense and Embedding can."""
        raise NotImplementedError(f"Layer '{self.name}' (of type '{type(self).__name__}') cannot be quantized "
                                  f"(mode={mode!r}): only Dense, EinsumDense and Embedding can, and not their "
                                  "subclasses.")

    @default
    def get_config(self):
        """Return what `from_config` needs to make the same layer without its weights."""
        self._check_super_called()
        config = {"name": self.name, "trainable": self.trainable,
                  "dtype": dtype_policy.serialize(self.dtype_policy)}
        if is_default(self.get_config) and not is_default(type(self).__init__):
            return self._config_from_arguments(config)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config):
        """Make a layer from `get_config`'s dict."""
        if isinstance(config.get("dtype"), dict):
            policy = dtype_policy.deserialize(config["dtype"])
            plain = policy.__class__ is dtype_policy.DTypePolicy
            config = {**config, "dtype": policy.name if plain else policy}
        return super().from_config(config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    __str__ = __repr__

    # ---- for the engine

    def _is_plain(self) -> bool:
        """Whether a call is nothing but a computation: our own classes all through, without losses or callables."""
        known = self.__dict__.get("_plain")
        if known is None or known[0] != STRUCTURE.epoch:
            known = self.__dict__["_plain"] = (STRUCTURE.epoch, self._find_plain())
        return known[1]

    def _find_plain(self):
        if self.__dict__.get("_symbolic_losses"):
            return False
        if not self._own_class or self.activity_regularizer is not None or type(self).__name__ == "Lambda":
            return False
        for name, value in self.__dict__.items():
            if callable(value) and not isinstance(value, type) and name != "_signature":
                module = getattr(value, "__module__", None) or type(value).__module__
                if not module.startswith("fitloom."):
                    return False
        return all(layer._is_plain() for layer in self._layers)


def _positional(args, shape, initializer, dtype):
    """Sort out add_weight's positional arguments: shape, initializer, dtype."""
    if isinstance(args[0], str):
        raise ValueError(f"`name` must be passed as a keyword argument. Received: add_weight('{args[0]}', ...). "
                         f"Use: add_weight(shape=..., name='{args[0]}').")
    if len(args) > 3:
        raise TypeError(f"add_weight() takes at most 3 positional arguments but {len(args)} were given.")
    found = []
    for name, given, position in (("shape", shape, 0), ("initializer", initializer, 1), ("dtype", dtype, 2)):
        if len(args) > position and given is not None:
            raise ValueError(f"`{name}` was passed both positionally and as a keyword argument.")
        found.append(args[position] if len(args) > position else given)
    return found


class _LayerScope:
    """Opens the names of the layer and of the layers around it that are not open yet."""

    __slots__ = ("layer", "opened")

    def __init__(self, layer):
        self.layer = layer

    def __enter__(self):
        self.opened = not (context.stack and context.stack[-1] is self.layer)
        if self.opened:
            context.stack.append(self.layer)
            names = naming.open_names()
            # a built layer called upon from outside keeps the path it was built with
            names.append(self.layer.name if names else self.layer.__dict__.get("_path") or self.layer.name)

    def __exit__(self, *_):
        if self.opened:
            context.stack.pop()
            naming.open_names().pop()

