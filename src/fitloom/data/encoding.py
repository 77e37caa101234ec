# SPDX-License-Identifier: Apache-2.0
"""Strings that hold encoded bytes: base64, compressed data, sparse tensors."""
import base64
import binascii
import gzip
import zlib

import numpy as np

from fitloom import engine, ops
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import composite, structure
from fitloom.data.parsing import parse_tensor, serialize_tensor


def _each(function, values):
    """Return the string tensor of `function` of each string."""
    array = structure.to_numpy(values)
    if array.dtype != structure.STRING:
        raise TypeError(f"Strings were expected, but values of dtype {array.dtype} were received.")
    out = np.empty(array.shape, object)
    out.reshape(-1)[...] = [function(item) for item in array.reshape(-1)] if array.shape else None
    if not array.shape:
        out[()] = function(array[()])
    return engine.Tensor(out)


def encode_base64(input, pad=False, name=None):
    """Return strings in base64's alphabet for addresses ('-' and '_'), filled up with '=' if `pad`."""
    def encoded(item):
        made = base64.urlsafe_b64encode(item)
        return made if pad else made.rstrip(b"=")
    return _each(encoded, input)


def decode_base64(input, name=None):
    """Return the bytes of strings in base64's alphabet for addresses, with or without '=' at their ends."""
    def decoded(item):
        bare = item.rstrip(b"=")
        try:
            return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise InvalidArgumentError(f"decode_base64 expected base64 for addresses: {error}.") from None
    return _each(decoded, input)


def decode_compressed(bytes, compression_type="", name=None):
    """Return strings uncompressed; `compression_type`: '' (as they are), 'ZLIB' or 'GZIP'."""
    readers = {"": lambda item: item, "ZLIB": zlib.decompress, "GZIP": gzip.decompress}
    if compression_type not in readers:
        raise ValueError(f"decode_compressed takes compression_type '', 'ZLIB' or 'GZIP', but received "
                         f"{compression_type!r}.")

    def read(item):
        try:
            return readers[compression_type](item)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidArgumentError(f"decode_compressed could not read {compression_type} data: {error}.") from None
    return _each(read, bytes)


def _three(sp_input):
    return [serialize_tensor(part).numpy() for part in sp_input.component_tensors()]


def _strings(rows):
    out = np.empty(np.shape(rows), object)
    out[...] = rows
    return engine.Tensor(out)


def serialize_sparse(sp_input, out_type="string", name=None):
    """Return a SparseTensor as three strings: indices, values and shape."""
    _only_strings(out_type)
    return _strings(_three(sp_input))


def serialize_many_sparse(sp_input, out_type="string", name=None):
    """Return the rows of a SparseTensor as strings (rows, 3)."""
    _only_strings(out_type)
    return _strings([_three(row) for row in composite.rows(sp_input)])


def _only_strings(out_type):
    if getattr(out_type, "name", out_type) != "string":
        raise NotImplementedError(f"Sparse tensors are serialized to strings here, not to {out_type}.")


def deserialize_many_sparse(serialized_sparse, dtype, rank=None, name=None):
    """Return the SparseTensor whose rows were serialized to strings (rows, 3), as wide as the widest.

    Args:
        dtype: of the values.
        rank: the axes of each row, checked if given.
    """
    rows = []
    for indices, values, shape in structure.to_numpy(serialized_sparse):
        dense_shape = parse_tensor(shape, "int64").numpy()
        if rank is not None and len(dense_shape) != rank:
            raise InvalidArgumentError(f"deserialize_many_sparse expected rows of {rank} axes, but one has "
                                       f"{len(dense_shape)}.")
        rows.append(ops.SparseTensor(parse_tensor(indices, "int64"), parse_tensor(values, dtype), dense_shape))
    return ops.sparse.stack_rows(rows)


__all__ = ["decode_base64", "decode_compressed", "deserialize_many_sparse", "encode_base64", "serialize_many_sparse",
           "serialize_sparse"]
