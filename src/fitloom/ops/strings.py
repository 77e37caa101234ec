# SPDX-License-Identifier: Apache-2.0
"""Text: `tf.strings`. String tensors are object arrays of bytes; these operations run on the host, at once."""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops.calling import host_value
from fitloom.ops.casting import as_string as as_string
from fitloom.ops.casting import bytes_array
from fitloom.ops.fingerprints import fingerprint64, hash64, siphash


def _texts(x):
    """Return an object array of bytes."""
    if isinstance(x, (str, bytes, list, tuple)):
        x = engine.convert_to_tensor(x)
    array = host_value(x, "a string operation's input")
    if array.dtype != object:
        raise InvalidArgumentError(f"Expected a string tensor, but received dtype {array.dtype}. "
                                   "Convert numbers by tf.strings.as_string.")
    return array


def _each(function, *inputs, dtype=None):
    arrays = np.broadcast_arrays(*inputs)
    flat = [function(*row) for row in zip(*[a.ravel() for a in arrays], strict=True)]
    made = bytes_array(flat, arrays[0].shape) if dtype is None else np.asarray(flat, dtype).reshape(arrays[0].shape)
    return engine.Tensor(made)


def _over_rows(function):
    """Let a function of text, element by element, take RaggedTensors: it goes over their flat values."""
    @functools.wraps(function)
    def call(input, *args, **kwargs):
        inputs = input if isinstance(input, (list, tuple)) else [input]
        first = next((x for x in inputs if hasattr(x, "with_flat_values")), None)
        if first is None:
            return function(input, *args, **kwargs)
        flat = [getattr(x, "flat_values", x) for x in inputs]
        return first.with_flat_values(function(flat if inputs is input else flat[0], *args, **kwargs))
    return call


def _bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)


def _decoded(text):
    return text.decode("utf-8", "replace")


@_over_rows
def join(inputs, separator="", name=None):
    """Return the texts joined element by element; single texts go with every element."""
    separator = _bytes(separator)
    shapes = {tuple(x.shape) for x in map(_texts, inputs)} - {()}
    if len(shapes) > 1:
        raise InvalidArgumentError(f"strings.join needs texts of one shape, or single ones, but received the shapes "
                                   f"{sorted(shapes)}.")
    return _each(lambda *parts: separator.join(parts), *[_texts(x) for x in inputs])


def reduce_join(inputs, axis=None, keepdims=False, separator="", name=None):
    """Return the texts joined over `axis` (all axes if None)."""
    if hasattr(inputs, "with_flat_values"):
        return _join_rows(inputs, axis, _bytes(separator))
    array, separator = _texts(inputs), _bytes(separator)
    if array.ndim == 0:
        return engine.Tensor(array)
    axes = range(array.ndim) if axis is None else np.ravel(axis)
    axes = [int(a) % array.ndim for a in axes]
    rest = [a for a in range(array.ndim) if a not in axes]
    moved = array.transpose(rest + axes).reshape([array.shape[a] for a in rest] + [-1])
    flat = [separator.join(row) for row in moved.reshape(-1, moved.shape[-1])]
    shape = [1 if a in axes else array.shape[a] for a in range(array.ndim)] if keepdims else \
        [array.shape[a] for a in rest]
    return engine.Tensor(bytes_array(flat, shape))


def _join_rows(ragged, axis, separator):
    if axis is None:
        return engine.Tensor(bytes_array([separator.join(_texts(ragged.flat_values).ravel())], ()))
    if hasattr(ragged.values, "with_flat_values") and axis in (-1, ragged.ragged_rank):
        return ragged.with_values(_join_rows(ragged.values, -1, separator))
    if axis not in (-1, 1):
        raise NotImplementedError(f"reduce_join of a RaggedTensor goes over its last axis, not over axis {axis}.")
    return engine.Tensor(bytes_array([separator.join(row) for row in ragged.to_list()], (len(ragged),)))


@_over_rows
def length(input, unit="BYTE", name=None):
    """Return the lengths in bytes, or in characters for 'UTF8_CHAR'."""
    return _each(lambda t: len(t) if unit == "BYTE" else len(_decoded(t)), _texts(input), dtype=np.int32)


