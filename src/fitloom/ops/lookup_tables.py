# SPDX-License-Identifier: Apache-2.0
"""`tf.lookup`: tables from keys to values, on the host."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import FailedPreconditionError, InvalidArgumentError
from fitloom.ops.calling import host_value
from fitloom.ops.fingerprints import fingerprint64


class KeyValueTensorInitializer:
    """The contents of a table: keys and values of the same length."""

    def __init__(self, keys, values, key_dtype=None, value_dtype=None, name=None):
        self.keys = engine.convert_to_tensor(keys, dtype=key_dtype)
        self.values = engine.convert_to_tensor(values, dtype=value_dtype)
        if self.keys.shape != self.values.shape:
            raise ValueError(f"Expected as many values as keys, but received {self.keys.shape} keys and "
                             f"{self.values.shape} values.")
        self.key_dtype, self.value_dtype = self.keys.dtype, self.values.dtype


class TextFileIndex:
    """What a text file's columns mean."""

    WHOLE_LINE, LINE_NUMBER = -2, -1


class TextFileInitializer(KeyValueTensorInitializer):
    """The contents of a table from the lines of a text file.

    Args:
        key_index, value_index: a column, or TextFileIndex.WHOLE_LINE or LINE_NUMBER.
    """

    def __init__(self, filename, key_dtype, key_index, value_dtype, value_index, vocab_size=None, delimiter="\t",
                 name=None, value_index_offset=0):
        with open(filename, "rb") as file:
            lines = file.read().splitlines()[:vocab_size]

        def column(index, dtype):
            if index == TextFileIndex.LINE_NUMBER:
                return np.arange(len(lines)) + value_index_offset
            parts = lines if index == TextFileIndex.WHOLE_LINE else [x.split(delimiter.encode())[index] for x in lines]
            if dtypes.as_dtype(dtype) is dtypes.string:
                return parts
            return np.asarray(parts).astype(dtypes.numpy_dtype(dtype))
        super().__init__(column(key_index, key_dtype), column(value_index, value_dtype), key_dtype, value_dtype)


class StaticHashTable:
    """A table that does not change.

    Example:
        >>> import fitloom as tf
        >>> table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), default_value=-1)
        >>> table.lookup(tf.constant(["b", "z"])).numpy().tolist()
        [2, -1]
    """

    def __init__(self, initializer, default_value, name=None, experimental_is_anonymous=False):
        self.key_dtype, self.value_dtype = initializer.key_dtype, initializer.value_dtype
        self.default_value = engine.convert_to_tensor(default_value, dtype=self.value_dtype)
        self._items = {}
        self._add(initializer.keys, initializer.values, replace=False)

    def _add(self, keys, values, replace=True):
        keys = host_value(engine.convert_to_tensor(keys, dtype=self.key_dtype), "a table's keys")
        values = host_value(engine.convert_to_tensor(values, dtype=self.value_dtype), "a table's values")
        rows = values.reshape(-1, *tuple(self.default_value.shape))
        for key, value in zip(keys.ravel().tolist(), rows, strict=True):
            if not replace and key in self._items and not np.array_equal(self._items[key], value):
                raise FailedPreconditionError(f"The table's key {key!r} has two values: {self._items[key]} and "
                                              f"{value}.")
            self._items[key] = value

    def export(self, name=None):
        """Return (keys, values)."""
        keys = np.empty(len(self._items), dtypes.numpy_dtype(self.key_dtype))
        values = np.empty((len(self._items), *tuple(self.default_value.shape)), dtypes.numpy_dtype(self.value_dtype))
        keys[:] = list(self._items)
        values[:] = list(self._items.values()) or 0
        return engine.Tensor(keys), engine.Tensor(values)

    def size(self, name=None):
        """Return the number of entries."""
        return engine.Tensor(np.asarray(len(self._items), np.int64))

    def lookup(self, keys, name=None):
        """Return the value of each key, the default for unknown ones."""
        if hasattr(keys, "with_flat_values"):
            return keys.with_flat_values(self.lookup(keys.flat_values))
        if hasattr(keys, "dense_shape"):
            return keys.with_values(self.lookup(keys.values))
        array = host_value(engine.convert_to_tensor(keys), "a table's keys")
        if (array.dtype.kind == "O") != (self.key_dtype is dtypes.string):
            raise TypeError(f"The keys of this table are of dtype {self.key_dtype.name}, but values of dtype "
                            f"{dtypes.name_of(array.dtype)} were looked up.")
        default, shape = np.asarray(self.default_value)[()], tuple(self.default_value.shape)
        flat = [self._items.get(key, default) for key in array.ravel().tolist()]
        made = np.empty((len(flat), *shape), dtypes.numpy_dtype(self.value_dtype))
        if flat:
            made[:] = flat
        return engine.Tensor(made.reshape(array.shape + shape))

    __getitem__ = lookup


