# SPDX-License-Identifier: Apache-2.0
"""Run a computation one operation at a time, without compiling it: for shapes that are seen once, and for debugging.

XLA compiles for fixed shapes and takes a third of a second for a small training step, whether whole or cut into its
operations. So the common primitives run on NumPy here; each of the others is compiled alone and kept by its shapes.
"""
import math
import time
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.extend.core
import jax.numpy as jnp
import numpy as np

_STANDARD = set("?bhilqBHILQfdFD")     # the character codes of dtypes that NumPy computes with
_LITERAL = jax.extend.core.Literal


# primitive -> a function of the same results in plain jax, for primitives that are made of foreign code
REFERENCES: dict = {}


class TooSlowError(Exception):
    """The time allowed is over; nothing was written."""


class NotOnHostError(Exception):
    """NumPy lacks a primitive of the computation, or would be slow at it."""


class Terms(NamedTuple):
    """How a computation is run.

    Args:
        deadline: a value of `time.perf_counter()` after which a run stops with TooSlowError, or None.
        most: elements that one equation may touch on NumPy, or None (then also any product of matrices).
        numpy_only: raise NotOnHostError for what NumPy lacks or is slow at, instead of compiling it alone.
    """

    deadline: float | None = None
    most: int | None = None
    numpy_only: bool = False


_ANY = Terms()


class Interpreter:
    """A jaxpr, prepared to be run on NumPy arrays.

    Args:
        closed: a ClosedJaxpr.
        terms: Terms.
    """

    def __init__(self, closed, terms=_ANY):
        graph, self.deadline = closed.jaxpr, terms.deadline
        self.places: dict = {}
        self.constants = [(self._place(v), _host(c)) for v, c in zip(graph.constvars, closed.consts)]
        self.inputs = [self._place(v) for v in graph.invars]
        last = {v: i for i, e in enumerate(graph.eqns) for v in e.invars if not isinstance(v, _LITERAL)}
        kept = {v for v in graph.outvars if not isinstance(v, _LITERAL)}
        self.steps = []
        for i, equation in enumerate(graph.eqns):
            reads = [self._read(v) for v in equation.invars]
            dead = [self._place(v) for v in equation.invars
                    if not isinstance(v, _LITERAL) and last[v] == i and v not in kept]
            writes = [self._place(v) for v in equation.outvars]
            self.steps.append((_operation(equation, terms), reads, writes, dead))
        self.outputs = [self._read(v) for v in graph.outvars]
        self.blank = [None] * len(self.places)
        for place, value in self.constants:
            self.blank[place] = value

    def _place(self, variable):
        return self.places.setdefault(variable, len(self.places))

    def _read(self, variable):
        if isinstance(variable, _LITERAL):
            return None, _host(np.asarray(variable.val, variable.aval.dtype))
        return self._place(variable), None

    def __call__(self, *arrays):
        """Return the list of results."""
        values = self.blank.copy()
        for place, array in zip(self.inputs, arrays):
            values[place] = array
        deadline = self.deadline
        for operation, reads, writes, dead in self.steps:
            if deadline is not None and time.perf_counter() > deadline:
                raise TooSlowError
            results = operation(*[literal if place is None else values[place] for place, literal in reads])
            for place, result in zip(writes, results):
                values[place] = result
            for place in dead:
                values[place] = None
        return [literal if place is None else values[place] for place, literal in self.outputs]


def interpret(closed, arrays, deadline=None):
    """Run a ClosedJaxpr on arrays; return a list of NumPy arrays that nobody else sees."""
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        results = Interpreter(closed, Terms(deadline))(*map(_host, arrays))
        return [np.array(r) for r in results]


MOST = 1 << 22               # elements that an operation on NumPy may touch where XLA may compile it instead
MOST_PRODUCTS = 1 << 18      # multiplications of a matrix product; beyond, BLAS starts threads beside those of XLA
LONGEST_SCAN = 256           # steps of a loop that runs on NumPy in eager mode; longer ones are worth a compilation
_HOST = Terms(most=MOST, numpy_only=True)


def on_host(fn, avals) -> Any:
    """Return a pure function of jax arrays as a function of arrays that runs on NumPy, or None.

    None where NumPy lacks a primitive or would be slow: then the function is worth a compilation. The choice depends
    on shapes and dtypes only, so the same operation gives the same bits each time.
    """
    if jax.default_backend() != "cpu":
        return None
    closed = jax.make_jaxpr(fn)(*[a.spec() for a in avals])
    if closed.effects:
        return None
    try:
        run = Interpreter(closed, _HOST)
    except NotOnHostError:
        return None

    def call(*arrays):
        with np.errstate(all="ignore"):
            return [np.asarray(r) for r in run(*map(np.asarray, arrays))]
    return call


