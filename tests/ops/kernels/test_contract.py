# SPDX-License-Identifier: Apache-2.0
"""What every kernel promises: derivatives of first and second order, dtypes, jit and vmap."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from fitloom.ops.kernels import (
    attention,
    bias,
    convolution,
    cross_entropy,
    dense,
    dropout,
    embedding,
    gelu,
    normalization,
    platform,
    pooling,
    recurrent,
)
from tolerances import BFLOAT16_SUMS, FLOAT32_SUMS

jax.config.update("jax_enable_x64", True)

_SEED = np.array([3, 5], np.uint32)
_VISIBLE = np.random.default_rng(3).random((2, 1, 20, 18)) < 0.6
_MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1]], bool)


def _bind(function, **settings):
    return functools.partial(function, **settings)


# name: (function of float arrays, their shapes). Shapes are small, but odd.
CASES = {
    "max_pool": (_bind(pooling.max_pool, window=2), [(2, 5, 6, 3)]),
    "max_pool_overlapping": (_bind(pooling.max_pool, window=3, strides=2, padding="same"), [(2, 7, 6, 3)]),
    "max_pool_1d": (_bind(pooling.max_pool, window=3, strides=1), [(2, 7, 3)]),
    "max_pool_3d_first": (
        _bind(pooling.max_pool, window=2, padding="same", data_format="channels_first"),
        [(2, 3, 3, 4, 5)],
    ),
    "max_pool_large": (_bind(pooling.max_pool, window=9, strides=4, padding="same"), [(1, 12, 11, 2)]),
    "max_pool_native": (_bind(pooling.max_pool, window=2), [(2, 20, 26, 17)]),
    "max_pool_native_overlapping": (
        _bind(pooling.max_pool, window=3, strides=2, padding="same"),
        [(2, 21, 24, 17)],
    ),
    "avg_pool": (_bind(pooling.avg_pool, window=(2, 3), padding="same"), [(2, 5, 6, 3)]),
    "avg_pool_overlapping": (_bind(pooling.avg_pool, window=3, strides=2, padding="same"), [(2, 7, 6, 3)]),
    "conv": (_bind(convolution.conv, strides=2, padding="same"), [(2, 5, 6, 3), (3, 2, 3, 4)]),
    "conv_bias": (_bind(convolution.conv_bias, padding="same"), [(2, 5, 6, 3), (3, 2, 3, 4), (4,)]),
    "conv_bias_relu": (
        _bind(convolution.conv_bias, strides=2, padding="same", relu=True),
        [(2, 5, 6, 3), (3, 2, 3, 4), (4,)],
    ),
    "conv_bias_relu_winograd": (
        _bind(convolution.conv_bias, padding="same", relu=True),
        [(2, 12, 11, 32), (3, 3, 32, 33), (33,)],
    ),
    "conv_bias_relu_first": (
        _bind(convolution.conv_bias, data_format="channels_first", relu=True),
        [(2, 4, 6), (3, 2, 6), (6,)],
    ),
    "conv_groups_dilation": (_bind(convolution.conv, dilation=2), [(2, 6, 7, 4), (2, 3, 2, 6)]),
    "conv_causal_first": (
        _bind(convolution.conv, padding="causal", dilation=2, data_format="channels_first"),
        [(2, 3, 6), (3, 3, 2)],
    ),
    "conv_transpose": (_bind(convolution.conv_transpose, strides=2, padding="same"), [(2, 3, 4, 3), (3, 2, 5, 3)]),
    "depthwise_conv": (_bind(convolution.depthwise_conv, padding="same"), [(2, 5, 6, 3), (3, 3, 3, 2)]),
    "depthwise_conv_strided": (
        _bind(convolution.depthwise_conv, strides=2, padding="same"),
        [(2, 5, 6, 3), (3, 2, 3, 1)],
    ),
    "separable_conv": (convolution.separable_conv, [(2, 5, 6, 3), (3, 3, 3, 2), (1, 1, 6, 4)]),
    "batch_norm_training": (
        lambda x, g, b: normalization.batch_norm_training(x, g, b, (0, 1), 1e-3),
        [(3, 4, 2), (2,), (2,)],
    ),
    "batch_norm_masked": (
        lambda x, g, b: normalization.batch_norm_training(x, g, b, (0, 1), 1e-3, jnp.asarray(_MASK)),
        [(3, 4, 2), (2,), (2,)],
    ),
    "batch_norm_inference": (
        lambda x, m, v, g: normalization.batch_norm_inference(x, m, v * v, g, None, (0,), 1e-3),
        [(3, 2), (2,), (2,), (2,)],
    ),
    "layer_norm": (_bind(normalization.layer_norm, axes=(1, 2)), [(3, 4, 2), (4, 2), (4, 2)]),
    "rms_norm": (normalization.rms_norm, [(3, 5), (5,)]),
    "group_norm": (_bind(normalization.group_norm, groups=2, axis=1), [(2, 4, 3), (4,), (4,)]),
    "lstm": (recurrent.lstm, [(3, 4, 2), (3, 5), (3, 5), (2, 20), (5, 20), (20,)]),
    "lstm_masked": (
        lambda *a: recurrent.lstm(*a, None, mask=jnp.asarray(_MASK), reverse=True),
        [(3, 4, 2), (3, 5), (3, 5), (2, 20), (5, 20)],
    ),
    "gru": (recurrent.gru, [(3, 4, 2), (3, 5), (2, 15), (5, 15), (2, 15)]),
    "gru_masked": (
        lambda *a: recurrent.gru(*a, mask=jnp.asarray(_MASK)),
        [(3, 4, 2), (3, 5), (2, 15), (5, 15), (2, 15)],
    ),
    "gru_reset_before": (
        _bind(recurrent.gru, reset_after=False),
        [(3, 4, 2), (3, 5), (2, 15), (5, 15), (15,)],
    ),
    "simple_rnn": (recurrent.simple_rnn, [(3, 4, 2), (3, 5), (2, 5), (5, 5), (5,)]),
    "dense": (dense.dense, [(2, 3, 4), (4, 5), (5,)]),
    "dense_large": (dense.dense, [(64, 40), (40, 36), (36,)]),
    "dense_large_product": (dense.dense, [(520, 48), (48, 44), (44,)]),
    "einsum_dense": (_bind(dense.einsum_dense, equation="abc,cde->abde"), [(4, 5, 8), (8, 2, 3), (2, 3)]),
    "einsum_dense_other": (_bind(dense.einsum_dense, equation="abc,bcd->abd"), [(4, 5, 8), (5, 8, 3), (3,)]),
    "add_bias": (bias.add_bias, [(3, 4, 5), (5,)]),
    "add_bias_large": (bias.add_bias, [(64, 26, 10), (10,)]),
    "add_bias_first": (_bind(bias.add_bias, data_format="channels_first"), [(3, 4, 5), (4,)]),
    "gelu": (gelu.gelu, [(65, 64)]),
    "gelu_approximate": (_bind(gelu.gelu, approximate=True), [(65, 64)]),
    "layer_norm_rows": (normalization.layer_norm, [(64, 5, 17), (17,), (17,)]),
    "layer_norm_rows_bare": (lambda x: normalization.layer_norm(x, None, None, (1, 2)), [(64, 5, 17)]),
    "attention_native": (attention.dot_product_attention, [(2, 20, 4, 5), (2, 18, 2, 5), (2, 18, 2, 7)]),
    "attention_native_masked": (
        lambda q, k, v: attention.dot_product_attention(q, k, v, mask=jnp.asarray(_VISIBLE), is_causal=True),
        [(2, 20, 4, 5), (2, 18, 4, 5), (2, 18, 4, 5)],
    ),
    "embedding": (lambda t: embedding.embedding(t, jnp.array([[0, 2], [2, 1]], "int32")), [(4, 3)]),
    "dropout": (lambda x: dropout.dropout(x, 0.4, _SEED), [(5, 6)]),
    "softmax_cross_entropy": (cross_entropy.softmax_cross_entropy, [(3, 4), (3, 4)]),
    "sparse_softmax_cross_entropy": (
        lambda x: cross_entropy.sparse_softmax_cross_entropy(x, jnp.array([0, 3, 1], "int32")),
        [(3, 4)],
    ),
    "sigmoid_cross_entropy": (cross_entropy.sigmoid_cross_entropy, [(3, 4), (3, 4)]),
    "categorical_cross_entropy": (
        lambda x, y: cross_entropy.categorical_cross_entropy(1.5 + jnp.sin(x), y),
        [(3, 4), (3, 4)],
    ),
    "attention": (
        _bind(attention.dot_product_attention, is_causal=True, return_scores=True),
        [(2, 3, 4, 5), (2, 3, 2, 5), (2, 3, 2, 5)],
    ),
    "attention_soft_cap_bias": (
        lambda q, k, v, b: attention.dot_product_attention(q, k, v, b, soft_cap=2.0),
        [(2, 3, 2, 5), (2, 3, 2, 5), (2, 3, 2, 5), (2, 2, 3, 3)],
    ),
}

each_case = pytest.mark.parametrize("case", CASES)

# Those with a native version; it is for float32 only.
NATIVE = [
    name
    for name in CASES
    if name.startswith(("conv", "depthwise", "separable", "lstm", "gru", "dense_large", "batch_norm_training", "einsum_dense", "add_bias_large", "gelu",
                        "layer_norm_rows", "attention_native", "max_pool_native")) and "reset_before" not in name
]


def _arguments(case, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(jnp.dtype(dtype)) for shape in CASES[case][1]]


@functools.cache
def _derivatives(case, dtype="float64"):
    """A function (arguments, directions, other directions) -> value and four derivatives of it, compiled once."""
    function = CASES[case][0]

    def weighted(*arguments):
        outputs = jax.tree.leaves(function(*arguments))
        return sum(jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)) for y in outputs)

    def dot(a, b):
        return sum(jnp.sum(x * y) for x, y in zip(a, b))

    def derivatives(arguments, directions, others):
        everything = tuple(range(len(arguments)))
        gradient = jax.grad(weighted, everything)

        def twist(*at):
            return dot(gradient(*at), others)

        return {
            "value": weighted(*arguments),
            "twist": twist(*arguments),
            "forward": jax.jvp(weighted, tuple(arguments), tuple(directions))[1],
            "reverse": dot(gradient(*arguments), directions),
            "reverse of reverse": dot(jax.grad(twist, everything)(*arguments), directions),
            "forward of reverse": jax.jvp(twist, tuple(arguments), tuple(directions))[1],
        }

    return jax.jit(derivatives)


@each_case
def test_derivatives_against_finite_differences(case):
    derivatives = _derivatives(case)
    arguments, directions, others = (_arguments(case, seed=s) for s in (0, 1, 2))
    step = 1e-6

    def at(t):
        return derivatives([a + t * d for a, d in zip(arguments, directions)], directions, others)

    here, ahead, behind = at(0.0), at(step), at(-step)
    slope = (ahead["value"] - behind["value"]) / (2 * step)
    bend = (ahead["twist"] - behind["twist"]) / (2 * step)
    for name, expected in (("forward", slope), ("reverse", slope)):
        np.testing.assert_allclose(here[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)
    for name in ("reverse of reverse", "forward of reverse"):
        np.testing.assert_allclose(here[name], bend, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("case", NATIVE)
def test_native_derivatives_are_those_of_xla(case):
    if not platform.native_enabled():
        pytest.skip("no native kernels here")
    inputs = [_arguments(case, "float32", seed=s) for s in (0, 1, 2)]
    # no kernel is native in float64, and the program of the test above is there
    expected = _derivatives(case)(*jax.tree.map(lambda a: a.astype("float64"), inputs))
    actual = _derivatives(case, "float32")(*inputs)
    for name in expected:
        # One number for thousands of products: some of them cancel.
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-3, err_msg=name)


@each_case
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_dtype_is_kept_and_no_other_width_appears(case, dtype):
    function, _ = CASES[case]
    arguments = _arguments(case, dtype)
    statistics = "float32" if dtype in ("bfloat16", "float16") else dtype
    allowed = {dtype, statistics, "bool", "uint8", "uint32", "int32"}
    if dtype == "float64":
        allowed.add("uint64")                  # its bits: jax 0.12 writes erf with them

    def gradients(*arguments):
        outputs, pull = jax.vjp(function, *arguments)
        return pull(jax.tree.map(jnp.ones_like, outputs))

    for traced in (function, gradients):
        jaxpr, results = jax.make_jaxpr(traced, return_shape=True)(*arguments)
        seen = {d for d in _dtypes(jaxpr.jaxpr) if "float0" not in d} - allowed
        assert not seen, f"{case} in {dtype} computes in {seen}"
        results = jax.tree.leaves(results)
        assert results[0].dtype == dtype
        assert all(result.dtype in (dtype, statistics) for result in results)


def _dtypes(jaxpr):
    """The dtypes of all arrays in a program; scalars may be Python's, which are weakly typed."""
    seen = set()
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if not getattr(variable.aval, "weak_type", False) and hasattr(variable.aval, "dtype"):
                seen.add(str(variable.aval.dtype))
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            seen |= _dtypes(inner)
    return seen


