# SPDX-License-Identifier: Apache-2.0
"""Files of records: TFRecord, text lines, records of fixed length; reading as datasets and writing."""
import gzip
import io
import os
import struct
import zlib

import numpy as np

from fitloom.base.errors import DataLossError, InvalidArgumentError, NotFoundError
from fitloom.data import structure
from fitloom.data.checksum import crc32c, masked, masked_of_length
from fitloom.data.combining import Interleave
from fitloom.data.dataset import Dataset
from fitloom.data.files import names_of, text_of
from fitloom.data.function import Function
from fitloom.data.plan import END, UNKNOWN, Flow, Node
from fitloom.data.structure import TensorSpec
from fitloom.data.threads import AUTOTUNE

COMPRESSIONS = ("", "GZIP", "ZLIB")
MOST_BYTES = 1 << 40           # a longer record is damage that its checksum happened to miss


def compression_of(value, who) -> str:
    """Return a compression type as text."""
    text = "" if value is None else text_of(value)
    if text not in COMPRESSIONS:
        raise InvalidArgumentError(f"{who} takes compression_type '', 'GZIP' or 'ZLIB', but received '{text}'.")
    return text


def opened(path, compression):
    """Open a file for reading; what comes out is not compressed."""
    try:
        if compression == "GZIP":
            return gzip.open(path, "rb")
        if compression == "ZLIB":
            with open(path, "rb") as file:
                return io.BytesIO(zlib.decompress(file.read()))
        return open(path, "rb", buffering=1 << 18)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file '{path}'.") from None


class Records(Node):
    """Records of files, one file after the other."""

    def __init__(self, paths, compression):
        super().__init__()
        self.paths, self.compression = paths, compression

    def attributes(self):
        return tuple([os.path.basename(path) for path in self.paths])

    def element_spec(self, peek=True):
        return TensorSpec((), "string")

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return RecordsFlow(self)

    def read(self, file, path):
        """Return the next record of an open file as bytes, or None at its end."""
        raise NotImplementedError

    def opened(self, path):
        """Open one file, past what comes before its first record."""
        return opened(path, self.compression)


class RecordsFlow(Flow):
    """A place in a list of files: the file's number and the offset in it."""

    def __init__(self, node):
        self.node, self.index, self.file, self.offset = node, 0, None, None

    def pull(self):
        node = self.node
        while self.index < len(node.paths):
            if self.file is None:
                self.file = node.opened(node.paths[self.index])
                if self.offset is not None:
                    self.file.seek(self.offset)
            record = node.read(self.file, node.paths[self.index])
            if record is not None:
                component = np.empty((), object)
                component[()] = record
                return (component,)
            self.file.close()
            self.file = self.offset = None
            self.index += 1
        return END

    def state(self):
        return self.index, self.offset if self.file is None else self.file.tell()

    def restore(self, state):
        self.index, self.offset = state

    def close(self):
        if self.file is not None:
            self.file.close()
            self.file = None
            self.index = len(self.node.paths)


class TFRecords(Records):
    """u64 length, masked CRC-32C of it, data, masked CRC-32C of the data."""

    name = "TFRecordDataset"

    def read(self, file, path):
        return read_record(file, path)


def read_record(file, path):
    """Return the next record of an open TFRecord file, or None at its end.

    Raises:
        tf.errors.DataLossError: a checksum fails or the file ends within a record; what is read next is the record
            behind, where its place is known.
    """
    header = file.read(12)
    if len(header) < 12:
        if not header:
            return None
        raise _damaged(file, path, len(header), "the file ends within a record's header")
    length, check = struct.unpack("<QI", header)
    if masked_of_length(header) != check or length > MOST_BYTES:
        at = file.tell() - 12
        file.seek(0, io.SEEK_END)                           # nothing tells where the next record begins
        raise DataLossError(f"Damaged record at offset {at} of '{path}': the checksum of its length fails.")
    data = file.read(length + 4)
    if len(data) < length + 4:
        raise _damaged(file, path, len(data) + 12, "the file ends within a record")
    record = data[:length]
    if masked(crc32c(record)) != struct.unpack_from("<I", data, length)[0]:
        raise _damaged(file, path, length + 16, "its checksum fails")
    return record


def _damaged(file, path, back, why):
    return DataLossError(f"Damaged record at offset {file.tell() - back} of '{path}': {why}.")


class Lines(Records):
    """Lines of text, without their ends."""

    name = "TextLineDataset"

    def read(self, file, path):
        line = file.readline()
        if not line:
            return None
        if line.endswith(b"\n"):
            line = line[:-1]
        return line[:-1] if line.endswith(b"\r") else line


class FixedLength(Records):
    """Records of equal length between a header and a footer."""

    name = "FixedLengthRecordDataset"

    def __init__(self, paths, record_bytes, header_bytes, footer_bytes, compression):
        super().__init__(paths, compression)
        self.record_bytes, self.header_bytes, self.footer_bytes = record_bytes, header_bytes, footer_bytes
        self.ends: dict = {}

    def opened(self, path):
        file = super().opened(path)
        size = file.seek(0, io.SEEK_END) if self.compression != "GZIP" else _gzip_size(file)
        body = size - self.header_bytes - self.footer_bytes
        if body < 0 or body % self.record_bytes:
            raise InvalidArgumentError(
                f"'{path}' holds {body} bytes between a header of {self.header_bytes} and a footer of "
                f"{self.footer_bytes}: not a multiple of record_bytes={self.record_bytes}.")
        self.ends[path] = size - self.footer_bytes
        file.seek(self.header_bytes)
        return file

    def read(self, file, path):
        if file.tell() >= self.ends[path]:
            return None
        return file.read(self.record_bytes)


