# SPDX-License-Identifier: Apache-2.0
"""Operations, and the instructions they become for given input avals and attributes."""
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine.avals import Aval, aval, aval_of
from fitloom.engine.interpreter import on_host
from fitloom.engine.placement import Placement

STATISTICS = {"programs": 0, "interpreted": 0, "flushes": 0, "eager": 0, "donated_copies": 0}

UNKNOWN = object()
MOST_SIGNATURES = 1_000    # shapes and attributes that one operation remembers


class Op:
    """A pure function of jax arrays that can be recorded.

    Args:
        fn: takes arrays by position and static attributes by keyword; returns an array or a tuple of arrays.
        name: what errors call it.
        same_dtype: all inputs must share one dtype, which Python numbers take on.
        host: NumPy twin, used at once when every input is a host integer constant (shape arithmetic).
        effects: runs even when nobody uses its results.
    """

    __slots__ = ("fn", "name", "same_dtype", "host", "effects", "cache", "__weakref__", "__dict__")

    def __init__(self, fn, name=None, same_dtype=False, host=None, effects=False):
        self.fn, self.name = fn, name or fn.__name__.strip("_")
        self.same_dtype, self.host, self.effects, self.cache = same_dtype, host, effects, {}

    def instruction(self, avals, attributes=()) -> "Instruction":
        """Return the interned instruction for input avals and attributes; a wrong shape raises here."""
        found = self.cache.get((avals, attributes))
        if found is None:
            self.check(avals)
            found = self.make(avals, attributes)
            self.keep(avals, attributes, found)
        return found

    def keep(self, avals, attributes, instruction):
        """Remember the instruction of a signature; a loop without end of new shapes forgets the oldest."""
        if len(self.cache) >= MOST_SIGNATURES:
            for key in list(self.cache)[:MOST_SIGNATURES // 2]:
                self.drop(self.cache.pop(key))
        self.cache[avals, attributes] = instruction

    def drop(self, instruction):
        """Let go of an instruction that is no longer remembered."""

    def make(self, avals, attributes):
        """Build the instruction (once for each signature)."""
        fn = self.fn
        if attributes:
            keywords = dict(attributes)

            def bound(*arrays):
                return self.fn(*arrays, **keywords)
            fn = bound
        return Instruction(fn, self.name, avals, effects=self.effects)

    def check(self, avals):
        """Raise unless the inputs' dtypes go together."""
        if not self.same_dtype:
            return
        first = avals[0].dtype
        for other in avals[1:]:
            if other.dtype != first:
                to = first if first.kind in "fcV" or other.dtype.kind not in "fcV" else other.dtype    # V: bfloat16
                raise InvalidArgumentError(
                    f"{self.name} expected tensors of one dtype, but received {first} and {other.dtype}. "
                    f"Convert one of them: tf.cast(x, tf.{to}).")


class Instruction:
    """One operation with its attributes and input avals fixed; interned, so identity is equality.

    `fn` maps input arrays to a tuple. The first `results` outputs become tensors; the rest are the new values of
    the variables that stand at the input positions `writes`.
    """

    __slots__ = ("fn", "name", "inputs", "outputs", "results", "writes", "single", "effects", "pullbacks", "nodes",
                 "_dependencies", "_compiled", "_on_host", "layout", "__weakref__")
    gradient = False

    def __init__(self, fn, name, inputs, writes=(), effects=False, outputs=None):
        self.name, self.inputs, self.writes, self.effects = name, inputs, tuple(writes), effects
        if outputs is None:
            outputs = abstract_outputs(fn, name, inputs)
        self.single = not isinstance(outputs, (tuple, list))
        self.outputs = tuple(map(aval_of, (outputs,) if self.single else outputs))
        self.fn = (lambda *arrays: (fn(*arrays),)) if self.single else fn
        self.results = len(self.outputs) - len(self.writes)
        self._dependencies = self._compiled = self.layout = None
        self._on_host = UNKNOWN
        self.pullbacks, self.nodes = {}, weakref.WeakSet()

    @property
    def dependencies(self):
        """For each output, the positions of the inputs a gradient can reach (read off the jaxpr)."""
        if self._dependencies is None:
            jaxpr = jax.make_jaxpr(self.fn)(*[a.spec() for a in self.inputs]).jaxpr
            reached = flow(jaxpr, [frozenset((i,)) if a.inexact else frozenset() for i, a in enumerate(self.inputs)])
            for written in range(self.results, len(self.outputs)):
                reached[written] = frozenset()              # an assignment blocks gradients, as in TensorFlow
            self._dependencies = reached
        return self._dependencies

    def runner(self):
        """Return what executes it now: on NumPy where that is possible and quick, else one cached jit."""
        STATISTICS["eager"] += 1
        if self._on_host is UNKNOWN:
            self._on_host = None if self.effects else on_host(self.fn, self.inputs)
        if self._on_host is not None and not Placement.used:
            return self._on_host
        if self._compiled is None:
            self._compiled = jax.jit(self.fn)
        return self._compiled

    def pullback(self, given, wanted) -> "Instruction":
        """Return the instruction (inputs, cotangents of the `given` outputs) -> cotangents of `wanted` inputs."""
        found = self.pullbacks.get((given, wanted))
        if found is None:
            count, fn = len(self.inputs), self.fn

            def backward(*arrays):
                def forward(*varied):
                    full = list(arrays[:count])
                    for position, array in zip(wanted, varied):
                        full[position] = array
                    outputs = fn(*full)
                    return tuple(outputs[q] for q in given)
                pull = jax.vjp(forward, *[arrays[p] for p in wanted])[1]
                return tuple(map(conjugated, pull(tuple(map(conjugated, arrays[count:])))))
            found = Instruction(backward, "gradient_of_" + self.name,
                                self.inputs + tuple(self.outputs[q] for q in given))
            self.pullbacks[given, wanted] = found
        return found


def conjugated(cotangent):
    """Turn jax's gradient of complex numbers into TensorFlow's, the direction of ascent, or back; others stay."""
    return jnp.conj(cotangent) if jnp.issubdtype(cotangent.dtype, jnp.complexfloating) else cotangent


def abstract_outputs(fn, name, inputs):
    """Evaluate the shapes and dtypes of fn's results; name the operation in the error of a wrong shape."""
    for each in inputs:
        if each.dtype == object:
            raise InvalidArgumentError(
                f"{name} received a string tensor. String tensors live on the host: use tf.strings, or tf.py_function.")
    try:
        return jax.eval_shape(fn, *[a.spec() for a in inputs])
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError) or not str(error):
            raise
        shapes = ", ".join(str(a) for a in inputs)
        raise InvalidArgumentError(f"{name} cannot take inputs {shapes}: {error}") from error


