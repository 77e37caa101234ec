# SPDX-License-Identifier: Apache-2.0
"""The dtype rules of `keras.ops`: inputs are promoted to a common dtype, whole numbers become floatx for functions of
real numbers, and NumPy's float64 data counts as floatx. (TensorFlow's own operations never promote.)
"""

from __future__ import annotations

import jax
import numpy as np

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops.calling import static_axis
from fitloom.ops.casting import cast, result_type


def as_tensor(x, dtype=None):
    """Return `x` as a tensor; Python floats and float64 arrays become floatx."""
    if x.__class__ is engine.Tensor or isinstance(x, (engine.KerasTensor, engine.Variable, engine.KerasVariable)):
        return x if dtype is None else cast(x, dtype)
    if dtype is None:
        if isinstance(x, float) or (isinstance(x, (np.ndarray, np.generic)) and x.dtype == np.float64):
            return engine.convert_to_tensor(np.asarray(x), dtype=config.floatx())
        made = engine.convert_to_tensor(x)
        plain = isinstance(x, (list, tuple)) and not any(engine.is_tensor(v) for v in x)
        if plain and made.dtype in (dtypes.float32, dtypes.float64):
            return cast(made, config.floatx())
        return made
    if isinstance(x, (jax.Array, jax.core.Tracer)):
        return cast(engine.convert_to_tensor(x), dtype)
    made = engine.convert_to_tensor(x)
    return cast(made, dtype)


def as_float(x):
    """Return `x` as a tensor of real or complex numbers; whole numbers and booleans become floatx."""
    x = as_tensor(x)
    return x if dtypes.as_dtype(x.dtype).is_inexact else cast(x, config.floatx())


def as_number(x):
    """Return `x` as a tensor; booleans become int32."""
    x = as_tensor(x)
    return cast(x, "int32") if dtypes.as_dtype(x.dtype).is_bool else x


def promoted(*inputs, floats=False):
    """Return the inputs as tensors of one dtype."""
    first = inputs[0]
    if first.__class__ is engine.Tensor and not floats and all(
            x.__class__ is engine.Tensor and x.aval.dtype is first.aval.dtype for x in inputs):
        return inputs
    kinds = []
    for x in inputs:
        if isinstance(x, (bool, int, float)):
            kinds.append(type(x))
        elif isinstance(x, (np.ndarray, np.generic)) and x.dtype == np.float64:
            kinds.append(config.floatx())
        elif getattr(x, "dtype", None) is not None:
            kinds.append(dtypes.name_of(x.dtype))
        else:
            kinds.append(dtypes.name_of(as_tensor(x).dtype))
    dtype = result_type(*kinds)
    if floats and not dtypes.as_dtype(dtype).is_inexact:
        dtype = config.floatx()
    return tuple(as_tensor(x, dtype) for x in inputs)


def _public(function, name, summary):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return function


def one(name, fn, summary, floats=False):
    """Make a function of one tensor."""
    recorded = fn if isinstance(fn, engine.Op) else op(fn, name=name)
    convert = as_float if floats else as_tensor
    return _public(lambda x: recorded(convert(x)), name, summary)


def two(name, fn, summary, floats=False):
    """Make a function of two tensors that are promoted to one dtype."""
    recorded = fn if isinstance(fn, engine.Op) else op(fn, name=name)

    def public(x1, x2):
        return recorded(*promoted(x1, x2, floats=floats))
    return _public(public, name, summary)


def bits(name, fn, summary):
    """Make a function of two tensors of whole numbers, `x` and `y`."""
    recorded = op(fn, name=name)

    def public(x, y):
        return recorded(*promoted(x, y))
    return _public(public, name, summary)


def over(name, fn, summary, convert=as_tensor):
    """Make a reduction over `axis`."""
    recorded = op(lambda x, *, axis, keepdims: fn(x, axis=axis, keepdims=keepdims), name=name)

    def public(x, axis=None, keepdims=False):
        return recorded(convert(x), axis=static_axis(axis), keepdims=bool(keepdims))
    return _public(public, name, summary)


def with_attributes(name, fn, summary, convert=as_tensor):
    """Make a function of one tensor whose other arguments are static."""
    recorded = op(lambda x, *, arguments, named: fn(x, *arguments, **dict(named)), name=name)

    def static(value):
        return value if value is None or isinstance(value, (int, float, str, bool)) else static_axis(value)

    def public(x, *arguments, **named):
        return recorded(convert(x), arguments=tuple(static(a) for a in arguments),
                        named=tuple((k, static(v)) for k, v in sorted(named.items())))
    return _public(public, name, summary)
