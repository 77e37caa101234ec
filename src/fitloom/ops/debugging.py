# SPDX-License-Identifier: Apache-2.0
"""Checks of values and shapes: `tf.debugging`, `tf.Assert`.

A check reads the values it is about, so outside compiled functions it runs what is pending. Inside one, values are
checked when the program runs; the error then names the line of the check and leaves variables as they were.
"""

from __future__ import annotations

import logging
import operator

import jax
import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.engine.checking import check_later
from fitloom.ops.calling import dtype_of, tensor
from fitloom.ops.calling import tensor as as_tensor


def _known(x):
    """Return the NumPy value, or None inside a compiled function."""
    x = tensor(x)
    array = x.array if hasattr(x, "array") else np.asarray(x)
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def Assert(condition, data, summarize=None, name=None):
    """Raise InvalidArgumentError with `data` unless `condition` is true."""
    data = data if isinstance(data, (list, tuple)) else [data]

    def describe(*values):
        values = iter(values)
        return f"assertion failed: [{', '.join(str(next(values) if engine.is_tensor(d) else d) for d in data)}]"
    _require(tensor(condition).array.all(), [d for d in data if engine.is_tensor(d)], describe)


def _require(condition, values, describe):
    """Raise InvalidArgumentError(describe(*values)) unless the condition, an array, holds: now, or when it is known."""
    arrays = [tensor(v).array for v in values]
    if any(isinstance(a, jax.core.Tracer) for a in (condition, *arrays)):
        check_later(condition, describe, arrays)
    elif not np.all(condition):
        raise InvalidArgumentError(describe(*map(np.asarray, arrays)))


def _fail(message, default, *values):
    shown = "; ".join(np.array2string(v, threshold=6, edgeitems=3) for v in values)
    return f"{message + ' ' if message else ''}{default} Values: {shown}."


def _comparison(name, compare, words):
    def public(x, y, message=None, summarize=None, name=None):
        x, y = tensor(x), tensor(y)
        a, b = x.array, y.array
        if a.dtype == object or not any(isinstance(v, jax.core.Tracer) for v in (a, b)):
            a, b = np.asarray(a), np.asarray(b)
        _require(compare(a, b), [x, y],
                 lambda *v: _fail(message, f"{public.__name__} expected x {words} y for every element.", *v))

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Raise InvalidArgumentError unless x {words} y for every element."
    return public


assert_equal = _comparison("assert_equal", operator.eq, "==")
assert_none_equal = _comparison("assert_none_equal", operator.ne, "!=")
assert_less = _comparison("assert_less", operator.lt, "<")
assert_less_equal = _comparison("assert_less_equal", operator.le, "<=")
assert_greater = _comparison("assert_greater", operator.gt, ">")
assert_greater_equal = _comparison("assert_greater_equal", operator.ge, ">=")


def _sign(name, compare, words):
    def public(x, message=None, summarize=None, name=None):
        x = tensor(x)
        _require(compare(x.array), [x],
                 lambda a: _fail(message, f"{public.__name__} expected x {words} for every element.", a))

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Raise InvalidArgumentError unless x {words} for every element."
    return public


assert_positive = _sign("assert_positive", lambda a: a > 0, "> 0")
assert_negative = _sign("assert_negative", lambda a: a < 0, "< 0")
assert_non_positive = _sign("assert_non_positive", lambda a: a <= 0, "<= 0")
assert_non_negative = _sign("assert_non_negative", lambda a: a >= 0, ">= 0")


def assert_near(x, y, rtol=None, atol=None, message=None, summarize=None, name=None):
    """Raise InvalidArgumentError unless |x - y| <= atol + rtol * |y| (both 10 eps of the dtype by default)."""
    x, y = tensor(x), tensor(y)
    a, b = x.array, y.array
    eps = 10 * float(np.finfo(a.dtype).eps) if a.dtype.kind == "f" else 0.0
    near = abs(a - b) <= (eps if atol is None else atol) + (eps if rtol is None else rtol) * abs(b)
    _require(near, [x, y], lambda *v: _fail(message, "assert_near expected x and y to be close.", *v))


def _assert_rank(x, message, fits, words):
    ndim = len(tensor(x).shape)
    if not fits(ndim):
        raise ValueError(f"{message + ' ' if message else ''}Expected rank {words}, but received rank {ndim}, shape "
                         f"{tuple(tensor(x).shape)}.")


def assert_rank(x, rank, message=None, name=None):
    """Raise ValueError unless x has `rank` axes."""
    _assert_rank(x, message, lambda n: n == int(rank), int(rank))


def assert_rank_at_least(x, rank, message=None, name=None):
    """Raise ValueError unless x has at least `rank` axes."""
    _assert_rank(x, message, lambda n: n >= int(rank), f"at least {int(rank)}")


