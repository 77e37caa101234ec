# SPDX-License-Identifier: Apache-2.0
"""The user's functions: run once for many elements where they trace, element by element where they do not."""
import inspect
import logging

import jax
import numpy as np

from fitloom import (
    engine,
    ops,
)
from fitloom.data import structure
from fitloom.data.hosting import HostTrace, HostValue, run
from fitloom.data.plan import MASK, POSITIONS, mix
from fitloom.data.structure import TensorSpec
from fitloom.engine.context import CLOSED, CONTEXT
from fitloom.engine.inline import InlineTrace

LOGGER = logging.getLogger("fitloom.data")
PROGRAMS = 16              # signatures of one function after which elements are run one by one
_SEED = jax.ShapeDtypeStruct((), np.dtype(np.uint64))
UNSET = object()            # a structure nobody has seen yet
_PROBES = (2, 3)           # sizes put in the place of unknown dimensions


class Untraceable(Exception):
    """The function needs values: a Python branch, NumPy, strings, files, nested datasets."""


class Signature:
    """What tracing the function for one set of input shapes found out."""

    __slots__ = ("variables", "seeded", "structure", "outputs", "program", "single", "rows", "calls", "strings",
                 "host_outputs")


class Function:
    """A function of the user over elements.

    Args:
        call: takes the element as TensorFlow passes it: a tuple as several arguments.
        name: the transformation, such as 'map', for messages.
        like: something that nests like the elements, or None where it is not known yet.
        seed: of the random operations inside; each element's numbers depend on (seed, iteration, position).
    """

    def __init__(self, call, name, like=None, seed=None):
        if not callable(call):
            raise TypeError(f"Dataset.{name} expected a function, but received {type(call).__name__}.")
        self.call, self.name, self.like, self.seed = call, name, like, seed
        self.signatures, self.blocked, self.structure = {}, None, UNSET
        self.pack = None if like is None else structure.packer(like)

    def nests(self, like):
        """Say what the elements nest like."""
        self.like, self.pack = like, structure.packer(like)

    # -- one element

    def element(self, flat, number):
        """Apply to one flat element; return flat NumPy results. Compiled where the function traces."""
        if self.blocked is None and all(isinstance(c, (np.ndarray, np.generic)) for c in flat):
            try:
                return self._compiled(flat, number)
            except Untraceable:
                pass
        result = structure.result_of(self.value(flat, number))
        if self.structure is UNSET:
            self.structure = structure.skeleton(result)
        return structure.split(result)[1]

    def _compiled(self, flat, number):
        signature = self.signature(tuple([(c.shape, c.dtype) for c in flat]))
        if any(signature.strings):
            columns = [np.asarray(c)[None] for c in flat]
            return tuple([c[0, ...] for c in self.rows(columns, 1, number)])
        if signature.single is None:
            signature.single = jax.jit(self._many(signature))
        seed = np.uint64(0)
        if signature.seeded:
            seed = self.seeds(number, 1)[0]
        values = [v.store.member(v.index) for v in signature.variables]
        try:
            with on_host():
                return tuple([np.asarray(r) for r in signature.single(values, seed, *flat)])
        except Exception as error:
            self.annotate(error, number)
            raise

    def value(self, flat, number):
        """Apply to one flat element; return what the function returned."""
        arguments = self.pack([structure.to_tensor(c) for c in flat])
        before, CONTEXT.trace = CONTEXT.trace, CLOSED
        try:
            with engine.seed_scope(self.seed_of(number)):
                result = self.call(*arguments) if type(arguments) is tuple else self.call(arguments)
            if not CONTEXT.trace.closed:
                CONTEXT.trace.flush()
            return result
        except StopIteration as error:
            raise RuntimeError(f"The function of Dataset.{self.name} raised StopIteration, which would have looked "
                               "like the end of the data.") from error
        except Exception as error:
            self.annotate(error, number)
            raise
        finally:
            CONTEXT.trace = before

    def annotate(self, error, number=None):
        """Note on an exception of the user's which transformation and element it came from."""
        where = f"element {number & ((1 << POSITIONS) - 1)}" if number is not None else "its first element"
        note = f"This happened in Dataset.{self.name}({self.described()}), at {where} of its input."
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)

    def described(self):
        """Return the function's name and place, for messages."""
        name = getattr(self.call, "__name__", type(self.call).__name__)
        code = getattr(self.call, "__code__", None)
        return f"{name}, {code.co_filename}:{code.co_firstlineno}" if code is not None else name

    def seed_of(self, number):
        """Return the seed of one element."""
        return mix((self.seed or 0) ^ mix(number >> POSITIONS)) + (number & ((1 << POSITIONS) - 1)) & MASK

    # -- many elements

    def signature(self, avals) -> Signature:
        """Trace the function for one element of these (shape, dtype) pairs.

        Raises:
            Untraceable: it has to be run element by element.
        """
        found = self.signatures.get(avals)
        if found is None:
            if self.blocked is None and len(self.signatures) >= PROGRAMS:
                self._block("its input changes shape all the time")
            if self.blocked is not None:
                raise Untraceable(self.blocked)
            try:
                found = self.signatures[avals] = self._trace(avals)
            except Untraceable as error:
                self._block(str(error))                     # not the exception: its traceback holds the iterator
                raise
        return found

    def _block(self, why):
        """From now on elements are run one by one; say so once."""
        if self.blocked is None:
            self.blocked = why
            LOGGER.info("Dataset.%s(%s) runs element by element: %s.", self.name, self.described(), why)

    def _trace(self, avals):
        for shape, dtype in avals:
            if dtype is None or (dtype == structure.STRING and shape != ()):
                raise Untraceable("it takes nested values or arrays of strings")
        signature = Signature()
        signature.calls, signature.strings = [], [dtype == structure.STRING for _, dtype in avals]
        signature.rows, signature.program, signature.single = 0, None, None
        specs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in avals if dtype != structure.STRING]
        found: dict = {}
        if any(signature.strings):
            # once to learn which numbers the host makes of the strings, and again with these as inputs
            self._probe(signature, specs, {}, discover=True)
            specs += [jax.ShapeDtypeStruct(shape, dtype) for call in signature.calls
                      for shape, dtype, _ in call.results if dtype != structure.STRING]
            if not specs:
                raise Untraceable("it works on strings only")
        jaxpr = self._probe(signature, specs, found)
        if any(_calls_back(e) for e in jaxpr.jaxpr.eqns):
            raise Untraceable("it calls Python from a compiled program")
        signature.variables = tuple(found)
        made = iter([(tuple(a.shape), np.dtype(a.dtype)) for a in jaxpr.out_avals])
        signature.outputs = [((), structure.STRING) if column is not None else next(made)
                             for column in signature.host_outputs]
        if self.structure is UNSET:
            self.structure = signature.structure
        return signature

    def _probe(self, signature, specs, found, discover=False):
        def probe(seed, *arrays):
            trace = InlineTrace(seed=seed, discover=True)
            results = self._body(trace, signature, arrays, learn=True, discover=discover)
            found.update(trace.discovered)
            if trace.written:
                raise Untraceable("it changes a variable")
            signature.seeded = trace.draws > 0
            return results

        before, CONTEXT.trace = CONTEXT.trace, CLOSED
        try:
            with engine.seed_scope(0):
                return jax.make_jaxpr(probe)(_SEED, *specs)
        except Untraceable:
            raise
        except Exception as error:
            why = str(error).splitlines()[0][:120] if str(error) else ""
            raise Untraceable(f"{type(error).__name__}: {why}") from None
        finally:
            CONTEXT.trace = before

    def _body(self, trace, signature, arrays, learn=False, discover=False):
        """Run the function on tracers; with `learn`, put what its results look like into the signature."""
        count = len(signature.strings) - sum(signature.strings)
        inputs, host = iter(arrays[:count]), HostTrace(None if discover else arrays[count:])
        with engine.seed_scope(0), trace:                   # the seeds come from the trace, one for each element
            arguments = self.pack([host.column() if is_string else engine.Tensor(next(inputs))
                                   for is_string in signature.strings])
            result = self.call(*arguments) if type(arguments) is tuple else self.call(arguments)
            result = structure.result_of(result)
            leaves, columns = [], []
            for leaf in structure.flatten(result):
                if isinstance(leaf, HostValue):
                    columns.append(leaf.number)
                    continue
                if structure.is_opaque(leaf) or leaf is None:
                    raise Untraceable("it returns nested values")
                array = trace.array_of(engine.convert_to_tensor(leaf))
                if getattr(array, "dtype", None) == structure.STRING:
                    raise Untraceable("it returns strings")
                columns.append(None)
                leaves.append(array)
            trace.close()
        if learn:
            signature.structure, signature.host_outputs = structure.skeleton(result), columns
            signature.calls = host.calls
        return leaves

    def rows(self, columns, count, number):
        """Apply to `count` elements stacked in flat columns; `number` is the first one's. Return flat columns.

        Fewer rows than the largest call so far are padded, so that one program serves and every row is computed
        the same way wherever it stands.
        """
        signature = self.signature(tuple([(c.shape[1:], c.dtype) for c in columns]))
        try:
            columns, strings = self._host_part(signature, columns)
            if signature.program is None:
                axes = (None, 0 if signature.seeded else None) + (0,) * len(columns)
                signature.program = jax.jit(jax.vmap(self._many(signature), in_axes=axes))
            if count > signature.rows:
                signature.rows = count
            missing = signature.rows - count
            if missing:
                columns = [np.concatenate([c, np.broadcast_to(c[-1:], (missing,) + c.shape[1:])]) for c in columns]
            seeds = self.seeds(number, signature.rows) if signature.seeded else np.uint64(0)
            values = [v.store.member(v.index) for v in signature.variables]
            with on_host():
                results = signature.program(values, seeds, *columns)
        except Exception as error:
            self.annotate(error, number)
            raise
        results = [np.asarray(r) for r in results]
        return self._with_strings(signature, [r[:count] for r in results] if missing else results, strings)

    def _host_part(self, signature, columns):
        """Return (numeric columns with what the host calls gave, string columns by number)."""
        if not any(signature.strings):
            return columns, None
        numeric = [c for c, is_string in zip(columns, signature.strings) if not is_string]
        strings = [c.tolist() for c, is_string in zip(columns, signature.strings) if is_string]
        made, strings = run(signature.calls, strings)
        return numeric + made, strings

    def _with_strings(self, signature, results, strings):
        if strings is None:
            return tuple(results)
        numeric = iter(results)
        return tuple([next(numeric) if column is None else _strings(strings[column])
                      for column in signature.host_outputs])

    def seeds(self, number, count):
        """Return the seeds of elements number, number + 1, ..."""
        position = number & ((1 << POSITIONS) - 1)
        base, odd = np.uint64(self.seed_of(number - position)), np.uint64(0xD1342543DE82EF95)
        with np.errstate(over="ignore"):
            return base + np.arange(position, position + count, dtype=np.uint64) * odd

    def _many(self, signature):
        def one(values, seed, *arrays):
            return self._body(InlineTrace(dict(zip(signature.variables, values)), seed=seed), signature, arrays)
        return one

    # -- specs

    def spec(self, spec):
        """Return the spec of the results for a structure of specs, or None where only running the function tells."""
        flat = structure.flatten(spec)
        if not all(isinstance(s, TensorSpec) and s.shape.rank is not None for s in flat):
            return None
        try:
            found = [self._outputs(flat, fill) for fill in _PROBES]
        except Untraceable:
            return None
        first, second = found
        if first[0] is None and second[0] is None and len(first[1]) != len(second[1]):
            return None
        leaves = []
        for (shape, dtype), (other, _) in zip(first[1], second[1]):
            dims = [a if a == b else None for a, b in zip(shape, other)] if len(shape) == len(other) else None
            leaves.append(TensorSpec(dims, dtype))
        return structure.pack(first[0], leaves)

    def _outputs(self, specs, fill):
        known = all(s.shape.is_fully_defined() for s in specs)
        avals = tuple([(tuple(fill if d is None else d for d in s.shape.as_list()), s.dtype.numpy_dtype)
                       for s in specs])
        signature = self.signature(avals) if known else self._trace(avals)
        return signature.structure, signature.outputs


