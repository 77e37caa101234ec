# SPDX-License-Identifier: Apache-2.0
"""HDF5 files of weights: written with a digest of each array, read as data and nothing else.

A file may hold groups and plain arrays, reached by hard links. Links to elsewhere, external storage, virtual
datasets, references, named types and filters that need a plug-in are refused when the file is opened, before
anything is read; so is a file that declares more bytes than it can hold.
"""
import contextlib
import hashlib
import io
import math

import h5py
import numpy as np

from fitloom.base import dtypes
from fitloom.saving.hdf5_text import Texts
from fitloom.saving.seal import is_sealed, is_whole

DIGEST, SEALED = "fitloom_sha256", "fitloom_sealed"
_DEPTH = 200                        # of groups within groups; a model nested more deeply is none
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_KINDS = {h5py.h5t.INTEGER: "integer", h5py.h5t.FLOAT: "float", h5py.h5t.ENUM: "enumeration",
          h5py.h5t.OPAQUE: "opaque", h5py.h5t.BITFIELD: "bit field"}


class DamagedFileError(ValueError):
    """A model file that is truncated, altered, or holds what no model file may hold."""


# -- writing

class _Sink(io.RawIOBase):
    """A stream for the HDF5 library that never fails: the first error is kept, and what follows is dropped.

    The library cannot close a file whose writes fail, and crashes at exit instead.
    """

    def __init__(self, stream):
        self.stream, self.error = stream, None

    def _try(self, method, *args):
        if self.error is None:
            try:
                return getattr(self.stream, method)(*args)
            except OSError as error:
                self.error = error
        return None

    def write(self, data):
        self._try("write", data)
        return len(data)

    def readinto(self, buffer):
        return self._try("readinto", buffer) or len(buffer)

    def seek(self, offset, whence=0):
        return self._try("seek", offset, whence) or 0

    def tell(self):
        return self._try("tell") or 0

    def truncate(self, size=None):
        return self._try("truncate", size) or 0

    def flush(self):
        self._try("flush")


@contextlib.contextmanager
def writing(stream):
    """Yield an h5py.File that is written to a binary stream.

    Raises:
        OSError: what the stream raised first.
    """
    sink = _Sink(stream)
    with h5py.File(sink, "w") as file:
        yield file
    if sink.error is not None:
        raise sink.error


def put(group, name, value):
    """Write an array under a name, with its digest."""
    array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    data = group.create_dataset(name, data=array)
    if array.dtype.kind == "V":          # bfloat16 and its like are opaque bytes in HDF5
        data.attrs["dtype"] = array.dtype.name
    data.attrs[DIGEST] = np.bytes_(digest(array))


def digest(array) -> str:
    """Return the SHA-256 of an array's dtype, shape and bytes."""
    kind = f"V{array.dtype.itemsize}" if array.dtype.kind == "V" else array.dtype.name
    found = hashlib.sha256(f"{kind}{array.shape}".encode())
    array = np.ascontiguousarray(array)
    found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()


# -- reading

class Array:
    """An array in a file: what it is, before it is read."""

    def __init__(self, path, shape, dtype, declared):
        self.path, self.shape, self.dtype, self.declared_bytes = path, shape, dtype, declared

    def __str__(self):
        return f"{self.shape} {self.dtype.name}"


