# SPDX-License-Identifier: Apache-2.0
"""Read the pickles some data sets are stored as, without letting them run anything.

CIFAR's batches and the ragged arrays of IMDB and Reuters are pickles. Unpickling calls whatever the file names, so
here the file's few names stand for inert records, and NumPy sees only what was checked.
"""

import io
import math
import pickle
import zipfile

import numpy as np


class _StoredDtype:
    """What a pickle says about a dtype: its code ('u1', 'O8'); byte order and flags are not looked at."""

    def __init__(self, code, *_):
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state):
        pass


class _StoredArray:
    """What a pickle says about an array: shape, dtype, order of the elements, the elements."""

    state = None

    def __setstate__(self, state):
        self.state = state

    def array(self):
        """Build the array; raise ValueError if the record does not describe one of bytes or of lists."""
        _, shape, dtype, is_fortran, elements = self.state
        order = "F" if is_fortran else "C"
        if isinstance(elements, list) and dtype.code.startswith("O"):
            if len(elements) != math.prod(shape):
                raise ValueError(f"{len(elements)} elements for the shape {shape}")
            array = np.empty(len(elements), dtype=object)
            array[:] = elements
            return array.reshape(shape, order=order)
        if isinstance(elements, bytes) and dtype.code[:1] in "iuf":
            return np.frombuffer(elements, np.dtype(dtype.code)).reshape(shape, order=order).copy()
        raise ValueError(f"elements of type {type(elements).__name__} for the dtype '{dtype.code}'")


class _Marker:
    """Stands for the class `numpy.ndarray`, which pickles pass to `_reconstruct` and which nothing calls."""


def _reconstruct(*_):
    return _StoredArray()


_KNOWN = {("numpy", "dtype"): _StoredDtype, ("numpy", "ndarray"): _Marker} | {
    (f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")
}


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names '{module}.{name}'") from None

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it refers to data outside the file")


def read_pickle(file, name):
    """Read a pickle of plain values and arrays; `name` is what errors call it."""
    try:
        value = _Reader(file, encoding="bytes").load()
        return _with_arrays(value)
    except Exception as error:  # a hostile or damaged pickle can raise anything
        raise ValueError(
            f"'{name}' is not a data set that can be read: {error}. It is damaged or not what it says; delete it, "
            "and it is downloaded again."
        ) from error


def _with_arrays(value):
    if isinstance(value, _StoredArray):
        return value.array()
    if isinstance(value, dict):
        return {_text(key): _with_arrays(item) for key, item in value.items()}
    return value


def _text(key):
    return key.decode("utf-8") if isinstance(key, bytes) else key


def read_npz(path) -> dict:
    """Read every array of an `.npz`, ragged ones (dtype object) included, as `numpy.load` would."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                arrays[member.removesuffix(".npy")] = _read_npy(io.BytesIO(archive.read(member)), f"{path}:{member}")
    return arrays


def _read_npy(file, name):
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    _, _, dtype = header(file)
    if dtype.hasobject:
        return read_pickle(file, name)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
