# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.quantizers`: numbers of few bits and the scales that belong to them."""
from fitloom.base import identifiers, serialization
from fitloom.quantizers.configurations import Float8QuantizationConfig as Float8QuantizationConfig
from fitloom.quantizers.configurations import Int4QuantizationConfig as Int4QuantizationConfig
from fitloom.quantizers.configurations import Int8QuantizationConfig as Int8QuantizationConfig
from fitloom.quantizers.configurations import QuantizationConfig as QuantizationConfig
from fitloom.quantizers.configurations import resolve as resolve
from fitloom.quantizers.eight_bit_floats import compute_float8_amax_history as compute_float8_amax_history
from fitloom.quantizers.eight_bit_floats import compute_float8_scale as compute_float8_scale
from fitloom.quantizers.eight_bit_floats import quantize_and_dequantize as quantize_and_dequantize
from fitloom.quantizers.four_bits import pack_int4 as pack_int4
from fitloom.quantizers.four_bits import unpack_int4 as unpack_int4
from fitloom.quantizers.largest_magnitude import AbsMaxQuantizer as AbsMaxQuantizer
from fitloom.quantizers.largest_magnitude import Quantizer as Quantizer
from fitloom.quantizers.largest_magnitude import abs_max_quantize as abs_max_quantize
from fitloom.quantizers.largest_magnitude import (
    abs_max_quantize_grouped_with_zero_point as abs_max_quantize_grouped_with_zero_point,
)
from fitloom.quantizers.rounding import fake_quant_with_min_max_vars as fake_quant_with_min_max_vars

_NAMESPACE = "keras.quantizers"


def get(identifier, **kwargs):
    """Return the quantizer for a name, configuration, class or callable; None stays None.

    Args:
        identifier: what stands for it.
        **kwargs: arguments of the constructor, where a name or class is given.
    """
    if kwargs and isinstance(identifier, str):
        identifier = type(identifiers.get("quantizer", identifier, _NAMESPACE))
    if kwargs and isinstance(identifier, type):
        return identifier(**kwargs)
    return identifiers.get("quantizer", identifier, _NAMESPACE)


def serialize(quantizer):
    """Return the quantizer as plain data."""
    return serialization.serialize_keras_object(quantizer)


def deserialize(config, custom_objects=None):
    """Return the quantizer that `serialize` (or a name) describes."""
    return identifiers.deserialize("quantizer", config, _NAMESPACE, custom_objects)
