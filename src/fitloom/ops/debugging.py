# SPDX-License-Identifier: Apache-2.0
"""Checks of values and shapes: `tf.debugging`, `tf.Assert`.

A check reads the values it is about, so outside compiled functions it runs what is pending. Inside one, a value that
is not known yet cannot be checked and the check passes; shapes are always checked.
"""

from __future__ import annotations

import logging

import jax
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.ops.calling import dtype_of, tensor


def _known(x):
    """Return the NumPy value, or None inside a compiled function."""
    x = tensor(x)
    array = x.array if hasattr(x, "array") else np.asarray(x)
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def Assert(condition, data, summarize=None, name=None):
    """Raise InvalidArgumentError with `data` unless `condition` is true."""
    known = _known(condition)
    if known is not None and not known.all():
        shown = ", ".join(str(getattr(d, "numpy", lambda d=d: d)()) for d in data)
        raise InvalidArgumentError(f"assertion failed: [{shown}]")


def _fail(message, default, *values):
    shown = "; ".join(np.array2string(v, threshold=6, edgeitems=3) for v in values)
    raise InvalidArgumentError(f"{message + ' ' if message else ''}{default} Values: {shown}.")


def _comparison(name, compare, words):
    def public(x, y, message=None, summarize=None, name=None):
        a, b = _known(x), _known(y)
        if a is not None and b is not None and not np.all(compare(a, b)):
            _fail(message, f"{public.__name__} expected x {words} y for every element.", a, b)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Raise InvalidArgumentError unless x {words} y for every element."
    return public


assert_equal = _comparison("assert_equal", np.equal, "==")
assert_none_equal = _comparison("assert_none_equal", np.not_equal, "!=")
assert_less = _comparison("assert_less", np.less, "<")
assert_less_equal = _comparison("assert_less_equal", np.less_equal, "<=")
assert_greater = _comparison("assert_greater", np.greater, ">")
assert_greater_equal = _comparison("assert_greater_equal", np.greater_equal, ">=")


def _sign(name, compare, words):
    def public(x, message=None, summarize=None, name=None):
        a = _known(x)
        if a is not None and not np.all(compare(a)):
            _fail(message, f"{public.__name__} expected x {words} for every element.", a)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Raise InvalidArgumentError unless x {words} for every element."
    return public


assert_positive = _sign("assert_positive", lambda a: a > 0, "> 0")
assert_negative = _sign("assert_negative", lambda a: a < 0, "< 0")
assert_non_positive = _sign("assert_non_positive", lambda a: a <= 0, "<= 0")
assert_non_negative = _sign("assert_non_negative", lambda a: a >= 0, ">= 0")


def assert_near(x, y, rtol=None, atol=None, message=None, summarize=None, name=None):
    """Raise InvalidArgumentError unless |x - y| <= atol + rtol * |y| (both 10 eps of the dtype by default)."""
    a, b = _known(x), _known(y)
    if a is not None and b is not None:
        eps = 10 * float(np.finfo(a.dtype).eps) if a.dtype.kind == "f" else 0.0
        if not np.all(np.abs(a - b) <= (eps if atol is None else atol) + (eps if rtol is None else rtol) * np.abs(b)):
            _fail(message, "assert_near expected x and y to be close.", a, b)


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


def assert_scalar(tensor, name=None, message=None):
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


def check_numerics(tensor, message, name=None):
    """Return `tensor`; raise InvalidArgumentError if it holds NaN or inf."""
    known = _known(tensor)
    if known is not None and known.dtype.kind in "fc" and not np.isfinite(known).all():
        found = {"NaN": np.isnan(known).any(), "Inf": np.isinf(known).any()}
        kinds = " and ".join(kind for kind, there in found.items() if there)
        raise InvalidArgumentError(f"{message} : Tensor had {kinds} values. Shape {known.shape}.")
    return tensor


assert_all_finite = check_numerics


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