class MutableHashTable(StaticHashTable):
    """A table that grows by `insert` and shrinks by `remove`; a value has the shape of `default_value`."""

    def __init__(self, key_dtype, value_dtype, default_value, name="MutableHashTable", experimental_is_anonymous=False):
        self.key_dtype, self.value_dtype = dtypes.as_dtype(key_dtype), dtypes.as_dtype(value_dtype)
        self.default_value = engine.convert_to_tensor(default_value, dtype=self.value_dtype)
        self._items = {}

    def insert(self, keys, values, name=None):
        """Add entries, in the place of those with the same keys."""
        self._add(keys, values)

    def lookup(self, keys, dynamic_default_values=None, name=None):
        """Return the value of each key; for unknown ones the default, or their own of `dynamic_default_values`."""
        found = super().lookup(keys)
        if dynamic_default_values is None:
            return found
        known = np.asarray([key in self._items for key in host_value(engine.convert_to_tensor(keys)).ravel().tolist()])
        values, others = host_value(found), host_value(engine.convert_to_tensor(dynamic_default_values))
        width = tuple(self.default_value.shape)
        flat = np.where(known.reshape(-1, *[1] * len(width)), values.reshape(-1, *width),
                        np.broadcast_to(others, values.shape).reshape(-1, *width))
        return engine.Tensor(flat.reshape(values.shape))

    def remove(self, keys, name=None):
        """Take entries out."""
        for key in host_value(engine.convert_to_tensor(keys)).ravel().tolist():
            self._items.pop(key, None)


class DenseHashTable(MutableHashTable):
    """A mutable table; two keys, `empty_key` and `deleted_key`, are set aside and may not be inserted."""

    def __init__(self, key_dtype, value_dtype, default_value, empty_key, deleted_key, initial_num_buckets=None,
                 name="MutableDenseHashTable", checkpoint=True, experimental_is_anonymous=False):
        super().__init__(key_dtype, value_dtype, default_value)
        self._set_aside = [host_value(engine.convert_to_tensor(key, dtype=key_dtype)).item()
                           for key in (empty_key, deleted_key)]
        if self._set_aside[0] == self._set_aside[1]:
            raise ValueError(f"DenseHashTable expected different keys, but received {empty_key!r} for empty_key and "
                             "deleted_key.")

    def insert(self, keys, values, name=None):
        """Add entries."""
        wrong = set(host_value(engine.convert_to_tensor(keys)).ravel().tolist()) & set(self._set_aside)
        if wrong:
            raise InvalidArgumentError(f"DenseHashTable's empty_key and deleted_key cannot be inserted: {wrong}.")
        super().insert(keys, values)

    insert_or_assign = insert

    def erase(self, keys, name=None):
        """Take entries out."""
        self.remove(keys)


class StaticVocabularyTable:
    """A table from words to numbers; unknown words go to one of `num_oov_buckets` numbers after the last, by a hash."""

    def __init__(self, initializer, num_oov_buckets, lookup_key_dtype=None, name=None, experimental_is_anonymous=False):
        self._table = None if initializer is None else StaticHashTable(initializer, -1)
        self.num_oov_buckets = int(num_oov_buckets)

    def size(self, name=None):
        """Return the number of words and buckets."""
        known = 0 if self._table is None else int(self._table.size())
        return engine.Tensor(np.asarray(known + self.num_oov_buckets, np.int64))

    def _bucket(self, word):
        return fingerprint64(word if isinstance(word, bytes) else str(word).encode()) % self.num_oov_buckets

    def lookup(self, keys, name=None):
        """Return the number of each word."""
        array = host_value(engine.convert_to_tensor(keys), "a table's keys")
        items = {} if self._table is None else self._table._items
        flat = [items[k] if k in items else len(items) + self._bucket(k) for k in array.ravel().tolist()]
        return engine.Tensor(np.asarray(flat, np.int64).reshape(array.shape))

    __getitem__ = lookup
