# SPDX-License-Identifier: Apache-2.0
"""How operations take their arguments: tensors and what converts to them, axes and sizes that are Python numbers."""

from __future__ import annotations

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError, ValueNotKnownError
from fitloom.engine import op

VALUES = (engine.Tensor, engine.Variable, engine.KerasVariable)


def _called(public, **names):
    """Give parameters of an operation the names they have in TensorFlow, where those are not x and y."""
    code = public.__code__
    public.__code__ = code.replace(co_varnames=tuple(names.get(old, old) for old in code.co_varnames))


def unary(name, fn, summary, host=None, dtype=None, x="x"):
    """Make the public operation of one tensor that applies `fn`; `dtype` bool: only booleans are taken.

    `x`: what its parameter is called.
    """
    recorded = op(fn, name=name, host=host)

    if dtype is bool:
        def public(x, name=None):
            return over_values(public, x) if is_composite(x) else recorded(as_boolean(public.__name__, x))
    else:
        def public(x, name=None):
            try:
                return recorded(x)
            except (TypeError, ValueError):
                return over_values(public, x)

    if x != "x":
        _called(public, x=x)
    public.__name__ = public.__qualname__ = name
    public.__doc__ = summary
    public.op = recorded
    return public


def binary(name, fn, summary, host=None, dtype=None, x="x", y="y"):
    """Make the public operation of two tensors of one dtype; a `host` twin also serves string tensors.

    `x` and `y`: what its parameters are called.
    """
    names = {"x": x, "y": y}
    recorded = op(fn, name=name, same_dtype=True, host=host)

    def public(x, y, name=None):
        try:
            return recorded(x, y)
        except (TypeError, ValueError):
            if is_composite(x) or is_composite(y):
                return over_values(public, x, y)
            if host is None or not (is_string(x) or is_string(y)):
                raise
            x, y = (np.asarray(engine.convert_to_tensor(v)) for v in (x, y))
            return engine.Tensor(np.asarray(host(x, y)))

    if dtype is bool:
        def public(x, y, name=None):
            if is_composite(x) or is_composite(y):
                return over_values(public, x, y)
            return recorded(as_boolean(public.__name__, x), as_boolean(public.__name__, y))

    if names != {"x": "x", "y": "y"}:
        _called(public, **names)
    public.__name__ = public.__qualname__ = name
    public.__doc__ = summary
    public.op = recorded
    return public


def is_composite(x):
    """Whether `x` is a RaggedTensor or a SparseTensor."""
    return hasattr(x, "with_flat_values") or (hasattr(x, "with_values") and hasattr(x, "dense_shape"))


def over_values(function, *inputs):
    """Return `function` of the values of ragged or sparse inputs; raise what is being handled if there are none."""
    first = next((x for x in inputs if is_composite(x)), None)
    if first is None:
        raise
    ragged = hasattr(first, "with_flat_values")
    if ragged and all(hasattr(x, "with_flat_values") for x in inputs if is_composite(x)):
        return first.over_flat_values(function, *inputs)
    values = [(x.flat_values if ragged else x.values) if is_composite(x) else x for x in inputs]
    return (first.with_flat_values if ragged else first.with_values)(function(*values))


def with_text(recorded):
    """Let an operation take string tensors too: they go through its NumPy twin, at once."""

    def call(*inputs, **attributes):
        try:
            return recorded(*inputs, **attributes)
        except InvalidArgumentError:
            if not any(is_string(engine.convert_to_tensor(x) if isinstance(x, (list, tuple)) else x) for x in inputs):
                raise
        made = recorded.host(*[host_value(engine.convert_to_tensor(x), recorded.name) for x in inputs], **attributes)
        if isinstance(made, (list, tuple)):
            return tuple(engine.Tensor(np.asarray(m, object)) for m in made)
        return engine.Tensor(np.asarray(made, object))

    call.op = recorded
    return call


def tensor(x, dtype=None):
    """Return `x` if it is a tensor, a variable or symbolic, else convert it."""
    if dtype is None and hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, (np.ndarray, np.generic)):
        return x
    return engine.convert_to_tensor(x, dtype=dtype)


def dtype_of(x):
    """Return the DType of a tensor-like that has one, else None (Python numbers and lists)."""
    found = getattr(x, "dtype", None)
    return None if found is None else dtypes.as_dtype(found)


def is_string(x):
    """Whether `x` is text, a string tensor, or a list of such."""
    if isinstance(x, (str, bytes)):
        return True
    if isinstance(x, (list, tuple)):
        return any(is_string(item) for item in x)
    found = getattr(x, "dtype", None)
    return found is not None and dtypes.as_dtype(found) is dtypes.string


def all_tensors_of_one_dtype(inputs):
    """Whether nothing has to be converted or refused."""
    dtype = None
    for x in inputs:
        if x.__class__ is not engine.Tensor:
            return False
        if dtype is None:
            dtype = x.aval.dtype
        elif x.aval.dtype is not dtype:
            return False
    return True


