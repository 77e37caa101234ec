# SPDX-License-Identifier: Apache-2.0
"""`tf.io.parse_example` and its relatives: serialized examples to tensors. The wire format is read directly."""
from collections import namedtuple

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.data.fixed_examples import FixedExamples
from fitloom.data.hosting import HostValue
from fitloom.data.wire import any_length, fields, find_features, fixed, kind_of, named, scan, values_of

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


class SparseFeature(namedtuple("SparseFeature", ["index_key", "value_key", "dtype", "size", "already_sorted"])):
    """Values of one feature at the places that one feature for each axis holds: `tf.io.SparseFeature`."""

    def __new__(cls, index_key, value_key, dtype, size, already_sorted=False):
        return super().__new__(cls, index_key, value_key, dtypes.as_dtype(dtype), size, already_sorted)

    def axes(self):
        """Return (name of the feature with the places, size) for each axis."""
        keys = self.index_key if isinstance(self.index_key, (list, tuple)) else [self.index_key]
        sizes = self.size if isinstance(self.size, (list, tuple)) else [self.size]
        if len(keys) != len(sizes):
            raise ValueError(f"SparseFeature needs one size for each index_key, but received {keys} and {sizes}.")
        return list(zip(keys, map(int, sizes)))

    def parts(self):
        """Return the plain features that it is made of."""
        return {**{key: RaggedFeature("int64") for key, _ in self.axes()}, self.value_key: RaggedFeature(self.dtype)}


def _with_sparse(parse, serialized, features):
    """Return what `parse` makes of the features, SparseFeatures made of their parts."""
    plain = {key: f for key, f in features.items() if not isinstance(f, SparseFeature)}
    parsed = parse(serialized, plain) if plain else {}
    return {key: parsed[key] if key in plain else _joined(key, f, parse(serialized, f.parts()))
            for key, f in features.items()}


def _joined(key, feature, parts):
    """Return the SparseTensor of a SparseFeature: (batch, *sizes) for a batch of examples."""
    values, rows, shape = parts[feature.value_key], [], []
    if isinstance(values, ops.RaggedTensor):
        rows, shape = [np.asarray(values.value_rowids())], [len(values)]
        lengths = np.diff(np.asarray(values.row_splits))
        parts = {name: part.flat_values if np.array_equal(np.diff(np.asarray(part.row_splits)), lengths) else None
                 for name, part in parts.items()}
        values = parts[feature.value_key]
    for name, size in feature.axes():
        places = None if parts[name] is None else np.asarray(parts[name])
        if places is None or len(places) != len(values):
            raise InvalidArgumentError(f"SparseFeature '{key}' needs as many places in '{name}' as values in "
                                       f"'{feature.value_key}'.")
        if places.size and (places.min() < 0 or places.max() >= size):
            raise InvalidArgumentError(f"SparseFeature '{key}' expected places in [0, {size}) in '{name}', but the "
                                       f"example holds {places.min() if places.min() < 0 else places.max()}.")
        rows.append(places)
        shape.append(size)
    indices, array = np.stack(rows, axis=1), structure.to_numpy(values)
    if not feature.already_sorted:
        order = np.lexsort(indices.T[::-1])
        indices, array = indices[order], array[order]
    return ops.SparseTensor(indices, engine.Tensor(array), shape)


def parse_single_example(serialized, features, example_names=None, name=None):
    """Parse one serialized Example into a dict of tensors: `tf.io.parse_single_example`.

    Args:
        serialized: string scalar.
        features: name -> FixedLenFeature (a tensor), VarLenFeature (a SparseTensor), FixedLenSequenceFeature or
            RaggedFeature (a tensor of any length), SparseFeature (a SparseTensor).

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no Example, or a feature is missing or of another type or size.
    """
    if isinstance(serialized, HostValue):
        return _traced(serialized, features)
    if any(isinstance(feature, SparseFeature) for feature in features.values()):
        return _with_sparse(parse_single_example, serialized, features)
    data = _serialized(serialized)
    found, parsed = scan(data, named(features)), {}
    for key, feature in features.items():
        parsed[key] = _single(data, found, key, feature)
    return parsed


