# SPDX-License-Identifier: Apache-2.0
"""The `.keras` archive: a zip of config.json, metadata.json, model.weights.h5 and the assets of layers.

Read as data: a fixed set of member names, no member twice, no more bytes than the file justifies, and nothing is
written to a path that the file names.
"""
import io
import json
import posixpath
import re
import zipfile
import zlib

from fitloom.saving.hdf5 import DamagedFileError
from fitloom.saving.seal import SEAL, is_sealed, is_whole

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ASSET = re.compile(r"assets/(?:[\w\-. ]+/)*[\w\-. ]+\Z")
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def write(stream, config, metadata, weights, assets):
    """Write the members of an archive to a binary stream; the seal at its end is still empty.

    Args:
        config, metadata: JSON texts.
        weights: the bytes of the HDF5 file.
        assets: dict from names to bytes.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in ((METADATA, metadata.encode()), (CONFIG, config.encode()), (WEIGHTS, weights),
                              *((f"assets/{name}", content) for name, content in assets.items())):
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=len(content) > 2 ** 31) as member:
                member.write(content)
        archive.comment = SEAL + b"00000000"


class Archive:
    """The checked members of a `.keras` file that is open as a binary stream.

    Raises:
        DamagedFileError: not a zip archive, a member too many, twice, or missing.
    """

    def __init__(self, stream, label):
        self.stream, self.label = stream, label
        self.file_bytes = stream.seek(0, 2)
        sealed = is_sealed(stream)
        self._altered, self._damaged = sealed and not is_whole(stream), None
        try:
            self.zip = zipfile.ZipFile(stream, "r")
            members = self.zip.infolist()
        except _READ_ERRORS as error:
            raise DamagedFileError(f"{label} is not a readable `.keras` file (a zip archive): {error}") from error
        self.members: dict = {}
        for info in members:
            if info.filename in self.members:
                raise DamagedFileError(f"{label} holds the member '{info.filename}' twice. It was refused.")
            if info.is_dir() and info.filename.startswith("assets/") and ".." not in info.filename:
                continue
            self.members[info.filename] = info
            if info.filename not in (CONFIG, METADATA, WEIGHTS) and (
                    not _ASSET.match(info.filename) or ".." in info.filename.split("/")):
                raise DamagedFileError(
                    f"{label} holds a member '{info.filename[:100]}', which is not part of the `.keras` format "
                    f"({CONFIG}, {METADATA}, {WEIGHTS}, assets/...). It was refused.")
            if info.flag_bits & 1:
                raise DamagedFileError(f"{label}: the member '{info.filename}' is encrypted, which is not supported.")
        for name in (CONFIG, WEIGHTS):
            if name not in self.members:
                raise DamagedFileError(f"{label} has no member '{name}'; it holds {sorted(self.members)[:10]}. "
                                       "It is truncated or no Keras model.")
        metadata = self.json(METADATA) if METADATA in self.members else None
        if isinstance(metadata, dict) and metadata.get("sealed") and not sealed:
            self._altered = True

    def read(self, name, most_bytes) -> bytes:
        """Return a member's bytes, `most_bytes` at the most.

        Raises:
            DamagedFileError: it is damaged, or decompresses to more.
        """
        info = self.members[name]
        try:
            with self.zip.open(info) as member:
                content = member.read(min(info.file_size, most_bytes) + 1)
        except _READ_ERRORS as error:
            raise DamagedFileError(f"{self.label}: the member '{name}' is damaged: {error}") from error
        if len(content) > most_bytes:
            raise DamagedFileError(f"{self.label}: the member '{name}' decompresses to more than {most_bytes} bytes "
                                   f"({info.compress_size} are stored). It was refused.")
        return content

    def json(self, name):
        """Return a member's data."""
        content = self.read(name, 2 ** 22 + 16 * self.members[name].compress_size)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{self.label}: the member '{name}' is no JSON: {error}") from error

    def weights(self):
        """Return the HDF5 member as a stream: a window of the archive, or decompressed to memory."""
        info = self.members[WEIGHTS]
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(self.read(WEIGHTS, 2 ** 26 + 20 * info.compress_size))
        try:
            with self.zip.open(info) as member:      # reads the member's own header, and checks it
                start = member._orig_compress_start
                while member.read(2 ** 20):          # the check sum
                    pass
        except _READ_ERRORS as error:
            if isinstance(error, zipfile.BadZipFile) and "CRC" in str(error):
                self._damaged = WEIGHTS         # go on: the digests say which array it is
                return Window(self.stream, start, info.file_size)
            raise DamagedFileError(f"{self.label}: the member '{WEIGHTS}' is damaged: {error}") from error
        return Window(self.stream, start, info.file_size)

    def assets(self) -> dict:
        """Return {path below assets/: content}."""
        found, left = {}, 2 ** 24 + 20 * self.file_bytes
        for name in self.members:
            if name.startswith("assets/"):
                found[posixpath.relpath(name, "assets")] = content = self.read(name, left)
                left -= len(content)
        return found

    def check_altered(self):
        """Raise DamagedFileError if bytes differ from those that were written, wherever they are."""
        if self._damaged:
            raise DamagedFileError(f"{self.label}: the member '{self._damaged}' is damaged: its check sum does not "
                                   "fit. Use another copy.")
        if self._altered:
            raise DamagedFileError(f"{self.label} was altered or damaged after it was written: its check sum does not "
                                   "fit. Use another copy.")


class Window(io.RawIOBase):
    """A part of a stream as a stream of its own."""

    def __init__(self, stream, start, size):
        self.stream, self.start, self.size, self.position = stream, start, size, 0

    def seek(self, offset, whence=0):
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self):
        return self.position

    def readinto(self, buffer):
        count = max(0, min(len(buffer), self.size - self.position))
        self.stream.seek(self.start + self.position)
        read = self.stream.readinto(memoryview(buffer)[:count])
        self.position += read
        return read

    def readable(self):
        return True

    def seekable(self):
        return True
