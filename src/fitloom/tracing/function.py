# SPDX-License-Identifier: Apache-2.0
"""`tf.function`: Python code over tensors, traced once for each signature and run as one program."""
import contextlib
import functools
import inspect
import warnings
import weakref
from typing import Any

import jax
import numpy as np

from fitloom.base import nest, tracebacks
from fitloom.base.errors import InitialValueNotKnownError, ValueNotKnownError
from fitloom.engine import context
from fitloom.engine.procedure import Block
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.specs import TensorSpec
from fitloom.engine.tensor import Tensor
from fitloom.tracing.autograph import convert as convert_control_flow
from fitloom.tracing.converted import refuse_undefined
from fitloom.tracing.graphs import FunctionGraph

_EXPLAIN_AFTER = 5


def function(func=None, input_signature=None, autograph=True, jit_compile=None, reduce_retracing=False,
             experimental_implements=None, experimental_autograph_options=None, experimental_attributes=None,
             experimental_relax_shapes=None, experimental_compile=None, experimental_follow_type_hints=None):
    """Trace a Python function once for each signature; later calls run the compiled program.

    A signature is the structure of the arguments, the shape and dtype of each tensor in them, and the value of
    everything that is not a tensor. Python side effects happen while tracing only. Numbers that the function returns
    come back as tensors.

    Args:
        func: the function; without it, a decorator is returned.
        input_signature: nested TensorSpecs that the arguments must match.
        autograph: whether `if`, `while` and `for` over tensors become `tf.cond` and `tf.while_loop`.
        jit_compile: accepted; every function here is compiled by XLA.
        reduce_retracing: accepted; XLA compiles for one shape at a time.

    Example:
        >>> import fitloom as tf
        >>> @tf.function
        ... def square(x):
        ...     return x * x
        >>> float(square(tf.constant(3.0)))
        9.0
    """
    options = {"input_signature": input_signature, "autograph": autograph, "jit_compile": jit_compile}
    if func is None:
        return lambda f: Function(f, **options)
    return Function(func, **options)