@_over_rows
def lower(input, encoding="", name=None):
    """Return the texts in lower case (ASCII only, unless `encoding` is 'utf-8')."""
    return _each(lambda t: t.decode().lower().encode() if encoding else t.lower(), _texts(input))


@_over_rows
def upper(input, encoding="", name=None):
    """Return the texts in upper case (ASCII only, unless `encoding` is 'utf-8')."""
    return _each(lambda t: t.decode().upper().encode() if encoding else t.upper(), _texts(input))


@_over_rows
def strip(input, name=None):
    """Return the texts without white space at both ends."""
    return _each(lambda t: t.strip(), _texts(input))


def _pattern(pattern):
    """Compile a pattern of RE2's syntax with Python's re."""
    text = pattern if isinstance(pattern, str) else _decoded(np.asarray(pattern).item() if not isinstance(
        pattern, bytes) else pattern)
    classes = {"[:alpha:]": "a-zA-Z", "[:digit:]": "0-9", "[:alnum:]": "a-zA-Z0-9", "[:space:]": r"\s",
               "[:upper:]": "A-Z", "[:lower:]": "a-z", "[:word:]": r"\w",
               "[:punct:]": r"!-/:-@\[-`{-~", "\\pP": r"!-/:-@\[-`{-~"}
    for name, members in classes.items():
        text = text.replace(name, members)
    return re.compile(text.replace(r"\z", r"\Z"))


@_over_rows
def regex_replace(input, pattern, rewrite, replace_global=True, name=None):
    r"""Return the texts with what matches `pattern` replaced by `rewrite` (\1 stands for the first group)."""
    compiled = _pattern(pattern)
    rewrite = re.sub(r"\\0", r"\\g<0>", rewrite if isinstance(rewrite, str) else _decoded(_bytes(rewrite)))
    if any(int(group) > compiled.groups for group in re.findall(r"\\([1-9])", rewrite)):
        return _each(lambda t: t, _texts(input))       # RE2: a group that does not exist leaves the text as it is
    count = 0 if replace_global else 1
    return _each(lambda t: compiled.sub(rewrite, _decoded(t), count=count).encode(), _texts(input))


@_over_rows
def regex_full_match(input, pattern, name=None):
    """Return whether `pattern` matches the whole text."""
    compiled = _pattern(pattern)
    return _each(lambda t: compiled.fullmatch(_decoded(t)) is not None, _texts(input), dtype=bool)


@_over_rows
def substr(input, pos, len, unit="BYTE", name=None):
    """Return the part of each text that begins at `pos` and has at most `len` bytes (or characters)."""
    def cut(text, start, count):
        text = text if unit == "BYTE" else _decoded(text)
        size = text.__len__()
        if not -size <= start <= size:
            raise InvalidArgumentError(f"substr expected a position within the text of length {size}, but received "
                                       f"{start}.")
        start = start + size if start < 0 else start
        return _bytes(text[start:start + count])
    return _each(cut, _texts(input), np.asarray(host_value(pos)), np.asarray(host_value(len)))


def split(input, sep=None, maxsplit=-1, name=None):
    """Return the parts of each text between `sep` (white space if None), as a RaggedTensor for more than one text."""
    from fitloom.ops.ragged import RaggedTensor

    if hasattr(input, "with_flat_values"):
        return input.with_flat_values(split(input.flat_values, sep, maxsplit))
    array, sep = _texts(input), None if sep in (None, "") else _bytes(sep)
    rows = [t.split(sep, maxsplit) for t in array.ravel()]
    if array.ndim == 0:
        return engine.Tensor(bytes_array(rows[0], (len(rows[0]),)))
    values = [part for row in rows for part in row]
    made = RaggedTensor.from_row_lengths(engine.Tensor(bytes_array(values, (len(values),))),
                                         np.asarray([len(row) for row in rows], np.int64))
    return _with_outer_axes(made, array.shape)


def bytes_split(input, name=None):
    """Return each text as a list of single bytes."""
    return _pieces(input, lambda t: [bytes([b]) for b in t])


def unicode_split(input, input_encoding, errors="replace", replacement_char=65533, name=None):
    """Return each text as a list of its characters."""
    return _pieces(input, lambda t: [c.encode() for c in t.decode(input_encoding.lower(), errors)])


