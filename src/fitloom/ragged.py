# SPDX-License-Identifier: Apache-2.0
"""`tf.ragged`: rows of different lengths. Names only."""

from fitloom.ops.ragged import (
    boolean_mask as boolean_mask,
    constant as constant,
    range as range,
    stack as stack,
    map_flat_values as map_flat_values,
)
