# SPDX-License-Identifier: Apache-2.0
"""Calls back into Python from tensor code: `tf.py_function`, `tf.numpy_function`, `tf.print`."""
import sys

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base import dtypes, nest
from fitloom.base.errors import ValueNotKnownError
from fitloom.engine.checking import CHECKS, user_line
from fitloom.engine.context import CONTEXT
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.tensor import Tensor


def py_function(func=None, inp=None, Tout=None, name=None):
    """Call a Python function of tensors; inside a traced function, each time the program runs.

    Args:
        func: takes and returns tensors.
        inp: list of tensors.
        Tout: dtype (or list of dtypes, or TensorSpecs) of the results; [] or None for no result.
    """
    if func is None:
        return lambda func: lambda *inputs: py_function(func, inputs, Tout)
    if not CONTEXT.trace.inline:
        return _checked(func(*[convert_to_tensor(i) for i in inp]), Tout)
    return _from_program(lambda arrays: func(*[Tensor(a) for a in arrays]), inp, Tout)


def numpy_function(func=None, inp=None, Tout=None, stateful=True, name=None):
    """Call a Python function of NumPy arrays; inside a traced function, each time the program runs."""
    if func is None:
        return lambda func: lambda *inputs: numpy_function(func, inputs, Tout)
    if not CONTEXT.trace.inline:
        return _checked(func(*[convert_to_tensor(i).numpy() for i in inp]), Tout)
    return _from_program(lambda arrays: func(*arrays), inp, Tout)


def _checked(result, Tout):
    if Tout is None or (isinstance(Tout, (list, tuple)) and not Tout):
        return result if result is None else nest.map_structure(convert_to_tensor, result)
    if not isinstance(Tout, (list, tuple)):
        return _converted(result, Tout)
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    return [_converted(r, t) for r, t in zip(results, Tout)]


def _converted(value, wanted):
    dtype = dtypes.as_dtype(getattr(wanted, "dtype", wanted))
    if isinstance(value, Tensor):
        if value.dtype != dtype:
            raise TypeError(f"The Python function returned dtype {value.dtype.name}, but Tout says {dtype.name}.")
        return value
    return convert_to_tensor(np.asarray(value).astype(dtype.numpy_dtype) if dtype.name != "string" else value)


def _from_program(call, inp, Tout):
    wanted = list(Tout) if isinstance(Tout, (list, tuple)) else [] if Tout is None else [Tout]
    if any(getattr(w, "shape", None) is None or None in tuple(w.shape) for w in wanted):
        raise ValueNotKnownError(
            "the shapes of what py_function and numpy_function return are not known: pass Tout=tf.TensorSpec(shape, "
            "dtype) to have them compiled.")
    specs = [jax.ShapeDtypeStruct(tuple(w.shape), dtypes.numpy_dtype(w.dtype)) for w in wanted]

    line = user_line()
    CHECKS.made += 1

    def on_host(*arrays):
        before, CONTEXT.trace = CONTEXT.trace, _closed()
        try:
            result = call([np.asarray(a) for a in arrays])
            results = list(result) if isinstance(result, (list, tuple)) else [] if not specs else [result]
            return [np.asarray(r, s.dtype).reshape(s.shape) for r, s in zip(results, specs)]
        except Exception as error:            # raised as it is where the program's results are asked for
            error.add_note(f"Raised by the Python function that was called at {line}.")
            CHECKS.failed.append(error)
            return [np.zeros(s.shape, s.dtype) for s in specs]
        finally:
            CONTEXT.trace = before

    arrays = [convert_to_tensor(i).array for i in inp]
    results = [Tensor(a) for a in jax.experimental.io_callback(on_host, specs, *arrays, ordered=False)]
    return results if isinstance(Tout, (list, tuple)) else results[0] if results else None


def _closed():
    from fitloom.engine.context import CLOSED
    return CLOSED


def print_tensors(*inputs, output_stream=None, summarize=3, sep=" ", end="\n", name=None):
    """Print tensors and Python values (`tf.print`); inside a traced function, each time the program runs.

    Args:
        inputs: what to print, structures too.
        output_stream: a stream, 'file://path', or sys.stderr by default.
        summarize: how many first and last elements of each dimension to show; -1 for all.
        sep: between the inputs.
        end: after them.
    """
    leaves = nest.flatten(list(inputs))
    arrays = [x.array if isinstance(x, Tensor) or getattr(x.__class__, "is_variable", False) else None for x in leaves]
    traced = [a for a in arrays if isinstance(a, jax.core.Tracer)]
    holes = [isinstance(a, jax.core.Tracer) for a in arrays]

    def write(*values):
        given = iter(values)
        texts = [_text(next(given) if hole else x if a is None else np.asarray(a), summarize)
                 for hole, a, x in zip(holes, arrays, leaves)]
        line = sep.join(str(nest_text) for nest_text in _rebuild(inputs, texts)) + end
        _write(line, output_stream)

    if traced:
        jax.debug.callback(write, *traced, ordered=False)
    else:
        write()


def _rebuild(inputs, texts):
    given = iter(texts)
    parts = []
    for each in inputs:
        packed = nest.map_structure(lambda _: next(given), each)
        parts.append(packed if isinstance(packed, str) else str(packed).replace("'", ""))
    return parts


def _text(value, summarize):
    if isinstance(value, np.ndarray) or hasattr(value, "shape"):
        array = np.asarray(value)
        if array.ndim == 0:
            item = array.item()
            if isinstance(item, bytes):
                return item.decode(errors="replace")
            return f"{item:g}" if isinstance(item, float) else str(item)
        limit = summarize if summarize and summarize > 0 else sys.maxsize
        with np.printoptions(threshold=0 if limit < sys.maxsize else sys.maxsize,
                             edgeitems=min(limit, 1 << 30), formatter={"float_kind": lambda f: f"{f:.9g}"}):
            return str(array)
    return str(value)


def _write(line, output_stream):
    if isinstance(output_stream, str) and output_stream.startswith("file://"):
        with open(output_stream[len("file://"):], "a", encoding="utf-8") as stream:
            stream.write(line)
        return
    stream = output_stream if hasattr(output_stream, "write") else sys.stderr
    stream.write(line)
    stream.flush()