class Reader:
    """The arrays of an HDF5 file, by their path.

    Args:
        stream: binary stream; it stays open as long as the reader is used.
        label: how messages name the file.

    Raises:
        DamagedFileError: not an HDF5 file, damaged, or with anything but groups and plain arrays in it.
    """

    def __init__(self, stream, label):
        self.label = label
        self.file_bytes = stream.seek(0, io.SEEK_END)
        sealed = is_sealed(stream)
        self._altered = sealed and not is_whole(stream)
        stream.seek(0)
        try:
            self.file = h5py.File(stream, "r")
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise DamagedFileError(f"{label} is not a readable HDF5 file: {error}") from error
        self._texts = Texts(stream, self.file_bytes)
        self.arrays: dict = {}
        self._inside: dict = {}                  # path of a group -> {name: array}
        self.groups: dict = {"": self.file}      # path -> group
        try:
            self._scan()
            if not sealed and SEALED.encode() in _attribute_names(self.file.id):
                self._altered = self.file_bytes > _end_of_content(stream)
        except DamagedFileError:
            self.file.close()
            raise
        except Exception as error:        # the library raises many kinds for damaged structures
            self.file.close()
            raise DamagedFileError(f"{label} is damaged: {type(error).__name__}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def _refuse(self, path, what):
        raise DamagedFileError(f"{self.label}: '{path}' is {what}, which no model file needs. It was refused.")

    def _scan(self):
        root = self.file.id
        seen, stored, declared = {h5py.h5o.get_info(root).addr}, 0, 0
        pending = [("", root, 0)]
        while pending:
            path, group, depth = pending.pop()
            if depth > _DEPTH:
                self._refuse(path, f"a group more than {_DEPTH} levels deep")
            for raw in group:
                name = f"{path}/{raw.decode()}" if path else raw.decode()
                if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                    self._refuse(name, "a link to somewhere else (external or soft)")
                found = h5py.h5o.open(group, raw)
                if isinstance(found, h5py.h5d.DatasetID):
                    self.arrays[name], bytes_here = self._check(name, found)
                    self._inside.setdefault(path, {})[raw.decode()] = self.arrays[name]
                    stored, declared = stored + bytes_here, declared + self.arrays[name].declared_bytes
                elif isinstance(found, h5py.h5g.GroupID):
                    address = h5py.h5o.get_info(found).addr
                    if address in seen:
                        self._refuse(name, "a group that is linked twice")
                    seen.add(address)
                    self.groups[name] = h5py.Group(found)
                    pending.append((name, found, depth + 1))
                else:
                    self._refuse(name, "neither a group nor an array")
        if stored > self.file_bytes or declared > 20 * self.file_bytes + 2 ** 26:
            raise DamagedFileError(f"{self.label} declares {declared} bytes of arrays, more than its own size of "
                                   f"{self.file_bytes} bytes can hold. It was refused.")
        self.declared_bytes = declared

    def _check(self, path, data):
        """Return the Array and how many bytes of the file it takes."""
        kind = data.get_type()
        plan = data.get_create_plist()
        if kind.get_class() not in _KINDS:
            self._refuse(path, "neither numbers nor booleans (strings, references or compounds)")
        if plan.get_external_count():
            self._refuse(path, "an array stored in another file")
        layout = plan.get_layout()
        if layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            self._refuse(path, "a virtual dataset")
        if data.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            self._refuse(path, "an array without a shape")
        shape, dtype = data.shape, _numpy_type(kind)
        declared, stored = math.prod(shape) * dtype.itemsize, data.get_storage_size()
        if layout == h5py.h5d.CHUNKED:
            for index in range(plan.get_nfilters()):
                if plan.get_filter(index)[0] not in _FILTERS:
                    self._refuse(path, "an array with a filter other than gzip")
            chunk = math.prod(plan.get_chunk()) * dtype.itemsize
            if chunk > 2 ** 20 and chunk > 2 * declared:
                self._refuse(path, f"an array of {declared} bytes in chunks of {chunk} bytes")
        elif declared != stored:
            self._refuse(path, f"an array of {declared} bytes of which {stored} are in the file")
        return Array(path, shape, dtype, declared), stored

    def objects(self) -> dict:
        """Return {path of an object: the group of its variables}; files of Keras 2.13 call 'layers' otherwise."""
        found = {}
        for group in self.groups:
            if group == "vars" or group.endswith("/vars"):
                path = group[:-5] if group != "vars" else ""
                found[path.replace("_layer_checkpoint_dependencies", "layers")] = group
        return found

    def inside(self, group) -> dict:
        """Return {name: Array} of a group."""
        return self._inside.get(group, {})

    def array(self, path):
        """Return the checked array at a path.

        Raises:
            DamagedFileError: its bytes cannot be read, or do not have the digest written beside them.
        """
        expected = self.arrays[path]
        try:
            data = self.file[path]
            value = np.empty(expected.shape, data.dtype)
            data.read_direct(value) if value.size and value.ndim else value.__setitem__(..., data[()])
            stored = self._digest_of(data)
        except Exception as error:
            raise DamagedFileError(f"{self.label}: the array '{path}' cannot be read; the file is damaged "
                                   f"({error}).") from error
        value = value.view(expected.dtype) if value.dtype != expected.dtype else value
        if stored is not None and digest(value) != stored:
            raise DamagedFileError(f"{self.label}: the array '{path}' is damaged: its bytes do not have the SHA-256 "
                                   f"that was stored with them. (Changed on purpose? Remove its attribute '{DIGEST}'.)")
        return value

    def check_altered(self):
        """Raise DamagedFileError if bytes differ from those that were written, wherever they are."""
        if self._altered:
            raise DamagedFileError(f"{self.label} was altered or damaged after it was written: its check sum does not "
                                   "fit. Use another copy.")

    def text(self, group, name):
        """Return a string attribute of a group, or None."""
        found = self._strings(group, name)
        if found is None:
            return None
        if len(found) != 1:
            raise DamagedFileError(f"{self.label}: the attribute '{name}' of '{group}' is no single text.")
        return found[0]

    def names(self, group, name):
        """Return a list of strings in an attribute of a group, also one cut into numbered parts, or None."""
        found = self._strings(group, name)
        number = 0
        while found is None or number:
            part = self._strings(group, f"{name}{number}")
            if part is None:
                break
            found, number = (found or []) + part, number + 1
        return found

    def _strings(self, group, name):
        owner = self.groups[group].id
        try:
            if name.encode() not in _attribute_names(owner):
                return None
            attribute = h5py.h5a.open(owner, name.encode())
            kind, count = attribute.get_type(), math.prod(attribute.shape)
            if count == 0:
                return []
            if kind.get_class() != h5py.h5t.STRING or count * kind.get_size() > self.file_bytes:
                raise ValueError("it is no text, or longer than the file")
            if kind.is_variable_str():
                return self._texts.of(owner, name, count)
            value = self.groups[group].attrs[name]
            values = [value] if isinstance(value, (str, bytes)) else np.asarray(value).reshape(-1).tolist()
            return [x.decode() if isinstance(x, bytes) else x for x in values]
        except Exception as error:
            raise DamagedFileError(f"{self.label}: the attribute '{name}' of '{group or '/'}' cannot be read; the file "
                                   f"is damaged ({error}).") from error

    def _digest_of(self, data):
        if DIGEST.encode() not in _attribute_names(data.id):
            return None
        attribute = h5py.h5a.open(data.id, DIGEST.encode())
        kind = attribute.get_type()
        if kind.get_class() != h5py.h5t.STRING or kind.is_variable_str() or attribute.shape != () or \
                kind.get_size() > 100:
            raise ValueError(f"attribute '{DIGEST}' is no digest")
        return bytes(data.attrs[DIGEST]).decode()


def _attribute_names(object_id):
    return [h5py.h5a.open(object_id, index=i).name for i in range(h5py.h5a.get_num_attrs(object_id))]


def _end_of_content(stream):
    """Return where the HDF5 library says that its part of the file ends."""
    stream.seek(0)
    head = stream.read(48)
    start = 28 if head[8] >= 2 else 40
    return int.from_bytes(head[start:start + 8], "little")


def _numpy_type(kind):
    """Return the dtype of a dataset; opaque bytes are the float formats that HDF5 does not know."""
    if kind.get_class() == h5py.h5t.OPAQUE and kind.get_size() == 2:
        return dtypes.numpy_dtype("bfloat16")
    return kind.dtype
