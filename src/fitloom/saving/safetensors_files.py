# SPDX-License-Identifier: Apache-2.0
"""safetensors files: a JSON table of names, dtypes, shapes and offsets, then the raw bytes.

Layout: the length of the table as u64, the table, the arrays without gaps. Nothing in such a file can run; the table
is checked against the size of the file before anything is allocated.

Source: github.com/huggingface/safetensors (the format).
"""
import json
import os

import ml_dtypes
import numpy as np

from fitloom.base.errors import DataLossError, NotFoundError
from fitloom.saving import atomic

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
          "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
          "U8": np.uint8, "BOOL": np.bool_, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
_LONGEST_TABLE = 100_000_000


def save_file(tensors, filename, metadata=None, previous=None):
    """Write arrays by name to a safetensors file, atomically.

    Args:
        tensors: dict of name -> array.
        filename: the file.
        metadata: dict of str -> str that is kept with them.
        previous: path that keeps what was in the file before.

    Raises:
        TypeError: an array's dtype that the format does not have.
        OSError: the file cannot be written; what was there is untouched.

    Example:
        >>> import tempfile, numpy as np
        >>> path = tempfile.mkdtemp() + "/x.safetensors"
        >>> save_file({"x": np.arange(3)}, path)
        >>> load_file(path)["x"].tolist()
        [0, 1, 2]
    """
    arrays = {str(name): np.asarray(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise TypeError(f"safetensors files cannot hold '{name}' of dtype {array.dtype}. Cast it first.")
    # wide items first: then every array is aligned, without gaps
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    table, at = {}, 0
    if metadata:
        table["__metadata__"] = {str(key): str(value) for key, value in metadata.items()}
    for name in order:
        array = arrays[name]
        table[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape),
                       "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic.replacing(filename, previous) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(_bytes_of(arrays[name]))


def _bytes_of(array):
    array = np.ascontiguousarray(array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else b""


def load_file(filename):
    """Return the arrays of a safetensors file by name.

    Raises:
        NotFoundError: no such file.
        DataLossError: it is damaged, or no safetensors file.
    """
    return open_file(filename)[0]


def open_file(filename):
    """Return (arrays by name, metadata) of a safetensors file; the errors are those of `load_file`."""
    filename = os.fspath(filename)
    if not os.path.exists(filename):
        raise NotFoundError(f"There is no file '{filename}'.")
    with open(filename, "rb") as file:
        table, start = _read_table(file, filename)
        metadata = table.pop("__metadata__", {})
        arrays = {}
        for name, entry in table.items():
            dtype, shape, begin, _ = _checked(entry, name, filename)
            file.seek(start + begin)
            count = int(np.prod(shape, dtype=object))
            flat = np.empty(count, dtype)
            if flat.nbytes and file.readinto(memoryview(flat.view(np.uint8))) != flat.nbytes:
                raise _damaged(filename, f"'{name}' is cut off")
            arrays[name] = flat.reshape(shape)
    return arrays, metadata


def _read_table(file, filename):
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _LONGEST_TABLE):
        raise _damaged(filename, "its table is longer than the file")
    try:
        table = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(filename, f"its table cannot be read ({type(error).__name__})") from None
    if not isinstance(table, dict) or not isinstance(table.get("__metadata__", {}), dict):
        raise _damaged(filename, "its table is not a table")
    spans = sorted(_checked(entry, name, filename)[2:] for name, entry in table.items() if name != "__metadata__")
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise _damaged(filename, "its arrays overlap or leave gaps")
        end = stop
    if 8 + length + end != size:
        raise _damaged(filename, f"it has {size} bytes where {8 + length + end} are due")
    return table, 8 + length


def _without_duplicates(pairs):
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _checked(entry, name, filename):
    """Return (dtype, shape, begin, end) of a table's entry."""
    try:
        dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        if whole and end - begin == int(np.prod(shape, dtype=object)) * dtype.itemsize:
            return dtype, tuple(shape), begin, end
    except (KeyError, TypeError, ValueError):
        pass
    raise _damaged(filename, f"the entry of '{name}' makes no sense")


def _damaged(filename, why):
    return DataLossError(f"The file '{filename}' is damaged, or no safetensors file: {why}.")
