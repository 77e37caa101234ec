# SPDX-License-Identifier: Apache-2.0
"""`tf.quantization`: training that knows of quantization. Names only."""

from fitloom.ops.quantizing import (
    fake_quant_with_min_max_args as fake_quant_with_min_max_args,
    fake_quant_with_min_max_vars as fake_quant_with_min_max_vars,
    fake_quant_with_min_max_vars_per_channel as fake_quant_with_min_max_vars_per_channel,
)