class Uncompiled:
    """A pure function of structures of arrays, traced once for each signature and run one operation at a time.

    On a processor its operations run on NumPy, and those that NumPy lacks are compiled alone; on an accelerator each is
    a program of its own.

    Args:
        fn: the function.
        kept: signatures that are remembered.
    """

    def __init__(self, fn, kept=64):
        self.fn, self.kept, self.known = fn, kept, {}

    def __call__(self, *structures):
        """Run."""
        leaves, tree = jax.tree_util.tree_flatten(structures)
        leaves = [a if hasattr(a, "aval") or a.__class__ is np.ndarray else np.asarray(a) for a in leaves]
        signature = (tree, *((a.shape, a.dtype) for a in leaves))
        found = self.known.get(signature)
        if found is None:
            if len(self.known) >= self.kept:
                del self.known[next(iter(self.known))]
            found = self.known[signature] = self._prepare(tree, leaves)
        run, structure = found
        with np.errstate(all="ignore"):
            results = run(*leaves)
        return jax.tree_util.tree_unflatten(structure, results)

    def _prepare(self, tree, leaves):
        closed, shapes = jax.make_jaxpr(
            lambda *flat: self.fn(*jax.tree_util.tree_unflatten(tree, flat)), return_shape=True)(
                *[jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves])
        structure = jax.tree_util.tree_structure(shapes)
        if jax.default_backend() != "cpu":
            return partial(jax.core.eval_jaxpr, closed.jaxpr, closed.consts), structure
        inner = Interpreter(closed, Terms(most=MOST))
        return (lambda *arrays: [_array(r) for r in inner(*map(_host, arrays))]), structure


def _host(array):
    """An array on the host, but for those that NumPy has no type for (random keys)."""
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended):
        return array
    return np.asarray(array)


def _array(result):
    """A NumPy number as an array; random keys stay."""
    return np.asarray(result) if isinstance(result, np.generic) else result


def _operation(equation, terms):
    """Return a function of arrays that gives a list with one array for each result of an equation."""
    name, parameters = equation.primitive.name, equation.params
    inner = parameters.get("jaxpr", parameters.get("call_jaxpr"))
    if name in _CONTROL:
        return _CONTROL[name](parameters, terms)
    if name in _CALLS and inner is not None:
        if not isinstance(inner, jax.extend.core.ClosedJaxpr):
            inner = jax.extend.core.ClosedJaxpr(inner, ())
        return Interpreter(inner, terms)
    if equation.primitive in REFERENCES and terms.most is None:
        plain = jax.make_jaxpr(partial(REFERENCES[equation.primitive], **parameters))(
            *[jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars])
        return _compiled(equation) if any(e.primitive.name in _CONTROL for e in plain.jaxpr.eqns) \
            else Interpreter(plain, terms)
    if name == "optimization_barrier":
        return lambda *arrays: arrays
    types = [v.aval.dtype for v in (*equation.invars, *equation.outvars)]
    small = terms.most is None or _is_small(equation, terms.most)
    if small and all(isinstance(t, np.dtype) and t.char in _STANDARD for t in types):
        simple, dtype = _SIMPLE.get(name), equation.outvars[0].aval.dtype if equation.outvars else None
        made = None
        if simple is not None:
            made = simple
        elif name in _MADE:
            made = _MADE[name](parameters, [v.aval for v in equation.invars], equation.outvars[0].aval)
        if made is not None:
            def on_host(*arrays):
                result = made(*arrays)
                return (result if result.dtype == dtype else result.astype(dtype),)
            return on_host
        if name == "split":
            axis, ends = parameters["axis"], np.cumsum(parameters["sizes"])[:-1]
            return lambda x: np.split(x, ends, axis)
    if terms.numpy_only:
        raise NotOnHostError
    return _compiled(equation)


def _is_small(equation, most):
    sizes = [v.aval.size for v in (*equation.invars, *equation.outvars)]
    if equation.primitive.name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][0]
        return sizes[-1] * math.prod(equation.invars[0].aval.shape[d] for d in contracted) <= MOST_PRODUCTS
    return max(sizes, default=0) <= most


def _compiled(equation):
    """Run an equation through jax, which keeps one program for each primitive and shape."""
    primitive = equation.primitive
    parameters = primitive.get_bind_params(equation.params)

    def run(*arrays):
        results = primitive.bind(*[jax.device_put(a) if a.__class__ is np.ndarray else a for a in arrays],
                                 **parameters)
        return [_host(r) for r in (results if primitive.multiple_results else (results,))]
    return run


