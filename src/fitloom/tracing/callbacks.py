# SPDX-License-Identifier: Apache-2.0
"""Calls back into Python from tensor code: `tf.py_function`, `tf.numpy_function`, `tf.print`."""
import sys

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.autodiff import GradientTape
from fitloom.base import dtypes, nest
from fitloom.base.errors import ValueNotKnownError
from fitloom.engine.checking import CHECKS, user_line
from fitloom.engine.context import CONTEXT
from fitloom.engine.instruction import Op
from fitloom.engine.recording import convert_to_tensor, record
from fitloom.engine.tensor import Tensor


def py_function(func=None, inp=None, Tout=None, name=None):
    """Call a Python function of tensors; inside a traced function, each time the program runs.

    Gradients go through it: the function is called once more, under a tape, when the backward pass runs.

    Args:
        func: takes and returns tensors.
        inp: list of tensors.
        Tout: dtype (or list of dtypes, or TensorSpecs) of the results; [] or None for no result.
    """
    if func is None:
        return lambda func: lambda *inputs: py_function(func, inputs, Tout)
    if not CONTEXT.trace.inline:
        return _checked(func(*[convert_to_tensor(i) for i in inp]), Tout)
    return _from_program(lambda arrays: func(*[Tensor(a) for a in arrays]), inp, Tout, func)


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


def _from_program(call, inp, Tout, differentiable=None):
    """Call Python while a program runs; `differentiable` is the function of tensors that a tape can differentiate."""
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

    tensors = [convert_to_tensor(i) for i in inp]

    def run(*arrays):
        return jax.experimental.io_callback(on_host, specs, *arrays, ordered=False)
    floats = [i for i, t in enumerate(tensors) if t.aval.inexact]
    if differentiable is not None and floats and specs:
        run = _with_gradient(run, differentiable, floats, on_host_with=_guarded(line))
    results = list(record(Op(lambda *arrays: tuple(run(*arrays)), "py_function", effects=True), tensors))
    return results if isinstance(Tout, (list, tuple)) else results[0] if results else None


def _guarded(line):
    """Return a decorator of host code: what it raises is raised where the program's results are asked for."""
    def guard(call, specs):
        def on_host(*arrays):
            before, CONTEXT.trace = CONTEXT.trace, _closed()
            try:
                return [np.asarray(r, s.dtype).reshape(s.shape) for r, s in zip(call(*arrays), specs, strict=True)]
            except Exception as error:
                error.add_note(f"Raised by the gradient of the Python function that was called at {line}.")
                CHECKS.failed.append(error)
                return [np.zeros(s.shape, s.dtype) for s in specs]
            finally:
                CONTEXT.trace = before
        return on_host
    return guard


def _with_gradient(run, function, floats, on_host_with):
    """Return `run` with a gradient: `function` is called once more, under a tape, when the backward pass runs."""
    @jax.custom_vjp
    def differentiable(*arrays):
        return run(*arrays)

    def backward(arrays, cotangents):
        def gradients(*values):
            tensors = [Tensor(np.asarray(a)) for a in values[:len(arrays)]]
            with GradientTape() as tape:
                tape.watch([tensors[i] for i in floats])
                results = function(*tensors)
            results = list(results) if isinstance(results, (list, tuple)) else [results]
            inexact = [(r, np.asarray(c)) for r, c in zip(results, values[len(arrays):], strict=True)
                       if np.asarray(c).dtype.kind == "f"]
            found = tape.gradient([r for r, _ in inexact], [tensors[i] for i in floats],
                                  output_gradients=[Tensor(c) for _, c in inexact], unconnected_gradients="zero")
            return [np.asarray(g) for g in found]
        specs = [jax.ShapeDtypeStruct(arrays[i].shape, arrays[i].dtype) for i in floats]
        given = [jnp.zeros((), jnp.int32) if c.dtype == jax.dtypes.float0 else c for c in cotangents]
        found = jax.experimental.io_callback(on_host_with(gradients, specs), specs, *arrays, *given, ordered=False)
        places = dict(zip(floats, found))
        return tuple(places.get(i, np.zeros(a.shape, jax.dtypes.float0)) for i, a in enumerate(arrays))
    differentiable.defvjp(lambda *arrays: (run(*arrays), arrays), backward)
    return differentiable


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