def assert_rank_in(x, ranks, message=None, name=None):
    """Raise ValueError unless the number of x's axes is among `ranks`."""
    ranks = [int(r) for r in ranks]
    _assert_rank(x, message, lambda n: n in ranks, f"in {ranks}")


def assert_scalar(tensor, message=None, name=None):
    """Return `tensor`; raise ValueError unless it has no axes."""
    _assert_rank(tensor, message, lambda n: n == 0, 0)
    return tensor


def assert_shapes(shapes, data=None, summarize=None, message=None, name=None):
    """Raise ValueError unless shapes agree: {x: ('N', 3), y: ('N',)}, a name standing for one size everywhere."""
    sizes = {}
    for x, wanted in shapes.items() if isinstance(shapes, dict) else shapes:
        x = x.deref() if hasattr(x, "deref") else x
        given = tuple(tensor(x).shape)
        wanted = tuple(wanted) if isinstance(wanted, (list, tuple, TensorShape)) else (wanted,)
        if len(wanted) != len(given):
            raise ValueError(f"{message + ' ' if message else ''}Expected a tensor of shape {wanted}, but received "
                             f"{given}.")
        for size, want in zip(given, wanted, strict=True):
            if want in (None, "."):
                continue
            expected = sizes.setdefault(want, size) if isinstance(want, str) and not want.isdigit() else int(want)
            if size != expected:
                raise ValueError(f"{message + ' ' if message else ''}Expected shape {wanted} (with {sizes}), but "
                                 f"received {given}.")


def assert_type(tensor, tf_type, message=None, name=None):
    """Raise TypeError unless the dtype is `tf_type`."""
    if dtype_of(tensor) is not dtypes.as_dtype(tf_type):
        raise TypeError(f"{message + ' ' if message else ''}Expected dtype {dtypes.name_of(tf_type)}, but received "
                        f"{dtypes.name_of(tensor.dtype)}.")


def assert_same_float_dtype(tensors=None, dtype=None):
    """Return the common floating dtype; raise ValueError if there is none."""
    for x in tensors or ():
        if x is not None:
            found = dtype_of(x)
            if dtype is not None and found is not dtypes.as_dtype(dtype):
                raise ValueError(f"Expected dtype {dtypes.name_of(dtype)}, but received {found.name}.")
            dtype = found
    dtype = dtypes.as_dtype(dtype or dtypes.float32)
    if not dtype.is_floating:
        raise ValueError(f"Expected a floating dtype, but received {dtype.name}.")
    return dtype


def assert_integer(x, message=None, name=None):
    """Raise TypeError unless x holds whole numbers."""
    if not dtype_of(tensor(x)).is_integer:
        raise TypeError(f"{message + ' ' if message else ''}Expected whole numbers, but received "
                        f"{dtypes.name_of(tensor(x).dtype)}.")


def assert_proper_iterable(values):
    """Raise TypeError if `values` is a tensor, text, or cannot be iterated over."""
    if engine.is_tensor(values) or isinstance(values, (str, bytes, np.ndarray)) or not hasattr(values, "__iter__"):
        raise TypeError(f"Expected a list or tuple of tensors, but received {type(values).__name__}.")


def _kinds(value):
    found = {"NaN": np.isnan(value).any(), "Inf": np.isinf(value).any()}
    return " and ".join(kind for kind, there in found.items() if there)


def check_numerics(tensor, message, name=None):
    """Return `tensor`; raise InvalidArgumentError if it holds NaN or inf."""
    x = as_tensor(tensor)
    if x.dtype.is_floating or x.dtype.is_complex:
        _require(jnp.isfinite(x.array), [x],
                 lambda value: f"{message} : Tensor had {_kinds(value)} values. Shape {value.shape}.")
    return tensor




def assert_all_finite(x, message, name=None):
    """Return `x`; raise InvalidArgumentError if it has NaN or infinity: `check_numerics` with its parameter's name."""
    return check_numerics(x, message, name)


def is_numeric_tensor(tensor):
    """Return whether `tensor` is a tensor of numbers."""
    if not engine.is_tensor(tensor):
        return False
    found = dtype_of(tensor)
    return found.is_floating or found.is_integer or found.is_complex


def enable_check_numerics(stack_height_limit=30, path_length_limit=50):
    """Execute each operation at once and raise at the first that makes NaN or inf, naming it and its line."""
    from fitloom.engine.context import SETTINGS

    SETTINGS.check_numerics = SETTINGS.eager = True


def disable_check_numerics():
    """Undo `enable_check_numerics`."""
    from fitloom.engine.context import SETTINGS

    SETTINGS.check_numerics = SETTINGS.eager = False


def get_logger():
    """Return the package's logger (it answers to the name 'tensorflow' too, so scripts can silence it)."""
    return logging.getLogger("tensorflow")
