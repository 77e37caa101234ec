# SPDX-License-Identifier: Apache-2.0
"""A call of a built-in layer or model as ONE recorded instruction.

A layer is plain when it and all layers inside it are our own classes without losses from outputs and without callables
of the user's. Its call is then recorded through an engine Procedure in a few microseconds, whatever it computes. The
procedure lives as long as nothing inside the layer changed.
"""
import weakref

from fitloom import engine
from fitloom.base import nest
from fitloom.engine.context import CONTEXT
from fitloom.engine.tensor import Tensor
from fitloom.layers.call_context import STRUCTURE, context

NOT_RECORDED = object()


class Replay:
    """The procedure of one layer, and what the layer looked like when it was made."""

    __slots__ = ("epoch", "signature", "procedure", "training_default", "bound")

    def __init__(self, layer, signature):
        self.epoch, self.signature, self.procedure, self.bound = STRUCTURE.epoch, signature, None, {}
        if not layer.built or not layer._is_plain() or _feeds_an_output_from_another(layer):
            return
        call = layer.__dict__.get("_signature") or layer._read_signature()
        self.training_default = call.training_default
        reference = weakref.ref(layer)

        def body(*tensors, training, structure):
            inputs = tensors[0] if structure is None else nest.pack_sequence_as(structure.value, tensors)
            layer = reference()
            context.stack.append(None)                       # nested: losses of an earlier call are not cleared
            try:
                return layer(inputs) if training is None else layer(inputs, training=training)
            finally:
                context.stack.pop()

        engine.pack(layer.trainable_weights)
        engine.pack(layer.non_trainable_weights)
        self.procedure = engine.Procedure(body, f"{type(layer).__name__} '{layer.name}'")
        weakref.finalize(layer, self.procedure.forget)


def _feeds_an_output_from_another(layer):
    """Whether a model returns a tensor and what it computes from it: somebody may want the gradient between them."""
    graph = layer.__dict__.get("_graph")
    if graph is None or len(graph.outputs) < 2:
        return False
    outputs = {id(x) for x in graph.outputs}
    return any(id(x) in outputs for step in graph.steps for x in step.input_tensors)


class _Structure:
    """A nested structure of inputs as an attribute, equal by its outline."""

    __slots__ = ("value", "outline")

    def __init__(self, value):
        self.value = nest.map_structure(lambda _: None, value)
        self.outline = repr(self.value)

    def __hash__(self):
        return hash(self.outline)

    def __eq__(self, other):
        return other.__class__ is _Structure and other.outline == self.outline


def _signature(layer):
    return tuple([(id(each), each.__dict__.get("_version", 0)) for each in layer._flatten_layers()])


def _replay_of(layer):
    state = layer.__dict__
    layer._check_super_called()
    known = state.get("_replay")
    if known is not None and known.epoch == STRUCTURE.epoch:
        return known
    signature = _signature(layer)
    if known is not None and known.signature == signature:
        known.epoch = STRUCTURE.epoch
        return known
    if known is not None and known.procedure is not None:
        known.procedure.forget()
    made = Replay(layer, signature)
    state["_replay"] = made
    return made


def record(layer, inputs, kwargs):
    """Record `layer(inputs, **kwargs)`; return NOT_RECORDED where it must run as Python."""
    known = layer.__dict__.get("_replay")
    if known is None or known.epoch != STRUCTURE.epoch:
        known = _replay_of(layer)
    procedure = known.procedure
    if procedure is None:
        return NOT_RECORDED
    training = None
    if kwargs:
        if len(kwargs) != 1 or "training" not in kwargs:
            return NOT_RECORDED
        training = kwargs["training"]
    if training is None:
        training = context.training if context.training is not None else known.training_default
    if training is not None and training.__class__ is not bool or context.shared or CONTEXT.autocast is not None:
        return NOT_RECORDED
    if inputs.__class__ is Tensor:
        if inputs._keras_mask is not None or inputs.aval.dtype.hasobject:   # strings: on the host
            return NOT_RECORDED
        bound = known.bound.get(training)
        if bound is None:
            bound = known.bound[training] = procedure.bind((("structure", None), ("training", training)))
        outputs = bound.replay((inputs,))
        return bound.record((inputs,)) if outputs is engine.MISSED else outputs
    if not nest.is_nested(inputs):
        if not hasattr(inputs, "__array__") or isinstance(inputs, (engine.KerasTensor, type)) \
                or hasattr(inputs, "dense_shape"):
            return NOT_RECORDED
        inputs = engine.convert_to_tensor(inputs)
        if inputs.aval.dtype.hasobject:
            return NOT_RECORDED
        return procedure((inputs,), (("structure", None), ("training", training)))
    leaves = nest.flatten(inputs)
    if not all(x.__class__ is Tensor and x._keras_mask is None and not x.aval.dtype.hasobject for x in leaves):
        return NOT_RECORDED
    return procedure(leaves, (("structure", _Structure(inputs)), ("training", training)))
