# SPDX-License-Identifier: Apache-2.0
"""Give a function a hand-written backward pass without losing any other derivative.

`jax.custom_vjp` would do for plain training, but it forbids forward mode. `with_backward`
keeps everything: forward mode (`jax.jvp`, `jax.jacfwd`) differentiates the forward function
itself, reverse mode runs the hand-written backward pass, `jax.vmap` maps over both, and
higher orders differentiate the code of the backward pass, which must therefore be made of
functions that can be differentiated.

It rests on one primitive, `linear_map`: a linear function that carries its own transpose.
`jax.custom_derivatives.linear_call` is the same idea, but knows no `vmap` and cannot be
differentiated with respect to its residuals.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from fitloom.ops.kernels import platform


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Static:
    """A hashable Python value (a shape, a dtype) that travels among residual arrays."""

    value: Any


def with_backward(forward: Callable, backward: Callable) -> Callable:
    """Return `forward` with `backward` as its reverse-mode derivative.

    Args:
        forward: `forward(*arrays, **static) -> (outputs, residuals)`, made of differentiable
            JAX functions. `static` are hashable keyword arguments. An argument may be None.
        backward: `backward(residuals, cotangents, **static) -> argument cotangents`, one for
            each argument of `forward` in a tuple, with None for the arguments that are None
            or hold integers or booleans. `cotangents` has the structure of `outputs`.

    Returns:
        A function `(*arrays, **static) -> outputs`.
    """

    @functools.lru_cache(maxsize=4096)
    def differentiable(static_items: tuple) -> Callable:
        static = dict(static_items)

        def value(*arguments):
            return forward(*arguments, **static)[0]

        def tangent(residuals, tangents):
            arguments, _ = residuals
            varying = [i for i, t in enumerate(tangents) if t is not None]

            def along(*chosen):
                full = list(arguments)
                for i, argument in zip(varying, chosen, strict=True):
                    full[i] = argument
                return value(*full)

            chosen = tuple(arguments[i] for i in varying)
            return jax.jvp(along, chosen, tuple(tangents[i] for i in varying))[1]

        def transpose(residuals, cotangents):
            _, saved = residuals
            return backward(saved, cotangents, **static)

        function = jax.custom_jvp(value)

        @function.defjvp
        def rule(arguments, tangents):
            outputs, residuals = forward(*arguments, **static)
            tangents = tuple(None if _is_constant(t) else t for t in tangents)
            saved = (tuple(arguments), residuals)
            return outputs, linear_map(tangent, transpose, saved, tangents)

        return function

    @functools.wraps(forward)
    def call(*arguments, **static):
        return differentiable(tuple(sorted(static.items())))(*arguments)

    return call


def _is_constant(tangent: Any) -> bool:
    """True for None and for the float0 tangents JAX gives to integers and booleans."""
    return tangent is None or tangent.dtype == jax.dtypes.float0


def linear_map(function: Callable, transpose: Callable, residuals: Any, vectors: Any) -> Any:
    """Compute `function(residuals, vectors)`, linear in `vectors`, with a given transpose.

    Args:
        function: `function(residuals, vectors) -> outputs`, linear in `vectors`.
        transpose: `transpose(residuals, cotangents) -> cotangents of vectors`, the transpose of
            the same linear function; `cotangents` has the structure of `outputs`, the result
            that of `vectors`.
        residuals: Any tree of arrays.
        vectors: Any tree of floating arrays.

    Returns:
        The tree of arrays that `function` returns.
    """
    if platform.inside_mesh():
        # Types that carry shardings or mesh axes: leave it to JAX's own rules.
        return function(residuals, vectors)
    residual_leaves, residual_tree = jax.tree.flatten(residuals)
    vector_leaves, vector_tree = jax.tree.flatten(vectors)
    output_tree = jax.tree.structure(jax.eval_shape(function, residuals, vectors))
    outputs = _linear_map_p.bind(
        *residual_leaves,
        *vector_leaves,
        function=function,
        transpose=transpose,
        residual_tree=residual_tree,
        vector_tree=vector_tree,
        output_tree=output_tree,
    )
    return jax.tree.unflatten(output_tree, outputs)


_linear_map_p = Primitive("fitloom_linear_map")
_linear_map_p.multiple_results = True


def _evaluate(*leaves, function, transpose, residual_tree, vector_tree, output_tree):
    count = residual_tree.num_leaves
    residuals = jax.tree.unflatten(residual_tree, leaves[:count])
    vectors = jax.tree.unflatten(vector_tree, leaves[count:])
    return jax.tree.leaves(function(residuals, vectors))


def _abstract(*avals, **parameters):
    shapes = jax.eval_shape(
        functools.partial(_evaluate, **parameters),
        *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals),
    )
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in shapes]


def _differentiate(primals, tangents, **parameters):
    outputs = _linear_map_p.bind(*primals, **parameters)
    count = parameters["residual_tree"].num_leaves
    total = [ad.Zero(jax.typeof(o).to_tangent_aval()) for o in outputs]
    if any(type(t) is not ad.Zero for t in tangents[count:]):
        vectors = [ad.instantiate_zeros(t) for t in tangents[count:]]
        total = _linear_map_p.bind(*primals[:count], *vectors, **parameters)
    moving = [i for i in range(count) if type(tangents[i]) is not ad.Zero]
    if moving:

        def along(*chosen):
            leaves = list(primals)
            for i, leaf in zip(moving, chosen, strict=True):
                leaves[i] = leaf
            return _evaluate(*leaves, **parameters)

        chosen = tuple(primals[i] for i in moving)
        _, extra = jax.jvp(along, chosen, tuple(tangents[i] for i in moving))
        total = [e if type(t) is ad.Zero else t + e for t, e in zip(total, extra, strict=True)]
    return outputs, total


def _transpose(cotangents, *leaves, function, transpose, residual_tree, vector_tree, output_tree):
    count = residual_tree.num_leaves
    results = [None] * len(leaves)
    if all(type(c) is ad.Zero for c in cotangents):
        return results
    residuals = jax.tree.unflatten(residual_tree, leaves[:count])
    cotangents = [ad.instantiate_zeros(c) for c in cotangents]
    answer = transpose(residuals, jax.tree.unflatten(output_tree, cotangents))
    answer_leaves = jax.tree.leaves(answer)
    if len(answer_leaves) != len(leaves) - count:
        raise TypeError(
            f"a backward pass returned {len(answer_leaves)} cotangents for "
            f"{len(leaves) - count} differentiable arguments"
        )
    for i, cotangent in enumerate(answer_leaves, start=count):
        if ad.is_undefined_primal(leaves[i]):
            results[i] = cotangent
    return results


@dataclasses.dataclass(frozen=True)
class _Mapped:
    """`function` or its transpose mapped over a new axis of the residuals and of all vectors."""

    function: Callable
    residual_tree: Any
    residual_axes: tuple

    def __call__(self, residuals, vectors):
        leaves = jax.tree.leaves(residuals)
        varying = [leaf for leaf, a in zip(leaves, self.residual_axes, strict=True) if a is not None]
        axes = [a for a in self.residual_axes if a is not None]

        def one(chosen, vector):
            chosen = iter(chosen)
            merged = [
                leaf if axis is None else next(chosen)
                for leaf, axis in zip(leaves, self.residual_axes, strict=True)
            ]
            return self.function(jax.tree.unflatten(self.residual_tree, merged), vector)

        return jax.vmap(one, in_axes=(axes, 0))(varying, vectors)


def _batch(leaves, axes, **parameters):
    count = parameters["residual_tree"].num_leaves
    size = next(x.shape[a] for x, a in zip(leaves, axes, strict=True) if a is not None)
    vectors = [batching.bdim_at_front(x, a, size) for x, a in zip(leaves[count:], axes[count:], strict=True)]
    for name in ("function", "transpose"):
        parameters[name] = _Mapped(parameters[name], parameters["residual_tree"], tuple(axes[:count]))
    outputs = _linear_map_p.bind(*leaves[:count], *vectors, **parameters)
    return outputs, [0] * len(outputs)


_linear_map_p.def_impl(_evaluate)
_linear_map_p.def_abstract_eval(_abstract)
ad.primitive_jvps[_linear_map_p] = _differentiate
ad.primitive_transposes[_linear_map_p] = _transpose
batching.primitive_batchers[_linear_map_p] = _batch
mlir.register_lowering(_linear_map_p, mlir.lower_fun(_evaluate, multiple_results=True))