# -- control flow

_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call",
          "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"}


def _cond(parameters, terms):
    branches = [Interpreter(b, terms) for b in parameters["branches"]]
    return lambda index, *arrays: branches[min(max(int(index), 0), len(branches) - 1)](*arrays)


def _while(parameters, terms):
    if terms.numpy_only:
        raise NotOnHostError                 # nobody knows how long it is
    test, body = Interpreter(parameters["cond_jaxpr"], terms), Interpreter(parameters["body_jaxpr"], terms)
    for_test, for_body = parameters["cond_nconsts"], parameters["body_nconsts"]

    def run(*arrays):
        first, second, state = arrays[:for_test], arrays[for_test:for_test + for_body], arrays[for_test + for_body:]
        while test(*first, *state)[0]:
            state = body(*second, *state)
        return state
    return run


def _scan(parameters, terms):
    body, length = Interpreter(parameters["jaxpr"], terms), parameters["length"]
    if terms.numpy_only and length > LONGEST_SCAN:
        raise NotOnHostError
    if "ft_in" in parameters:                                  # jax 0.12
        constants, carried = (len(list(part)) for part in parameters["ft_in"].unpack()[:2])
    else:
        constants, carried = parameters["num_consts"], parameters["num_carry"]
    avals = parameters["jaxpr"].out_avals[carried:]
    order = range(length - 1, -1, -1) if parameters["reverse"] else range(length)

    def run(*arrays):
        fixed, state, rows = arrays[:constants], list(arrays[constants:constants + carried]), \
            arrays[constants + carried:]
        stacked = [np.empty((length, *a.shape), a.dtype) for a in avals]
        for i in order:
            results = body(*fixed, *state, *[r[i] for r in rows])
            state = results[:carried]
            for whole, result in zip(stacked, results[carried:]):
                whole[i] = result
        return [*state, *stacked]
    return run


_CONTROL = {"cond": _cond, "while": _while, "scan": _scan}


# -- primitives whose parameters do not matter

def _divide(a, b):
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    safe = np.where(b == 0, 1, b)
    quotient = a // safe
    quotient = np.where((quotient < 0) & (quotient * safe != a), quotient + 1, quotient)       # towards zero
    return np.where(b == 0, np.asarray(-1).astype(a.dtype), quotient)


def _remainder(a, b):
    return np.fmod(a, b) if a.dtype.kind not in "iu" else np.where(b == 0, a, np.fmod(a, np.where(b == 0, 1, b)))


def _select(which, *cases):
    if len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    return reduce(lambda chosen, k: np.where(which == k, cases[k], chosen), range(1, len(cases)), cases[0])


def _shift(shift):
    def run(a, by):
        bits = 8 * a.dtype.itemsize
        return np.where((by >= 0) & (by < bits), shift(a, np.clip(by, 0, bits - 1)), np.zeros((), a.dtype))
    return run


def _logical(a, by):
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    return (a.view(unsigned) >> by.astype(unsigned)).view(a.dtype)


def _same(x):
    return x


_SIMPLE = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "rem": _remainder,
    "neg": np.negative, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "abs": np.abs, "max": np.maximum,
    "min": np.minimum, "pow": np.power, "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p,
    "expm1": np.expm1, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt, "square": np.square,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "atan2": np.arctan2, "logistic": lambda x: 1 / (1 + np.exp(-x)), "is_finite": np.isfinite,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shift_left": _shift(np.left_shift), "shift_right_logical": _shift(_logical),
    "select_n": _select, "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "real": np.real, "imag": np.imag, "conj": np.conj, "complex": lambda a, b: a + 1j * b,
    "stop_gradient": _same, "copy": _same, "copy_p": _same, "name": _same, "nextafter": np.nextafter,
}


# -- primitives made for their parameters: (parameters, input avals, output aval) -> function, or None: compile it

def _convert(parameters, inputs, output):
    source, target = inputs[0].dtype.kind, output.dtype.kind
    if source == "f" and target in "iu":
        return partial(_saturated, np.iinfo(output.dtype))
    if source == "c" and target != "c":
        return None
    return lambda x: x.astype(output.dtype)


def _saturated(limits, x):
    """Floats as integers, what is out of range at its end, NaN as 0: as XLA does it."""
    low, high = float(limits.min), float(limits.max)
    inside = np.where((x > low) & (x < high), x, 0).astype(limits.dtype)
    return np.where(x >= high, limits.max, np.where(x <= low, limits.min, inside)).astype(limits.dtype)


