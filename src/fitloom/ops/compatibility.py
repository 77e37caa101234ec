# SPDX-License-Identifier: Apache-2.0
"""Text and shapes across versions: `tf.compat`."""

from __future__ import annotations

import os


def as_bytes(bytes_or_text, encoding="utf-8"):
    """Return text as bytes; bytes unchanged."""
    if isinstance(bytes_or_text, bytearray):
        return bytes(bytes_or_text)
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text
    raise TypeError(f"Expected text or bytes, but received {type(bytes_or_text).__name__}.")


def as_text(bytes_or_text, encoding="utf-8"):
    """Return bytes as text; text unchanged."""
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    raise TypeError(f"Expected text or bytes, but received {type(bytes_or_text).__name__}.")


as_str = as_text


def as_str_any(value, encoding="utf-8"):
    """Return anything as text."""
    return as_text(value, encoding) if isinstance(value, bytes) else str(value)


def path_to_str(path):
    """Return a path-like object as text."""
    return os.fspath(path) if hasattr(path, "__fspath__") else path


def forward_compatible(year, month, day):
    """Return True: there are no old readers to wait for."""
    return True


def dimension_at_index(shape, index):
    """Return one dimension of a shape."""
    return shape[index]
