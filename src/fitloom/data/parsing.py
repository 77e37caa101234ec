# SPDX-License-Identifier: Apache-2.0
"""`tf.io.parse_example` and its relatives: serialized examples to tensors. The wire format is read directly."""
from collections import namedtuple

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.data.hosting import HostValue

BYTES, FLOAT, INT64 = 1, 2, 3           # field numbers of Feature
_KINDS = {"string": BYTES, "float32": FLOAT, "int64": INT64}
_NAMES = {BYTES: "bytes", FLOAT: "float", INT64: "int64", 0: "nothing"}


class FixedLenFeature(namedtuple("FixedLenFeature", ["shape", "dtype", "default_value"])):
    """A feature with a fixed shape: `tf.io.FixedLenFeature`."""

    def __new__(cls, shape, dtype, default_value=None):
        return super().__new__(cls, shape, dtypes.as_dtype(dtype), default_value)


class VarLenFeature(namedtuple("VarLenFeature", ["dtype"])):
    """A feature of any length, parsed to a SparseTensor: `tf.io.VarLenFeature`."""

    def __new__(cls, dtype):
        return super().__new__(cls, dtypes.as_dtype(dtype))


class FixedLenSequenceFeature(namedtuple("FixedLenSequenceFeature",
                                         ["shape", "dtype", "allow_missing", "default_value"])):
    """A feature with rows of a fixed shape, any number of them: `tf.io.FixedLenSequenceFeature`."""

    def __new__(cls, shape, dtype, allow_missing=False, default_value=None):
        return super().__new__(cls, shape, dtypes.as_dtype(dtype), allow_missing, default_value)


class RaggedFeature(namedtuple("RaggedFeature", ["dtype", "value_key", "partitions", "row_splits_dtype", "validate"])):
    """A feature of any length, parsed to a ragged tensor: `tf.io.RaggedFeature`."""

    def __new__(cls, dtype, value_key=None, partitions=(), row_splits_dtype="int32", validate=False):
        if partitions:
            raise NotImplementedError("RaggedFeature partitions are not supported; parse the parts and build the "
                                      "RaggedTensor from them.")
        return super().__new__(cls, dtypes.as_dtype(dtype), value_key, partitions, row_splits_dtype, validate)


# ---------------------------------------------------------------- wire format

def _varint(data, at):
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    shift = 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7


def _fields(data, at, end):
    """Yield (field number, begin, end) of the length-delimited fields of a message; others have begin None."""
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, at, at + length
            at += length
        elif wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, None, value
        elif wire == 5:
            yield tag >> 3, None, data[at:at + 4]
            at += 4
        elif wire == 1:
            at += 8
        else:
            raise ValueError(f"unknown wire type {wire}")


def _features(data, at, end, wanted, found):
    """Find the wanted features of a Features message: found[key] = (kind, begin, end of the list)."""
    for field, begin, stop in _fields(data, at, end):
        if field != 1 or begin is None:
            continue
        key = value = None
        for number, first, last in _fields(data, begin, stop):
            if number == 1:
                key = data[first:last]
            elif number == 2:
                value = first, last
        if key in wanted:
            found[wanted[key]] = _kind(data, value)


def _kind(data, place):
    if place is not None:
        for kind, first, last in _fields(data, *place):
            if first is not None:
                return kind, first, last
    return 0, 0, 0


