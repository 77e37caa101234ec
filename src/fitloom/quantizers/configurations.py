# SPDX-License-Identifier: Apache-2.0
"""What `quantize(config=...)` takes: the mode and its quantizers."""
from fitloom.base import registry, serialization
from fitloom.quantizers.largest_magnitude import AbsMaxQuantizer

_NAMESPACE = "keras.quantizers"
MODES = ("int8", "float8", "int4", "gptq", "awq")


class QuantizationConfig:
    """A mode of quantization and its quantizers; subclasses say the mode.

    Args:
        weight_quantizer: for weights; None for the layer's own.
        activation_quantizer: for inputs; None leaves them as they are.
    """

    def __init__(self, weight_quantizer=None, activation_quantizer=None):
        self.weight_quantizer, self.activation_quantizer = weight_quantizer, activation_quantizer

    @property
    def mode(self):
        """The mode's name."""
        raise NotImplementedError("Subclasses must implement this property. Do not instantiate QuantizationConfig "
                                  "directly.")

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {name: serialization.serialize_keras_object(getattr(self, name))
                for name in ("weight_quantizer", "activation_quantizer")}

    @classmethod
    def from_config(cls, config):
        """Make a configuration from `get_config()`."""
        return cls(**{name: serialization.deserialize_keras_object(value) if "quantizer" in name else value
                      for name, value in config.items()})

    def _needs_int8(self):
        if self.weight_quantizer is not None and self.weight_quantizer.output_dtype != "int8":
            raise ValueError(f"{type(self).__name__} requires a weight_quantizer with output_dtype='int8'. Received: "
                             f"output_dtype={self.weight_quantizer.output_dtype}")


@registry.builtin(_NAMESPACE, "int8_quantization_config")
class Int8QuantizationConfig(QuantizationConfig):
    """Weights of eight bits, and by default inputs quantized along their last axis."""

    mode = "int8"

    def __init__(self, weight_quantizer=None, activation_quantizer="default"):
        super().__init__(weight_quantizer, AbsMaxQuantizer() if activation_quantizer == "default"
                         else activation_quantizer)
        self._needs_int8()


@registry.builtin(_NAMESPACE, "int4_quantization_config")
class Int4QuantizationConfig(QuantizationConfig):
    """Weights of four bits.

    Args:
        weight_quantizer, activation_quantizer: as in QuantizationConfig; only without groups.
        block_size: rows that share a scale; None or -1 for one scale a column.
    """

    mode = "int4"

    def __init__(self, weight_quantizer=None, activation_quantizer="default", block_size=128):
        super().__init__(weight_quantizer, None if activation_quantizer == "default" else activation_quantizer)
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise ValueError(f"block_size must be None, -1, or a positive integer. Received: block_size={block_size}")
        self.block_size = block_size
        grouped = block_size is not None and block_size > 0
        if grouped and (self.weight_quantizer is not None or self.activation_quantizer is not None):
            raise ValueError("Int4QuantizationConfig with block_size > 0 does not support custom quantizers: pass "
                             f"block_size=None, or no quantizers. Received: block_size={block_size}")
        if self.weight_quantizer is not None and tuple(self.weight_quantizer.value_range) != (-8, 7):
            raise ValueError("Int4QuantizationConfig requires a weight_quantizer with value_range=(-8, 7). Received: "
                             f"value_range={self.weight_quantizer.value_range}")
        self._needs_int8()

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "block_size": self.block_size}

    @classmethod
    def from_config(cls, config):
        """Make a configuration from `get_config()`."""
        return super().from_config({"block_size": None, **config})


@registry.builtin(_NAMESPACE, "float8_quantization_config")
class Float8QuantizationConfig(QuantizationConfig):
    """Training with floats of eight bits; takes no quantizers."""

    mode = "float8"

    def __init__(self):
        super().__init__()

    def get_config(self):
        """Return {}: there are no arguments."""
        return {}


def resolve(mode, config):
    """Return (mode, config) that `quantize` was called with, the missing one found from the other.

    Raises:
        ValueError: neither, an unknown mode, or two that differ.
    """
    if mode is None and config is None:
        raise ValueError("quantize() needs a mode or a config, such as quantize('int8').")
    if config is not None and not isinstance(config, QuantizationConfig):
        raise ValueError("Argument `config` must be a QuantizationConfig such as keras.quantizers."
                         f"Int8QuantizationConfig(). Received: {config!r}")
    if mode is None:
        mode = config.mode
    if mode not in MODES:
        raise ValueError(f"Invalid quantization mode. Expected one of {MODES}. Received: mode={mode}")
    if config is not None and config.mode != mode:
        raise ValueError(f"Contradictory arguments: mode='{mode}', but the config is for '{config.mode}'.")
    return mode, config
