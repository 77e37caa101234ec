# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.quantizers`."""
from fitloom.quantizers import AbsMaxQuantizer as AbsMaxQuantizer
from fitloom.quantizers import Float8QuantizationConfig as Float8QuantizationConfig
from fitloom.quantizers import Int4QuantizationConfig as Int4QuantizationConfig
from fitloom.quantizers import Int8QuantizationConfig as Int8QuantizationConfig
from fitloom.quantizers import QuantizationConfig as QuantizationConfig
from fitloom.quantizers import Quantizer as Quantizer
from fitloom.quantizers import abs_max_quantize as abs_max_quantize
from fitloom.quantizers import abs_max_quantize_grouped_with_zero_point as abs_max_quantize_grouped_with_zero_point
from fitloom.quantizers import compute_float8_amax_history as compute_float8_amax_history
from fitloom.quantizers import compute_float8_scale as compute_float8_scale
from fitloom.quantizers import deserialize as deserialize
from fitloom.quantizers import fake_quant_with_min_max_vars as fake_quant_with_min_max_vars
from fitloom.quantizers import get as get
from fitloom.quantizers import pack_int4 as pack_int4
from fitloom.quantizers import quantize_and_dequantize as quantize_and_dequantize
from fitloom.quantizers import serialize as serialize
from fitloom.quantizers import unpack_int4 as unpack_int4