@each_case
def test_half_precision_is_near_float32(case):
    function, _ = CASES[case]
    dtype = "bfloat16"
    if case.startswith("batch_norm_inference"):
        pytest.skip("a division by a small random variance")
    arguments = _arguments(case, dtype)
    half = np.asarray(jax.tree.leaves(jax.jit(function)(*arguments))[0])
    full = np.asarray(jax.tree.leaves(jax.jit(function)(*[a.astype("float32") for a in arguments]))[0])
    tolerance = {**BFLOAT16_SUMS, "atol": BFLOAT16_SUMS["atol"] * max(1.0, float(np.abs(full).max()))}
    np.testing.assert_allclose(half.astype("float32"), full, **tolerance)


@each_case
def test_vmap_is_a_loop_in_both_orders_with_grad(case):
    function, _ = CASES[case]
    dtype = "float32" if case in NATIVE else "float64"
    pairs = [np.stack(p) for p in zip(_arguments(case, dtype, 0), _arguments(case, dtype, 1))]

    def loss(*arguments):
        return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(function(*arguments)))

    @jax.jit
    def run(pairs):
        gradient = jax.grad(loss, tuple(range(len(pairs))))
        inside = jax.vmap(gradient)(*pairs)
        outside = jax.grad(lambda *p: jnp.sum(jax.vmap(loss)(*p)), tuple(range(len(pairs))))(*pairs)
        shared = jax.vmap(function, in_axes=(0, *[None] * (len(pairs) - 1)))(pairs[0], *[p[1] for p in pairs[1:]])
        loop = jax.lax.map(lambda each: gradient(*each), pairs)
        alone = jax.lax.map(lambda x: function(x, *[p[1] for p in pairs[1:]]), pairs[0])
        return inside, outside, shared, loop, alone

    inside, outside, shared, loop, alone = run(pairs)
    tolerance = FLOAT32_SUMS if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    for actual in (inside, outside):
        for a, e in zip(actual, loop, strict=True):
            np.testing.assert_allclose(a, e, rtol=tolerance["rtol"] * 10, atol=tolerance["atol"] * 10)
    for a, e in zip(jax.tree.leaves(shared), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, e, **tolerance)
