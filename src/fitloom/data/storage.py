# SPDX-License-Identifier: Apache-2.0
"""Elements in a file: what `cache(filename)`, `snapshot` and `save` write. A file is whole or absent.

Layout: magic, then one record an element (u32 length, u32 CRC-32 of the payload, payload), then a JSON footer with
the spec, the number of elements and the offset of each, the footer's u64 offset, and the magic again.
A payload holds for each component: u8 ndim, u64 a dimension, then the raw bytes; or for strings u64 lengths and bytes.
A ragged component is stored as its flat values and row splits, a sparse one as places, values and shape. Payloads may
be compressed with zlib; the footer says so.
"""
import json
import mmap
import os
import struct
import zlib

import numpy as np

from fitloom import ops
from fitloom.base import dtypes
from fitloom.base.errors import DataLossError, unknown_name
from fitloom.data import composite, structure
from fitloom.data.structure import TensorSpec

MAGIC = b"FITLOOM-ELEMENTS-1\n"
LEVELS = {None: 0, "": 0, "NONE": 0, "AUTO": 0, "SNAPPY": 1, "GZIP": 6}         # of zlib, for TensorFlow's names


def level(compression) -> int:
    """Return the zlib level of one of TensorFlow's names; 0: not compressed."""
    if compression not in LEVELS:
        raise unknown_name("compression", compression, [name for name in LEVELS if name])
    return LEVELS[compression]


def encode(flat) -> bytes:
    """Return the payload of one element."""
    parts = []
    for component in composite.parts(flat):
        if not isinstance(component, (np.ndarray, np.generic)):
            raise TypeError(f"Components of type {type(component).__name__} cannot be stored in a file.")
        array = np.asarray(component)
        parts.append(struct.pack(f"<B{array.ndim}Q", array.ndim, *array.shape))
        if array.dtype == structure.STRING:
            items = array.reshape(-1).tolist()
            parts.append(struct.pack(f"<{len(items)}Q", *map(len, items)))
            parts += items
        else:
            parts.append(np.ascontiguousarray(array).tobytes())
    return b"".join(parts)


def decode(payload, types):
    """Return the flat element of a payload."""
    flat, at = [], 0
    for dtype in types:
        ndim = payload[at]
        shape = struct.unpack_from(f"<{ndim}Q", payload, at + 1)
        at += 1 + 8 * ndim
        count = int(np.prod(shape, dtype=np.int64))
        if dtype == structure.STRING:
            lengths = struct.unpack_from(f"<{count}Q", payload, at)
            at += 8 * count
            array = np.empty(count, object)
            for position, length in enumerate(lengths):
                array[position] = bytes(payload[at:at + length])
                at += length
            flat.append(array.reshape(shape))
        else:
            size = count * dtype.itemsize
            flat.append(np.frombuffer(bytes(payload[at:at + size]), dtype).reshape(shape))
            at += size
    return tuple(flat)


class Writer:
    """Writes an elements file under a temporary name; `finish` puts it in its place."""

    def __init__(self, path, spec, compression=None):
        self.path, self.spec, self.level = os.fspath(path), spec, level(compression)
        folder = os.path.dirname(self.path) or "."
        os.makedirs(folder, exist_ok=True)
        self.temporary = f"{self.path}.{os.getpid()}-{id(self):x}.tmp"
        self.file, self.offsets = open(self.temporary, "wb"), []
        self.file.write(MAGIC)

    def write(self, flat):
        """Append one element."""
        payload = encode(flat)
        if self.level:
            payload = zlib.compress(payload, self.level)
        self.offsets.append(self.file.tell())
        self.file.write(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)

    def finish(self):
        """Write the footer and rename: from now on the file is there."""
        footer = json.dumps({"spec": spec_to_json(self.spec), "offsets": self.offsets,
                             "compressed": bool(self.level)}).encode()
        begin = self.file.tell()
        self.file.write(footer + struct.pack("<QI", begin, zlib.crc32(footer)) + MAGIC)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.temporary, self.path)
        sync_folder(self.path)

    def abandon(self):
        """Remove the unfinished file."""
        self.file.close()
        if os.path.exists(self.temporary):
            os.remove(self.temporary)


def sync_folder(path):
    """Make a rename durable."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Elements:
    """A finished elements file, mapped into memory: elements by number."""

    def __init__(self, path):
        self.path = os.fspath(path)
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 2 * len(MAGIC) + 12:
                raise self._damaged("it is too short")
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        tail = size - len(MAGIC) - 12
        if self.map[:len(MAGIC)] != MAGIC or self.map[size - len(MAGIC):] != MAGIC:
            raise self._damaged("it does not begin and end as an elements file does")
        begin, check = struct.unpack_from("<QI", self.map, tail)
        footer = self.map[begin:tail]
        if zlib.crc32(footer) != check:
            raise self._damaged("its footer fails the checksum")
        content = json.loads(footer)
        self.spec, self.offsets = spec_from_json(content["spec"]), content["offsets"]
        self.compressed = content.get("compressed", False)
        self.specs = structure.flatten(self.spec)
        self.types = [composite.part_types(s) for s in self.specs]

    def _damaged(self, why):
        return DataLossError(f"The file '{self.path}' is not a whole elements file: {why}. Delete it and run again.")

    def __len__(self):
        return len(self.offsets)

    def get(self, number):
        """Return one flat element."""
        offset = self.offsets[number]
        length, check = struct.unpack_from("<II", self.map, offset)
        payload = self.map[offset + 8:offset + 8 + length]
        if zlib.crc32(payload) != check:
            raise DataLossError(f"Element {number} at offset {offset} of '{self.path}' fails its checksum.")
        if self.compressed:
            payload = zlib.decompress(payload)
        found = iter(decode(payload, [dtype for types in self.types for dtype in types]))
        return tuple([composite.whole(spec, [next(found) for _ in types])
                      for spec, types in zip(self.specs, self.types)])


def spec_to_json(spec):
    """Return a structure of TensorSpecs as plain JSON values."""
    if isinstance(spec, (TensorSpec, ops.RaggedTensorSpec, ops.SparseTensorSpec)):
        shape = None if spec.shape.rank is None else spec.shape.as_list()
        if isinstance(spec, ops.RaggedTensorSpec):
            return {"ragged": [shape, spec.dtype.name, spec.ragged_rank, spec.row_splits_dtype.name]}
        return {"tensor" if isinstance(spec, TensorSpec) else "sparse": [shape, spec.dtype.name]}
    if isinstance(spec, dict):
        return {"dict": {key: spec_to_json(item) for key, item in spec.items()}}
    if isinstance(spec, tuple):
        return {"tuple": [spec_to_json(item) for item in spec]}
    raise TypeError(f"Elements with components of type {type(spec).__name__} cannot be stored in a file.")


def spec_from_json(value):
    """Return the structure of TensorSpecs that `spec_to_json` described."""
    (kind, content), = value.items()
    if kind == "tensor":
        return TensorSpec(content[0], dtypes.as_dtype(content[1]))
    if kind == "ragged":
        return ops.RaggedTensorSpec(*content)
    if kind == "sparse":
        return ops.SparseTensorSpec(*content)
    if kind == "dict":
        return {key: spec_from_json(item) for key, item in content.items()}
    return tuple(spec_from_json(item) for item in content)
