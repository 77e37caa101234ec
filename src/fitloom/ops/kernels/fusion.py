# SPDX-License-Identifier: Apache-2.0
"""Kernels that follow one another as one, found in a traced step.

A convolution and the max-pooling of its result are layers of their own, and each writes all it computes to memory. In
the finished program it can be seen who wants the result in between: if it is the pooling alone (and the gradients that
belong to both), one kernel computes image after image, pools each while it is in the cache, and keeps what was
pooled. The gradient goes the same way back. 28x28 images, 32 filters, batch 128: 11 MB are not written and read
three times each.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fitloom.ops.kernels import convolution, pooling
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

# An image of results has to stay in the second-level cache beside what it is made of.
_MOST_BYTES = 512 << 10
# Images are the unit of work for several threads.
_LEAST_IMAGES = 8


def fused(function: Callable) -> Callable:
    """Return the pure function `function` with its convolutions and poolings joined where that changes no result.

    Args:
        function: Takes and returns structures of arrays; it is traced at each call.
    """

    @functools.wraps(function, updated=())
    def call(*arguments):
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        closed = core.ClosedJaxpr(joined(closed.jaxpr), closed.consts)
        results = core.jaxpr_as_fun(closed)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def joined(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """Replace each convolution, pooling and their gradients by the kernels that do both."""
    flat = _flat(jaxpr)
    needed = _needed(flat)
    made: dict[core.Var, core.JaxprEqn] = {}
    users: dict[core.Var, list] = collections.defaultdict(list)
    for equation in needed:
        made.update((v, equation) for v in equation.outvars)
        for v in equation.invars:
            if isinstance(v, core.Var):
                users[v].append(equation)
    for v in flat.outvars:
        if isinstance(v, core.Var):
            users[v].append(None)
    replaced = {}
    for equation in needed:
        if equation.primitive is pooling.largest_primitive:
            replaced.update(_pair(equation, made, users))
    if not replaced:
        return jaxpr
    equations = [replaced.get(id(equation), equation) for equation in needed]
    return flat.replace(eqns=[equation for equation in equations if equation is not None])


def _flat(jaxpr):
    """The same with functions that have derivatives of their own written out, and nothing computed twice.

    A step computes its forward pass once for the gradient and, in its own words, once more for the metrics.
    """
    new, same, seen, equations = core.gensym(), {}, {}, []

    def walk(inner):
        for equation in inner.eqns:
            inputs = [same.get(v, v) if isinstance(v, core.Var) else v for v in equation.invars]
            function = equation.params.get("call_jaxpr")
            if equation.primitive.name == "custom_jvp_call" and not function.consts:
                same.update(zip(function.jaxpr.invars, inputs, strict=True))
                walk(function.jaxpr)
                same.update(zip(equation.outvars, map(read, function.jaxpr.outvars), strict=True))
                continue
            key = None if equation.effects else _key(equation, inputs)
            if key is not None and key in seen:
                same.update(zip(equation.outvars, seen[key], strict=True))
                continue
            outputs = [v if isinstance(v, core.DropVar) else new(v.aval) for v in equation.outvars]
            same.update(zip(equation.outvars, outputs, strict=True))
            if key is not None and not any(isinstance(v, core.DropVar) for v in outputs):
                seen[key] = outputs
            equations.append(equation.replace(invars=inputs, outvars=outputs))

    def read(v):
        return same.get(v, v) if isinstance(v, core.Var) else v

    walk(jaxpr)
    return jaxpr.replace(eqns=equations, outvars=[read(v) for v in jaxpr.outvars])


def _key(equation, inputs):
    """What makes two equations the same, or None if that cannot be said."""
    if any(not isinstance(v, core.Var) and np.ndim(v.val) for v in inputs):
        return None
    values = tuple(v if isinstance(v, core.Var) else (str(v.aval), np.asarray(v.val).tobytes()) for v in inputs)
    key = (equation.primitive, values, tuple(sorted(equation.params.items(), key=lambda item: item[0])))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _needed(jaxpr):
    """The equations whose results or effects somebody wants."""
    wanted, kept = {v for v in jaxpr.outvars if isinstance(v, core.Var)}, []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(v in wanted for v in equation.outvars):
            kept.append(equation)
            wanted.update(v for v in equation.invars if isinstance(v, core.Var))
    return kept[::-1]


def _pair(pool, made, users):
    """What replaces the equations (by identity) of one pooling; None for those that vanish, nothing if it must stay."""
    (images,) = pool.invars
    largest, winner = pool.outvars
    conv = made.get(images)
    if conv is None or conv.primitive is not convolution.biased_primitive or not _worth(conv):
        return {}
    relu = conv.params["relu"]
    gradients, spreads = [], users[winner]
    for spread in spreads:
        if spread is None or spread.primitive is not pooling.spread_primitive:
            return {}
        for gradient in users[spread.outvars[0]]:
            if gradient is None or gradient.primitive is not convolution.biased_gradient_primitive:
                return {}
            x, dy, y = gradient.invars
            # Twice the same array as dy and y would be another gradient.
            if x is not conv.invars[0] or dy is not spread.outvars[0] or (relu and y is not images):
                return {}
            gradients.append((gradient, spread))
    if any(user is not pool and all(user is not each for each, _ in gradients) for user in users[images]):
        return {}
    static = {**conv.params, **{"pool_" + name: value for name, value in pool.params.items()}}
    replaced = {id(conv): None, id(pool): _equation(_pooled, conv.invars, pool.outvars, static)}
    replaced.update((id(spread), None) for spread in spreads)
    for gradient, spread in gradients:
        inputs = [conv.invars[0], spread.invars[0], largest, winner]
        kernel = {"kernel": gradient.params["sizes"]}
        replaced[id(gradient)] = _equation(_pooled_weight_gradient, inputs, gradient.outvars, {**static, **kernel})
    return replaced


def _equation(kernel, inputs, outputs, static):
    return core.new_jaxpr_eqn(inputs, outputs, kernel.primitive, static, core.no_effects)


def _worth(conv):
    x, w, _ = (v.aval for v in conv.invars)
    settings = conv.params
    image = 4 * math.prod(settings["sizes"]) * w.shape[-1]
    small_kernel = w.shape[:-2] == (3, 3) and set(settings["strides"] + settings["dilations"]) == {1}
    winograd = small_kernel and settings["groups"] == 1 and min(w.shape[-2:]) >= convolution.LEAST_WINOGRAD_CHANNELS
    return not winograd and image <= _MOST_BYTES and x.shape[0] >= _LEAST_IMAGES


def _split(static):
    """Settings of the convolution and of the pooling."""
    pool = {name: static.pop("pool_" + name) for name in ("window", "strides", "pads")}
    return static, pool


def _pooled_reference(x, w, bias, **static):
    conv, pool = _split(static)
    (y,) = convolution.biased_reference(x, w, bias, **conv)
    return pooling.largest_reference(y, **pool)


def _pooled_weight_gradient_reference(x, dy, y, winner, *, kernel, **static):
    conv, pool = _split(static)
    if conv.pop("relu"):
        dy = jnp.where(y > 0, dy, jnp.zeros((), dy.dtype))
    shape = (dy.shape[0], *conv.pop("sizes"), dy.shape[-1])
    (spread,) = pooling.spread_reference(dy, winner, shape=shape, **pool)
    nothing = jnp.zeros((0,), dy.dtype)
    return convolution.biased_gradient_reference(x, spread, nothing, sizes=kernel, **conv)


def _attributes(static):
    conv, pool = _split(static)
    lows = tuple(low for low, _ in pool["pads"])
    return {
        **conv,
        "relu": int(conv["relu"]),
        "window": pool["window"],
        "pool_strides": pool["strides"],
        "pool_lows": lows,
    }


def _pooled_native(x, w, bias, **static):
    y, winner = jax.eval_shape(functools.partial(_pooled_reference, **static), x, w, bias)
    return library.call("conv_pool_forward", (y, winner), x, w, bias, **_attributes(static))


def _pooled_weight_gradient_native(x, dy, y, winner, *, kernel, **static):
    channels = dy.shape[-1]
    results = (
        jax.ShapeDtypeStruct((*kernel, x.shape[-1] // static["groups"], channels), x.dtype),
        jax.ShapeDtypeStruct((channels,), x.dtype),
    )
    return library.call("conv_pool_weight_gradient", results, x, dy, y, winner, **_attributes(static))


_pooled = Accelerated("conv_pool", _pooled_reference, _pooled_native)
_pooled_weight_gradient = Accelerated(
    "conv_pool_weight_gradient", _pooled_weight_gradient_reference, _pooled_weight_gradient_native
)
