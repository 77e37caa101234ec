# SPDX-License-Identifier: Apache-2.0
"""Lookup tables from datasets: `tf.data.experimental.table_from_dataset` and its kin."""
from fitloom.base import dtypes
from fitloom.ops.lookup_tables import KeyValueTensorInitializer, StaticHashTable, StaticVocabularyTable


class DatasetInitializer(KeyValueTensorInitializer):
    """The contents of a table: the (key, value) pairs of a dataset, read at once."""

    def __init__(self, dataset):
        pairs = list(dataset.as_numpy_iterator())
        if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("A table expected a dataset of (key, value) pairs, but received elements of another form.")
        key_spec, value_spec = dataset.element_spec
        super().__init__(*([pair[i] for pair in pairs] for i in (0, 1)), key_spec.dtype, value_spec.dtype)


def table_from_dataset(dataset=None, num_oov_buckets=0, vocab_size=None, default_value=None, hasher_spec=None,
                       key_dtype=dtypes.string, name=None):
    """Return a lookup table of the (key, value) pairs of a dataset.

    Args:
        num_oov_buckets: unknown keys go to so many numbers after the last; the values are then 0, 1, 2...
        default_value: the value of unknown keys, without such buckets: by default "" for text, else -1.
        vocab_size: only the first so many pairs count.
    """
    if hasher_spec is not None:
        raise NotImplementedError("table_from_dataset(hasher_spec=) is not supported: unknown keys are told apart by "
                                  "FarmHash, as by default.")
    if num_oov_buckets < 0 or num_oov_buckets and default_value is not None:
        raise ValueError("table_from_dataset takes num_oov_buckets > 0 or a default_value, not both.")
    found = DatasetInitializer(dataset if vocab_size is None else dataset.take(vocab_size))
    if found.key_dtype is not dtypes.as_dtype(key_dtype):
        raise TypeError(f"table_from_dataset expected keys of dtype {dtypes.as_dtype(key_dtype).name}, but received "
                        f"{found.key_dtype.name}. Give key_dtype.")
    if num_oov_buckets:
        if not found.value_dtype.is_integer:
            raise TypeError("table_from_dataset with num_oov_buckets expected whole numbers as values, but received "
                            f"{found.value_dtype.name}.")
        return StaticVocabularyTable(found, num_oov_buckets)
    if default_value is None:
        default_value = "" if found.value_dtype is dtypes.string else -1
    return StaticHashTable(found, default_value)


def index_table_from_dataset(dataset=None, num_oov_buckets=0, vocab_size=None, default_value=-1, hasher_spec=None,
                             key_dtype=dtypes.string, name=None):
    """Return a lookup table from the elements of a dataset to their positions."""
    words = dataset if vocab_size is None else dataset.take(vocab_size)
    numbered = words.enumerate().map(lambda number, word: (word, number))
    return table_from_dataset(numbered, num_oov_buckets, None, None if num_oov_buckets else default_value, hasher_spec,
                              key_dtype)
