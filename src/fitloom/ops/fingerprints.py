# SPDX-License-Identifier: Apache-2.0
"""The hashes by which TensorFlow puts texts into buckets: FarmHash's Fingerprint64, MurmurHash2, SipHash-2-4.

Sources: FarmHash (G. Pike, 2014; the "na" variant, whose values are promised never to change), SipHash (Aumasson and
Bernstein, 2012). Buckets must be TensorFlow's, or a model trained there would look up the wrong rows here.
"""

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _rotate(x, n):
    return ((x >> n) | (x << (64 - n))) & _MASK if n else x


def _shift_mix(x):
    return x ^ (x >> 47)


def _word(text, i):
    return int.from_bytes(text[i:i + 8], "little")


def _half(text, i):
    return int.from_bytes(text[i:i + 4], "little")


def _mix16(u, v, multiplier):
    a = ((u ^ v) * multiplier) & _MASK
    a ^= a >> 47
    b = ((v ^ a) * multiplier) & _MASK
    b ^= b >> 47
    return (b * multiplier) & _MASK


def _short(text):
    n = len(text)
    if n >= 8:
        multiplier = _K2 + n * 2
        a, b = (_word(text, 0) + _K2) & _MASK, _word(text, n - 8)
        c = (_rotate(b, 37) * multiplier + a) & _MASK
        d = ((_rotate(a, 25) + b) * multiplier) & _MASK
        return _mix16(c, d, multiplier)
    if n >= 4:
        return _mix16((n + (_half(text, 0) << 3)) & _MASK, _half(text, n - 4), _K2 + n * 2)
    if n > 0:
        y, z = text[0] + (text[n >> 1] << 8), n + (text[n - 1] << 2)
        return (_shift_mix((y * _K2) & _MASK ^ (z * _K0) & _MASK) * _K2) & _MASK
    return _K2