_BLOCKED = {"stop_gradient", "floor", "ceil", "round", "argmax", "argmin", "eq", "gt", "lt", "ge", "le", "ne", "sign",
            "is_finite"}
_CALLS = ("jit", "pjit", "closed_call", "remat", "checkpoint", "remat2")     # custom derivatives: anything reaches


def flow(jaxpr, sets):
    """Propagate sets of input positions through a jaxpr; integers and blocked primitives carry none."""
    environment, none = dict(zip(jaxpr.invars, sets)), frozenset()

    def read(variable):
        return none if hasattr(variable, "val") else environment.get(variable, none)

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        inner = getattr(inner, "jaxpr", inner)
        if equation.primitive.name in _CALLS and inner is not None and len(inner.invars) == len(inputs):
            outputs = flow(inner, inputs)
        else:
            union = none if equation.primitive.name in _BLOCKED else none.union(*inputs)
            outputs = [union] * len(equation.outvars)
        for variable, reached in zip(equation.outvars, outputs):
            environment[variable] = reached if jnp.issubdtype(variable.aval.dtype, jnp.inexact) else none
    return [read(v) for v in jaxpr.outvars]


def freeze(value):
    """Make an attribute hashable: lists become tuples, NumPy integers become ints."""
    if isinstance(value, (list, tuple)):
        return tuple([freeze(v) for v in value])
    if isinstance(value, np.generic):
        return value.item()
    return value


def zeros_like_aval(a: Aval):
    """Return a NumPy array of zeros of this aval."""
    return np.zeros(a.shape, a.dtype)
