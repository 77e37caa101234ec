# SPDX-License-Identifier: Apache-2.0
"""What `tf.experimental.numpy` has beyond `keras.ops`: NumPy's functions on tensors, and methods for them."""
import builtins
import functools

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops import arithmetic, casting, indexing, numpy_elementwise, numpy_positions, numpy_statistics, shaping
from fitloom.ops.calling import dtype_of, host_value


def asarray(a, dtype=None):
    """Return `a` as a tensor; Python floats become float64 and ints int64, as in NumPy."""
    if not hasattr(a, "dtype"):
        a = np.asarray(a) if not any(hasattr(x, "dtype") for x in (a if isinstance(a, (list, tuple)) else ())) else a
    made = engine.convert_to_tensor(a)
    return made if dtype is None else casting.cast(made, dtype)


asanyarray = ascontiguousarray = asarray


def around(a, decimals=0):
    """Return `a` rounded to `decimals` places."""
    return numpy_elementwise.round(asarray(a), decimals)


def array_equal(a1, a2):
    """Whether two tensors have the same shape and values."""
    a, b = asarray(a1), asarray(a2)
    return tuple(a.shape) == tuple(b.shape) and builtins.bool(np.all(np.asarray(a) == np.asarray(b)))


def _at_least(count, arrays):
    made = []
    for a in map(asarray, arrays):
        missing = count - len(a.shape)
        if missing > 0:
            shape = tuple(a.shape)
            # NumPy puts the third axis behind a matrix, all others in front.
            shape = (*shape, 1) if count == 3 and len(shape) == 2 else \
                (1, *shape, 1) if count == 3 and len(shape) == 1 else (1,) * missing + shape
            a = shaping.reshape(a, shape)
        made.append(a)
    return made if len(made) != 1 else made[0]


def atleast_1d(*arys):
    """Return the inputs with at least one axis."""
    return _at_least(1, arys)


def atleast_2d(*arys):
    """Return the inputs with at least two axes."""
    return _at_least(2, arys)


def atleast_3d(*arys):
    """Return the inputs with at least three axes."""
    return _at_least(3, arys)


def broadcast_arrays(*args):
    """Return the inputs in their common shape."""
    arrays = [asarray(a) for a in args]
    shape = np.broadcast_shapes(*[tuple(a.shape) for a in arrays])
    return [shaping.broadcast_to(a, shape) for a in arrays]


def compress(condition, a, axis=None):
    """Return the slices of `a` where the vector `condition` is true."""
    from fitloom.ops.indexing import gather

    a, axis = (shaping.reshape(asarray(a), [-1]), 0) if axis is None else (asarray(a), axis)
    return gather(a, np.flatnonzero(host_value(condition)), axis=axis)


def diag_indices(n, ndim=2):
    """Return the positions of a diagonal."""
    return tuple(asarray(np.arange(n)) for _ in range(ndim))


def divmod(x1, x2):
    """Return quotient and remainder."""
    x1, x2 = asarray(x1), asarray(x2)
    return x1 // x2, x1 % x2


def fix(x):
    """Return `x` rounded towards 0."""
    x = asarray(x)
    return casting.cast(numpy_elementwise.trunc(x), x.dtype)


def flatten(a, order="C"):
    """Return all values in one axis."""
    if order not in ("C", "A", "K"):
        return shaping.reshape(shaping.transpose(asarray(a)), [-1])
    return shaping.reshape(asarray(a), [-1])


def float_power(x1, x2):
    """Return x1 ** x2 in float64."""
    return casting.cast(asarray(x1), dtypes.float64) ** casting.cast(asarray(x2), dtypes.float64)


def iscomplexobj(x):
    """Whether the dtype is complex."""
    return dtypes.as_dtype(asarray(x).dtype).is_complex


def isrealobj(x):
    """Whether the dtype is not complex."""
    return not iscomplexobj(x)


def iscomplex(x):
    """Return where the imaginary part is not 0."""
    x = asarray(x)
    return casting.cast(numpy_elementwise.imag(x), dtypes.float64) != 0


def ix_(*args):
    """Return index tensors that together pick an open mesh."""
    return tuple(asarray(a) for a in np.ix_(*[host_value(a) for a in args]))


def ndim(a):
    """Return the number of axes."""
    return len(asarray(a).shape)


def size(x, axis=None):
    """Return the number of values, or the length of an axis."""
    shape = tuple(asarray(x).shape)
    return int(np.prod(shape)) if axis is None else shape[axis]


