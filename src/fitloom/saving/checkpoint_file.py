# SPDX-License-Identifier: Apache-2.0
"""The file of a checkpoint: nested values with arrays, a SHA-256 for each array and for everything else.

It is a safetensors file: the arrays can be looked at with any tool that reads those. What is not an array stands as
JSON in its metadata. Writing is atomic; reading notices a single bit that differs.
"""
import hashlib
import json

import ml_dtypes
import numpy as np

from fitloom.base.errors import DataLossError, OpError
from fitloom.saving import safetensors_files

FORMAT = "fitloom-checkpoint-1"
# stored as bytes: dtypes that safetensors files do not have
_ODD = {np.dtype(dtype).name: np.dtype(dtype) for dtype in (
    np.complex64, np.complex128, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float8_e4m3b11fnuz,
    ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz)}


def write(path, state, previous=None, verify=False):
    """Write `state`, nested dicts, lists and tuples of arrays and plain values, to `path`, atomically.

    Args:
        path: the file.
        state: what to write; arrays may also be bytes objects of NumPy (strings).
        previous: path that keeps what was at `path` before.
        verify: read the new file again before it takes the place of the old one's predecessor.

    Raises:
        TypeError: a value that cannot be stored.
        OSError: the disk is full, the folder read-only; what was there before is untouched.
    """
    arrays, notes = {}, {}
    plain = json.dumps(_hide(state, arrays, notes, ""), allow_nan=True)
    sums = {name: hashlib.sha256(_view(array)).hexdigest() for name, array in arrays.items()}
    table = {name: [str(array.dtype), list(array.shape), sums[name]] for name, array in arrays.items()}
    metadata = {"format": FORMAT, "state": plain, "arrays": json.dumps({"sha256": sums, "notes": notes}),
                "digest": _digest(plain, notes, table)}
    safetensors_files.save_file(arrays, path, metadata, previous)
    if verify:
        read(path)


def read(path):
    """Return what `write` wrote.

    Raises:
        NotFoundError: no such file.
        DataLossError: the file is damaged: says which array.
    """
    arrays, metadata = safetensors_files.open_file(path)
    try:
        if metadata["format"] != FORMAT:
            raise ValueError("it was written by something else")
        about = json.loads(metadata["arrays"])
        sums, notes, plain = about["sha256"], about["notes"], metadata["state"]
        table = {}
        for name in sums:
            array = arrays[name]
            if hashlib.sha256(_view(array)).hexdigest() != sums[name]:
                raise ValueError(f"the array '{name}' differs from what was written")
            table[name] = [str(array.dtype), list(array.shape), sums[name]]
        if len(sums) != len(arrays) or metadata["digest"] != _digest(plain, notes, table):
            raise ValueError("its table differs from what was written")
        return _show(json.loads(plain), arrays, notes)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OpError):
            raise
        raise DataLossError(f"The checkpoint file '{path}' is damaged or no checkpoint: {error}.") from None


def _digest(plain, notes, table):
    return hashlib.sha256(json.dumps([FORMAT, plain, notes, table], sort_keys=True).encode()).hexdigest()


def _view(array):
    array = np.ascontiguousarray(array)
    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else b""


# -- values without arrays are JSON; what JSON does not have is marked

def _hide(value, arrays, notes, path):
    if isinstance(value, (np.ndarray, np.generic)):
        name = path or "value"
        while name in arrays:
            name += "_"
        arrays[name], note = _storable(np.asarray(value), name)
        if note:
            notes[name] = note
        return {"__array__": name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if type(value) is dict or hasattr(value, "items"):
        if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {key: _hide(child, arrays, notes, f"{path}/{key}" if path else key) for key, child in value.items()}
        return {"__dict__": [[_hide(key, arrays, notes, path), _hide(child, arrays, notes, f"{path}/{key}")]
                             for key, child in value.items()]}
    if isinstance(value, (list, tuple, set, frozenset)):
        children = [_hide(child, arrays, notes, f"{path}/{i}") for i, child in enumerate(value)]
        kind = "tuple" if isinstance(value, tuple) else "set" if isinstance(value, (set, frozenset)) else "list"
        return children if kind == "list" else {f"__{kind}__": children}
    if isinstance(value, bytes):
        return {"__bytes__": value.hex()}
    raise TypeError(f"A checkpoint cannot hold a {type(value).__name__} ('{path}'): give arrays, numbers, strings, "
                    "or lists and dicts of them.")


def _storable(array, name):
    """Return an array in a dtype that the file format has, and a note how to turn it back (None if it is as it was)."""
    if array.dtype.kind in "OSU":
        texts = [item.encode() if isinstance(item, str) else item for item in array.reshape(-1).tolist()]
        if not all(isinstance(item, bytes) for item in texts):
            raise TypeError(f"A checkpoint cannot hold '{name}': an array of Python objects.")
        lengths = np.array([len(item) for item in texts], np.int64)
        content = np.frombuffer(lengths.tobytes() + b"".join(texts), np.uint8)
        return content, ["strings", list(array.shape), array.dtype.kind == "U" or any(
            isinstance(item, str) for item in array.reshape(-1).tolist())]
    if array.dtype in safetensors_files._NAMES:
        return array, None
    if array.dtype.name not in _ODD:
        raise TypeError(f"A checkpoint cannot hold '{name}' of dtype {array.dtype}.")
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8), ["bytes", list(array.shape), array.dtype.name]


def _shown(array, note):
    if note is None:
        return array
    kind, shape, what = note
    if kind == "bytes":
        return array.view(_ODD[what]).reshape(shape)
    count, content = int(np.prod(shape, dtype=object)), array.tobytes()
    if 8 * count > len(content):
        raise ValueError("strings are missing")
    lengths = np.frombuffer(content[:8 * count], np.int64)
    found, at = np.empty(count, object), 8 * count
    for i, length in enumerate(lengths):
        text = content[at:at + length]
        found[i], at = text.decode() if what else text, at + int(length)
    return found.reshape(shape)


def _show(value, arrays, notes):
    if isinstance(value, list):
        return [_show(child, arrays, notes) for child in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (mark, content), = value.items()
        if mark == "__array__":
            return _shown(arrays[content], notes.get(content))
        if mark == "__bytes__":
            return bytes.fromhex(content)
        if mark == "__dict__":
            return {_show(key, arrays, notes): _show(child, arrays, notes) for key, child in content}
        if mark in ("__tuple__", "__set__"):
            children = [_show(child, arrays, notes) for child in content]
            return tuple(children) if mark == "__tuple__" else set(children)
    return {key: _show(child, arrays, notes) for key, child in value.items()}
