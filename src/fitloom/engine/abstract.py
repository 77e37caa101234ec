# SPDX-License-Identifier: Apache-2.0
"""Evaluation without values: what shapes and dtypes a function of tensors gives, unknown dimensions included."""
import contextlib

import jax

from fitloom.base import dtypes, nest
from fitloom.base.errors import ValueNotKnownError
from fitloom.engine.avals import SEED
from fitloom.engine.context import CONTEXT, eager_scope
from fitloom.engine.functional import draw_seed, outside, unwrap
from fitloom.engine.inline import InlineTrace
from fitloom.engine.symbolic import KerasTensor
from fitloom.engine.tensor import Tensor

# An unknown dimension is tried with two sizes; a result dimension that differs between them is unknown too.
# Primes that no real layer has as a size, so that products and quotients do not coincide; not larger, because
# a model may make a NumPy array of unknown times unknown.
_SIZES = (1009, 1013)
# Tried where those fail: sizes that divide evenly, and sizes that a table (of positions, say) is long enough for.
_OTHER_SIZES = ((720, 1440), (120, 240), (12, 24), (6, 12), (2, 4), (1, 2))


def known_shape(shape):
    """Return a shape met during an abstract evaluation, with None where the size stands for an unknown dimension."""
    size = CONTEXT.abstract_size
    return tuple(shape) if size is None else tuple(None if d == size else d for d in shape)


def abstract_call(fn, args=(), kwargs=None):
    """Return what `fn(*args, **kwargs)` gives, as KerasTensors, without computing values.

    KerasTensors among the arguments reach `fn` as traced Tensors; everything else as it is. Variables are read as
    they are, assignments are forgotten, and variables made inside are made for real.
    """
    kwargs = kwargs or {}
    leaves = nest.flatten((args, kwargs))
    symbols = [x for x in leaves if isinstance(x, KerasTensor)]
    try:
        return _abstract_call(fn, args, kwargs, symbols)
    except ValueNotKnownError as error:         # shapes inside depend on values: look at an example
        return _call_on_examples(fn, args, kwargs, error)


def _abstract_call(fn, args, kwargs, symbols):
    if any(None in x.shape for x in symbols):
        first, second, structure = _two_shapes(fn, args, kwargs, symbols)
    else:
        first, structure = _shapes(fn, args, kwargs, symbols, _SIZES[0])
        second = first
    return _with_symbols(structure, first, second)


def _with_symbols(structure, first, second):
    """Return the structure with KerasTensors: an axis whose sizes differ is unknown."""
    shapes = [tuple(m if m == n else None for m, n in zip(a.shape, b.shape)) for a, b in zip(first, second)]
    results = iter([KerasTensor(shape, dtype=dtypes.name_of(a.dtype)) for shape, a in zip(shapes, first)])
    return nest.map_structure(lambda leaf: next(results) if leaf is _ARRAY else leaf, structure)


_ARRAY = object()


def _call_on_examples(fn, args, kwargs, reason):
    """Return what `_abstract_call` gives, from calls with ones; raise `reason` where they fail."""
    def example(size):
        def put(x):
            if not isinstance(x, KerasTensor):
                return x
            shape = tuple(size if d is None else d for d in x.shape)
            return Tensor(jax.numpy.ones(shape, dtypes.numpy_dtype(x.dtype)))
        with outside(), eager_scope():
            return unwrap(fn(*nest.map_structure(put, args), **nest.map_structure(put, kwargs)))
    for one, other in _OTHER_SIZES[-1:0:-1]:
        try:
            results = example(one), example(other)
        except Exception:
            continue
        flat = [[a for a in nest.flatten(result) if hasattr(a, "dtype")] for result in results]
        return _with_symbols(nest.map_structure(lambda a: _ARRAY if hasattr(a, "dtype") else a, results[0]), *flat)
    raise reason


def _two_shapes(fn, args, kwargs, symbols):
    """Return the results' shapes for two sizes of the unknown dimensions, the first two that work, and the structure.

    Raises:
        Exception: what the first size led to, if no size works.
    """
    reason = None
    for one, other in (_SIZES, *_OTHER_SIZES):
        try:
            first, structure = _shapes(fn, args, kwargs, symbols, one)
            return first, _shapes(fn, args, kwargs, symbols, other)[0], structure
        except ValueNotKnownError:
            raise
        except Exception as error:
            reason = reason or error
    raise reason


def _shapes(fn, args, kwargs, symbols, size):
    """The results' shapes with `size` for unknown dimensions, and the structure with _ARRAY where they belong."""
    specs = [jax.ShapeDtypeStruct(tuple(size if d is None else d for d in x.shape), dtypes.numpy_dtype(x.dtype))
             for x in symbols]
    found = {}
    outer = CONTEXT.trace
    while outer is not None and outer.inline:     # what is pending around the probe must not be computed inside it
        outer.flush()
        outer = outer.parent

    def probe(seed, *arrays):
        tensors = iter(arrays)

        def put(x):
            return Tensor(next(tensors)) if isinstance(x, KerasTensor) else x
        trace = InlineTrace(seed=seed, parent=CONTEXT.trace if CONTEXT.trace.inline else None)
        before, CONTEXT.abstract_size = CONTEXT.abstract_size, size
        try:
            with trace:
                result = fn(*nest.map_structure(put, args), **nest.map_structure(put, kwargs))
                arrays = unwrap(result)
                trace.close()
        finally:
            CONTEXT.abstract_size = before
        flat = [a for a in nest.flatten(arrays) if hasattr(a, "dtype") and hasattr(a, "shape")]
        found["structure"] = nest.map_structure(
            lambda a: _ARRAY if hasattr(a, "dtype") and hasattr(a, "shape") else a, arrays)
        return flat

    return jax.eval_shape(probe, SEED.spec(), *specs), found["structure"]


def abstract_op(operation, args, attributes):
    """Return the KerasTensor(s) that one operation gives for arguments among which are KerasTensors."""
    keywords = dict(attributes)
    return abstract_call(lambda *a: operation(*a, **keywords), tuple(args))


def call_with_values(fn, variables, values):
    """Call `fn()` with `values` in place of the variables' own; return (result, values of the variables after it)."""
    arrays = [v.array if isinstance(v, Tensor) or getattr(v.__class__, "is_variable", False) else jax.numpy.asarray(v)
              for v in values]
    seed = draw_seed().array
    trace = InlineTrace(dict(zip(variables, arrays)), seed=seed, parent=CONTEXT.trace if CONTEXT.trace.inline else None)
    with trace:
        result = nest.map_structure(lambda t: Tensor(t.array) if isinstance(t, Tensor) else t, fn())
        trace.close()
    return result, [Tensor(trace.bindings[v]) for v in variables]


class autocast_scope(contextlib.AbstractContextManager):
    """Context in which float variables are read in `dtype` (a name; None reads them as they are)."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        self.before, CONTEXT.autocast = current_autocast(), self.dtype

    def __exit__(self, *_):
        CONTEXT.autocast = self.before


def current_autocast():
    """Return the dtype name in which float variables are read here, or None."""
    return CONTEXT.autocast
