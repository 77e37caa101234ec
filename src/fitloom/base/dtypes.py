# SPDX-License-Identifier: Apache-2.0
"""`tf.DType` and the dtypes."""
import ml_dtypes
import numpy as np


class DType:
    """The type of a tensor's elements; equal to its name and to the NumPy dtype it stands for.

    Example:
        >>> import fitloom as tf
        >>> tf.float32 == "float32", tf.float32.is_floating, tf.float32.size
        (True, True, 4)
    """

    __slots__ = ("name", "numpy_dtype", "as_datatype_enum")
    _interned: dict = {}

    def __init__(self, name, numpy_dtype, enum):
        self.name, self.as_datatype_enum = name, enum
        self.numpy_dtype = np.dtype(numpy_dtype)

    as_numpy_dtype = property(lambda self: self.numpy_dtype.type)
    # NumPy asks for `.dtype` when it is given a DType: np.zeros(3, tf.float32)
    dtype = property(lambda self: self.numpy_dtype)
    base_dtype = property(lambda self: self)
    real_dtype = property(lambda self: {"complex64": float32, "complex128": float64}.get(self.name, self))
    size = property(lambda self: self.numpy_dtype.itemsize)
    itemsize = size
    is_bool = property(lambda self: self.name == "bool")
    is_floating = property(lambda self: self.name in FLOATING)
    is_complex = property(lambda self: self.name in ("complex64", "complex128"))
    is_integer = property(lambda self: self.name in SIGNED or self.name in UNSIGNED)
    is_unsigned = property(lambda self: self.name in UNSIGNED)
    is_quantized = property(lambda self: False)
    is_numpy_compatible = property(lambda self: True)
    is_inexact = property(lambda self: self.is_floating or self.is_complex)
    limits = property(lambda self: (self.min, self.max))

    @property
    def min(self):
        """Lowest finite value."""
        return self._limit("min", False)

    @property
    def max(self):
        """Highest finite value."""
        return self._limit("max", True)

    def _limit(self, which, of_bool):
        if self.is_bool:
            return of_bool
        if self.is_integer:
            return getattr(np.iinfo(self.numpy_dtype), which)
        if self.is_floating:
            return getattr(ml_dtypes.finfo(self.numpy_dtype), which)
        raise TypeError(f"dtype '{self.name}' has no {which}imum.")

    def is_compatible_with(self, other) -> bool:
        """Whether a tensor of dtype `other` can stand where this dtype is asked for."""
        return self == as_dtype(other)

    def __eq__(self, other):
        if other.__class__ is DType:
            return self is other
        if isinstance(other, str):
            return self.name == other
        if other is None:
            return False
        try:
            return self is as_dtype(other)
        except TypeError:
            return False

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self.name)

    def __reduce__(self):
        return as_dtype, (self.name,)

    def __str__(self):
        return f"<dtype: '{self.name}'>"

    def __repr__(self):
        return f"tf.{self.name}"


def _make(name, numpy_dtype, enum):
    dtype = DType._interned[name] = DType(name, numpy_dtype, enum)
    return dtype


# The numbers are TensorFlow's DataType enum (types.proto), which appears in files.
float32 = _make("float32", np.float32, 1)
float64 = double = _make("float64", np.float64, 2)
int32 = _make("int32", np.int32, 3)
uint8 = _make("uint8", np.uint8, 4)
int16 = _make("int16", np.int16, 5)
int8 = _make("int8", np.int8, 6)
string = _make("string", np.object_, 7)
complex64 = _make("complex64", np.complex64, 8)
int64 = _make("int64", np.int64, 9)
bool_ = _make("bool", np.bool_, 10)
bfloat16 = _make("bfloat16", ml_dtypes.bfloat16, 14)
uint16 = _make("uint16", np.uint16, 17)
complex128 = _make("complex128", np.complex128, 18)
float16 = half = _make("float16", np.float16, 19)
resource = _make("resource", np.object_, 20)
variant = _make("variant", np.object_, 21)
uint32 = _make("uint32", np.uint32, 22)
uint64 = _make("uint64", np.uint64, 23)
float8_e5m2 = _make("float8_e5m2", ml_dtypes.float8_e5m2, 24)
float8_e4m3fn = _make("float8_e4m3fn", ml_dtypes.float8_e4m3fn, 25)
int4 = _make("int4", ml_dtypes.int4, 29)
uint4 = _make("uint4", ml_dtypes.uint4, 30)

FLOATING = {"float16", "float32", "float64", "bfloat16", "float8_e5m2", "float8_e4m3fn"}
SIGNED = {"int4", "int8", "int16", "int32", "int64"}
UNSIGNED = {"uint4", "uint8", "uint16", "uint32", "uint64"}

_by_numpy = {d.numpy_dtype: d for d in DType._interned.values() if d.name not in ("string", "resource", "variant")}
_by_python = {float: float32, int: int32, bool: bool_, complex: complex128, str: string, bytes: string}
_aliases = {"float": float32, "double": float64, "half": float16, "int": int32, "bool_": bool_, "str": string}


def as_dtype(value) -> DType:
    """Return the DType that a DType, name, NumPy dtype, Python type or TensorFlow enum number stands for.

    Raises:
        TypeError: `value` names no dtype.
    """
    if value.__class__ is DType:
        return value
    if isinstance(value, str):
        found = DType._interned.get(value) or _aliases.get(value)
        if found is not None:
            return found
    elif isinstance(value, np.dtype):
        found = _by_numpy.get(value)
        if found is not None:
            return found
    elif isinstance(value, type) and value in _by_python:
        return _by_python[value]
    elif isinstance(value, int):
        for dtype in DType._interned.values():
            if dtype.as_datatype_enum == value:
                return dtype
    try:
        numpy_dtype = np.dtype(value)
    except TypeError:
        numpy_dtype = None
    if numpy_dtype is not None:
        if numpy_dtype.kind in "OSU":
            return string
        if numpy_dtype in _by_numpy:
            return _by_numpy[numpy_dtype]
    raise TypeError(f"Cannot convert {value!r} to a dtype. Use one of: {', '.join(sorted(DType._interned))}.")


def numpy_dtype(value) -> np.dtype:
    """Return the NumPy dtype for anything `as_dtype` takes."""
    return as_dtype(value).numpy_dtype


def name_of(value) -> str:
    """Return the plain name, such as 'float32'."""
    return as_dtype(value).name


def is_floating(value) -> bool:
    """Whether the dtype is a floating-point type (of any width)."""
    return as_dtype(value).is_floating


def is_integer(value) -> bool:
    """Whether the dtype is an integer type, signed or not."""
    return as_dtype(value).is_integer
