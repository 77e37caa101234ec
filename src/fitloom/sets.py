# SPDX-License-Identifier: Apache-2.0
"""`tf.sets`: the last axis as sets. Names only."""

from fitloom.ops.sets import (
    difference as difference,
    intersection as intersection,
    size as size,
    union as union,
)
