# SPDX-License-Identifier: Apache-2.0
"""`tf.ragged`: rows of different lengths. Names only."""

from fitloom.ops.ragged import (
    boolean_mask as boolean_mask,
    constant as constant,
    range as range,
    stack as stack,
    map_flat_values as map_flat_values,
    cross as cross,
    cross_hashed as cross_hashed,
    row_splits_to_segment_ids as row_splits_to_segment_ids,
    segment_ids_to_row_splits as segment_ids_to_row_splits,
    stack_dynamic_partitions as stack_dynamic_partitions,
)