def _integer_power(parameters, inputs, output):
    power = parameters["y"]
    return (lambda x: 1 / x ** -power) if power < 0 else lambda x: x ** power


def _round(parameters, inputs, output):
    return np.rint if int(parameters["rounding_method"]) == 1 else None


def _broadcast(parameters, inputs, output):
    if len(inputs) != 1:
        return None
    shape, kept = [1] * len(output.shape), parameters["broadcast_dimensions"]
    for dimension, size in zip(kept, inputs[0].shape):
        shape[dimension] = size
    return lambda x: np.broadcast_to(np.reshape(x, shape), output.shape)


def _reshape(parameters, inputs, output):
    return lambda x: np.reshape(x, output.shape)


def _transpose(parameters, inputs, output):
    return lambda x: np.transpose(x, parameters["permutation"])


def _reverse(parameters, inputs, output):
    return lambda x: np.flip(x, parameters["dimensions"])


def _slice(parameters, inputs, output):
    strides = parameters["strides"] or (1,) * len(output.shape)
    index = tuple(map(slice, parameters["start_indices"], parameters["limit_indices"], strides))
    return lambda x: x[index]


def _window(array, sizes, starts):
    return tuple(slice(s, s + n) for n, s in zip(sizes, (
        min(max(int(s), 0), size - n) for s, size, n in zip(starts, array.shape, sizes))))


def _dynamic_slice(parameters, inputs, output):
    return lambda x, *starts: x[_window(x, output.shape, starts)]


def _dynamic_update(parameters, inputs, output):
    def run(x, update, *starts):
        result = np.array(x)
        result[_window(x, update.shape, starts)] = update
        return result
    return run


def _concatenate(parameters, inputs, output):
    return lambda *arrays: np.concatenate(arrays, parameters["dimension"])


def _pad(parameters, inputs, output):
    widths = parameters["padding_config"]
    inside = tuple(slice(max(low, 0), max(low, 0) + max((n - 1) * (gap + 1) + 1 if n else 0, 0), gap + 1)
                   for n, (low, high, gap) in zip(inputs[0].shape, widths))
    if any(low < 0 or high < 0 for low, high, _ in widths):
        return None

    def run(x, value):
        result = np.full(output.shape, value)
        result[inside] = x
        return result
    return run


def _iota(parameters, inputs, output):
    if inputs:
        return None
    shape, dimension = [1] * len(output.shape), parameters["dimension"]
    shape[dimension] = -1
    return lambda: np.broadcast_to(np.arange(output.shape[dimension]).astype(output.dtype).reshape(shape),
                                   output.shape)


def _reduction(function):
    def make(parameters, inputs, output):
        axes = tuple(parameters["axes"])
        if 0 in inputs[0].shape and function not in (np.sum, np.prod):
            return None
        if function in (np.sum, np.prod):
            return lambda x: np.asarray(function(x, axis=axes, dtype=output.dtype))
        return lambda x: np.asarray(function(x, axis=axes))
    return make


def _position(function):
    return lambda parameters, inputs, output: lambda x: np.asarray(function(x, axis=parameters["axes"][0]))


def _running(function):
    def make(parameters, inputs, output):
        axis = parameters["axis"]
        if parameters["reverse"]:
            return lambda x: np.flip(function(np.flip(x, axis), axis=axis, dtype=output.dtype), axis)
        return lambda x: function(x, axis=axis, dtype=output.dtype)
    return make


def _dot(parameters, inputs, output):
    (left_sum, right_sum), (left_batch, right_batch) = parameters["dimension_numbers"]
    left, right = inputs

    def order(a, batch, contracted, last):
        free = [d for d in range(len(a.shape)) if d not in batch and d not in contracted]
        sizes = [int(np.prod([a.shape[d] for d in part])) for part in (free, contracted)]
        parts = (*batch, *free, *contracted) if last else (*batch, *contracted, *free)
        shape = [a.shape[d] for d in batch] + (sizes if last else sizes[::-1])
        return parts, shape
    left_order, left_shape = order(left, left_batch, left_sum, True)
    right_order, right_shape = order(right, right_batch, right_sum, False)

    def run(a, b):
        a, b = np.reshape(np.transpose(a, left_order), left_shape), np.reshape(np.transpose(b, right_order),
                                                                               right_shape)
        if a.dtype != output.dtype or b.dtype != output.dtype:
            a, b = a.astype(output.dtype), b.astype(output.dtype)
        return np.reshape(np.matmul(a, b), output.shape)
    return run


