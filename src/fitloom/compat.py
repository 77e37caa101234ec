# SPDX-License-Identifier: Apache-2.0
"""`tf.compat`: text conversions, and the few names of `tf.compat.v1` that TF 2 scripts still call. Names only."""

from fitloom.ops import compatibility_v1 as v1
from fitloom.ops.compatibility import (
    as_bytes as as_bytes,
    as_str as as_str,
    as_str_any as as_str_any,
    as_text as as_text,
    dimension_at_index as dimension_at_index,
    forward_compatible as forward_compatible,
    path_to_str as path_to_str,
)

v2 = v1  # both give the functions that exist here