def joined(name, inputs):
    """Return the inputs for an operation with same_dtype: as they are if one of them is a tensor."""
    return inputs if any(x.__class__ is engine.Tensor for x in inputs) else alike(name, *inputs)


def alike(name, *inputs):
    """Return the inputs with Python numbers, lists and arrays converted to the dtype of the first tensor among them.

    Raises:
        InvalidArgumentError: two tensors have different dtypes.
    """
    if all_tensors_of_one_dtype(inputs):
        return inputs
    dtype = None
    for x in inputs:
        if not isinstance(x, (bool, int, float, complex, list, tuple, str, bytes, np.ndarray, np.generic)):
            found = dtype_of(x)
            if found is None:
                continue
            if dtype is None:
                dtype = found
            elif found is not dtype:
                raise InvalidArgumentError(
                    f"{name} expected tensors of one dtype, but received {dtype.name} and {found.name}. "
                    f"Convert one of them: tf.cast(x, tf.{dtype.name}).")
    if dtype is None:
        array = next((x for x in inputs if isinstance(x, (np.ndarray, np.generic))), inputs[0])
        first = engine.convert_to_tensor(array)
        dtype = first.dtype
        if dtype.is_integer and any(isinstance(x, float) for x in inputs):
            dtype = dtypes.float32
    return tuple(x if dtype_of(x) is dtype and not isinstance(x, (np.ndarray, np.generic))
                 else engine.convert_to_tensor(x, dtype=dtype) for x in inputs)


def as_boolean(name, x):
    """Return `x` as a tensor; raise InvalidArgumentError unless it holds booleans."""
    x = tensor(x)
    if dtypes.as_dtype(x.dtype) is not dtypes.bool_:
        raise InvalidArgumentError(
            f"{name} expected booleans, but received dtype {dtypes.name_of(x.dtype)}. Compare first (x != 0), "
            "or convert: tf.cast(x, tf.bool).")
    return x


def as_index(x, dtype=np.int32):
    """Return whole-number positions as a tensor; Python numbers and lists become int32."""
    if isinstance(x, (int, list, tuple)):
        array = np.asarray(x)
        if array.dtype == object or array.size == 0:
            array = np.asarray(x, dtype)
        return engine.Tensor(array.astype(dtype)) if array.dtype.kind in "iu" else engine.convert_to_tensor(x)
    return tensor(x)


def host_value(x, what="this value"):
    """Return the value as a NumPy array; raise InvalidArgumentError where it is not known while compiling."""
    import jax

    if isinstance(x, (list, tuple)) and any(not isinstance(v, (int, float)) for v in x):
        x = [host_value(v, what) for v in x]
    array = getattr(x, "array", x) if hasattr(x, "numpy") else x
    if isinstance(array, jax.core.Tracer):
        raise ValueNotKnownError(
            f"{what} must be known while the function is compiled, because the shape of the result depends on it, but "
            "it is computed inside the compiled function. Compute it outside, use a form with a fixed shape "
            "(tf.where with three arguments, a mask), or run with tf.config.run_functions_eagerly(True).")
    return np.asarray(array)


def static_int(x):
    """Return one whole number that is part of the program: from a Python number or a known tensor."""
    return int(x) if isinstance(x, (int, np.integer)) else int(host_value(x, "a size"))


def static_ints(x):
    """Return a tuple of whole numbers: from a list (of numbers and known tensors), a TensorShape, a known tensor."""
    if x.__class__ in (tuple, list):
        return tuple([v if v.__class__ is int else _dimension(v) for v in x])
    if isinstance(x, (int, np.integer)):
        return (int(x),)
    if hasattr(x, "as_list"):
        return tuple(x.as_list())
    return tuple(int(v) for v in np.ravel(host_value(x, "a shape")))


def _dimension(value):
    return -1 if value is None else int(host_value(value, "a size"))


def static_axis(axis):
    """Return None, a whole number or a tuple of them."""
    if axis is None or axis.__class__ is int:
        return axis
    if isinstance(axis, (list, tuple)):
        return static_ints(axis)
    array = host_value(axis, "an axis")
    return int(array) if array.ndim == 0 else tuple(int(v) for v in array)


def optional(fn, name):
    """Make an operation of a function some of whose arrays may be None (None is no tensor: it becomes an attribute)."""

    def present(*arrays, given, **attributes):
        arrays = iter(arrays)
        return fn(*[next(arrays) if there else None for there in given], **attributes)

    recorded = op(present, name=name)

    def call(*inputs, **attributes):
        given = tuple([x is not None for x in inputs])
        return recorded(*[x for x in inputs if x is not None], given=given, **attributes)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = fn.__doc__
    call.op = recorded
    return call
