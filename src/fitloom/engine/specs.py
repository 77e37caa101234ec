# SPDX-License-Identifier: Apache-2.0
"""`tf.TypeSpec` and `tf.TensorSpec`: what a value will look like."""
import numpy as np

from fitloom.base.dtypes import as_dtype
from fitloom.base.shapes import TensorShape


class TypeSpec:
    """Describe the type of a value: the base of TensorSpec, RaggedTensorSpec, DatasetSpec..."""

    def is_compatible_with(self, value) -> bool:
        """Whether `value`, or a value of the spec `value`, fits."""
        raise NotImplementedError


class TensorSpec(TypeSpec):
    """Describe a tensor.

    Args:
        shape: what `tf.TensorShape` takes; None for an unknown number of axes.
        dtype: its dtype.
        name: a name for the argument it describes.

    Example:
        >>> import fitloom as tf
        >>> tf.TensorSpec((None, 3), tf.int32)
        TensorSpec(shape=(None, 3), dtype=tf.int32, name=None)
    """

    __slots__ = ("_shape", "_dtype", "_name")

    def __init__(self, shape, dtype="float32", name=None):
        self._shape, self._dtype, self._name = TensorShape(shape), as_dtype(dtype), name

    shape = property(lambda self: self._shape)
    dtype = property(lambda self: self._dtype)
    name = property(lambda self: self._name)

    @classmethod
    def from_spec(cls, spec, name=None):
        """Return a copy of a spec, renamed if `name` is given."""
        return cls(spec.shape, spec.dtype, name or getattr(spec, "name", None))

    @classmethod
    def from_tensor(cls, tensor, name=None):
        """Return the spec of a tensor or array."""
        return cls(tensor.shape, tensor.dtype, name)

    def is_compatible_with(self, value) -> bool:
        """Whether `value` (a tensor, array or spec) has this dtype and a shape that fits."""
        if not hasattr(value, "dtype"):
            value = np.asarray(value)
        return as_dtype(value.dtype) == self.dtype and self.shape.is_compatible_with(value.shape)

    def is_subtype_of(self, other) -> bool:
        """Whether every tensor that fits this spec fits `other`."""
        if not isinstance(other, TensorSpec) or self.dtype != other.dtype:
            return False
        if other.shape.rank is None:
            return True
        return self.shape.rank == other.shape.rank and all(
            b is None or a == b for a, b in zip(self.shape.as_list(), other.shape.as_list()))

    def most_specific_compatible_type(self, other):
        """Return the narrowest spec that covers both."""
        if self.dtype != other.dtype:
            raise ValueError(f"Specs of dtypes {self.dtype.name} and {other.dtype.name} have no common spec.")
        return TensorSpec(self.shape.most_specific_compatible_shape(other.shape), self.dtype)

    def __eq__(self, other):
        return (isinstance(other, TensorSpec) and self.dtype == other.dtype and self.name == other.name
                and self._key() == other._key())

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash((self._key(), self.dtype.name, self.name))

    def _key(self):
        return None if self.shape.rank is None else tuple(self.shape.as_list())

    def __repr__(self):
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype!r}, name={self.name!r})"

    def __reduce__(self):
        return TensorSpec, (self._key(), self.dtype.name, self.name)


def type_spec_from_value(value):
    """Return the spec of a value: `tf.type_spec_from_value`."""
    found = getattr(value, "_type_spec", None)
    if found is None:
        found = TensorSpec.from_tensor(value if hasattr(value, "dtype") else np.asarray(value))
    return found