class Function:
    """What `tf.function` returns: callable, with `python_function` and `get_concrete_function`."""

    watch: Any = None          # called with (function, block, tensors) at each call, while tf.summary traces

    def __init__(self, python_function, input_signature=None, autograph=True, jit_compile=None):
        self.python_function = python_function
        self.input_signature = None if input_signature is None else tuple(input_signature)
        for spec in nest.flatten(self.input_signature or ()):
            if isinstance(spec, (str, bytes, int, float)) or spec is None:
                raise TypeError(f"input_signature must be a nested sequence of tf.TensorSpec, but it holds {spec!r}.")
        self.autograph, self.jit_compile = autograph, jit_compile
        self._blocks, self._traces, self._seen, self._explained = {}, 0, [], False
        self._asked_for = []
        self._bound = weakref.WeakKeyDictionary()
        self._plain, self._on_host, self._created = None, False, False
        functools.update_wrapper(self, python_function)

    def __get__(self, instance, owner):
        if instance is None:
            return self
        try:
            bound = self._bound.get(instance)
        except TypeError:                                    # an instance without weak references or hash
            return functools.partial(self, instance)
        if bound is None:
            reference = weakref.ref(instance)
            plain = self.python_function

            @functools.wraps(plain)
            def method(*args, **kwargs):
                return plain(reference(), *args, **kwargs)
            method.__wrapped__ = plain
            method.__signature__ = _without_self(plain)
            bound = Function(method, self.input_signature, self.autograph, self.jit_compile)
            bound._plain = lambda: functools.partial(convert_control_flow(plain), reference())
            self._bound[instance] = bound
        return BoundFunction(instance, bound)

    def _converted_function(self):
        return convert_control_flow(self.python_function) if self._plain is None else self._plain()

    @tracebacks.short
    def __call__(self, *args, **kwargs):
        if context.functions_run_eagerly():
            return self.python_function(*args, **kwargs)
        if getattr(context.CONTEXT.replica, "inlines", False):      # part of the program of several replicas
            return self._call_python(args, kwargs)
        if self._on_host and not context.CONTEXT.trace.inline:
            return self._run_on_host(args, kwargs)
        block, tensors = self._specialise(args, kwargs)
        if not context.CONTEXT.trace.inline:
            if block.on_host or any(t.aval.dtype.hasobject for t in tensors):        # text: nothing to compile
                return self._run_on_host(args, kwargs)
            try:
                if Function.watch is not None:
                    Function.watch(self, block, tensors)
                if not block.runs_at_once(tensors):
                    return block(tensors)
                result = block(tensors)
                if not context.CONTEXT.trace.closed:
                    context.CONTEXT.trace.flush()
                return result
            except InitialValueNotKnownError:
                if self._created:
                    raise ValueError(f"tf.function '{self.__name__}' creates variables in other calls than its first. "
                                     "Create a variable once, outside or under `if self.v is None`.") from None
                self._created = True                                     # this call makes them, from real values
            except ValueNotKnownError as error:
                if self.jit_compile:
                    raise
                self._go_to_host(error)
            return self._run_on_host(args, kwargs)
        return block(tensors)

    def _run_on_host(self, args, kwargs):
        return _numbers_to_tensors(self.python_function(*args, **kwargs))

    def _go_to_host(self, error):
        """From now on run the function as Python, one operation at a time: its shapes depend on values."""
        self._on_host = True
        warnings.warn(f"tf.function '{self.__name__}' runs uncompiled, operation by operation, because "
                      f"{str(error)[:1].lower()}{str(error)[1:]}", stacklevel=3)

    def _call_python(self, args, kwargs):
        """Run the Python function with its control flow over tensors converted."""
        if not self.autograph:
            return self.python_function(*args, **kwargs)
        result = self._converted_function()(*args, **kwargs)
        if result is not None:
            refuse_undefined(nest.flatten(result))
        return result

    def _specialise(self, args, kwargs):
        if self.input_signature is not None:
            args, kwargs = self._apply_signature(args, kwargs), {}
        leaves = nest.flatten((args, kwargs))
        tensors, static = [], []
        for leaf in leaves:
            kind = leaf.__class__
            if kind is Tensor:
                tensors.append(leaf)
                static.append(_TENSOR)
            elif isinstance(leaf, (np.ndarray, np.generic, jax.Array)):
                tensors.append(convert_to_tensor(leaf))
                static.append(_TENSOR)
            elif isinstance(leaf, TensorSpec):
                tensors.append(Tensor(np.zeros([1 if d is None else d for d in leaf.shape], leaf.dtype.numpy_dtype)))
                static.append(_TENSOR)
            else:
                static.append(_Static(leaf))
        key = (tuple(static), _structure_key((args, kwargs)))
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self._make_block((args, kwargs), static)
        shapes = (key, tuple(t.aval for t in tensors))
        if shapes not in self._seen:
            self._note_trace(shapes, tensors, block)
        return block, tensors

    def _make_block(self, structure, static):
        outline = nest.map_structure(lambda _: None, structure)
        values = [None if s is _TENSOR else s.value for s in static]
        is_tensor = [s is _TENSOR for s in static]

        def body(*tensors):
            given = iter(tensors)
            args, kwargs = nest.pack_sequence_as(
                outline, [next(given) if t else v for t, v in zip(is_tensor, values)])
            result = _numbers_to_tensors(self._call_python(args, kwargs))
            if not block.holds and any(_is_composite(leaf) for leaf in nest.flatten(result)):
                block.holds = True
            return _held(result) if block.holds else result
        block = _FunctionBlock(body, getattr(self.python_function, "__name__", "function"))
        block.outline, block.values = outline, values              # for saved_model.save
        block.on_host = any(hasattr(value, "with_flat_values") for value in values)     # ragged rows live on the host
        return block

    def _apply_signature(self, args, kwargs):
        bound = inspect.signature(self.python_function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = list(bound.arguments.values())
        names = list(bound.arguments)
        parameters = inspect.signature(self.python_function).parameters
        if names and parameters[names[-1]].kind is inspect.Parameter.VAR_POSITIONAL:
            given = given[:-1] + list(given[-1])
        given = given[:len(self.input_signature)] if len(given) > len(self.input_signature) else given
        if len(given) != len(self.input_signature):
            raise TypeError(f"{self.__name__} has an input_signature of {len(self.input_signature)} arguments, but "
                            f"received {len(given)}.")
        return tuple(nest.map_structure_up_to(spec, _match, spec, value)
                     for spec, value in zip(self.input_signature, given))

    def _note_trace(self, shapes, tensors, block):
        self._seen.append(shapes)
        self._traces += 1
        if self._traces > _EXPLAIN_AFTER and not self._explained:
            self._explained = True
            before, now = self._seen[-2], shapes
            what = (f"the shapes or dtypes of its tensors changed from {list(before[1])} to {list(now[1])}"
                    if before[0] == now[0] else "a Python argument (a number, string or object) changed its value")
            warnings.warn(f"tf.function '{self.__name__}' was traced {self._traces} times; last because {what}. Each "
                          "trace compiles a program: pass changing numbers as tensors, and pad batches to one shape.",
                          stacklevel=4)

    # -- inspection

    def experimental_get_tracing_count(self):
        """Return how many signatures were traced."""
        return self._traces

    def get_concrete_function(self, *args, **kwargs):
        """Return the function specialised for arguments or TensorSpecs."""
        if self.input_signature is not None and not args and not kwargs:
            args = self.input_signature
        made = ConcreteFunction(self, args, kwargs)
        if self.input_signature is None and any(isinstance(leaf, TensorSpec) for leaf in nest.flatten((args, kwargs))):
            bound = inspect.signature(self.python_function).bind(*args, **kwargs)
            self._asked_for.append((bound.args, bound.kwargs))               # for saved_model.save
        return made

    def pretty_printed_signature(self, verbose=True):
        """Return the signature as text."""
        return f"{self.__name__}{inspect.signature(self.python_function)}"

    def pretty_printed_concrete_signatures(self, verbose=True):
        """Return the signatures that were traced, as text."""
        return "\n\n".join(f"{self.pretty_printed_signature()}\n  " + ", ".join(
            f"{a.dtype.name}{list(a.shape)}" for a in avals) for _, avals in self._seen)

    @property
    def function_spec(self):
        """The Python signature."""
        return inspect.signature(self.python_function)


class BoundFunction:
    """A tf.function method together with its instance, which it keeps alive while it is called."""

    def __init__(self, instance, function):
        self.__self__, self._function = instance, function

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._function, name)


