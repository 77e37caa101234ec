# SPDX-License-Identifier: Apache-2.0
"""Kernels that follow one another as one, found in a traced step.

A convolution and the max-pooling of its result are layers of their own, and each writes all it computes to memory. In
the finished program it can be seen who wants the result in between: if it is the pooling alone (and the gradients that
belong to both), one kernel computes image after image, pools each while it is in the cache, and keeps what was
pooled. The gradient goes the same way back. 28x28 images, 32 filters, batch 128: 11 MB are not written and read
three times each.

Where a convolution's result is only multiplied by one number a channel and another is added (batch normalization at
inference), the first goes into the kernel and the second, with a ReLU that follows, into the pass that stores it.

An LSTM or a GRU of which nobody wants the gradient need not keep its gates and cell states.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fitloom.ops.kernels import convolution, pooling, recurrent
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

# An image of results has to stay in the second-level cache beside what it is made of.
_MOST_BYTES = 512 << 10
# What follows max(x, 0) where the activation has an upper bound, too.
_BOUNDS = ("min", "le", "lt", "ge", "gt", "ne", "clamp")
# Images are the unit of work for several threads.
_LEAST_IMAGES = 8


def fused(function: Callable) -> Callable:
    """Return the pure function `function` with kernels joined, or made shorter, where that changes no result.

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
    """Replace each convolution, pooling and their gradients by kernels that do both; LSTMs and GRUs by shorter ones."""
    flat = _flat(jaxpr)
    needed, folded = _replaced(flat, _needed(flat), convolution.plain_primitive, _folded)
    needed, paired = _replaced(flat, needed, pooling.largest_primitive, _pair)
    needed, lstms = _replaced(flat, needed, recurrent.lstm_primitive, _shorter)
    needed, grus = _replaced(flat, needed, recurrent.gru_primitive, _shorter)
    return flat.replace(eqns=needed) if folded or paired or lstms or grus else jaxpr


def _replaced(flat, equations, primitive, rule):
    """Apply a rule to all equations of one primitive; return the new equations and whether anything changed."""
    made: dict[core.Var, core.JaxprEqn] = {}
    users: dict[core.Var, list] = collections.defaultdict(list)
    for equation in equations:
        made.update((v, equation) for v in equation.outvars)
        for v in equation.invars:
            if isinstance(v, core.Var):
                users[v].append(equation)
    for v in flat.outvars:
        if isinstance(v, core.Var):
            users[v].append(None)
    replaced: dict[int, list] = {}
    for equation in equations:
        if equation.primitive is primitive:
            replaced.update(rule(equation, made, users))
    new = itertools.chain.from_iterable(replaced.get(id(equation), [equation]) for equation in equations)
    return list(new), bool(replaced)


def _shorter(layer, made, users):
    """What replaces an LSTM or a GRU whose hidden states alone are wanted."""
    hidden, *others = layer.outvars
    if any(users[v] for v in others):
        return {}
    primitive, results = recurrent.gru_results_primitive, [hidden]
    if layer.primitive is recurrent.lstm_primitive:
        primitive, results = recurrent.lstm_results_primitive, [hidden, core.gensym()(layer.invars[2].aval)]
    return {id(layer): [core.new_jaxpr_eqn(layer.invars, results, primitive, {}, core.no_effects)]}


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
            function = equation.params.get("jaxpr")
            if equation.primitive.name == "jit" and not function.consts and len(function.jaxpr.eqns) == 1:
                # A small function of jax.nn, such as relu.
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


def _folded(conv, made, users):
    """What replaces a convolution and the affine map of its channels; nothing if it must stay."""
    x, w = conv.invars
    steps, channels = [], w.aval.shape[-1]
    if not w.aval.size or not x.aval.size:
        return {}

    def then(name, operand):
        """The operand of the next step beside the result so far, if that is all that happens to it."""
        result = (steps[-1] if steps else conv).outvars[0]
        user = users[result][0] if len(users[result]) == 1 else None
        if user is None or user.primitive.name != name:
            return None
        others = [v for v in user.invars if v is not result]
        value = operand(others[0]) if len(others) == 1 else None
        if value is not None:
            steps.append(user)
        return value

    def for_channels(v):
        spread = made.get(v) if isinstance(v, core.Var) else None
        if spread is None or spread.primitive.name != "broadcast_in_dim":
            return None
        source, axes = spread.invars[0], spread.params["broadcast_dimensions"]
        last = axes == (x.aval.ndim - 1,) and isinstance(source, core.Var) and source.aval.shape == (channels,)
        return source if last and source.aval.dtype == w.aval.dtype else None

    scale = then("mul", for_channels)
    offset = scale if scale is None else then("add", for_channels)
    if offset is None:
        return {}
    relu = then("max", lambda v: None if isinstance(v, core.Var) or np.any(v.val != 0) else True) is not None
    followers = [user.primitive.name for user in users[steps[-1].outvars[0]] if user is not None]
    if any(name in _BOUNDS if relu else not name.startswith("fitloom_") for name in followers):
        return {}  # the compiler makes another pass in any case, and does both in one
    kernel = functools.partial(_scaled, relu=relu, **conv.params)
    replaced = {id(equation): [] for equation in (conv, *steps[:-1])}
    replaced[id(steps[-1])] = _written(kernel, (x, w, scale, offset), steps[-1].outvars)
    return replaced


def _scaled(x, w, scale, offset, **static):
    return convolution.biased_once(x, w * scale, offset, **static)


def _written(function, inputs, outputs):
    """The equations of a function of variables, whose results have names already."""
    traced = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in inputs)).jaxpr
    new = core.gensym()
    names = {**dict(zip(traced.invars, inputs, strict=True)), **dict(zip(traced.outvars, outputs, strict=True))}
    equations = []
    for equation in traced.eqns:
        for v in equation.outvars:
            names.setdefault(v, new(v.aval))
        inner = [names[v] if isinstance(v, core.Var) else v for v in equation.invars]
        equations.append(equation.replace(invars=inner, outvars=[names[v] for v in equation.outvars]))
    return equations


def _pair(pool, made, users):
    """What replaces the equations (by identity) of one pooling: none for those that vanish; nothing if it must stay."""
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
    replaced = {id(conv): [], id(pool): [_equation(_pooled, conv.invars, pool.outvars, static)]}
    replaced.update((id(spread), []) for spread in spreads)
    for gradient, spread in gradients:
        inputs = [conv.invars[0], spread.invars[0], largest, winner]
        kernel = {"kernel": gradient.params["sizes"]}
        equation = _equation(_pooled_weight_gradient, inputs, gradient.outvars, {**static, **kernel})
        replaced[id(gradient)] = [equation]
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
