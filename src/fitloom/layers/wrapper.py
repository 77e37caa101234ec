# SPDX-License-Identifier: Apache-2.0
"""`Wrapper`: the base of layers that hold another layer."""
from fitloom.base import serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.layer import Layer


class Wrapper(BuiltinLayer):
    """A layer around another one, `self.layer`, which it builds with its own input shape."""

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(f"Layer {layer!r} supplied to {type(self).__name__} isn't a supported layer type. Please "
                             f"ensure wrapped layer is a valid Keras layer. (Received type: {type(layer).__name__})")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape=None):
        """Build the layer inside."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.built = True

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "layer": serialization.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the wrapper and the layer inside."""
        config = dict(config)
        config["layer"] = serialization.deserialize_keras_object(config["layer"], custom_objects=custom_objects)
        return super().from_config(config)