def _pieces(input, cut, dtype=None):
    from fitloom.ops.ragged import RaggedTensor

    if isinstance(input, RaggedTensor):
        return input.with_flat_values(_pieces(input.flat_values, cut, dtype))
    array = _texts(input)
    rows = [cut(t) for t in array.ravel()]
    values = [part for row in rows for part in row]
    made = bytes_array(values, (len(values),)) if dtype is None else np.asarray(values, dtype)
    if array.ndim == 0:
        return engine.Tensor(made)
    rows = RaggedTensor.from_row_lengths(engine.Tensor(made), np.asarray([len(row) for row in rows], np.int64))
    return _with_outer_axes(rows, array.shape)


def _with_outer_axes(rows, shape):
    """Return the rows of all texts of a tensor as a ragged tensor with the tensor's axes before the ragged one."""
    for size in reversed(shape[1:]):
        count = len(rows) // size if size else 0
        rows = type(rows).from_row_lengths(rows, np.full(count, size, np.int64))
    return rows


def unicode_decode(input, input_encoding, errors="replace", replacement_char=65533, replace_control_characters=False,
                   name=None):
    """Return each text as a list of code points."""
    return _pieces(input, lambda t: [ord(c) for c in t.decode(input_encoding.lower(), errors)], np.int32)


def _with_offsets(pieces, input, input_encoding):
    """Return (`pieces`, the byte at which each begins in its text)."""
    def begins(text):
        sizes = [len(c.encode(input_encoding)) for c in text.decode(input_encoding, "replace")]
        return np.cumsum([0, *sizes])[:-1] if sizes else []
    return pieces, _pieces(input, begins, np.int64)


def unicode_decode_with_offsets(input, input_encoding, errors="replace", replacement_char=65533,
                                replace_control_characters=False, name=None):
    """Return (the code points of each text, the byte at which each character begins)."""
    return _with_offsets(unicode_decode(input, input_encoding, errors, replacement_char), input, input_encoding)


def unicode_split_with_offsets(input, input_encoding, errors="replace", replacement_char=65533, name=None):
    """Return (the characters of each text, the byte at which each begins)."""
    return _with_offsets(unicode_split(input, input_encoding, errors, replacement_char), input, input_encoding)


def unsorted_segment_join(inputs, segment_ids, num_segments, separator="", name=None):
    """Return for each segment the texts whose id it is, joined by `separator`; negative ids go nowhere."""
    ids = host_value(segment_ids)
    texts = _texts(inputs)
    texts = texts.reshape(ids.size, *texts.shape[ids.ndim:])
    columns = texts.reshape(ids.size, -1)
    rows = [[_bytes(separator).join(columns[ids.ravel() == segment, column]) for column in range(columns.shape[1])]
            for segment in range(int(host_value(num_segments)))]
    flat = [text for row in rows for text in row]
    return engine.Tensor(bytes_array(flat, (len(rows), *texts.shape[1:])))


def unicode_encode(input, output_encoding="UTF-8", errors="replace", replacement_char=65533, name=None):
    """Return the texts of lists of code points (the last axis)."""
    if hasattr(input, "to_list"):
        rows = input.to_list()
        texts = ["".join(map(chr, row)).encode(output_encoding) for row in rows]
        return engine.Tensor(bytes_array(texts, (len(rows),)))
    array = host_value(input)
    flat = ["".join(map(chr, row)).encode(output_encoding) for row in array.reshape(-1, array.shape[-1])]
    return engine.Tensor(bytes_array(flat, array.shape[:-1]))


@_over_rows
def unicode_transcode(input, input_encoding, output_encoding, errors="replace", replacement_char=65533,
                      replace_control_characters=False, name=None):
    """Return the texts in another encoding."""
    return _each(lambda t: t.decode(input_encoding, errors).encode(output_encoding), _texts(input))


@_over_rows
def normalize_utf8(input, normalization_form="NFKC", name=None):
    """Return the texts in a normal form of Unicode."""
    return _each(lambda t: unicodedata.normalize(normalization_form, t.decode()).encode(), _texts(input))