def _places(shape, sizes, indices, start_map, operand_batch, index_batch):
    """Return (one index array for each dimension of an operand, which windows lie inside).

    The arrays broadcast to (batch of windows, window)."""
    batch, rank = indices.shape[:-1], len(shape)
    inside, places = np.ones(batch, bool), []
    for d in range(rank):
        if d in operand_batch:
            along = index_batch[operand_batch.index(d)]
            start = np.arange(shape[d]).reshape([-1 if i == along else 1 for i in range(len(batch))])
        elif d in start_map:
            start = indices[..., start_map.index(d)].astype(np.int64)
            inside &= (start >= 0) & (start <= shape[d] - sizes[d])
            start = np.clip(start, 0, max(shape[d] - sizes[d], 0))
        else:
            start = np.zeros([1] * len(batch), np.int64)
        offset = np.arange(sizes[d]).reshape([-1 if i == d else 1 for i in range(rank)])
        places.append(start.reshape(start.shape + (1,) * rank) + offset)
    return tuple(places), inside


def _gather(parameters, inputs, output):
    numbers, sizes, mode = parameters["dimension_numbers"], parameters["slice_sizes"], str(parameters["mode"])
    gone = tuple(sorted((*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)))
    fill = parameters.get("fill_value")
    outer = [d for d in range(len(output.shape)) if d not in numbers.offset_dims]
    if fill is None:
        fill = np.nan
    if "FILL" in mode and fill != fill and output.dtype.kind in "iub" or 0 in inputs[0].shape:
        return None

    def run(x, indices):
        places, inside = _places(x.shape, sizes, indices, numbers.start_index_map, numbers.operand_batching_dims,
                                 numbers.start_indices_batching_dims)
        rank, batch = x.ndim, indices.ndim - 1
        found = x[places]
        if "FILL" in mode and not inside.all():
            found = np.where(inside.reshape(inside.shape + (1,) * rank), found, np.asarray(fill, output.dtype))
        found = np.broadcast_to(found, indices.shape[:-1] + found.shape[batch:])
        found = np.squeeze(found, tuple(batch + d for d in gone))
        return np.moveaxis(found, range(found.ndim), [*outer, *numbers.offset_dims])
    return run


def _scatter_add(parameters, inputs, output):
    numbers, mode = parameters["dimension_numbers"], str(parameters["mode"])
    window = [d for d in range(len(inputs[2].shape)) if d not in numbers.update_window_dims]
    gone = sorted((*numbers.inserted_window_dims, *numbers.operand_batching_dims))
    kept = [d for d in range(len(inputs[0].shape)) if d not in gone]
    sizes = [1] * len(inputs[0].shape)
    for d, at in zip(kept, numbers.update_window_dims):
        sizes[d] = inputs[2].shape[at]
    if 0 in inputs[0].shape:
        return None

    def run(x, indices, updates):
        places, inside = _places(x.shape, sizes, indices, numbers.scatter_dims_to_operand_dims,
                                 numbers.operand_batching_dims, numbers.scatter_indices_batching_dims)
        rank, result = x.ndim, np.array(x)
        updates = np.transpose(updates, [*window, *numbers.update_window_dims])
        updates = updates.reshape(indices.shape[:-1] + tuple(sizes))
        if not inside.all() and "CLIP" not in mode:
            updates = np.where(inside.reshape(inside.shape + (1,) * rank), updates, np.zeros((), updates.dtype))
        np.add.at(result, places, updates)
        return result
    return run


def _sort(parameters, inputs, output):
    if len(inputs) != 1:
        return None
    return lambda x: np.sort(x, axis=parameters["dimension"], kind="stable")


_MADE = {
    "convert_element_type": _convert, "integer_pow": _integer_power, "round": _round, "broadcast_in_dim": _broadcast,
    "reshape": _reshape, "squeeze": _reshape, "expand_dims": _reshape, "transpose": _transpose, "rev": _reverse,
    "slice": _slice, "dynamic_slice": _dynamic_slice, "dynamic_update_slice": _dynamic_update,
    "concatenate": _concatenate, "pad": _pad, "iota": _iota, "reduce_sum": _reduction(np.sum),
    "reduce_max": _reduction(np.max), "reduce_min": _reduction(np.min), "reduce_prod": _reduction(np.prod),
    "reduce_and": _reduction(np.all), "reduce_or": _reduction(np.any), "argmax": _position(np.argmax),
    "argmin": _position(np.argmin), "cumsum": _running(np.cumsum), "cumprod": _running(np.cumprod),
    "cummax": _running(np.maximum.accumulate), "cummin": _running(np.minimum.accumulate), "dot_general": _dot,
    "gather": _gather, "scatter-add": _scatter_add, "sort": _sort,
}
