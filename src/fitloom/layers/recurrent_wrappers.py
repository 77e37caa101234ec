# SPDX-License-Identifier: Apache-2.0
"""Bidirectional and TimeDistributed."""
from fitloom import ops
from fitloom.base import serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.layer import Layer
from fitloom.layers.wrapper import Wrapper


class Bidirectional(BuiltinLayer):
    """Run a recurrent layer forwards, a second one backwards, and merge their outputs.

    Args:
        layer: a recurrent layer (`go_backwards`, `return_sequences`, `return_state`, `stateful` are read from it).
        merge_mode: 'concat', 'sum', 'mul', 'ave', or None for a list of both outputs.
        weights: list of first weights.
        backward_layer: the second layer; by default made from the configuration of the first.

    Call arguments: as in RNN; `initial_state` is the list of forward states and then backward states.
    """

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError("Please initialize `Bidirectional` layer with a `keras.layers.Layer` instance. "
                             f"Received: {layer}")
        if backward_layer is not None and not isinstance(backward_layer, Layer):
            raise ValueError("`backward_layer` need to be a `keras.layers.Layer` instance. "
                             f"Received: {backward_layer}")
        if merge_mode not in ("sum", "mul", "ave", "concat", None):
            raise ValueError(f"Invalid merge mode. Received: {merge_mode}. Merge mode should be one of "
                             "{'sum', 'mul', 'ave', 'concat', None}")
        super().__init__(**kwargs)
        self.forward_layer = self._copy(layer, "forward_", layer.go_backwards)
        if backward_layer is None:
            self.backward_layer = self._copy(layer, "backward_", not layer.go_backwards)
        else:
            self.backward_layer = backward_layer
            for name in ("stateful", "return_sequences", "return_state"):
                if getattr(layer, name) != getattr(backward_layer, name):
                    raise ValueError(f"Forward layer and backward layer should have the same `{name}`.")
            if layer.go_backwards == backward_layer.go_backwards:
                raise ValueError("Forward layer and backward layer should have different `go_backwards` value.")
        if layer.return_sequences:
            # Else the last valid output would stand at masked steps of one direction and be merged into the other.
            for part in (self.forward_layer, self.backward_layer):
                part.zero_output_for_mask = True
        self.merge_mode = merge_mode
        self.stateful, self.return_state = layer.stateful, layer.return_state
        self.return_sequences = layer.return_sequences
        self._given_weights = weights
        self.supports_masking = True
        self.input_spec = layer.input_spec

    @staticmethod
    def _copy(layer, prefix, go_backwards):
        config = {**layer.get_config(), "go_backwards": go_backwards}
        config["name"] = prefix + config["name"].removeprefix(prefix)
        return type(layer).from_config(config)

    def build(self, sequences_shape, initial_state_shape=None):
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
        if self._given_weights is not None:
            self.set_weights(self._given_weights)

    @property
    def states(self):
        """The kept states of both layers, or None."""
        if self.forward_layer.states is None:
            return None
        return tuple(self.forward_layer.states) + tuple(self.backward_layer.states)

    def reset_state(self):
        """Set the kept states of stateful layers to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def call(self, sequences, initial_state=None, mask=None, training=None):
        """Return the merged outputs, and the states with `return_state`."""
        keywords = {"mask": mask, "training": training}
        first, second = dict(keywords), dict(keywords)
        if initial_state is not None:
            half = len(initial_state) // 2
            first["initial_state"], second["initial_state"] = initial_state[:half], initial_state[half:]
        forward = self.forward_layer(sequences, **first)
        backward = self.backward_layer(sequences, **second)
        states = ()
        if self.return_state:
            states = (*forward[1:], *backward[1:])
            forward, backward = forward[0], backward[0]
        if self.return_sequences:
            backward = ops.reverse(backward, [1])
        merged = self._merge(forward, backward)
        if not self.return_state:
            return merged
        return (*merged, *states) if self.merge_mode is None else (merged, *states)

    def _merge(self, forward, backward):
        if self.merge_mode == "concat":
            return ops.concat([forward, backward], axis=-1)
        if self.merge_mode == "sum":
            return forward + backward
        if self.merge_mode == "ave":
            return (forward + backward) / 2.0
        return forward * backward if self.merge_mode == "mul" else (forward, backward)

    def compute_mask(self, _, mask=None):
        """Return the inputs' mask for sequences, None else."""
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        output_mask = mask if self.return_sequences else None
        masks = [output_mask] * (1 if self.merge_mode else 2)
        if self.return_state:
            return [*masks, *[None] * (2 * len(self.forward_layer.state_size))]
        return masks if self.merge_mode is None else output_mask

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        """Return the shape of the output(s), and of the states with `return_state`."""
        shape = self.forward_layer.compute_output_shape(sequences_shape)
        states = ()
        if self.return_state:
            shape, states = shape[0], tuple(shape[1:])
        if self.merge_mode == "concat":
            shape = (*shape[:-1], shape[-1] * 2)
        outputs = (shape, shape) if self.merge_mode is None else (shape,)
        return (*outputs, *states, *states) if self.return_state or self.merge_mode is None else shape

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super(BuiltinLayer, self).get_config()
        return {**config, "merge_mode": self.merge_mode,
                "layer": serialization.serialize_keras_object(self.forward_layer),
                "backward_layer": serialization.serialize_keras_object(self.backward_layer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make both layers and the wrapper."""
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = serialization.deserialize_keras_object(config[name], custom_objects=custom_objects)
        return super().from_config(config)


class TimeDistributed(Wrapper):
    """Apply a layer to each step of `(batch, steps, ...)`: steps and batch are joined into one axis for it."""

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    @staticmethod
    def _step_shape(input_shape):
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) < 3:
            raise ValueError("`TimeDistributed` Layer should be passed an `input_shape` with at least 3 dimensions, "
                             f"received: {input_shape}")
        return (input_shape[0], *input_shape[2:])

    def build(self, input_shape):
        """Build the layer inside for one step."""
        super().build(self._step_shape(tuple(input_shape)))

    def call(self, inputs, training=None, mask=None):
        """Return the layer's outputs for all steps."""
        batch, steps = tuple(inputs.shape)[:2]
        if mask is not None and (len(mask.shape) < 2 or mask.shape[0] not in (batch, None) or
                                 mask.shape[1] not in (steps, None)):
            raise ValueError(f"`TimeDistributed` Layer should be passed a `mask` of shape ({batch}, {steps}, ...), "
                             f"received: mask.shape={tuple(mask.shape)}")
        join = lambda x: ops.reshape(x, (batch * steps, *tuple(x.shape)[2:]))
        keywords = {}
        names = self.layer.call.__code__.co_varnames
        if "training" in names:
            keywords["training"] = training
        # A mask of whole steps says nothing that a layer of ours could use within one.
        if mask is not None and "mask" in names and (len(mask.shape) > 2 or not self.layer._own_class):
            keywords["mask"] = join(mask)
        outputs = self.layer(join(inputs), **keywords)
        return ops.reshape(outputs, (batch, steps, *tuple(outputs.shape)[1:]))

    def compute_output_shape(self, input_shape):
        """Return the layer's output shape with the steps put back."""
        shape = self.layer.compute_output_shape(self._step_shape(tuple(input_shape)))
        return (shape[0], input_shape[1], *shape[1:])
