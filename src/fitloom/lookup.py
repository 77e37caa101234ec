# SPDX-License-Identifier: Apache-2.0
"""`tf.lookup`: tables from keys to values. Names only."""

from fitloom.ops.lookup_tables import (
    KeyValueTensorInitializer as KeyValueTensorInitializer,
    StaticHashTable as StaticHashTable,
    StaticVocabularyTable as StaticVocabularyTable,
    TextFileIndex as TextFileIndex,
    TextFileInitializer as TextFileInitializer,
)
from fitloom.ops import lookup_experimental as experimental