def _values(data, feature):
    """Return the values of one feature as an array."""
    kind, at, end = feature
    if kind == FLOAT:
        if at < end and data[at] == 0x0A:
            length, first = _varint(data, at + 1)
            if first + length == end:
                return np.frombuffer(data, "<f4", length // 4, first)
        parts = [np.frombuffer(data, "<f4", (last - first) // 4, first) if first is not None
                 else np.frombuffer(last, "<f4") for _, first, last in _fields(data, at, end)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if kind == INT64:
        found: list = []
        for _, first, last in _fields(data, at, end):
            if first is None:
                found.append(last)
            elif last - first > 32:
                found += _varints(data, first, last)
            else:
                while first < last:
                    value, first = _varint(data, first)
                    found.append(value)
        return np.array([v if v < 1 << 63 else v - (1 << 64) for v in found], np.int64)
    items = [data[first:last] for _, first, last in _fields(data, at, end)] if kind == BYTES else []
    out = np.empty(len(items), object)
    out[:] = items
    return out


def _varints(data, first, last):
    """Decode many varints at once."""
    raw = np.frombuffer(data, np.uint8, last - first, first)
    ends = np.flatnonzero(raw < 0x80)
    begins = np.concatenate([[0], ends[:-1] + 1])
    group = np.repeat(np.arange(len(ends)), ends - begins + 1)
    shift = (np.arange(len(raw)) - begins[group]).astype(np.uint64) * np.uint64(7)
    parts = (raw & 0x7F).astype(np.uint64) << shift
    return np.bitwise_or.reduceat(parts, begins).tolist()


def _scan(data, wanted):
    """Return {name: (kind, begin, end)} of an Example."""
    found: dict = {}
    try:
        for field, begin, end in _fields(data, 0, len(data)):
            if field == 1 and begin is not None:
                _features(data, begin, end, wanted, found)
    except (IndexError, ValueError) as error:
        raise InvalidArgumentError(f"Could not parse example input: {len(data)} bytes that are no serialized "
                                   f"tf.train.Example ({error}).") from None
    return found


# ---------------------------------------------------------------- features to arrays

def _named(features):
    """Return {name as bytes in the file: name in the result}."""
    return {(getattr(f, "value_key", None) or name).encode(): name for name, f in features.items()}


def _check(kind, feature, name):
    wanted = _KINDS.get(feature.dtype.name)
    if wanted is None:
        raise InvalidArgumentError(f"Feature '{name}' was declared as {feature.dtype.name}; examples hold int64, "
                                   "float32 and string only. Parse it as one of these and cast.")
    if kind and kind != wanted:
        raise InvalidArgumentError(f"Feature '{name}' was declared as {feature.dtype.name}, but the example holds "
                                   f"{_NAMES.get(kind, kind)} values.")


def shape_of(feature):
    """Return the shape of a fixed feature as a tuple."""
    return tuple([int(d) for d in feature.shape]) if hasattr(feature.shape, "__len__") else (int(feature.shape),)


def _fixed(data, found, name, feature):
    place, shape = found.get(name), shape_of(feature)
    if place is None or place[0] == 0:
        if feature.default_value is None:
            raise InvalidArgumentError(f"Feature '{name}' is required but the example has none. Give the "
                                       "FixedLenFeature a default_value if it may be missing.")
        default = engine.host_array(feature.default_value, feature.dtype)
        return np.broadcast_to(default, shape) if default.ndim == 0 or default.size == 1 else default.reshape(shape)
    _check(place[0], feature, name)
    values = _values(data, place)
    count = 1
    for d in shape:
        count *= d
    if values.size != count:
        raise InvalidArgumentError(f"Feature '{name}' was declared with shape {shape}: {count} values, but the "
                                   f"example holds {values.size}.")
    return values.reshape(shape)


def _any(data, found, name, feature):
    place = found.get(name)
    if place is None or place[0] == 0:
        return np.zeros(0, feature.dtype.numpy_dtype)
    _check(place[0], feature, name)
    return _values(data, place)


def parse_single_example(serialized, features, example_names=None, name=None):
    """Parse one serialized Example into a dict of tensors: `tf.io.parse_single_example`.

    Args:
        serialized: string scalar.
        features: name -> FixedLenFeature (a tensor), VarLenFeature (a SparseTensor), FixedLenSequenceFeature or
            RaggedFeature (a tensor of any length).

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no Example, or a feature is missing or of another type or size.
    """
    if isinstance(serialized, HostValue):
        return _traced(serialized, features)
    data = _serialized(serialized)
    found, parsed = _scan(data, _named(features)), {}
    for key, feature in features.items():
        parsed[key] = _single(data, found, key, feature)
    return parsed


def _traced(value, features):
    from fitloom.data.fixed_examples import FixedExamples
    if not all(isinstance(feature, FixedLenFeature) for feature in features.values()):
        raise TypeError("features of any length have no shape that a compiled function could know")
    parser = FixedExamples(dict(features))
    return dict(zip(features, value.call(parser, parser.results())))


def _single(data, found, key, feature):
    if isinstance(feature, FixedLenFeature):
        return engine.Tensor(_fixed(data, found, key, feature))
    values = _any(data, found, key, feature)
    if isinstance(feature, VarLenFeature):
        return ops.SparseTensor(np.arange(len(values), dtype=np.int64)[:, None], engine.Tensor(values), (len(values),))
    if isinstance(feature, FixedLenSequenceFeature):
        return engine.Tensor(values.reshape(-1, *feature.shape))
    return engine.Tensor(values)


def _serialized(value):
    if isinstance(value, bytes):
        return value
    array = structure.to_numpy(value)
    if array.shape != () or array.dtype != structure.STRING:
        raise InvalidArgumentError(f"parse_single_example needs one string, but received shape {array.shape} and "
                                   f"dtype {array.dtype}. Use parse_example for a batch.")
    return array[()]


def parse_example(serialized, features, example_names=None, name=None):
    """Parse a batch of serialized Examples into a dict of tensors: `tf.io.parse_example`.

    Fixed features are stacked, VarLenFeature gives a SparseTensor of shape (batch, longest), RaggedFeature a
    RaggedTensor, FixedLenSequenceFeature a tensor padded with its default value.
    """
    if isinstance(serialized, (bytes, str)) or structure.to_numpy(serialized).ndim == 0:
        return parse_single_example(serialized, features)
    records = structure.to_numpy(serialized).reshape(-1)
    wanted = _named(features)
    scans = [_scan(data, wanted) for data in records]
    return {key: _batch(records, scans, key, feature) for key, feature in features.items()}


def _batch(records, scans, key, feature):
    if isinstance(feature, FixedLenFeature):
        return engine.Tensor(np.stack([_fixed(d, s, key, feature) for d, s in zip(records, scans)]))
    rows = [_any(d, s, key, feature) for d, s in zip(records, scans)]
    lengths = np.array([len(r) for r in rows], np.int64)
    if isinstance(feature, VarLenFeature):
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.stack([np.repeat(np.arange(len(rows)), lengths), np.arange(lengths.sum()) - starts], axis=1)
        return ops.SparseTensor(places, engine.Tensor(np.concatenate(rows)), (len(rows), int(lengths.max(initial=0))))
    if isinstance(feature, RaggedFeature):
        return ops.RaggedTensor.from_row_lengths(engine.Tensor(np.concatenate(rows)), engine.Tensor(lengths))
    row_size = int(np.prod(feature.shape, dtype=np.int64))
    filler = feature.default_value
    if filler is None:
        filler = b"" if feature.dtype.name == "string" else 0
    out = np.full((len(rows), int(lengths.max(initial=0)) // max(1, row_size), *feature.shape), filler,
                  feature.dtype.numpy_dtype)
    for target, row in zip(out, rows):
        target[:len(row) // max(1, row_size)] = row.reshape(-1, *feature.shape)
    return engine.Tensor(out)


def parse_single_sequence_example(serialized, context_features=None, sequence_features=None, example_name=None,
                                  name=None):
    """Parse one serialized SequenceExample into (context dict, sequence dict)."""
    data = _serialized(serialized)
    context_features, sequence_features = context_features or {}, sequence_features or {}
    found, lists, wanted = {}, {}, _named(sequence_features)
    for field, begin, end in _fields(data, 0, len(data)):
        if field == 1:
            _features(data, begin, end, _named(context_features), found)
        elif field == 2:
            for _, first, last in _fields(data, begin, end):
                key = steps = None
                for number, a, b in _fields(data, first, last):
                    if number == 1:
                        key = data[a:b]
                    else:
                        steps = [_values(data, _kind(data, (p, q))) for _, p, q in _fields(data, a, b)]
                if key in wanted:
                    lists[wanted[key]] = steps or []
    context = {key: _single(data, found, key, feature) for key, feature in context_features.items()}
    return context, {key: _steps(lists.get(key), key, feature) for key, feature in sequence_features.items()}


def _steps(steps, key, feature):
    if steps is None:
        if not getattr(feature, "allow_missing", True):
            raise InvalidArgumentError(f"Feature list '{key}' is required but the example has none.")
        steps = []
    if isinstance(feature, FixedLenSequenceFeature):
        rows = [step.reshape(feature.shape) for step in steps]
        empty = np.zeros((0, *feature.shape), feature.dtype.numpy_dtype)
        return engine.Tensor(np.stack(rows) if rows else empty)
    lengths = np.array([len(step) for step in steps], np.int64)
    values = np.concatenate(steps) if steps else np.zeros(0, feature.dtype.numpy_dtype)
    if isinstance(feature, RaggedFeature):
        return ops.RaggedTensor.from_row_lengths(engine.Tensor(values), engine.Tensor(lengths))
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.stack([np.repeat(np.arange(len(steps)), lengths), np.arange(lengths.sum()) - starts], axis=1)
    return ops.SparseTensor(places, engine.Tensor(values), (len(steps), int(lengths.max(initial=0))))


# ---------------------------------------------------------------- tensors as bytes

def serialize_tensor(tensor, name=None):
    """Return a tensor as a serialized TensorProto: `tf.io.serialize_tensor`."""
    array = structure.to_numpy(tensor)
    dims = b"".join([_delimited(2, b"\x08" + _encoded(d)) for d in array.shape])
    out = b"\x08" + _encoded(dtypes.as_dtype(array.dtype).as_datatype_enum) + _delimited(2, dims)
    if array.dtype == structure.STRING:
        out += b"".join([_delimited(8, item) for item in array.reshape(-1)])
    else:
        out += _delimited(4, np.ascontiguousarray(array).tobytes())
    result = np.empty((), object)
    result[()] = out
    return engine.Tensor(result)


def parse_tensor(serialized, out_type, name=None):
    """Return the tensor of a serialized TensorProto: `tf.io.parse_tensor`."""
    data, dims, content, strings = _serialized(serialized), [], None, []
    dtype = dtypes.as_dtype(out_type)
    for field, begin, end in _fields(data, 0, len(data)):
        if field == 1 and dtypes.as_dtype(end) != dtype:
            raise InvalidArgumentError(f"parse_tensor was asked for {dtype.name}, but the data holds "
                                       f"{dtypes.as_dtype(end).name}.")
        if field == 2:
            for _, first, last in _fields(data, begin, end):
                sizes = [b for n, a, b in _fields(data, first, last) if n == 1 and a is None]
                dims.append(sizes[0] if sizes else 0)
        elif field == 4:
            content = data[begin:end]
        elif field == 8:
            strings.append(data[begin:end])
    if dtype.name == "string":
        array = np.empty(len(strings), object)
        array[:] = strings
    elif content is None and int(np.prod(dims)):
        raise InvalidArgumentError("parse_tensor reads tensors in tensor_content form, as serialize_tensor writes.")
    else:
        array = np.frombuffer(content or b"", dtype.numpy_dtype)
    return engine.Tensor(array.reshape(dims).copy())


def _encoded(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(field, content):
    return _encoded(field << 3 | 2) + _encoded(len(content)) + content


def decode_raw(input_bytes, out_type, little_endian=True, fixed_length=None, name=None):
    """Reinterpret the bytes of strings as numbers of `out_type`: `tf.io.decode_raw`. Adds a last axis."""
    if isinstance(input_bytes, HostValue):
        raise TypeError("the number of bytes of a string is not known to a compiled function")
    array, dtype = structure.to_numpy(input_bytes), dtypes.numpy_dtype(out_type)
    rows = []
    for item in array.reshape(-1):
        if len(item) % dtype.itemsize:
            raise InvalidArgumentError(f"decode_raw received {len(item)} bytes, which is no multiple of the "
                                       f"{dtype.itemsize} bytes of {dtypes.name_of(dtype)}.")
        row = np.frombuffer(item, dtype if little_endian or dtype.itemsize == 1 else dtype.newbyteorder(">"))
        rows.append(row.astype(dtype))
    if len({len(r) for r in rows}) > 1:
        raise InvalidArgumentError("decode_raw needs strings of one length.")
    if not rows:
        return engine.Tensor(np.zeros((*array.shape, 0), dtype))
    return engine.Tensor(np.stack(rows).reshape(*array.shape, -1))


__all__ = ["FixedLenFeature", "FixedLenSequenceFeature", "RaggedFeature", "VarLenFeature", "decode_raw",
           "parse_example", "parse_single_example", "parse_single_sequence_example", "parse_tensor",
           "serialize_tensor"]
