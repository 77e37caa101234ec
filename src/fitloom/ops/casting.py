# SPDX-License-Identifier: Apache-2.0
"""From one dtype to another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import dtype_of, host_value, is_composite, over_values, tensor


def _convert(x, dtype):
    target = jnp.dtype(dtype)
    if jnp.issubdtype(x.dtype, jnp.complexfloating) and not jnp.issubdtype(target, jnp.complexfloating):
        x = jnp.real(x)
    return x.astype(target)


@op(name="cast", host=lambda x, *, dtype: x.astype(dtype))
def _cast(x, *, dtype):
    return _convert(x, dtype)


def cast(x, dtype, name=None):
    """Return `x` as another dtype: floats are cut towards 0 to whole numbers, complex numbers keep their real part.

    Example:
        >>> import fitloom as tf
        >>> tf.cast([1.8, -1.8], tf.int32).numpy().tolist()
        [1, -1]
    """
    wanted, given = dtypes.as_dtype(dtype), dtype_of(x)
    if is_composite(x):
        return over_values(lambda values: cast(values, wanted), x)
    if given is None or isinstance(x, (np.ndarray, np.generic)):
        x = x if isinstance(x, engine.Tensor) else _natural(x)
        given = dtype_of(x)
    if given is wanted:
        return tensor(x)
    if dtypes.string in (given, wanted):
        raise InvalidArgumentError(
            f"cast cannot convert {given.name} to {wanted.name}. Use tf.strings.to_number or tf.strings.as_string.")
    return _cast(x, dtype=wanted.name)


def _natural(x):
    """Convert data that is no tensor yet; a KerasTensor or variable passes."""
    return tensor(x)


def to_float(x, name=None):
    """Return `x` as float32."""
    return cast(x, dtypes.float32)


def to_int32(x, name=None):
    """Return `x` as int32."""
    return cast(x, dtypes.int32)


@op(name="saturate_cast")
def _saturate_cast(x, *, dtype):
    target = dtypes.as_dtype(dtype)
    if target.is_integer or target.is_floating:
        low, high = target.min, target.max
        own = dtypes.as_dtype(x.dtype)
        if not own.is_bool:
            low = max(low, own.min) if own.is_integer or own.is_floating else low
            high = min(high, own.max) if own.is_integer or own.is_floating else high
            low, high = np.asarray(low, x.dtype), np.asarray(high, x.dtype)
            if own.is_floating and target.is_integer and float(high) > target.max:
                high = np.nextafter(high, np.asarray(0, x.dtype))  # the limit itself is no float of this width
            x = jnp.clip(x, low, high)
    return _convert(x, dtype)


def saturate_cast(value, dtype, name=None):
    """Return `value` as another dtype; what lies outside its range becomes the nearest limit."""
    return _saturate_cast(tensor(value), dtype=dtypes.name_of(dtype))


@op(name="bitcast")
def _bitcast(x, *, dtype):
    return lax.bitcast_convert_type(x, jnp.dtype(dtype))


def bitcast(input, type, name=None):
    """Return the same bits read as another dtype (a smaller one adds an axis, a larger one takes the last away)."""
    return _bitcast(tensor(input), dtype=dtypes.name_of(type))


def as_string(input, precision=-1, scientific=False, shortest=False, width=-1, fill="", name=None):
    """Return numbers as text, floats with 6 decimals unless `precision` says otherwise."""
    array = host_value(tensor(input), "as_string's input")

    def number(v):
        if shortest:
            return f"{v:g}"
        return f"{float(v):.{6 if precision < 0 else precision}{'e' if scientific else 'f'}}"

    def text(v):
        if array.dtype == object:
            return v
        if array.dtype.kind == "b":
            out = "true" if v else "false"
        elif array.dtype.kind in "iu":
            out = str(int(v))
        else:
            out = number(v) if array.dtype.kind != "c" else f"({number(v.real)},{number(v.imag)})"
        return (out.rjust(width, fill or " ") if width > 0 else out).encode()

    flat = [text(v) for v in array.ravel()]
    return engine.Tensor(bytes_array(flat, array.shape))


def bytes_array(flat, shape):
    """Return an object array of bytes from a flat list."""
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(shape)


# ---- arrays in messages (TensorProto), as far as scripts use them


def make_ndarray(tensor):
    """Return the NumPy array of a tensor, or of a message made by `make_tensor_proto`."""
    if not hasattr(tensor, "tensor_content"):
        return np.asarray(tensor)
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(tensor)


def make_tensor_proto(values, dtype=None, shape=None, verify_shape=False, allow_broadcast=False):
    """Return `values` as a TensorProto, as TensorBoard brings it along; `make_ndarray` gives them back."""
    from tensorboard.util import tensor_util

    array = np.asarray(engine.convert_to_tensor(values, dtype=dtype))
    if shape is not None and verify_shape and array.shape != tuple(shape):
        raise TypeError(f"make_tensor_proto expected values of shape {tuple(shape)}, but received {array.shape}.")
    if shape is not None:
        array = np.broadcast_to(array, shape) if allow_broadcast or array.size == 1 else array.reshape(tuple(shape))
    return tensor_util.make_tensor_proto(array)


# ---- dtype rules of tf.experimental.numpy and keras.backend


def result_type(*dtypes_or_values):
    """Return the name of the dtype that values of these dtypes are computed in (Keras's promotion rules)."""
    if not dtypes_or_values:
        return "float32"
    kinds = []
    for each in dtypes_or_values:
        if each is float:
            kinds.append(jnp.zeros((), jnp.float32).dtype if len(dtypes_or_values) == 1 else 0.0)
        elif each is int:
            kinds.append(jnp.zeros((), jnp.int32).dtype if len(dtypes_or_values) == 1 else 0)
        elif each is bool:
            kinds.append(np.dtype(bool))
        else:
            dtype = getattr(each, "dtype", each)
            kinds.append(dtypes.numpy_dtype(dtype))
    strong = [k for k in kinds if isinstance(k, np.dtype)]
    if not strong:
        return "float32" if 0.0 in [k for k in kinds if isinstance(k, float)] else "int32"
    weak_float = any(isinstance(k, float) for k in kinds)
    found = strong[0] if len(strong) == 1 else np.dtype(jax.numpy.promote_types(strong[0], strong[0]))
    for other in strong[1:]:
        found = _promote(found, other)
    if weak_float and found.kind in "iub":
        found = np.dtype(np.float32)
    elif found.kind == "b" and len(kinds) > len(strong):
        found = np.dtype(np.int32)
    return dtypes.name_of(found)


def _promote(a, b):
    """JAX's lattice, but whole numbers with floats never give float64 by themselves."""
    return np.dtype(jnp.promote_types(a, b))
