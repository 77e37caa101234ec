# SPDX-License-Identifier: Apache-2.0
"""Comma-separated values and columnar files: `CsvDataset`, `make_csv_dataset`, `tf.io.decode_csv`, Parquet."""
import csv
import io

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import files, structure
from fitloom.data.dataset import Dataset
from fitloom.data.function import HostFunction
from fitloom.data.plan import END, UNKNOWN, Flow, Node
from fitloom.data.records import compression_of, opened
from fitloom.data.structure import TensorSpec
from fitloom.data.transforms import Map


class Column:
    """How one column is read: its dtype, and the value of an empty field (None: there must be one)."""

    def __init__(self, default):
        if isinstance(default, (dtypes.DType, type)) or (isinstance(default, str) and default in (
                "float32", "float64", "int32", "int64", "string")):
            self.dtype, self.default = dtypes.as_dtype(default), None
        else:
            array = structure.to_numpy(default)
            if array.ndim > 1 or array.size > 1:
                raise ValueError(f"A CSV column's default must be a dtype or one value, but is {default!r}.")
            self.dtype = dtypes.as_dtype(array.dtype)
            self.default = None if array.size == 0 else array.reshape(())[()]
        if self.dtype.name not in ("float32", "float64", "int32", "int64", "string"):
            raise ValueError(f"CSV columns are float32, float64, int32, int64 or string, but {self.dtype.name} was "
                             "asked for.")
        self.numpy = self.dtype.numpy_dtype

    def read(self, field, where):
        """Return a field's value."""
        if field == "" and self.default is not None:
            return self.default
        try:
            if self.dtype.name == "string":
                if field == "" and self.default is None:
                    raise ValueError("it is empty and the column has no default")
                return field.encode()
            if field == "":
                raise ValueError("it is empty and the column has no default")
            return self.numpy.type(float(field) if self.numpy.kind == "f" else int(field))
        except (ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"{where} holds {field!r}, which is no {self.dtype.name} ({error}).") from None

    def array(self, value):
        """Return a value as a component."""
        if self.numpy != structure.STRING:
            return self.numpy.type(value)
        component = np.empty((), object)
        component[()] = value
        return component


class Csv(Node):
    """Rows of CSV files."""

    name = "CsvDataset"

    def __init__(self, paths, columns, names, chosen, compression, header, delimiter, quoted, na, encoding="utf-8"):
        super().__init__()
        self.paths, self.columns, self.names, self.chosen = paths, columns, names, chosen
        self.compression, self.header, self.delimiter = compression, header, delimiter
        self.quoted, self.na, self.encoding = quoted, na, encoding

    def attributes(self):
        return len(self.paths), len(self.columns)

    def element_spec(self, peek=True):
        specs = [TensorSpec((), c.dtype) for c in self.columns]
        return tuple(specs) if self.names is None else structure.pack(dict.fromkeys(self.names), self._sorted(specs))

    def _sorted(self, values):
        return [values[self.names.index(key)] for key in sorted(self.names)]

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return CsvFlow(self)


class CsvFlow(Flow):
    """A running reader. Its position is (file, row): quoted fields may span lines, so rows are counted."""

    def __init__(self, node):
        self.node, self.index, self.row, self.file, self.reader = node, 0, 0, None, None

    def _open(self):
        node = self.node
        self.file = io.TextIOWrapper(opened(node.paths[self.index], node.compression), node.encoding, newline="")
        quoting = csv.QUOTE_MINIMAL if node.quoted else csv.QUOTE_NONE
        self.reader = csv.reader(self.file, delimiter=node.delimiter, quoting=quoting)
        if node.header:
            next(self.reader, None)

    def _fields(self):
        while self.index < len(self.node.paths):
            if self.reader is None:
                self._open()
            for fields in self.reader:
                if fields:
                    self.row += 1
                    return fields
            self.file.close()
            self.reader = None
            self.index, self.row = self.index + 1, 0
        return None

    def pull(self):
        node, fields = self.node, self._fields()
        if fields is None:
            return END
        where = f"Row {self.row} of '{node.paths[self.index]}'"
        if node.chosen is None and len(fields) != len(node.columns):
            raise InvalidArgumentError(f"{where} has {len(fields)} fields, but {len(node.columns)} columns were "
                                       "declared.")
        flat = []
        for number, column in enumerate(node.columns):
            position = number if node.chosen is None else node.chosen[number]
            if position >= len(fields):
                raise InvalidArgumentError(f"{where} has {len(fields)} fields, but column {position} was asked for.")
            field = fields[position]
            if field == node.na:
                field = ""
            flat.append(column.array(column.read(field, f"{where}, column {position},")))
        return tuple(flat if node.names is None else node._sorted(flat))

    def skip(self, count):
        for skipped in range(count):
            if self._fields() is None:
                return skipped
        return count

    def state(self):
        return self.index, self.row

    def restore(self, state):
        self.index, row = state
        self.row = 0
        for _ in range(row):
            self._fields()

    def close(self):
        if self.file is not None:
            self.file.close()


