# SPDX-License-Identifier: Apache-2.0
"""The last bytes of the files we write: a check sum of all bytes before, so that no altered bit goes unnoticed.

Readers of HDF5 stop before it, and in a zip archive it is the archive's comment: other programs do not see it.
"""
import zlib

SEAL = b"fitloom crc32 "
LENGTH = len(SEAL) + 8


def append(stream):
    """Add a seal to a complete file."""
    stream.seek(0, 2)
    stream.write(SEAL + b"00000000")
    seal(stream)


def seal(stream):
    """Fill in the check sum of a file that ends in an empty seal (`SEAL` and eight bytes)."""
    stream.seek(0, 2)
    size = stream.tell()
    number = b"%08x" % _crc32(stream, size - 8)
    stream.seek(size - 8)
    stream.write(number)


def is_sealed(stream) -> bool:
    """Whether the file ends in a seal."""
    size = stream.seek(0, 2)
    if size < LENGTH:
        return False
    stream.seek(size - LENGTH)
    return stream.read(len(SEAL)) == SEAL


def is_whole(stream) -> bool:
    """Whether a sealed file's bytes are those that were written."""
    size = stream.seek(0, 2)
    stream.seek(size - 8)
    return stream.read(8) == b"%08x" % _crc32(stream, size - 8)


def _crc32(stream, end):
    stream.seek(0)
    found, left = 0, end
    while left > 0:
        piece = stream.read(min(left, 2 ** 20))
        if not piece:
            break
        found, left = zlib.crc32(piece, found), left - len(piece)
    return found
