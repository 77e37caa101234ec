# SPDX-License-Identifier: Apache-2.0
"""Python's operators on tensors, variables and symbolic tensors, with TensorFlow's meaning.

`==` compares element by element (and is False beside something that is no tensor), `/` divides whole numbers as
floats, `//` and `%` floor, `&`, `|`, `^`, `~` are logical on booleans and bitwise on whole numbers.
"""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops import arithmetic, indexing, linear_algebra, shaping
from fitloom.ops.calling import alike, dtype_of, is_string


def _pair(function):
    """Return the methods x.__op__(y) and y.__rop__(x) of a recorded operation."""
    recorded = function.op

    def forward(x, y):
        if y is None or y.__class__ in (str, dict):
            return NotImplemented if not is_string(x) else function(x, y)
        if hasattr(y, "with_flat_values"):
            return NotImplemented                   # the ragged tensor's own operator
        return recorded(x, y)

    def backward(y, x):
        if x is None or x.__class__ in (str, dict):
            return NotImplemented if not is_string(y) else function(x, y)
        return recorded(*alike(function.__name__, x, y)) if not isinstance(x, (int, float)) else recorded(x, y)

    return forward, backward


def _holds_text(x):
    aval = getattr(x, "aval", None)
    return aval is not None and aval.dtype.hasobject


def _add(x, y):
    if _holds_text(x):
        from fitloom.ops.strings import join

        return join([x, y])
    return _ADD(x, y)


def _radd(y, x):
    if _holds_text(y):
        from fitloom.ops.strings import join

        return join([x, y])
    return _RADD(y, x)


_ADD, _RADD = _pair(arithmetic.add)


def _power(x, y):
    return arithmetic.pow(x, y)


def _matmul(x, y):
    return linear_algebra.multiply_matrices(x, y)


def _logic(on_booleans, on_numbers):
    def forward(x, y):
        if hasattr(y, "with_flat_values"):
            return NotImplemented
        given = dtype_of(x) if engine.is_tensor(x) else dtype_of(y)
        return (on_booleans if given is dtypes.bool_ else on_numbers)(x, y)

    return forward, lambda y, x: forward(x, y)


def _invert(x):
    return (arithmetic.logical_not if dtype_of(x) is dtypes.bool_ else arithmetic.invert)(x)


def _comparable(x, y):
    """Whether == and != compare by element; else the two are simply different, as in TensorFlow."""
    return not (y is None or isinstance(y, (dict, set, type)) or callable(y)
                or (isinstance(y, str) and not is_string(x)))


def _equality(function, otherwise):
    recorded = function.op

    def compare(x, y):
        if y.__class__ is not engine.Tensor and not _comparable(x, y):
            return otherwise
        if hasattr(y, "with_flat_values"):
            return NotImplemented
        try:
            return recorded(x, y) if not _holds_text(x) else function(x, y)
        except ValueError:
            try:
                np.broadcast_shapes(tuple(x.shape), np.shape(y) if not hasattr(y, "shape") else tuple(y.shape))
            except (TypeError, ValueError):
                return otherwise  # shapes that do not broadcast: not equal, in Python's sense
            raise

    return compare


def _length(x):
    if len(x.shape) == 0:
        raise TypeError("A scalar tensor has no len().")
    return x.shape[0]


def _iterate(x):
    if len(x.shape) == 0:
        raise TypeError("A scalar tensor cannot be iterated over.")
    if dtype_of(x) is dtypes.string:
        return iter([x[i] for i in range(x.shape[0])])
    return iter(shaping.unstack(x))


def _contains(x, item):
    raise TypeError("`in` on a tensor is ambiguous. Use tf.reduce_any(x == item).")


def _round(x, digits=None):
    if not digits:
        return arithmetic.round.op(x)
    return arithmetic.round.op(x * 10.0 ** digits) / 10.0 ** digits


def methods():
    """Return the table of operator methods."""
    table = {"__add__": _add, "__radd__": _radd, "__pow__": _power, "__rpow__": lambda y, x: arithmetic.pow(x, y),
             "__matmul__": _matmul, "__rmatmul__": lambda y, x: _matmul(x, y), "__invert__": _invert,
             "__neg__": lambda x: arithmetic.negative.op(x), "__pos__": lambda x: x,
             "__abs__": lambda x: arithmetic.abs.op(x), "__round__": _round,
             "__eq__": _equality(arithmetic.equal, False), "__ne__": _equality(arithmetic.not_equal, True),
             "__getitem__": indexing.getitem, "__len__": _length, "__iter__": _iterate}
    for symbol, function in (("sub", arithmetic.subtract), ("mul", arithmetic.multiply),
                             ("truediv", arithmetic.truediv), ("floordiv", arithmetic.floordiv),
                             ("mod", arithmetic.floormod)):
        table[f"__{symbol}__"], table[f"__r{symbol}__"] = _pair(function)
    for symbol, function in (("lt", arithmetic.less), ("le", arithmetic.less_equal), ("gt", arithmetic.greater),
                             ("ge", arithmetic.greater_equal)):
        table[f"__{symbol}__"] = _pair(function)[0]
    for symbol, on_booleans, on_numbers in (
            ("and", arithmetic.logical_and, arithmetic.bitwise_and),
            ("or", arithmetic.logical_or, arithmetic.bitwise_or),
            ("xor", arithmetic.logical_xor, arithmetic.bitwise_xor)):
        table[f"__{symbol}__"], table[f"__r{symbol}__"] = _logic(on_booleans, on_numbers)
    return table


def install():
    """Give Tensor, Variable, KerasVariable and KerasTensor their operators."""
    table = methods()
    for owner in (engine.Tensor, engine.Variable, engine.KerasVariable, engine.KerasTensor):
        symbolic = owner is engine.KerasTensor
        for name, method in table.items():
            if symbolic and name in ("__len__", "__iter__", "__eq__", "__ne__"):
                continue
            method.__name__ = name
            setattr(owner, name, method)
        if not symbolic:
            owner.__contains__ = _contains
            owner.__hash__ = object.__hash__