def _traced(value, features):
    if not all(isinstance(feature, FixedLenFeature) for feature in features.values()):
        raise TypeError("features of any length have no shape that a compiled function could know")
    parser = FixedExamples(dict(features))
    return dict(zip(features, value.call(parser, parser.results())))


def _single(data, found, key, feature):
    if isinstance(feature, FixedLenFeature):
        return engine.Tensor(fixed(data, found, key, feature))
    values = any_length(data, found, key, feature)
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
    if any(isinstance(feature, SparseFeature) for feature in features.values()):
        return _with_sparse(parse_example, serialized, features)
    records = structure.to_numpy(serialized).reshape(-1)
    wanted = named(features)
    scans = [scan(data, wanted) for data in records]
    return {key: _batch(records, scans, key, feature) for key, feature in features.items()}


def _batch(records, scans, key, feature):
    if isinstance(feature, FixedLenFeature):
        return engine.Tensor(np.stack([fixed(d, s, key, feature) for d, s in zip(records, scans)]))
    rows = [any_length(d, s, key, feature) for d, s in zip(records, scans)]
    lengths = np.array([len(r) for r in rows], np.int64)
    if isinstance(feature, VarLenFeature):
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.stack([np.repeat(np.arange(len(rows)), lengths), np.arange(lengths.sum()) - starts], axis=1)
        return ops.SparseTensor(places, engine.Tensor(np.concatenate(rows)), (len(rows), int(lengths.max(initial=0))))
    if isinstance(feature, RaggedFeature):
        return ops.RaggedTensor.from_row_lengths(engine.Tensor(np.concatenate(rows)), lengths).with_row_splits_dtype(
            feature.row_splits_dtype)
    row_size = int(np.prod(feature.shape, dtype=np.int64))
    cut = [row[:len(row) // max(1, row_size) * row_size].reshape(-1, *feature.shape) for row in rows]
    return engine.Tensor(_filled_up(cut, feature))


def parse_single_sequence_example(serialized, context_features=None, sequence_features=None, example_name=None,
                                  name=None):
    """Parse one serialized SequenceExample into (context dict, sequence dict)."""
    data = _serialized(serialized)
    context_features, sequence_features = context_features or {}, sequence_features or {}
    found, lists = _scan_sequence(data, context_features, sequence_features)
    context = {key: _single(data, found, key, feature) for key, feature in context_features.items()}
    return context, {key: _steps(lists.get(key), key, feature) for key, feature in sequence_features.items()}


def _scan_sequence(data, context_features, sequence_features):
    """Return ({name: place} of the context, {name: arrays of the steps} of the lists) of a SequenceExample."""
    found, lists, wanted = {}, {}, named(sequence_features)
    for field, begin, end in fields(data, 0, len(data)):
        if field == 1:
            find_features(data, begin, end, named(context_features), found)
        elif field == 2:
            for _, first, last in fields(data, begin, end):
                key = steps = None
                for number, a, b in fields(data, first, last):
                    if number == 1:
                        key = data[a:b]
                    else:
                        steps = [values_of(data, kind_of(data, (p, q))) for _, p, q in fields(data, a, b)]
                if key in wanted:
                    lists[wanted[key]] = steps or []
    return found, lists


def parse_sequence_example(serialized, context_features=None, sequence_features=None, example_names=None, name=None):
    """Parse a batch of serialized SequenceExamples: `tf.io.parse_sequence_example`.

    Returns:
        (context, sequences, lengths). Context features as `parse_example` gives them. A FixedLenSequenceFeature is a
        tensor (batch, longest, *shape) filled up with its default value, a VarLenFeature a SparseTensor (batch, steps,
        values), a RaggedFeature a RaggedTensor (batch, (steps), (values)). `lengths` holds the number of steps of each
        example for the first.
    """
    records = structure.to_numpy(serialized).reshape(-1)
    context_features, sequence_features = context_features or {}, sequence_features or {}
    scans = [_scan_sequence(data, context_features, sequence_features) for data in records]
    context = {key: _batch(records, [found for found, _ in scans], key, feature)
               for key, feature in context_features.items()}
    sequences, lengths = {}, {}
    for key, feature in sequence_features.items():
        rows = [_steps(lists.get(key), key, feature) for _, lists in scans]
        if isinstance(feature, RaggedFeature):
            sequences[key] = ops.ragged.stack(rows).with_row_splits_dtype(feature.row_splits_dtype)
            continue
        if isinstance(feature, VarLenFeature):
            sequences[key] = ops.sparse.stack_rows(rows)
            continue
        lengths[key] = engine.Tensor(np.array([tuple(row.shape)[0] for row in rows], np.int64))
        sequences[key] = engine.Tensor(_filled_up([structure.to_numpy(row) for row in rows], feature))
    return context, sequences, lengths


def _filled_up(rows, feature):
    """Return arrays of different lengths as one, filled up with the feature's default value."""
    filler = feature.default_value
    if filler is None:
        filler = b"" if feature.dtype.name == "string" else 0
    out = np.full((len(rows), max(map(len, rows), default=0), *feature.shape), filler, feature.dtype.numpy_dtype)
    for target, row in zip(out, rows):
        target[:len(row)] = row
    return out


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
        return ops.RaggedTensor.from_row_lengths(engine.Tensor(values), lengths).with_row_splits_dtype(
            feature.row_splits_dtype)
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
    for field, begin, end in fields(data, 0, len(data)):
        if field == 1 and dtypes.as_dtype(end) != dtype:
            raise InvalidArgumentError(f"parse_tensor was asked for {dtype.name}, but the data holds "
                                       f"{dtypes.as_dtype(end).name}.")
        if field == 2:
            for _, first, last in fields(data, begin, end):
                sizes = [b for n, a, b in fields(data, first, last) if n == 1 and a is None]
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
    """Reinterpret the bytes of strings as numbers of `out_type`: `tf.io.decode_raw`. Adds a last axis.

    `fixed_length`: the number of bytes of each string; longer ones are cut, shorter ones filled with zeros.
    """
    if isinstance(input_bytes, HostValue):
        raise TypeError("the number of bytes of a string is not known to a compiled function")
    array, dtype = structure.to_numpy(input_bytes), dtypes.numpy_dtype(out_type)
    rows = []
    if fixed_length is not None and (fixed_length <= 0 or fixed_length % dtype.itemsize):
        raise InvalidArgumentError(f"decode_raw expected fixed_length to be a positive multiple of the "
                                   f"{dtype.itemsize} bytes of {dtypes.name_of(dtype)}, but received {fixed_length}.")
    for item in array.reshape(-1):
        if fixed_length is not None:
            item = item[:fixed_length].ljust(fixed_length, b"\0")
        if len(item) % dtype.itemsize:
            raise InvalidArgumentError(f"decode_raw received {len(item)} bytes, which is no multiple of the "
                                       f"{dtype.itemsize} bytes of {dtypes.name_of(dtype)}.")
        row = np.frombuffer(item, dtype if little_endian or dtype.itemsize == 1 else dtype.newbyteorder(">"))
        rows.append(row.astype(dtype))
    if len({len(r) for r in rows}) > 1:
        raise InvalidArgumentError("decode_raw needs strings of one length. Give fixed_length.")
    if not rows:
        return engine.Tensor(np.zeros((*array.shape, 0), dtype))
    return engine.Tensor(np.stack(rows).reshape(*array.shape, -1))


__all__ = ["FixedLenFeature", "FixedLenSequenceFeature", "RaggedFeature", "SparseFeature", "VarLenFeature",
           "decode_raw", "parse_example", "parse_sequence_example", "parse_single_example",
           "parse_single_sequence_example", "parse_tensor", "serialize_tensor"]
