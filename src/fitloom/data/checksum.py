# SPDX-License-Identifier: Apache-2.0
"""CRC-32C, as TFRecord files use it, in NumPy: the checksum is linear, so a block is one table look-up a byte."""
from typing import Any

import numpy as np

POLYNOMIAL = 0x82F63B78
BLOCK = 1024


def _byte_table():
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


class _Tables:
    """`places[i]`: what a byte contributes when BLOCK - i - 1 bytes follow it in its block."""

    places: Any = None
    shift: Any = None          # what each byte of a checksum becomes after BLOCK zero bytes
    eight: Any = None          # the last eight rows as lists, for the length field


def _tables():
    if _Tables.places is None:
        byte = _byte_table()
        places = np.empty((BLOCK, 256), np.uint32)
        places[-1] = byte
        for i in range(BLOCK - 2, -1, -1):
            after = places[i + 1]
            places[i] = (after >> 8) ^ byte[after & 0xFF]
        shift = np.empty((4, 256), np.uint32)
        for k in range(4):
            value = np.arange(256, dtype=np.uint32) << np.uint32(8 * k)
            for _ in range(BLOCK):
                value = (value >> 8) ^ byte[value & 0xFF]
            shift[k] = value
        _Tables.shift = shift.tolist()
        _Tables.eight = places[-8:].tolist()
        _Tables.places = places
    return _Tables.places


def crc32c(data) -> int:
    """Return the CRC-32C of bytes."""
    places = _tables()
    length = len(data)
    if not length:
        return 0
    array = np.frombuffer(data, np.uint8)
    # The initial register of ones equals inverting the first four bytes; zeros in front then change nothing.
    array = array.copy()
    array[:4] ^= 0xFF
    value = 0
    if length < 4:                                          # the rest of the register meets no byte
        value = 0xFFFFFFFF >> (8 * length)
    first = length % BLOCK
    if first:
        value ^= int(np.bitwise_xor.reduce(places[np.arange(BLOCK - first, BLOCK), array[:first]]))
    if length >= BLOCK:
        s0, s1, s2, s3 = _Tables.shift
        blocks = array[first:].reshape(-1, BLOCK)
        for part in np.bitwise_xor.reduce(places[np.arange(BLOCK), blocks], axis=1).tolist():
            value = s0[value & 0xFF] ^ s1[value >> 8 & 0xFF] ^ s2[value >> 16 & 0xFF] ^ s3[value >> 24] ^ part
    return value ^ 0xFFFFFFFF


def masked(value) -> int:
    """Return a checksum in the masked form that files store."""
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def masked_of_length(eight) -> int:
    """Return the masked checksum of eight bytes, quickly."""
    if _Tables.places is None:
        _tables()
    t = _Tables.eight
    value = (t[0][eight[0] ^ 0xFF] ^ t[1][eight[1] ^ 0xFF] ^ t[2][eight[2] ^ 0xFF] ^ t[3][eight[3] ^ 0xFF]
             ^ t[4][eight[4]] ^ t[5][eight[5]] ^ t[6][eight[6]] ^ t[7][eight[7]]) ^ 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