@_over_rows
def to_number(input, out_type=dtypes.float32, name=None):
    """Return the numbers that texts stand for."""
    kind = dtypes.numpy_dtype(out_type)

    def read(text):
        try:
            return int(text) if kind.kind in "iu" else float(text)
        except ValueError:
            message = f"to_number expected a number as text, but received '{_decoded(text)}'."
            raise InvalidArgumentError(message) from None
    return _each(read, _texts(input), dtype=kind)


@_over_rows
def to_hash_bucket_fast(input, num_buckets, name=None):
    """Return a number in [0, num_buckets) for each text, by FarmHash's fingerprint: TensorFlow's buckets."""
    return _each(lambda t: fingerprint64(_bytes(t)) % num_buckets, _texts(input), dtype=np.int64)


@_over_rows
def to_hash_bucket(input, num_buckets, name=None):
    """Return a number in [0, num_buckets) for each text, by TensorFlow's first hash (a variant of MurmurHash)."""
    return _each(lambda t: hash64(_bytes(t)) % num_buckets, _texts(input), dtype=np.int64)


@_over_rows
def to_hash_bucket_strong(input, num_buckets, key, name=None):
    """Return a number in [0, num_buckets) for each text, by SipHash under a key of two integers."""
    key = tuple(int(k) & (1 << 64) - 1 for k in key)
    return _each(lambda t: siphash(_bytes(t), key) % num_buckets, _texts(input), dtype=np.int64)


def ngrams(data, ngram_width, separator=" ", pad_values=None, padding_width=None, preserve_short_sequences=False,
           name=None):
    """Return the runs of `ngram_width` neighbouring texts in the last axis, joined by `separator`."""
    from fitloom.ops.ragged import RaggedTensor

    widths = [ngram_width] if isinstance(ngram_width, int) else list(ngram_width)
    ragged = isinstance(data, RaggedTensor)
    rows = data.to_list() if ragged else _texts(data).tolist()
    single = not rows or isinstance(rows[0], bytes)
    rows = [rows] if single else rows

    def grams(row):
        out = []
        for width in widths:
            padded = list(row)
            if pad_values is not None:
                left, right = (pad_values, pad_values) if isinstance(pad_values, (str, bytes)) else pad_values
                count = width - 1 if padding_width is None else min(padding_width, width - 1)
                padded = [_bytes(left)] * count + padded + [_bytes(right)] * count
            found = [_bytes(separator).join(padded[i:i + width]) for i in range(len(padded) - width + 1)]
            if not found and preserve_short_sequences and padded:
                found = [_bytes(separator).join(padded)]
            out += found
        return out
    results = [grams(row) for row in rows]
    flat = [g for row in results for g in row]
    values = engine.Tensor(bytes_array(flat, (len(flat),)))
    if single:
        return values
    made = RaggedTensor.from_row_lengths(values, np.asarray([len(r) for r in results], np.int64))
    return made if ragged else made.to_tensor()


def format(template, inputs, placeholder="{}", summarize=3, name=None):
    """Return `template` with each placeholder replaced by a tensor's value."""
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    parts = template.split(placeholder)
    if len(parts) != len(inputs) + 1:
        raise ValueError(f"strings.format expected {len(parts) - 1} values for the placeholders of {template!r}, but "
                         f"received {len(inputs)}.")
    limit = summarize if summarize >= 0 else 1 << 30
    shown = [np.array2string(np.asarray(host_value(x)), threshold=2 * limit, edgeitems=limit, separator=" ",
                             formatter={"all": _shown}) for x in inputs]
    text = "".join(part + value for part, value in zip(parts, [*shown, ""]))
    return engine.Tensor(bytes_array([text.encode()], ()))


def _shown(value):
    """Return one value as TensorFlow prints it: the fewest of 6 or 9 digits (15 or 17) that tell it apart."""
    if isinstance(value, (bytes, str)):
        return '"' + (value.decode(errors="replace") if isinstance(value, bytes) else value) + '"'
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if not isinstance(value, (float, np.floating)):
        return str(value)
    few, many = (15, 17) if np.asarray(value).dtype == np.float64 else (6, 9)
    short = f"{value:.{few}g}"
    return short if np.asarray(value).dtype.type(short) == value else f"{value:.{many}g}"