class CsvDataset(Dataset):
    """The rows of CSV files as tuples of scalars: `tf.data.experimental.CsvDataset`.

    Args:
        filenames: names of files.
        record_defaults: for each column a dtype (a value must be there) or the value of an empty field.
        header: leave out each file's first line.
        na_value: text that stands for an empty field.
        select_cols: numbers of the columns to read, ascending.
        exclude_cols: numbers of the columns not to read.
    """

    def __init__(self, filenames, record_defaults, compression_type=None, buffer_size=None, header=False,
                 field_delim=",", use_quote_delim=True, na_value="", select_cols=None, exclude_cols=None):
        columns = [Column(default) for default in record_defaults]
        chosen = None if select_cols is None else [int(c) for c in select_cols]
        if exclude_cols is not None:
            if chosen is not None:
                raise InvalidArgumentError("CsvDataset takes select_cols or exclude_cols, not both.")
            excluded = {int(c) for c in exclude_cols}
            chosen = [c for c in range(len(columns) + len(excluded)) if c not in excluded]
        if chosen is not None and len(chosen) != len(columns):
            raise InvalidArgumentError(f"CsvDataset received {len(chosen)} select_cols and {len(columns)} "
                                       "record_defaults; their numbers must agree.")
        super().__init__(Csv(files.names_of(filenames), columns, None, chosen,
                             compression_of(compression_type, "CsvDataset"), header, field_delim, use_quote_delim,
                             na_value))


def decode_csv(records, record_defaults, field_delim=",", use_quote_delim=True, na_value="", select_cols=None,
               name=None):
    """Read lines of CSV into one tensor a column: `tf.io.decode_csv`."""
    array, columns = structure.to_numpy(records), [Column(default) for default in record_defaults]
    quoting = csv.QUOTE_MINIMAL if use_quote_delim else csv.QUOTE_NONE
    found: list = [[] for _ in columns]
    lines = [item.decode() for item in array.reshape(-1)]
    for row, line in enumerate(lines):
        fields = next(csv.reader([line], delimiter=field_delim, quoting=quoting))
        positions = range(len(columns)) if select_cols is None else select_cols
        if select_cols is None and len(fields) != len(columns):
            raise InvalidArgumentError(f"Record {row} has {len(fields)} fields, but {len(columns)} columns were "
                                       "declared.")
        for values, column, position in zip(found, columns, positions):
            field = "" if fields[position] == na_value else fields[position]
            values.append(column.read(field, f"Record {row}, column {position},"))
    results = []
    for values, column in zip(found, columns):
        out = np.empty(len(values), column.numpy)
        out[:] = values
        results.append(engine.Tensor(out.reshape(array.shape)))
    return results


def _infer(values):
    """Return the dtype that TensorFlow infers for a column: the narrowest of these that takes every value."""
    for name, read in (("int32", int), ("int64", int), ("float32", float), ("float64", float)):
        try:
            found = [read(v) for v in values if v != ""]
        except ValueError:
            continue
        if name == "int32" and any(abs(v) >= 2**31 for v in found):
            continue
        if not found:
            return dtypes.as_dtype("string")
        return dtypes.as_dtype(name)
    return dtypes.as_dtype("string")


