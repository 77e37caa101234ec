# SPDX-License-Identifier: Apache-2.0
"""Operations on tensors: `@op`, `record`, and the conversion of what users pass."""
import jax
import numpy as np

from fitloom.base import dtypes, tracebacks
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import symbolic
from fitloom.engine.avals import aval_of
from fitloom.engine.context import CONTEXT, LOCK, SETTINGS
from fitloom.engine.instruction import Op, freeze
from fitloom.engine.tensor import Tensor
from fitloom.engine.trace import Trace, execute

_FLOAT32, _INT32 = np.dtype(np.float32), np.dtype(np.int32)
_NATURAL = {float: _FLOAT32, int: _INT32, bool: np.dtype(np.bool_), complex: np.dtype(np.complex128)}


class Operation(Op):
    """An Op that users call: tensors by position, static attributes by keyword."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        symbolic.enter(self)

    def __reduce__(self):
        return symbolic.operation_of, (self.key,)

    def __deepcopy__(self, memo):
        return self

    def __call__(self, *inputs, **attributes):
        try:
            if attributes:
                attributes = tuple(sorted([(k, freeze(v)) for k, v in attributes.items()]))
                return record(self, inputs, attributes)
            return record(self, inputs, ())
        except Exception as error:
            tracebacks.shorten(error)
            raise


def op(fn=None, *, name=None, same_dtype=False, host=None, effects=False):
    """Turn a pure function of jax arrays into an operation on Tensors.

    Args:
        fn: takes arrays by position, static hashable attributes by keyword; returns an array or a tuple of arrays.
        name: its name in errors; the function's own by default.
        same_dtype: its tensors must share one dtype; Python numbers and lists take that dtype.
        host: a NumPy twin `host(*arrays, **attributes)`, used at once when every input is a host integer constant
            (such as tf.shape's result), so that shape arithmetic stays static.
        effects: it must run even when nobody uses its results.
    """
    if fn is None:
        return lambda f: Operation(f, name, same_dtype, host, effects)
    return Operation(fn, name, same_dtype, host, effects)


def record(operation, inputs, attributes=()):
    """Record one operation (or apply it, inside a traced function); return its result Tensor or a tuple of them."""
    if CONTEXT.autocast is not None:
        inputs = _autocast(inputs)
    trace = CONTEXT.trace
    if trace.inline and not trace.recording:
        return _apply(operation, inputs, attributes, trace)
    if SETTINGS.eager or CONTEXT.eager:
        return _run_now(operation, inputs, attributes)
    with LOCK:
        if trace.eager and not trace.inline and trace.ends_here():
            trace.flush()
        if trace.closed:
            trace = CONTEXT.trace
            if trace.closed:
                trace = CONTEXT.trace = Trace()
        slots, avals, rest = [], [], None
        for value in inputs:
            kind = value.__class__
            if kind is Tensor:
                slots.append(value.slot if value.trace is trace else trace.tensor(value) if not trace.inline
                             else trace.slot(value))
                avals.append(value.aval)
            elif getattr(kind, "is_variable", False):
                slots.append(trace.slot(value))
                avals.append(value.aval)
            else:
                rest = rest or []
                rest.append(len(slots))
                slots.append(value)
                avals.append(None)
        if rest:
            if any(isinstance(inputs[i], symbolic.SYMBOLIC) for i in rest):
                return symbolic.call_hook(operation, inputs, attributes)
            like = _like(operation, avals)
            for i in rest:
                value = slots[i]
                if value.__class__ in _NATURAL:
                    slots[i], avals[i] = trace.number(value, _number_dtype(operation, value, like))
                else:
                    tensor = convert_to_tensor(value, dtype_hint=like)
                    slots[i], avals[i] = trace.slot(tensor), tensor.aval
                if like is None:
                    like = _like(operation, [avals[i] if avals[i].inexact else None])
        if operation.host is not None:
            folded = _fold(operation, inputs, avals, attributes)
            if folded is not None:
                return folded
        instruction = operation.instruction(tuple(avals), attributes)
        results = trace.emit(instruction, tuple(slots))
    return results[0] if instruction.single else tuple(results)


def _autocast(inputs):
    """Inside a layer of mixed precision: float Keras variables are read in its compute dtype."""
    dtype = CONTEXT.autocast
    if not any(getattr(v.__class__, "is_variable", False) for v in inputs):
        return inputs
    CONTEXT.autocast = None
    try:
        return tuple([v.read_as(dtype) if getattr(v, "autocast", False) and v.aval.inexact else v for v in inputs])
    finally:
        CONTEXT.autocast = dtype


def _like(operation, avals):
    if not operation.same_dtype:
        return None
    return next((a.dtype for a in avals if a is not None), None)


def _number_dtype(operation, value, like):
    natural = _NATURAL[value.__class__]
    if like is None:
        return natural
    if natural.kind == "c" and like.kind != "c":
        raise TypeError(f"{operation.name} received the complex number {value} beside a tensor of dtype {like}.")
    if value.__class__ is float and like.kind in "iub":
        raise TypeError(f"{operation.name} received the number {value} beside a tensor of dtype {like}. "
                        f"Cast the tensor first: tf.cast(x, tf.float32).")
    if like.kind == "b" and value.__class__ is not bool:
        raise TypeError(f"{operation.name} received the number {value} beside a bool tensor. "
                        f"Cast the tensor first: tf.cast(x, tf.int32).")
    return like


def _arrays(operation, inputs, trace):
    """Resolve inputs to arrays for running at once; None where a symbolic input sends the call to the graph."""
    arrays, rest = [], None
    for value in inputs:
        kind = value.__class__
        if kind is Tensor:
            arrays.append(trace.array_of(value) if trace.inline else value.array)
        elif getattr(kind, "is_variable", False):
            arrays.append(trace.lookup(value) if trace.inline else value.store.member(value.index))
        else:
            rest = rest or []
            rest.append(len(arrays))
            arrays.append(value)
    if rest:
        if any(isinstance(inputs[i], symbolic.SYMBOLIC) for i in rest):
            return None
        like = None
        if operation.same_dtype:
            like = next((np.dtype(a.dtype) for i, a in enumerate(arrays) if i not in rest), None)
        for i in rest:
            value = arrays[i]
            if value.__class__ in _NATURAL:
                arrays[i] = np.asarray(value, _number_dtype(operation, value, like))
            else:
                arrays[i] = convert_to_tensor(value, dtype_hint=like).array
            if like is None:
                like = _like(operation, [a for a in [aval_of(arrays[i])] if a.inexact])
    return arrays


def _apply(operation, inputs, attributes, trace):
    arrays = _arrays(operation, inputs, trace)
    if arrays is None:
        return symbolic.call_hook(operation, inputs, attributes)
    if operation.same_dtype:
        operation.check([aval_of(a) for a in arrays])
    if operation.host is not None and all(a.__class__ is np.ndarray and a.dtype.kind in "iu" for a in arrays):
        folded = _on_host(operation, arrays, attributes)
        if folded is not None:
            return folded
    results = operation.fn(*arrays, **dict(attributes))
    if isinstance(results, (tuple, list)):
        return tuple([Tensor(a) for a in results])
    return Tensor(results)


def _on_host(operation, arrays, attributes):
    with np.errstate(all="ignore"):
        made = operation.host(*arrays, **dict(attributes))
    if made is NotImplemented:
        return None
    if isinstance(made, (list, tuple)):
        return tuple([Tensor(np.asarray(m)) for m in made])
    return Tensor(np.asarray(made))


def _fold(operation, inputs, avals, attributes):
    """Run the NumPy twin of an operation on host values; None where it has to be recorded.

    On small whole numbers, so that shape arithmetic stays static; and on everything in a function that a dataset runs
    element by element, whose values change shape all the time: a program for each shape would take longer.
    """
    element, arrays = CONTEXT.seeds is not None and not CONTEXT.trace.tapes, []
    for value, a in zip(inputs, avals):
        if a.dtype.kind not in ("iufb" if element else "iu") or (a.size > 64 and not element):
            return None
        if value.__class__ is Tensor:
            if value._value.__class__ is not np.ndarray:
                return None
            arrays.append(value._value)
        elif getattr(value.__class__, "is_variable", False):
            return None
        else:
            arrays.append(np.asarray(value.array if hasattr(value, "array") else value, a.dtype))
    if not any(i.__class__ is Tensor for i in inputs):
        return None
    return _on_host(operation, arrays, attributes)


def _run_now(operation, inputs, attributes):
    """Eager execution: at once; an open tape's trace also keeps the entry."""
    trace = CONTEXT.trace
    if not trace.closed and (trace.inline or trace.live_tapes()):
        if not trace.eager and not trace.inline:
            with LOCK:
                trace.go_eager()
        before, CONTEXT.eager = CONTEXT.eager, False
        settings, SETTINGS.eager = SETTINGS.eager, False
        try:
            return record(operation, inputs, attributes)
        finally:
            CONTEXT.eager, SETTINGS.eager = before, settings
    if not trace.closed:
        trace.flush()
    arrays = _arrays(operation, inputs, CONTEXT.trace)
    if arrays is None:
        return symbolic.call_hook(operation, inputs, attributes)
    instruction = operation.instruction(tuple([aval_of(a) for a in arrays]), attributes)
    results = [Tensor(a) for a in execute(instruction, arrays)]
    return results[0] if instruction.single else tuple(results)


# ---------------------------------------------------------------- conversion

def is_tensor(value) -> bool:
    """Whether `value` is a Tensor, a Variable or a symbolic tensor."""
    return isinstance(value, (Tensor, symbolic.SYMBOLIC)) or getattr(value.__class__, "is_variable", False)


def convert_to_tensor(value, dtype=None, dtype_hint=None, name=None):
    """Return `value` as a Tensor.

    NumPy arrays keep their dtype; Python floats become float32, ints int32 (int64 where they do not fit).

    Args:
        value: a Tensor, Variable, NumPy or jax array, number, string, or nested lists of these.
        dtype: the dtype the result must have; a Tensor of another dtype is an error, as in TensorFlow.
        dtype_hint: the dtype to use where `value` can take it.

    Raises:
        ValueError: ragged or mixed lists, or values that do not fit the dtype.
    """
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
    kind = value.__class__
    if kind is Tensor:
        return _require(value, dtype)
    if getattr(kind, "is_variable", False):
        return _require(value.read_value(), dtype)
    if isinstance(value, symbolic.SYMBOLIC):
        return value
    converter = getattr(value, "__tf_tensor__", None)
    if converter is not None:
        return _require(converter(dtype), dtype)
    if isinstance(value, (jax.Array, jax.core.Tracer)):
        tensor = Tensor(value)
        if dtype is None or tensor.dtype == dtype:
            return tensor
        return Tensor(value.astype(dtype.numpy_dtype))
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        return _stack(value, dtype, dtype_hint)
    return Tensor(host_array(value, dtype, dtype_hint))


def _require(tensor, dtype):
    if dtype is not None and tensor.dtype != dtype:
        raise ValueError(f"A tensor of dtype {tensor.dtype.name} was given where dtype {dtype.name} is needed. "
                         f"Convert it: tf.cast(x, tf.{dtype.name}).")
    return tensor


def _holds_tensors(value):
    return any(is_tensor(v) or isinstance(v, (jax.Array, jax.core.Tracer))
               or (isinstance(v, (list, tuple)) and _holds_tensors(v)) for v in value)


def _stack(value, dtype, dtype_hint):
    first = next((v for v in value if is_tensor(v) or isinstance(v, (jax.Array, jax.core.Tracer))), None)
    like = dtype or (dtypes.as_dtype(first.dtype) if first is not None else dtype_hint)
    parts = [convert_to_tensor(v, None if is_tensor(v) else like, dtype_hint) for v in value]
    if all(part.dtype is dtypes.string for part in parts):
        return Tensor(np.stack([part.array for part in parts]))             # strings live on the host
    return _PACK(*parts)


@op(name="stack", same_dtype=True, host=lambda *arrays: np.stack(arrays))
def _PACK(*arrays):
    return jax.numpy.stack(arrays)


def host_array(value, dtype=None, dtype_hint=None) -> np.ndarray:
    """Return a private NumPy copy of user data in the dtype that TensorFlow would give it."""
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
    if isinstance(value, (str, bytes)) or (dtype is not None and dtype.name == "string"):
        if dtype is not None and dtype.name != "string":
            raise TypeError(f"Cannot convert the string {value!r} to a tensor of dtype {dtype.name}.")
        return _bytes_array(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "OSU":
            return _object_array(value, dtype)
        wanted = dtype.numpy_dtype if dtype is not None else None
        if wanted is None and dtype_hint is not None and value.dtype.kind == "f":
            hint = dtypes.as_dtype(dtype_hint)
            wanted = hint.numpy_dtype if hint.is_floating else None
        if wanted is None and dtype_hint is not None and value.dtype.kind in "iu":
            hint = dtypes.as_dtype(dtype_hint)
            wanted = hint.numpy_dtype if hint.is_integer or hint.is_floating else None
        return np.array(value, dtype=wanted, order="C")
    if value is None:
        raise ValueError("None cannot be converted to a tensor.")
    if _holds_bytes(value):
        return _bytes_array(value)                           # NumPy's own string dtypes drop trailing zero bytes
    try:
        array = np.array(value)
    except ValueError as error:
        raise ValueError("Cannot convert a list of unequal lengths to a tensor. Pad it to a rectangle, or use "
                         "tf.ragged.constant.") from error
    if array.dtype.kind in "OSU":
        return _object_array(array, dtype, value)
    if dtype is not None:
        return _cast_python(array, dtype)
    if hasattr(value, "dtype") or hasattr(value, "__array__"):
        return array
    if dtype_hint is not None:
        hint = dtypes.as_dtype(dtype_hint)
        if hint.is_floating and array.dtype.kind in "fiu" or hint.is_integer and array.dtype.kind in "iu" \
                or hint.is_complex:
            return array.astype(hint.numpy_dtype)
    if array.dtype == np.float64 and not _holds_numpy(value):
        return array.astype(np.float32)
    if array.dtype == np.int64 and not _holds_numpy(value):
        info = np.iinfo(np.int32)
        if array.size == 0 or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(np.int32)
    return array


def _holds_bytes(value):
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, bytes)


def _holds_numpy(value):
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, np.generic))