def _medium(text):
    n = len(text)
    multiplier = _K2 + n * 2
    a, b = (_word(text, 0) * _K1) & _MASK, _word(text, 8)
    c, d = (_word(text, n - 8) * multiplier) & _MASK, (_word(text, n - 16) * _K2) & _MASK
    return _mix16((_rotate((a + b) & _MASK, 43) + _rotate(c, 30) + d) & _MASK,
                  (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK, multiplier)


def _long(text):
    n = len(text)
    multiplier = _K2 + n * 2
    a, b = (_word(text, 0) * _K2) & _MASK, _word(text, 8)
    c, d = (_word(text, n - 8) * multiplier) & _MASK, (_word(text, n - 16) * _K2) & _MASK
    y = (_rotate((a + b) & _MASK, 43) + _rotate(c, 30) + d) & _MASK
    z = _mix16(y, (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK, multiplier)
    e, f = (_word(text, 16) * multiplier) & _MASK, _word(text, 24)
    g, h = ((y + _word(text, n - 32)) * multiplier) & _MASK, ((z + _word(text, n - 24)) * multiplier) & _MASK
    return _mix16((_rotate((e + f) & _MASK, 43) + _rotate(g, 30) + h) & _MASK,
                  (e + _rotate((f + a) & _MASK, 18) + g) & _MASK, multiplier)


def _weak32(text, i, a, b):
    w, x, y, z = (_word(text, i + 8 * j) for j in range(4))
    a = (a + w) & _MASK
    b = _rotate((b + a + z) & _MASK, 21)
    c = a
    a = (a + x + y) & _MASK
    b = (b + _rotate(a, 44)) & _MASK
    return (a + z) & _MASK, (b + c) & _MASK


def fingerprint64(text: bytes) -> int:
    """Return FarmHash's 64-bit fingerprint, the hash of `tf.strings.to_hash_bucket_fast`."""
    n = len(text)
    if n <= 16:
        return _short(text)
    if n <= 32:
        return _medium(text)
    if n <= 64:
        return _long(text)
    seed = 81
    x, y = seed, (seed * _K1 + 113) & _MASK
    z = (_shift_mix((y * _K2 + 113) & _MASK) * _K2) & _MASK
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + _word(text, 0)) & _MASK
    end, i = ((n - 1) // 64) * 64, 0
    while i < end:
        x = (_rotate((x + y + v[0] + _word(text, i + 8)) & _MASK, 37) * _K1) & _MASK
        y = (_rotate((y + v[1] + _word(text, i + 48)) & _MASK, 42) * _K1) & _MASK
        x ^= w[1]
        y = (y + v[0] + _word(text, i + 40)) & _MASK
        z = (_rotate((z + w[0]) & _MASK, 33) * _K1) & _MASK
        v = _weak32(text, i, (v[1] * _K1) & _MASK, (x + w[0]) & _MASK)
        w = _weak32(text, i + 32, (z + w[1]) & _MASK, (y + _word(text, i + 16)) & _MASK)
        z, x = x, z
        i += 64
    multiplier = _K1 + ((z & 0xFF) << 1)
    i = n - 64
    w = ((w[0] + ((n - 1) & 63)) & _MASK, w[1])
    v = ((v[0] + w[0]) & _MASK, v[1])
    w = ((w[0] + v[0]) & _MASK, w[1])
    x = (_rotate((x + y + v[0] + _word(text, i + 8)) & _MASK, 37) * multiplier) & _MASK
    y = (_rotate((y + v[1] + _word(text, i + 48)) & _MASK, 42) * multiplier) & _MASK
    x ^= (w[1] * 9) & _MASK
    y = (y + v[0] * 9 + _word(text, i + 40)) & _MASK
    z = (_rotate((z + w[0]) & _MASK, 33) * multiplier) & _MASK
    v = _weak32(text, i, (v[1] * multiplier) & _MASK, (x + w[0]) & _MASK)
    w = _weak32(text, i + 32, (z + w[1]) & _MASK, (y + _word(text, i + 16)) & _MASK)
    z, x = x, z
    return _mix16((_mix16(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z) & _MASK,
                  (_mix16(v[1], w[1], multiplier) + x) & _MASK, multiplier)


def concatenated_fingerprint(first: int, second: int) -> int:
    """Return the fingerprint of two fingerprints, with which crossed features are counted."""
    multiplier = 0xC6A4A7935BD1E995
    value = first ^ multiplier ^ (_shift_mix((second * multiplier) & _MASK) * multiplier) & _MASK
    value = (value * multiplier) & _MASK
    return _shift_mix((_shift_mix(value) * multiplier) & _MASK)


def hash64(text: bytes, seed: int = 0xDECAFCAFFE) -> int:
    """Return the 64-bit MurmurHash2 of a text (A. Appleby), the hash of `tf.strings.to_hash_bucket`."""
    multiplier, whole = 0xC6A4A7935BD1E995, len(text) // 8 * 8
    h = seed ^ (len(text) * multiplier) & _MASK
    for i in range(0, whole, 8):
        word = (_shift_mix((_word(text, i) * multiplier) & _MASK) * multiplier) & _MASK
        h = ((h ^ word) * multiplier) & _MASK
    if whole < len(text):
        h = ((h ^ int.from_bytes(text[whole:], "little")) * multiplier) & _MASK
    return _shift_mix((_shift_mix(h) * multiplier) & _MASK)


def siphash(text: bytes, key: tuple) -> int:
    """Return SipHash-2-4 of a text under a key of two 64-bit words (`tf.strings.to_hash_bucket_strong`)."""
    a, b = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D
    c, d = key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573

    def rounds(a, b, c, d, count):
        for _ in range(count):
            a, c = (a + b) & _MASK, (c + d) & _MASK
            b, d = _rotate(b, 51) ^ a, _rotate(d, 48) ^ c
            a = _rotate(a, 32)
            c, a = (c + b) & _MASK, (a + d) & _MASK
            b, d = _rotate(b, 47) ^ c, _rotate(d, 43) ^ a
            c = _rotate(c, 32)
        return a, b, c, d

    padded = text + b"\0" * (7 - len(text) % 8) + bytes([len(text) & 0xFF])
    for i in range(0, len(padded), 8):
        word = _word(padded, i)
        a, b, c, d = rounds(a, b, c, d ^ word, 2)
        a ^= word
    a, b, c, d = rounds(a, b, c ^ 0xFF, d, 4)
    return a ^ b ^ c ^ d