class _FunctionBlock(Block):
    """One signature of a tf.function."""

    holds = False         # whether ragged, sparse tensors or slices are among its results, which wrappers carry out
    shows = None          # whether it prints, checks or calls Python while it runs, once that is known

    def __call__(self, tensors):
        result = super().__call__(tensors)
        return _released(result) if self.holds else result

    def runs_at_once(self, tensors):
        """Whether a call runs before it returns, so that what it prints or raises comes in the caller's order.

        Inside a tape it runs with the step. What is recorded already runs here, so that an error spares it.
        """
        if self.shows is None:
            self.shows = self.instruction(tuple(t.aval for t in tensors)).effects
        trace = context.CONTEXT.trace
        if not self.shows or not trace.closed and (trace.nested or trace.live_tapes()):
            return False
        if not trace.closed:
            trace.flush()
        return True


class _Holder(nest.Composite):
    """A ragged or sparse tensor, or slices, whose tensors are results of a compiled function."""

    def __init__(self, value, tensors=None):
        self.value, self.tensors = value, tensors

    def parts(self):
        if self.tensors is not None:
            return self.tensors
        value = self.value
        if hasattr(value, "with_flat_values"):
            return [value.flat_values]
        return [value.values] if hasattr(value, "with_values") else [value.values, value.indices]

    def with_parts(self, parts):
        return _Holder(self.value, list(parts))

    def made(self):
        """Return the value with the tensors that it holds now."""
        if hasattr(self.value, "with_flat_values"):
            return self.value.with_flat_values(*self.tensors)
        if hasattr(self.value, "with_values"):
            return self.value.with_values(*self.tensors)
        return type(self.value)(*self.tensors, self.value.dense_shape)


def _released(result):
    """Return the results of a compiled function with what the holders in them hold."""
    if isinstance(result, _Holder):
        return result.made()
    if isinstance(result, dict):
        return nest.rebuild(result, [_released(result[key]) for key in nest.sorted_keys(result)])
    return nest.rebuild(result, list(map(_released, result))) if isinstance(result, (list, tuple)) else result


def _is_composite(leaf):
    return hasattr(leaf, "with_flat_values") or hasattr(leaf, "with_values") or (
        hasattr(leaf, "dense_shape") and hasattr(leaf, "indices"))


def _held(result):
    return nest.map_structure(lambda leaf: _Holder(leaf) if _is_composite(leaf) else leaf, result)