def _cast_python(array, dtype):
    if dtype.is_integer and array.dtype.kind == "f" and array.size:
        raise TypeError(f"Cannot convert {array.ravel()[0]} to a tensor of dtype {dtype.name}. "
                        f"Use tf.cast(x, tf.{dtype.name}) to truncate.")
    if dtype.is_bool and array.dtype.kind != "b" and array.size:
        raise TypeError(f"Cannot convert {array.ravel()[0]} to a tensor of dtype bool.")
    if dtype.is_integer and array.dtype.kind in "iu" and array.size:
        if int(array.min()) < dtype.min or int(array.max()) > dtype.max:
            raise InvalidArgumentError(f"A value lies outside the range of {dtype.name} ({dtype.min} to {dtype.max}).")
    return array.astype(dtype.numpy_dtype)


def _bytes_array(value):
    array = np.array(value, dtype=object)
    return _to_bytes(array)


def _object_array(array, dtype, original=None):
    array = np.asarray(array)
    if array.dtype.kind in "SU":
        if not isinstance(original, (str, bytes, np.ndarray, np.generic)):
            _refuse_mixed(original)
        return _to_bytes(array.astype(object))
    flat = array.ravel()
    if all(isinstance(v, (str, bytes)) for v in flat):
        return _to_bytes(array)
    if any(isinstance(v, (list, tuple, np.ndarray)) for v in flat):
        raise ValueError("Cannot convert a list of unequal lengths to a tensor. Pad it to a rectangle, or use "
                         "tf.ragged.constant.")
    if any(v is None for v in flat):
        raise ValueError("None cannot be converted to a tensor; the data holds None at position "
                         f"{[v is None for v in flat].index(True)}.")
    kinds = sorted({type(v).__name__ for v in flat})
    if dtype is not None:
        try:
            return array.astype(dtype.numpy_dtype)
        except (TypeError, ValueError):
            pass
    elif all(isinstance(v, (int, float, bool, np.number, np.bool_)) for v in flat):
        numbers = np.array(array.tolist())
        if numbers.dtype.kind == "O":
            raise ValueError(f"A whole number is too large for a tensor: {max(flat, key=abs)}.")
        return numbers
    raise ValueError(f"Cannot convert data of Python objects ({', '.join(kinds)}) to a tensor. "
                     "Convert it to numbers first, for example array.astype('float32').")


def _refuse_mixed(value):
    """Raise for numbers beside text, which NumPy would turn into text."""
    if isinstance(value, (list, tuple)):
        for item in value:
            _refuse_mixed(item)
    elif isinstance(value, (bool, int, float, complex)):
        raise ValueError(f"Cannot convert a list of strings and numbers to a tensor: it holds {value!r}.")


def _to_bytes(array):
    made = np.empty(array.shape, object)
    flat, out = array.ravel(), made.ravel()
    for i, v in enumerate(flat):
        out[i] = v.encode() if isinstance(v, str) else bytes(v)
    return out.reshape(array.shape)
