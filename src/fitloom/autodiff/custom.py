# SPDX-License-Identifier: Apache-2.0
"""Functions with gradients of their own: `tf.custom_gradient`, `tf.recompute_grad`."""
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base import nest
from fitloom.engine.inline import InlineTrace
from fitloom.engine.instruction import conjugated
from fitloom.engine.procedure import Block
from fitloom.engine.recording import convert_to_tensor, op
from fitloom.engine.tensor import Tensor


class _Backward(InlineTrace):
    """The trace of a gradient function, which may use tensors of the functions around the decorated one."""

    __slots__ = ("known",)

    def array_of(self, tensor):
        """Return a tensor's array; for a captured one the input of the instruction."""
        found = self.known.get(tensor)
        return super().array_of(tensor) if found is None else found


class _CustomGradient(Block):
    """One instruction whose backward pass calls the user's gradient function."""

    nested = False             # whether arguments, and so the gradients, are structures

    def transform(self, fn, avals, layout, keywords):
        count, variables = len(avals), layout.variables
        seeded = layout.seeded

        def backward(arrays, cotangents):
            bindings = dict(zip(variables, arrays[count:]))
            trace = _Backward(bindings, seed=arrays[-1] if seeded else None)
            trace.known = dict(zip(layout.captures, arrays[count + len(variables):]))
            with trace:
                inputs = [Tensor(a) for a in arrays[:count]]
                result, gradient = self.user(*inputs, **keywords)
                upstream = [Tensor(conjugated(c)) for c in cotangents[:len(nest.flatten(result))]]
                produced = self._call_gradient(gradient, upstream, variables, inputs)
                arrays_out = [None if t is None else convert_to_tensor(t, dtype_hint=a.dtype).array
                              for t, a in zip(produced, arrays)]
                trace.close()
            return tuple(_cotangent(g, a) for g, a in zip(
                arrays_out + [None] * (len(arrays) - len(arrays_out)), arrays))

        wrapped = jax.custom_vjp(lambda *arrays: fn(*arrays))
        # `wrapped` and not `fn`: the derivative of what a second derivative differentiates is the user's, too.
        wrapped.defvjp(lambda *arrays: (wrapped(*arrays), arrays), backward)
        return lambda *arrays: wrapped(*arrays)

    def _call_gradient(self, gradient, upstream, variables, inputs):
        trainable = [v for v in variables if v.trainable]
        accepts = "variables" in inspect.signature(gradient).parameters
        if trainable and not accepts:
            raise TypeError(
                f"The function '{self.name}' decorated with tf.custom_gradient uses variables "
                f"({', '.join(v.name for v in trainable[:3])}), so its gradient function must accept `variables=` "
                "and return (gradients, variable_gradients).")
        if trainable:
            grads, variable_grads = gradient(*upstream, variables=trainable)
            by_variable = dict(zip(trainable, variable_grads))
            return (nest.flatten(grads) if self.nested else _as_list(grads)) + [by_variable.get(v) for v in variables]
        found = gradient(*upstream)
        found = nest.flatten(found) if self.nested else _as_list(found)
        if len(found) != len(inputs):
            raise ValueError(f"The gradient function of '{self.name}' returned {len(found)} gradients for "
                             f"{len(inputs)} inputs.")
        return found


def _as_tensor(value):
    return convert_to_tensor(value) if isinstance(value, (int, float, complex, np.ndarray, np.generic)) else value


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _cotangent(gradient, primal):
    if jnp.issubdtype(primal.dtype, jnp.inexact):
        return jnp.zeros(primal.shape, primal.dtype) if gradient is None else \
            conjugated(jnp.broadcast_to(gradient.astype(primal.dtype), primal.shape))
    return np.zeros(primal.shape, jax.dtypes.float0)


def custom_gradient(f=None):
    """Give a function a gradient of its own.

    `f(*tensors)` returns `(result, gradient_function)`; `gradient_function(*upstream)` returns the gradient with
    respect to each tensor.

    Example:
        >>> import fitloom as tf
        >>> @tf.custom_gradient
        ... def clipped(x):
        ...     return x, lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0)
    """
    if f is None:
        return custom_gradient
    blocks = {}

    @functools.wraps(f)
    def decorated(*args, **kwargs):
        nested, key = any(map(nest.is_nested, args)), tuple(sorted(kwargs.items()))
        nested = nested and any(isinstance(leaf, Tensor) or getattr(leaf, "is_variable", False)
                                for leaf in nest.flatten(args))
        if nested:
            outline = nest.map_structure(lambda _: 0, args)
            key = (repr(outline), key)
        block = blocks.get(key)
        if block is None:
            user = functools.partial(f, **kwargs) if kwargs else f
            if nested:
                plain = user

                def user(*tensors):
                    return plain(*nest.pack_sequence_as(outline, tensors))
            # A result that is a plain number has the user's gradient, too.
            block = _CustomGradient(lambda *tensors: nest.map_structure(_as_tensor, user(*tensors)[0]),
                                    getattr(f, "__name__", "custom_gradient"))
            block.user, block.nested = user, nested
            blocks[key] = block
        return block([convert_to_tensor(a) for a in (nest.flatten(args) if nested else args)])
    return decorated


class _Recompute(Block):
    """One instruction whose forward pass runs again during the backward pass."""

    def transform(self, fn, avals, layout, keywords):
        return jax.checkpoint(fn)


def recompute_grad(f):
    """Return `f` with its intermediate values recomputed in the backward pass instead of stored.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174.
    """
    blocks = {}

    @functools.wraps(f, updated=())
    def decorated(*args, **kwargs):
        flat = nest.flatten((args, kwargs))
        is_value = tuple(isinstance(a, (Tensor, np.ndarray, jax.Array)) or getattr(a, "is_variable", False)
                         for a in flat)
        static = tuple(None if value else a for a, value in zip(flat, is_value))
        key = (is_value, static, repr(nest.map_structure(lambda _: 0, (args, kwargs))))
        block = blocks.get(key)
        if block is None:
            structure = nest.map_structure(lambda _: None, (args, kwargs))

            def body(*tensors):
                values = iter(tensors)
                leaves = [next(values) if value else s for value, s in zip(is_value, static)]
                positional, named = nest.pack_sequence_as(structure, leaves)
                return f(*positional, **named)
            block = blocks[key] = _Recompute(body, getattr(f, "__name__", "recompute_grad"))
        return block([convert_to_tensor(a) for a, value in zip(flat, is_value) if value])
    return decorated


def grad_pass_through(f):
    """Return `f` with the identity as its gradient (a straight-through estimator)."""
    @custom_gradient
    def wrapped(*args):
        return f(*args), lambda *upstream: upstream if len(upstream) > 1 else upstream[0]
    return wrapped


@op
def _stop(x):
    return jax.lax.stop_gradient(x)


def stop_gradient(input, name=None):
    """Return the input as a constant for gradients (structures are mapped)."""
    return nest.map_structure(_stop, input)


def no_gradient(op_type):
    """Refuse: operations are not registered by type here; use stop_gradient or custom_gradient."""
    raise NotImplementedError(f"no_gradient('{op_type}') is not supported. Use tf.stop_gradient on the value.")


def hessians(*_, **__):
    """Refuse: symbolic gradients belong to TensorFlow 1."""
    raise RuntimeError("tf.hessians is not supported when eager execution is enabled. Use nested tf.GradientTapes.")


def gradients(*_, **__):
    """Refuse: symbolic gradients belong to TensorFlow 1."""
    raise RuntimeError("tf.gradients is not supported when eager execution is enabled. Use tf.GradientTape.")