class ConcreteFunction:
    """A tf.function fixed to one signature; call it with tensors."""

    def __init__(self, function, args, kwargs):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.structured_input_signature = (args, kwargs)
        self.inputs = [a for a in nest.flatten((args, kwargs)) if isinstance(a, (TensorSpec, Tensor))]
        known = all(i.shape.rank is not None and None not in tuple(i.shape) and i.dtype.name != "string"
                    for i in self.inputs)
        self._layout = self._instruction = None
        if known:
            block, tensors = function._specialise(args, kwargs)
            with contextlib.suppress(ValueNotKnownError):                # it will run on the host
                self._instruction = block.instruction(tuple(t.aval for t in tensors))
                self._layout = self._instruction.layout

    def __call__(self, *args, **kwargs):
        given = [convert_to_tensor(a) for a in nest.flatten((args, kwargs))]
        flat, values = nest.flatten((self.args, self.kwargs)), iter(given)
        wanted = sum(isinstance(a, (TensorSpec, Tensor)) for a in flat)
        if wanted != len(given):
            raise TypeError(f"This concrete function takes {wanted} tensors, but received {len(given)}.")
        leaves = [_match(TensorSpec(a.shape, a.dtype) if isinstance(a, Tensor) else a, next(values))
                  if isinstance(a, (TensorSpec, Tensor)) else a for a in flat]
        args, kwargs = nest.pack_sequence_as((self.args, self.kwargs), leaves)
        return self.function(*args, **kwargs)

    @property
    def name(self):
        """Name of the function."""
        return self.function.__name__

    @property
    def graph(self):
        """The traced program as a list of operations; empty where the sizes or dtypes of the inputs are not known."""
        return FunctionGraph(self.name, self._instruction)

    @property
    def function_type(self):
        """The parameters, with the specs of their tensors as annotations: an `inspect.Signature`."""
        specs = nest.map_structure(_spec_of, (self.args, self.kwargs))
        signature = inspect.signature(self.function.python_function)
        given = signature.bind_partial(*specs[0], **specs[1]).arguments
        return signature.replace(parameters=[
            parameter.replace(annotation=given.get(name, parameter.annotation))
            for name, parameter in signature.parameters.items()])

    def __repr__(self):
        return f"<ConcreteFunction {self.name}{self.function_type}>"

    @property
    def structured_outputs(self):
        """TensorSpecs of the results; None where the sizes or dtypes of the inputs are not all known."""
        if self._layout is None:
            return None
        outputs = self._instruction.outputs
        return nest.pack_sequence_as(self._layout.structure, [
            TensorSpec(outputs[t].shape, outputs[t].dtype) if isinstance(t, int) else t.value
            for t in self._layout.tensors])

    @property
    def outputs(self):
        """TensorSpecs of the results in one list; None where the sizes or dtypes of the inputs are not all known."""
        found = self.structured_outputs
        return None if found is None else [x for x in nest.flatten(found) if isinstance(x, TensorSpec)]

    @property
    def variables(self):
        """The variables the function touches."""
        return () if self._layout is None else self._layout.variables

    @property
    def trainable_variables(self):
        """The trainable ones of `variables`."""
        return tuple(v for v in self.variables if v.trainable)


_NUMBERS = (bool, int, float, complex, np.ndarray, np.generic)


def _numbers_to_tensors(result):
    if isinstance(result, _NUMBERS):
        return convert_to_tensor(result)
    if isinstance(result, (list, tuple, dict)) and any(isinstance(leaf, _NUMBERS) for leaf in nest.flatten(result)):
        return nest.map_structure(lambda leaf: convert_to_tensor(leaf) if isinstance(leaf, _NUMBERS) else leaf, result)
    return result


class _Tensor:
    def __repr__(self):
        return "<tensor>"


_TENSOR = _Tensor()


def _spec_of(value):
    return TensorSpec(value.shape, value.dtype) if isinstance(value, Tensor) else value


class _Static:
    """A Python argument as part of a signature: by value where it has one, else by identity."""

    __slots__ = ("value", "key", "hash")

    def __init__(self, value):
        self.value = value
        by_value = isinstance(value, (int, float, bool, str, bytes, type(None), complex))
        self.key = (type(value), value) if by_value else id(value)
        self.hash = hash(self.key)

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return other.__class__ is _Static and self.key == other.key


def _structure_key(structure):
    if isinstance(structure, dict):
        return ("dict", tuple((k, _structure_key(structure[k])) for k in nest.sorted_keys(structure)))
    if isinstance(structure, (list, tuple)):
        return (type(structure), tuple(_structure_key(s) for s in structure))
    if isinstance(structure, nest.Composite):
        return (structure.kind(), tuple(_structure_key(s) for s in structure.parts()))
    return None


def _match(spec, value):
    if not isinstance(spec, TensorSpec):
        return value
    if isinstance(value, TensorSpec):
        return value
    tensor = convert_to_tensor(value, dtype_hint=spec.dtype)
    if not spec.shape.is_compatible_with(tensor.shape) or spec.dtype != tensor.dtype:
        raise TypeError(f"The input_signature asks for {spec}, but received a tensor of shape "
                        f"{tuple(tensor.shape)} and dtype {tensor.dtype.name}.")
    return tensor


def _without_self(plain):
    signature = inspect.signature(plain)
    return signature.replace(parameters=list(signature.parameters.values())[1:])