def make_csv_dataset(file_pattern, batch_size, column_names=None, column_defaults=None, label_name=None,
                     select_columns=None, field_delim=",", use_quote_delim=True, na_value="", header=True,
                     num_epochs=None, shuffle=True, shuffle_buffer_size=10000, shuffle_seed=None,
                     prefetch_buffer_size=None, num_parallel_reads=None, sloppy=False, num_rows_for_inference=100,
                     compression_type=None, ignore_errors=False, encoding="utf-8"):
    """Make a dataset of batches of CSV columns: dicts, or (dict, label): `tf.data.experimental.make_csv_dataset`.

    Args:
        file_pattern: files, or patterns of files; they need the same columns.
        column_names: read from the header if None.
        column_defaults: dtypes or values for empty fields; inferred from `num_rows_for_inference` rows if None.
        label_name: the column to give as the label.
        select_columns: names or numbers of the columns to read.
        num_epochs: how often to go through the data; None: for ever.
    """
    paths = [name.decode() for name in files.matching(file_pattern)]
    if not paths:
        raise files.nothing_matches(file_pattern)
    compression = compression_of(compression_type, "make_csv_dataset")
    quoting = csv.QUOTE_MINIMAL if use_quote_delim else csv.QUOTE_NONE
    with io.TextIOWrapper(opened(paths[0], compression), encoding, newline="") as file:
        rows = csv.reader(file, delimiter=field_delim, quoting=quoting)
        first = next(rows) if header else None
        sample = [row for row, _ in zip(rows, range(num_rows_for_inference))]
    if column_names is None:
        if not header:
            raise ValueError("make_csv_dataset needs column_names for files without a header.")
        column_names = first
    column_names = list(column_names)
    if len(set(column_names)) != len(column_names):
        raise ValueError(f"make_csv_dataset needs column names that differ, but received {column_names}.")
    chosen = list(range(len(column_names)))
    if select_columns is not None:
        chosen = sorted(column_names.index(c) if isinstance(c, str) else int(c) for c in select_columns)
    names = [column_names[c] for c in chosen]
    if label_name is not None and label_name not in names:
        from fitloom.base.errors import unknown_name
        raise unknown_name("label_name", label_name, names)
    if column_defaults is None:
        text = [["" if row[c] == na_value else row[c] for row in sample if c < len(row)] for c in chosen]
        kinds = [_infer(values) for values in text]
        column_defaults = [b"" if k.name == "string" else k.numpy_dtype.type(0) for k in kinds]
    elif len(column_defaults) == len(column_names) != len(chosen):
        column_defaults = [column_defaults[c] for c in chosen]
    columns = [Column(default) for default in column_defaults]
    dataset = Dataset(Csv(paths, columns, names, chosen, compression, header, field_delim, use_quote_delim, na_value,
                          encoding))
    if ignore_errors:
        dataset = dataset.ignore_errors()
    if shuffle:
        dataset = dataset.shuffle(shuffle_buffer_size, shuffle_seed)
    if num_epochs != 1:
        dataset = dataset.repeat(num_epochs)
    dataset = dataset.batch(batch_size, drop_remainder=num_epochs is None)
    keys = sorted(names)
    label = None if label_name is None else keys.index(label_name)
    spec = {key: TensorSpec((batch_size if num_epochs is None else None,), columns[names.index(key)].dtype)
            for key in names}
    if label is not None:
        spec = ({key: s for key, s in spec.items() if key != label_name}, spec[label_name])

    def arrange(*flat):
        return flat if label is None else (*flat[:label], *flat[label + 1:], flat[label])

    dataset = dataset._with(Map(dataset._node, HostFunction(arrange, "map", dict.fromkeys(names), spec)))
    return dataset.prefetch(1 if prefetch_buffer_size is None else prefetch_buffer_size)


class Columns(Node):
    """Rows of Parquet or Arrow files, read a row group at a time."""

    name = "columns"

    def __init__(self, paths, columns, batch_size):
        super().__init__()
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise ImportError("Reading Parquet files needs pyarrow: pip install pyarrow") from None
        self.files = [parquet.ParquetFile(path, memory_map=True) for path in paths]
        schema = self.files[0].schema_arrow
        self.columns = list(columns) if columns is not None else schema.names
        self.batch_size, kinds = batch_size, [schema.field(name).type.to_pandas_dtype() for name in self.columns]
        self.specs = {name: TensorSpec((None,), dtypes.as_dtype(kind)) for name, kind in zip(self.columns, kinds)}
        self.groups = [(f, g) for f in self.files for g in range(f.num_row_groups)]

    def element_spec(self, peek=True):
        return self.specs

    def cardinality(self):
        return len(self.groups)

    def flow(self, run):
        from fitloom.data.sources import IndexedFlow

        def get(number):
            file, group = self.groups[number]
            table = file.read_row_group(group, columns=self.columns)
            return tuple([structure.to_numpy(table.column(name).to_numpy()) for name in sorted(self.columns)])
        return IndexedFlow(len(self.groups), get)


def parquet_dataset(paths, columns=None):
    """Make a dataset of the rows of Parquet files as dicts of scalars (needs pyarrow).

    Args:
        paths: names or patterns of files.
        columns: names of the columns to read; None: all.

    Only one row group is in memory at a time.
    """
    names = [name.decode() for name in files.matching(paths)]
    if not names:
        raise files.nothing_matches(paths)
    return Dataset(Columns(names, columns, None)).unbatch()