def _strings(column):
    if isinstance(column, np.ndarray):
        return column
    out = np.empty(len(column), object)
    out[:] = column
    return out


class HostFunction(Function):
    """A function of our own over NumPy components, run element by element; its results' spec is known.

    Args:
        call: takes the flat components, returns flat components.
        like: something that nests like the elements.
        result: the spec of the results.
    """

    def __init__(self, call, name, like, result):
        super().__init__(call, name, like)
        self.result, self.structure = result, structure.skeleton(result)
        self.blocked = "it reads files"

    def element(self, flat, number):
        try:
            return self.call(*flat)
        except Exception as error:
            self.annotate(error, number)
            raise

    def spec(self, spec):
        return self.result


def _calls_back(equation):
    if "callback" in equation.primitive.name:
        return True
    for parameter in equation.params.values():
        for inner in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns") and any(_calls_back(e) for e in inner.eqns):
                return True
    return False


class _Host:
    device = False                    # not asked yet; None: the default device is the host


def on_host():
    """Return a context in which programs run on the host's processor, whatever the default device is."""
    if _Host.device is False:
        _Host.device = None if jax.default_backend() == "cpu" else jax.devices("cpu")[0]
    return jax.default_device(_Host.device) if _Host.device is not None else _NOTHING


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


_NOTHING = _Nothing()


def check_arguments(call, spec, name):
    """Raise unless the function takes as many arguments as an element has components."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return
    arguments = spec if type(spec) is tuple else (spec,)
    try:
        signature.bind(*arguments)
    except TypeError as error:
        shape = "one argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
        raise TypeError(f"Dataset.{name} calls its function with {shape}, one for each component of an element "
                        f"{structure.outline(spec)}, but {getattr(call, '__name__', call)}{signature} does not take "
                        f"them: {error}.") from None


__all__ = ["Function", "HostFunction", "Untraceable", "check_arguments", "on_host"]
