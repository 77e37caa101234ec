# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.layers.Layer`: weights, a computation on tensors, and what both were made from."""
import functools
import inspect
import warnings

import numpy as np

from fitloom import constraints, engine, initializers, ops, regularizers
from fitloom.base import dtypes, naming, nest, registry
from fitloom.engine.context import CONTEXT, SETTINGS
from fitloom.layers import call_signature, dtype_policy, masks, replay, tracking
from fitloom.layers.call_context import STRUCTURE, context
from fitloom.layers.graph import Operation
from fitloom.layers.input_spec import assert_input_compatibility
from fitloom.layers.layer_state import LayerState

KerasTensor = engine.symbolic.KerasTensor
_UNCHANGED = (bool, int, float, str, type(None))


def default(method):
    """Mark a method of the base class, so that an override can be recognised."""
    method._is_default = True
    return method


def is_default(method) -> bool:
    """Whether a method is the base class's own."""
    return getattr(method, "_is_default", False)


def _guarded_build(build):
    """Wrap a class's `build`: it runs outside any trace, under the layer's name, and leaves the layer built."""
    if getattr(build, "_guarded", False):
        return build

    @functools.wraps(build)
    def guarded(self, *args, **kwargs):
        if self.__dict__.get("_building"):          # super().build() inside a subclass's build
            return build(self, *args, **kwargs)
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

    guarded._guarded = True
    return guarded


