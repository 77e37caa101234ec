# SPDX-License-Identifier: Apache-2.0
"""`tf.lookup.experimental`. Names only."""

from fitloom.ops.lookup_tables import DenseHashTable as DenseHashTable, MutableHashTable as MutableHashTable
