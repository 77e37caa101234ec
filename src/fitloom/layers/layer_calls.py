# SPDX-License-Identifier: Apache-2.0
"""How a layer is called: arguments become tensors, masks and `training` travel, shapes are inferred."""
import warnings

from fitloom import engine, ops
from fitloom.base import dtypes, naming, nest, tracebacks
from fitloom.engine.context import CONTEXT, records
from fitloom.engine.tensor import Tensor
from fitloom.layers import call_signature, masks, recomputing, replay
from fitloom.layers.call_context import context
from fitloom.layers.call_signature import is_tensor
from fitloom.layers.input_spec import assert_input_compatibility
from fitloom.layers.layer_state import LayerState
from fitloom.ops.sparse import to_dense

KerasTensor = engine.KerasTensor
UNCHANGED = frozenset((bool, int, float, str, type(None)))


def default(method):
    """Mark a method of the base class, so that an override can be recognised."""
    method._is_default = True
    return method


def is_default(method) -> bool:
    """Whether a method is the base class's own."""
    return getattr(method, "_is_default", False)


class LayerCalls(LayerState):
    """The part of `Layer` that answers calls."""

    _recompute = None       # (RematScope, recomputed call) of a layer that was made in one

    def __call__(self, *args, **kwargs):
        if len(args) == 1 and records(CONTEXT.trace):
            try:
                outputs = replay.record(self, args[0], kwargs)
            except Exception as error:
                tracebacks.shorten(error)
                raise
            if outputs is not replay.NOT_RECORDED:
                return outputs
        state = self.__dict__
        signature = state.get("_signature") or self._read_signature()
        if len(args) > 1 and args[-1] is None and signature.names[:len(args)][-1:] == ["training"]:
            args = args[:-1]                                # handed on by position, and not known
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
        except Exception as error:
            tracebacks.shorten(error)
            raise
        finally:
            context.training = outer_training
            if shared is not None:
                context.shared = shared
            stack.pop()
            names.pop()

    def _first_call(self, signature, args, kwargs, explicit_training, first):
        """A call that also makes the weights."""
        arguments = signature.bind(args, kwargs)
        signature.check_complete(arguments, self._call_context_args)
        later = self._maybe_build(arguments)
        if self.input_spec is not None:
            self._check_input(self.input_spec, args, kwargs, first)
        if self.built and not later and len(args) == 1 and records(CONTEXT.trace):
            outputs = replay.record(self, first, kwargs if explicit_training is None
                                    else dict(kwargs, training=explicit_training))
            if outputs is not replay.NOT_RECORDED:
                return outputs
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
        call = self.call if self._recompute is None else recomputing.call_of(self, args)
        if autocast == CONTEXT.autocast:
            outputs = call(*args, **kwargs)
        else:
            with engine.autocast_scope(autocast):
                outputs = call(*args, **kwargs)
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
            if value.__class__ is Tensor or value.__class__ in UNCHANGED:
                continue
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
        if len(args) == 1 and args[0].__class__ is Tensor and \
                args[0].aval.dtype == dtypes.numpy_dtype(self.input_dtype):
            for value in kwargs.values():
                if value.__class__ not in UNCHANGED:
                    break
            else:
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
        return args, {name: value if value.__class__ in UNCHANGED else nest.map_structure(self._convert, value)
                      for name, value in kwargs.items()}

    def _convert(self, x):
        if x.__class__ in UNCHANGED or x.__class__ is KerasTensor:
            return x
        if not is_tensor(x):
            if hasattr(x, "dense_shape") and not self._allow_non_tensor_positional_args:
                x = to_dense(x)
            elif not hasattr(x, "__array__") or isinstance(x, type):
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
        if self.supports_masking:
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
        if type(self).call is LayerCalls.call:
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
