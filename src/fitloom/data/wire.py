# SPDX-License-Identifier: Apache-2.0
"""Serialized Examples as bytes: where their features are, and their values as arrays."""
import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError

BYTES, FLOAT, INT64 = 1, 2, 3           # field numbers of Feature
_KINDS = {"string": BYTES, "float32": FLOAT, "int64": INT64}
_NAMES = {BYTES: "bytes", FLOAT: "float", INT64: "int64", 0: "nothing"}


def varint(data, at):
    """Return (integer, place behind it)."""
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


def fields(data, at, end):
    """Yield (field number, begin, end) of the length-delimited fields of a message; others have begin None."""
    while at < end:
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 2:
            length, at = varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, at, at + length
            at += length
        elif wire == 0:
            value, at = varint(data, at)
            yield tag >> 3, None, value
        elif wire == 5:
            yield tag >> 3, None, data[at:at + 4]
            at += 4
        elif wire == 1:
            at += 8
        else:
            raise ValueError(f"unknown wire type {wire}")


def find_features(data, at, end, wanted, found):
    """Find the wanted features of a Features message: found[key] = (kind, begin, end of the list)."""
    for field, begin, stop in fields(data, at, end):
        if field != 1 or begin is None:
            continue
        key = value = None
        for number, first, last in fields(data, begin, stop):
            if number == 1:
                key = data[first:last]
            elif number == 2:
                value = first, last
        if key in wanted:
            found[wanted[key]] = kind_of(data, value)


def kind_of(data, place):
    """Return (kind, begin, end) of the list in a Feature message."""
    if place is not None:
        for kind, first, last in fields(data, *place):
            if first is not None:
                return kind, first, last
    return 0, 0, 0


def values_of(data, feature):
    """Return the values of one feature as an array."""
    kind, at, end = feature
    if kind == FLOAT:
        if at < end and data[at] == 0x0A:
            length, first = varint(data, at + 1)
            if first + length == end:
                return np.frombuffer(data, "<f4", length // 4, first)
        parts = [np.frombuffer(data, "<f4", (last - first) // 4, first) if first is not None
                 else np.frombuffer(last, "<f4") for _, first, last in fields(data, at, end)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if kind == INT64:
        found: list = []
        for _, first, last in fields(data, at, end):
            if first is None:
                found.append(last)
            elif last - first > 32:
                found += varints(data, first, last)
            else:
                while first < last:
                    value, first = varint(data, first)
                    found.append(value)
        return np.array([v if v < 1 << 63 else v - (1 << 64) for v in found], np.int64)
    items = [data[first:last] for _, first, last in fields(data, at, end)] if kind == BYTES else []
    out = np.empty(len(items), object)
    out[:] = items
    return out


def varints(data, first, last):
    """Decode many varints at once."""
    raw = np.frombuffer(data, np.uint8, last - first, first)
    ends = np.flatnonzero(raw < 0x80)
    begins = np.concatenate([[0], ends[:-1] + 1])
    group = np.repeat(np.arange(len(ends)), ends - begins + 1)
    shift = (np.arange(len(raw)) - begins[group]).astype(np.uint64) * np.uint64(7)
    parts = (raw & 0x7F).astype(np.uint64) << shift
    return np.bitwise_or.reduceat(parts, begins).tolist()


def scan(data, wanted):
    """Return {name: (kind, begin, end)} of an Example."""
    found: dict = {}
    try:
        for field, begin, end in fields(data, 0, len(data)):
            if field == 1 and begin is not None:
                find_features(data, begin, end, wanted, found)
    except (IndexError, ValueError) as error:
        raise InvalidArgumentError(f"Could not parse example input: {len(data)} bytes that are no serialized "
                                   f"tf.train.Example ({error}).") from None
    return found


def named(features):
    """Return {name as bytes in the file: name in the result}."""
    return {(getattr(f, "value_key", None) or name).encode(): name for name, f in features.items()}


def check(kind, feature, name):
    """Raise unless the values are of the declared type."""
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


def fixed(data, found, name, feature):
    """Return the array of a FixedLenFeature."""
    place, shape = found.get(name), shape_of(feature)
    if place is None or place[0] == 0:
        if feature.default_value is None:
            raise InvalidArgumentError(f"Feature '{name}' is required but the example has none. Give the "
                                       "FixedLenFeature a default_value if it may be missing.")
        default = engine.host_array(feature.default_value, feature.dtype)
        return np.broadcast_to(default, shape) if default.ndim == 0 or default.size == 1 else default.reshape(shape)
    check(place[0], feature, name)
    values = values_of(data, place)
    count = 1
    for d in shape:
        count *= d
    if values.size != count:
        raise InvalidArgumentError(f"Feature '{name}' was declared with shape {shape}: {count} values, but the "
                                   f"example holds {values.size}.")
    return values.reshape(shape)


def any_length(data, found, name, feature):
    """Return the values of a feature of any length."""
    place = found.get(name)
    if place is None or place[0] == 0:
        return np.zeros(0, feature.dtype.numpy_dtype)
    check(place[0], feature, name)
    return values_of(data, place)