def _gzip_size(file):
    size = 0
    while part := file.read(1 << 20):
        size += len(part)
    return size


class _FilesDataset(Dataset):
    """A dataset of records; file names may come from a dataset, and several files may be read in turn."""

    def _of_files(self, filenames, num_parallel_reads, make):
        if isinstance(filenames, Dataset):
            node = filenames._node
        elif num_parallel_reads is None:
            super().__init__(make(names_of(filenames)))
            return
        else:
            node = Dataset.from_tensor_slices([name.encode() for name in names_of(filenames)])._node
        cycle = 1 if num_parallel_reads is None else 8 if num_parallel_reads == AUTOTUNE else num_parallel_reads
        one_file = Function(lambda name: Dataset(make([text_of(name)])), "interleave", 0, 0)
        super().__init__(Interleave(node, one_file, cycle, 1, lambda dataset: dataset._node,
                                    parallel=None if num_parallel_reads is None else AUTOTUNE))


class TFRecordDataset(_FilesDataset):
    """The records of TFRecord files as string scalars: `tf.data.TFRecordDataset`.

    Args:
        filenames: names, or a dataset of names.
        compression_type: '', 'GZIP' or 'ZLIB'.
        buffer_size: accepted; reading is always buffered.
        num_parallel_reads: read so many files in turn; None: one after the other.
    """

    def __init__(self, filenames, compression_type=None, buffer_size=None, num_parallel_reads=None, name=None):
        compression = compression_of(compression_type, "TFRecordDataset")
        self._of_files(filenames, num_parallel_reads, lambda paths: TFRecords(paths, compression))


class TextLineDataset(_FilesDataset):
    """The lines of text files as string scalars, without line ends: `tf.data.TextLineDataset`."""

    def __init__(self, filenames, compression_type=None, buffer_size=None, num_parallel_reads=None, name=None):
        compression = compression_of(compression_type, "TextLineDataset")
        self._of_files(filenames, num_parallel_reads, lambda paths: Lines(paths, compression))


class FixedLengthRecordDataset(_FilesDataset):
    """Records of `record_bytes` bytes as string scalars: `tf.data.FixedLengthRecordDataset`."""

    def __init__(self, filenames, record_bytes, header_bytes=None, footer_bytes=None, buffer_size=None,
                 compression_type=None, num_parallel_reads=None, name=None):
        compression = compression_of(compression_type, "FixedLengthRecordDataset")
        self._of_files(filenames, num_parallel_reads, lambda paths: FixedLength(
            paths, int(record_bytes), int(header_bytes or 0), int(footer_bytes or 0), compression))


class TFRecordOptions:
    """How `TFRecordWriter` compresses: `tf.io.TFRecordOptions`."""

    def __init__(self, compression_type=None, flush_mode=None, input_buffer_size=None, output_buffer_size=None,
                 window_bits=None, compression_level=None, compression_method=None, mem_level=None,
                 compression_strategy=None):
        self.compression_type = compression_of(compression_type, "TFRecordOptions")
        self.compression_level = 6 if compression_level is None else compression_level


class TFRecordWriter:
    """Writes records into a TFRecord file: `tf.io.TFRecordWriter`.

    Example:
        >>> import fitloom as tf, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "a.tfrecord")
        >>> with tf.io.TFRecordWriter(path) as writer:
        ...     writer.write(b"hello")
        >>> list(tf.data.TFRecordDataset(path).as_numpy_iterator())
        [b'hello']
    """

    def __init__(self, path, options=None):
        if isinstance(options, (str, type(None))):
            options = TFRecordOptions(options)
        self._path, self._options, self._zlib = text_of(path), options, None
        if options.compression_type == "GZIP":
            self._file = gzip.open(self._path, "wb", compresslevel=options.compression_level)
        else:
            self._file = open(self._path, "wb")
            if options.compression_type == "ZLIB":
                self._zlib = zlib.compressobj(options.compression_level)

    def write(self, record):
        """Append one record of bytes."""
        if not isinstance(record, bytes):
            record = structure.to_numpy(record)[()]
        length = struct.pack("<Q", len(record))
        data = b"".join([length, struct.pack("<I", masked_of_length(length)), record,
                         struct.pack("<I", masked(crc32c(record)))])
        self._file.write(data if self._zlib is None else self._zlib.compress(data))

    def flush(self):
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self):
        """Finish the file."""
        if self._file is not None:
            if self._zlib is not None:
                self._file.write(self._zlib.flush())
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_file", None) is not None:
            self.close()


def tf_record_iterator(path, options=None):
    """Yield the records of a TFRecord file as bytes: `tf.compat.v1.io.tf_record_iterator`."""
    with opened(text_of(path), "" if options is None else options.compression_type) as file:
        while (record := read_record(file, path)) is not None:
            yield record