class Layer(LayerState, Operation):
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
            input_shape = tuple(batch_input_shape)[1:]
        if input_shape is not None:
            state["_input_shape_arg"] = tuple(input_shape) if not isinstance(input_shape, int) else (input_shape,)
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}")
        if not isinstance(trainable, bool):
            raise ValueError(f"Expected `trainable` to be a boolean. Received: trainable={trainable} "
                             f"(of type {type(trainable)})")
        state.update(
            _dtype_policy=dtype_policy.get(dtype), activity_regularizer=regularizers.get(activity_regularizer),
            autocast=autocast, built=False, _trainable=trainable, _losses=[], _input_spec=None, _path=None,
            _build_shapes=None, _called=False, supports_jit=True, _checked_aval=None, _autocast_dtype=False,
            _supports_masking=not is_default(self.compute_mask), _makes_masks=not is_default(self.compute_mask),
            _call_context_args=frozenset(("training",)),
            _convert_input_args=True, _allow_non_tensor_positional_args=False, _super_called=True)

    def _check_super_called(self):
        if "_super_called" not in self.__dict__:
            raise RuntimeError(f"In layer '{type(self).__name__}', you forgot to call `super().__init__()` as the "
                               "first statement in the `__init__()` method. Go add it!")

    # ---- attributes

    def __setattr__(self, name, value):
        state = self.__dict__
        if value.__class__ not in _UNCHANGED:
            if "_tracked_ids" not in state:
                tracking.start(self)
            value = tracking.track(self, value)
        if self._own_class and name[0] != "_" and state.get("built"):
            STRUCTURE.changed(self)
        super().__setattr__(name, value)

    def __delattr__(self, name):
        value = self.__dict__.get(name)
        if value is not None and "_tracked_ids" in self.__dict__:
            for item in nest.flatten(value):
                tracking.untrack(self, item)
        STRUCTURE.changed(self)
        super().__delattr__(name)

    def __getstate__(self):
        dropped = ("_replay", "_plain", "_collected", "_programs", "_checked_aval", "_signature")
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
        return self._path

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

    def _policy(self):
        policy = self._dtype_policy
        if isinstance(policy, dtype_policy.DTypePolicyMap) and self._path:
            return policy[self._path]
        return policy

    variable_dtype = property(lambda self: self._policy().variable_dtype, doc="The dtype of the weights.")
    compute_dtype = property(lambda self: self._policy().compute_dtype, doc="The dtype of the computation.")
    dtype = property(lambda self: self.variable_dtype, doc="The same as `variable_dtype`.")
    input_dtype = property(lambda self: self.compute_dtype, doc="The dtype to which float inputs are cast.")
    quantization_mode = property(lambda self: None, doc="None: quantization is not implemented.")

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
        if any(not layer.built for layer in self._layers):
            warnings.warn(
                f"`build()` was called on layer '{self.name}', however the layer does not have a `build()` method "
                "implemented and it looks like it has unbuilt state. This will cause the layer to be marked as "
                "built, despite not being actually built, which may cause failures down the line. Make sure to "
                "implement a proper `build()` method.", stacklevel=2)
        self.__dict__.update(_path=self._own_path(), _build_shapes={"input_shape": input_shape})
        self.built = True
        self._lock_state()

    def _build_at_init(self):
        """Mark a layer without a `build` of its own as built, at the end of its constructor."""
        if is_default(self.build):
            self.built = True
            self._lock_state()

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

    # ---- calling

    def __call__(self, *args, **kwargs):
        if len(args) == 1 and not (CONTEXT.trace.inline or CONTEXT.eager or SETTINGS.eager):
            outputs = replay.record(self, args[0], kwargs)
            if outputs is not replay.NOT_RECORDED:
                return outputs
        state = self.__dict__
        signature = state.get("_signature") or self._read_signature()
        if self._convert_input_args:
            args, kwargs = self._convert_arguments(args, kwargs)
        first = args[0] if args else next(iter(kwargs.values()), None)
        stack, names = context.stack, naming.open_names()
        if not stack and self._has_losses():
            self._clear_losses()
        explicit, outer_training = kwargs.pop("training", None), context.training
        training = explicit
        if training is None:
            training = outer_training if outer_training is not None else signature.training_default
        shared = self._push_shared(kwargs, signature) if len(self._call_context_args) > 1 or context.shared else None
        stack.append(self)
        names.append(self.name)
        context.training = training
        try:
            spec = self.input_spec
            if spec is not None:
                self._check_input(spec, args, kwargs, first)
            if not self.built:
                return self._first_call(signature, args, kwargs, explicit, first)
            if self._makes_masks or "mask" in kwargs or masks.any_in(args, kwargs):
                return self._masked_call(signature, args, kwargs, explicit)
            return self._run(signature, args, kwargs, explicit)
        finally:
            context.training = outer_training
            if shared is not None:
                context.shared = shared
            stack.pop()
            names.pop()

    def _first_call(self, signature, args, kwargs, explicit_training, first):
        """A call that also makes the weights."""
        arguments = signature.bind(args, kwargs)
        later = self._maybe_build(arguments)
        if self.input_spec is not None:
            self._check_input(self.input_spec, args, kwargs, first)
        run = self._masked_call if self._makes_masks or "mask" in kwargs or masks.any_in(args, kwargs) else self._run
        outputs = run(signature, args, kwargs, explicit_training)
        if later and not self.built:
            self._build_plainly(call_signature.shapes_of(arguments))
        return outputs

    def _run(self, signature, args, kwargs, explicit_training):
        """Compute the outputs, symbolically or for real, in the layer's precision."""
        if args and args[0].__class__ is KerasTensor or self._any_symbolic(args, kwargs):
            if explicit_training is not None:
                kwargs["training"] = explicit_training    # the graph keeps what the caller said, not what was inherited
            return self._symbolic_call(args, kwargs)
        if signature.has_training and (context.training is not None or signature.needs_training):
            kwargs["training"] = context.training
        autocast = self._autocast_dtype
        if autocast is False:
            autocast = self._find_autocast()
        if autocast == engine.current_autocast():
            outputs = self.call(*args, **kwargs)
        else:
            with engine.autocast_scope(autocast):
                outputs = self.call(*args, **kwargs)
        if self.activity_regularizer is not None:
            for x in nest.flatten(outputs):
                if is_tensor(x):
                    loss = self.activity_regularizer(x)
                    self.add_loss(loss / float(x.shape[0] or 1) if len(x.shape) else loss)
        return outputs

    def _find_autocast(self):
        """The dtype in which the call reads float variables; None reads them as they are."""
        dtype = self.compute_dtype
        casts = self.autocast and dtype != self.variable_dtype and dtypes.is_floating(dtype)
        found = self.__dict__["_autocast_dtype"] = dtype if casts else None
        return found

    @staticmethod
    def _any_symbolic(args, kwargs):
        for value in (*args, *kwargs.values()):
            if value.__class__ is KerasTensor or nest.is_nested(value) and any(
                    x.__class__ is KerasTensor for x in nest.flatten(value)):
                return True
        return False

    def _read_signature(self):
        self._check_super_called()
        found = call_signature.signature_of(self.call)
        self.__dict__.update(_signature=found, _called=True)
        return found

    def _convert_arguments(self, args, kwargs):
        """Turn arrays into tensors and cast floats to the compute dtype."""
        if len(args) == 1 and args[0].__class__ is engine.Tensor and \
                args[0].aval.dtype == dtypes.numpy_dtype(self.input_dtype):
            if all(value.__class__ in _UNCHANGED for value in kwargs.values()):
                return args, kwargs
        elif not self._allow_non_tensor_positional_args:
            args = nest.map_structure(self._convert, args)
            for x in nest.flatten(args):
                if x is not None and not is_tensor(x):
                    raise ValueError(
                        "Only input tensors may be passed as positional arguments. The following argument value "
                        f"should be passed as a keyword argument: {x!r} (of type {type(x)}). "
                        "(A list of numbers is not a tensor: use np.array or tf.constant.)")
        else:
            args = nest.map_structure(self._convert, args)
        return args, {name: value if value.__class__ in _UNCHANGED else nest.map_structure(self._convert, value)
                      for name, value in kwargs.items()}

    def _convert(self, x):
        if x.__class__ in _UNCHANGED or x.__class__ is KerasTensor:
            return x
        if not is_tensor(x):
            if not hasattr(x, "__array__") or isinstance(x, type):
                return x
            x = engine.convert_to_tensor(x)
        if not self.autocast:
            return x
        wanted = self.input_dtype
        if dtypes.name_of(x.dtype) != wanted and dtypes.is_floating(x.dtype) and dtypes.is_floating(wanted):
            mask = masks.get_mask(x)
            x = ops.cast(x, wanted)
            if mask is not None:
                masks.set_mask(x, mask)
        elif isinstance(x, engine.Variable):
            x = engine.convert_to_tensor(x)
        return x

    def _check_input(self, spec, args, kwargs, first):
        aval = getattr(first, "aval", None)
        if aval is not None and aval is self._checked_aval:
            return
        assert_input_compatibility(spec, first, layer_name=self.name)
        self.__dict__["_checked_aval"] = aval

    def _push_shared(self, kwargs, signature):
        """Hand registered arguments down to nested layers; return what was handed down before."""
        before = context.shared
        context.shared = dict(before)
        for name in self._call_context_args - {"training"}:
            value = kwargs.pop(name, None)
            value = before.get(name) if value is None else value
            if value is not None:
                context.shared[name] = value
                if name in signature.names:
                    kwargs[name] = value
        return before

    def _register_call_context_args(self, *names):
        """Make further arguments travel to nested layers as `training` does."""
        if self._called:
            raise RuntimeError("Cannot add call-context args after the layer has been called.")
        self._call_context_args = self._call_context_args | frozenset(names)

    def _masked_call(self, signature, args, kwargs, explicit_training):
        """A call among tensors that may have masks: find the arguments' masks, set the outputs'."""
        arguments = signature.bind(args, kwargs)
        tensors = call_signature.tensor_arguments(arguments)
        if len(tensors) == 1 and signature.has_mask and arguments.get("mask") is None:
            kwargs["mask"] = nest.map_structure(masks.get_mask, next(iter(tensors.values())))
        elif len(tensors) > 1:
            for name, value in tensors.items():
                if name + "_mask" in signature.mask_names and arguments.get(name + "_mask") is None:
                    kwargs[name + "_mask"] = nest.map_structure(masks.get_mask, value)
        first = arguments.get(signature.first)
        previous = kwargs.get("mask")
        if previous is None:
            previous = nest.map_structure(masks.get_mask, first)
        if not signature.has_mask and not signature.takes_anything:
            kwargs.pop("mask", None)
        outputs = self._run(signature, args, kwargs, explicit_training)
        if self._supports_masking:
            self._set_output_masks(first, outputs, previous)
        elif any(m is not None for m in nest.flatten(previous)):
            self._warn_of_lost_mask()
        return outputs

    def _set_output_masks(self, inputs, outputs, previous):
        outputs = nest.flatten(outputs)
        if all(masks.get_mask(x) is not None for x in outputs):
            return
        computed = self.compute_mask(inputs, previous)
        if computed is None:
            return
        for x, mask in zip(outputs, nest.flatten(computed)):
            if mask is not None and is_tensor(x) and masks.get_mask(x) is None:
                masks.set_mask(x, mask)

    def _warn_of_lost_mask(self):
        if not self.__dict__.get("_warned_of_mask"):
            self.__dict__["_warned_of_mask"] = True
            warnings.warn(f"Layer '{self.name}' (of type {type(self).__name__}) was passed an input with a mask "
                          "attached to it. However, this layer does not support masking and will therefore destroy "
                          "the mask information. Downstream layers will not see the mask.", stacklevel=5)

    @default
    def compute_mask(self, inputs, previous_mask):
        """Return the mask of the outputs; by default the mask of the inputs."""
        return previous_mask

    def call(self, *args, **kwargs):
        """Compute the outputs; every layer defines it."""
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call` method implemented.")

    # ---- symbolic calls and shapes

    def _symbolic_call(self, args, kwargs):
        given = kwargs
        if "training" in kwargs and not self._signature.has_training:
            given = {name: value for name, value in kwargs.items() if name != "training"}
        outputs = self.compute_output_spec(*nest.map_structure(self._cast_spec, args),
                                           **nest.map_structure(self._cast_spec, given))
        self._clear_losses()
        self._add_node(args, kwargs, outputs)
        return outputs

    def _cast_spec(self, x):
        """What a symbolic input is inside the call: a float is cast to the compute dtype."""
        if x.__class__ is not KerasTensor or not self.autocast or not self._convert_input_args:
            return x
        wanted = self.input_dtype
        if x.dtype == wanted or not dtypes.is_floating(x.dtype) or not dtypes.is_floating(wanted):
            return x
        return KerasTensor(x.shape, dtype=wanted)

    def _abstract(self, function, args, kwargs):
        with engine.autocast_scope(self._find_autocast()):
            return engine.abstract_call(function, args, kwargs)

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors (shape and dtype), for inputs given as KerasTensors."""
        if not is_default(self.compute_output_shape):
            arguments = (self.__dict__.get("_signature") or self._read_signature()).bind(args, kwargs)
            shapes = call_signature.shapes_for(self.compute_output_shape, call_signature.shapes_of(arguments),
                                               arguments, type(self).__name__)
            return call_signature.map_shapes(lambda shape: KerasTensor(shape, dtype=self.compute_dtype),
                                             self.compute_output_shape(**shapes))
        try:
            return self._abstract(self.call, args, kwargs)
        except Exception as error:
            error.add_note(
                f"This was raised while the output shape of layer '{self.name}' (of type {type(self).__name__}) was "
                f"inferred. Either its call() is incorrect, or it needs a compute_output_shape() method.")
            raise

    @default
    def compute_output_shape(self, *args, **kwargs):
        """Return the shape(s) of the outputs for input shape(s); by default `call` is evaluated abstractly."""
        if type(self).call is Layer.call:
            raise NotImplementedError(f"Layer {type(self).__name__} does not have a `compute_output_shape` method "
                                      "implemented.")

        def make(shape):
            return call_signature.map_shapes(lambda s: KerasTensor(s, dtype=self.compute_dtype), shape)
        kwargs = {name.removesuffix("_shape"): make(shape) for name, shape in kwargs.items()}
        if set(kwargs) == {"input"}:
            args, kwargs = (kwargs["input"],), {}
        else:
            args = tuple(make(shape) for shape in args)
        outputs = self._abstract(self.call, args, kwargs)
        return nest.map_structure(lambda x: tuple(x.shape), outputs)

    # ---- making weights and losses

    def add_weight(self, *args, shape=None, initializer=None, dtype=None, trainable=True, autocast=True, regularizer=None,
                   constraint=None, aggregation="none", overwrite_with_gradient=False, name=None):
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

    def add_loss(self, loss):
        """Add scalar tensors to `losses` until the next call from outside; use it inside `call`."""
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

    def quantize(self, mode=None, type_check=True, config=None, **_):
        """Refuse: quantization is not implemented."""
        raise NotImplementedError(f"Layer '{self.name}' cannot be quantized (mode={mode!r}): quantization is not "
                                  "implemented. Use a dtype policy such as 'mixed_bfloat16'.")

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


is_tensor = call_signature.is_tensor