def polyval(p, x):
    """Return the polynomial with coefficients `p`, highest power first, at `x`."""
    x = asarray(x)
    result = arithmetic.multiply(x, 0)
    for coefficient in np.asarray(host_value(p)):
        result = result * x + coefficient.item()
    return result


def positive(x):
    """Return `x`."""
    return asarray(x)


def remainder(x1, x2):
    """Return the remainder with the sign of the divisor."""
    return asarray(x1) % asarray(x2)


def promote_types(type1, type2):
    """Return NumPy's common dtype of two."""
    return np.promote_types(dtypes.numpy_dtype(type1), dtypes.numpy_dtype(type2))


def result_type(*arrays_and_dtypes):
    """Return NumPy's common dtype of tensors and dtypes."""
    return np.result_type(*[np.empty(0, dtypes.numpy_dtype(x.dtype)) if hasattr(x, "shape") and hasattr(x, "dtype") else
                            x if isinstance(x, (int, float, complex, bool)) else dtypes.numpy_dtype(x)
                            for x in arrays_and_dtypes])


def experimental_enable_numpy_behavior(prefer_float32=False, dtype_conversion_mode="legacy"):
    """Give tensors NumPy's methods (`T`, `astype`, `reshape`, `sum`...), indexing, and promotion of dtypes."""
    _Preferred.float32 = prefer_float32
    methods = {
        "astype": lambda self, dtype: casting.cast(self, dtype),
        "reshape": lambda self, *shape: shaping.reshape(self, shape[0] if len(shape) == 1 else shape),
        "ravel": lambda self: shaping.reshape(self, [-1]), "flatten": lambda self: shaping.reshape(self, [-1]),
        "transpose": lambda self, *axes: shaping.transpose(
            self, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None),
        "clip": lambda self, a_min, a_max: numpy_elementwise.clip(self, a_min, a_max),
        "tolist": lambda self: np.asarray(self).tolist(),
    }
    for name in ("sum", "mean", "max", "min", "prod", "std", "var", "argmax", "argmin", "any", "all", "cumsum"):
        function = getattr(numpy_statistics, name, None) or getattr(numpy_positions, name)
        methods[name] = _reduction(function)
    for name, method in methods.items():
        setattr(engine.Tensor, name, method)
    for name, read in {"T": lambda self: shaping.transpose(self), "size": lambda self: int(np.prod(tuple(self.shape))),
                       "data": lambda self: np.asarray(self).data}.items():
        setattr(engine.Tensor, name, property(read))
    for name in _PROMOTING:
        for owner in (engine.Tensor, engine.Variable):
            method = getattr(owner, name)
            if not hasattr(method, "promotes"):
                setattr(owner, name, _promoting(method))


    if engine.Tensor.__getitem__ is not _getitem:
        engine.Tensor.__getitem__ = _getitem


def _reduction(function):
    def method(self, axis=None, dtype=None, out=None, **options):        # what np.sum(tensor) and its kin pass
        if out is not None:
            raise TypeError("A tensor cannot be written to: leave out= away.")
        made = function(self, axis=axis, **options)
        return made if dtype is None else casting.cast(made, dtype)
    return method


def _getitem(x, key):
    """Return x[key]; also with the masks and lists of positions that only NumPy takes."""
    try:
        return indexing.getitem(x, key)
    except TypeError:
        parts = tuple([host_value(part) if engine.is_tensor(part) or isinstance(part, (list, tuple)) else part
                       for part in (key if isinstance(key, tuple) else (key,))])
        places = np.arange(int(np.prod(tuple(x.shape)))).reshape(tuple(x.shape))[parts]
        return indexing.gather(shaping.reshape(x, [-1]), places)


_PROMOTING = [f"__{before}{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
              for before in ("", "r")] + [f"__{name}__" for name in ("lt", "le", "gt", "ge", "eq", "ne")]


class _Preferred:
    float32 = False          # whether what NumPy would make float64 becomes float32


def _promoting(method):
    @functools.wraps(method)
    def operator(x, y):
        try:
            return method(x, y)
        except (InvalidArgumentError, TypeError):
            if isinstance(y, (list, tuple)) or dtype_of(x) is dtype_of(y):
                raise
        kinds = [v if isinstance(v, (bool, int, float, complex)) else dtypes.numpy_dtype(v.dtype) for v in (x, y)]
        dtype = np.result_type(*kinds)
        if _Preferred.float32 and dtype == np.float64 and np.dtype(np.float64) not in kinds:
            dtype = np.dtype(np.float32)
        return method(casting.cast(x, dtype), casting.cast(y, dtype))
    operator.promotes = True
    return operator


