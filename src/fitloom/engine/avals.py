# SPDX-License-Identifier: Apache-2.0
"""Abstract values: shape and dtype, interned so that identity is equality."""
import jax
import ml_dtypes
import numpy as np

_INEXACT_EXTENSIONS = {np.dtype(t) for t in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn)}


class Aval:
    """Shape and dtype of an array."""

    __slots__ = ("shape", "dtype", "size", "nbytes", "inexact")
    shape: tuple
    dtype: np.dtype
    size: int
    nbytes: int
    inexact: bool

    def __repr__(self):
        return f"{self.dtype}{list(self.shape)}"

    def spec(self):
        """Return the jax.ShapeDtypeStruct."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)


_interned: dict = {}


def aval(shape, dtype) -> Aval:
    """Return the one Aval of a shape (tuple of ints) and NumPy dtype."""
    found = _interned.get((shape, dtype))
    if found is None:
        made = Aval()
        made.shape, made.dtype = shape, np.dtype(dtype)
        size = 1
        for dimension in shape:
            size *= dimension
        made.size, made.nbytes = size, size * made.dtype.itemsize
        made.inexact = made.dtype.kind in "fc" or made.dtype in _INEXACT_EXTENSIONS
        found = _interned.setdefault((shape, made.dtype), made)
    return found


def aval_of(array) -> Aval:
    """Return the Aval of a NumPy array, jax array, tracer or ShapeDtypeStruct."""
    return aval(tuple(array.shape), np.dtype(array.dtype))


FLOAT = aval((), np.dtype(np.float32))
INT = aval((), np.dtype(np.int32))
SEED = aval((), np.dtype(np.uint64))
