# SPDX-License-Identifier: Apache-2.0
"""The native library: thousands of random shapes against NumPy, its errors, its fallbacks, its build."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fitloom.ops.kernels import (
    adam,
    attention,
    bias,
    convolution,
    dense,
    fusion,
    gelu,
    normalization,
    platform,
    pooling,
    recurrent,
)
from fitloom.ops.kernels.native import build, library
from reference import kernels as reference

jax.config.update("jax_enable_x64", True)

needs_native = pytest.mark.skipif(not platform.native_enabled(), reason="no native kernels here")


def _random_convolution(rng, depthwise):
    """Random shapes and settings of a convolution, as NumPy arrays and keyword arguments."""
    ndim = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    if depthwise:
        groups = channels = int(rng.integers(1, 70))
        filters = channels
    else:
        channels = groups * int(rng.integers(1, 36 if ndim < 3 else 10))
        filters = groups * int(rng.integers(1, 80 if ndim < 3 else 20))
    kernel = rng.integers(1, 9 if ndim == 1 else 4, ndim)
    strides, dilation = rng.integers(1, 4, ndim), rng.integers(1, 4, ndim)
    widths = (kernel - 1) * dilation + 1
    sizes = rng.integers(widths, widths + (12 if ndim < 3 else 4))
    kind = rng.integers(0, 3)
    if kind == 0:
        pads = reference.same_pads(sizes, kernel, strides, dilation)
    else:
        pads = [(0, 0)] * ndim if kind == 1 else [tuple(p) for p in rng.integers(-1, 4, (ndim, 2))]
    counts = reference.conv_counts(sizes, kernel, strides, pads, dilation)
    if min(counts) < 1:
        return _random_convolution(rng, depthwise)
    batch = int(rng.integers(1, 7))
    x = rng.normal(size=(batch, *sizes, channels)).astype("float32")
    w = rng.normal(size=(*kernel, channels // groups, filters)).astype("float32")
    dy = rng.normal(size=(batch, *counts, filters)).astype("float32")
    geometry = {"strides": _ints(strides), "dilation": _ints(dilation), "groups": groups}
    return x, w, dy, [tuple(map(int, p)) for p in pads], geometry


def _ints(values):
    return tuple(int(v) for v in values)


def _numpy_of(run):
    """The compiled function with NumPy's arrays as results: what JAX's are compared with it would compile by shape."""
    compiled = jax.jit(run)
    return lambda *arguments: jax.tree.map(np.asarray, compiled(*arguments))


@needs_native
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_convolutions_of_random_shapes(depthwise, seed):
    rng = np.random.default_rng(seed)
    # Many shapes in one program: XLA compiles a hundred calls as fast as one convolution of its own.
    cases = [_random_convolution(rng, depthwise) for _ in range(120)]

    def run(arrays):
        results = []
        for (x, w, dy), (_, _, _, pads, g) in zip(arrays, cases):
            settings = {"strides": g["strides"], "dilations": g["dilation"]}
            if not depthwise:
                settings["groups"] = g["groups"]
            settings["lows"] = tuple(low for low, _ in pads)
            kind = "_depthwise_" if depthwise else "_"
            forward, input_gradient, weight_gradient = (
                getattr(convolution, kind + name) for name in ("forward", "input_gradient", "weight_gradient")
            )
            results.append(
                (
                    forward(x, w, sizes=dy.shape[1:-1], **settings),
                    input_gradient(w, dy, sizes=x.shape[1:-1], **settings),
                    weight_gradient(x, dy, sizes=w.shape[:-2], **settings),
                )
            )
        return results

    results = _numpy_of(run)([case[:3] for case in cases])
    for (x, w, dy, pads, g), actual in zip(cases, results):
        expected = (reference.conv(x, w, pads=pads, **g), *reference.conv_gradients(x, w, dy, pads=pads, **g))
        for name, a, e in zip(("y", "dx", "dw"), actual, expected):
            message = f"{name} of x {x.shape}, w {w.shape}, pads {pads}, {g}"
            assert a.shape == e.shape, message
            scale = np.abs(e).max(initial=1e-3)
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=2e-6, err_msg=message)


@needs_native
@pytest.mark.parametrize("seed", range(2))
def test_biased_convolutions_of_random_shapes(seed):
    """The bias, the maximum with zero and its gradient's mask, which the convolution's own passes take along."""
    rng = np.random.default_rng(seed)
    cases = [_random_convolution(rng, False) for _ in range(60)]
    for pads in ([(0, 0), (0, 0)], [(1, 1), (1, 1)], [(0, 2), (2, 0)]):    # by Winograd's algorithm
        channels, filters, rows, columns = (int(n) for n in rng.integers((32, 32, 8, 8), (70, 70, 18, 18)))
        counts = reference.conv_counts((rows, columns), (3, 3), (1, 1), pads, (1, 1))
        shapes = [(5, rows, columns, channels), (3, 3, channels, filters), (5, *counts, filters)]
        arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
        cases.append((*arrays, pads, {"strides": (1, 1), "dilation": (1, 1), "groups": 1}))
    biases = [(3 * rng.normal(size=case[1].shape[-1])).astype("float32") for case in cases]

    def run(arrays):
        results = []
        for number, (x, w, b, dy) in enumerate(arrays):
            _, _, _, pads, g = cases[number]
            settings = {"padding": pads, "strides": g["strides"], "dilation": g["dilation"]}
            relu = number % 3 > 0
            y, pull = jax.vjp(lambda x, w, b: convolution.conv_bias(x, w, b, relu=relu, **settings), x, w, b)
            results.append((y, *pull(dy)))
        return results

    results = _numpy_of(run)([(x, w, b, dy) for (x, w, dy, _, _), b in zip(cases, biases)])
    for number, ((x, w, dy, pads, g), b, actual) in enumerate(zip(cases, biases, results)):
        y = reference.conv(x, w, pads=pads, **g) + b
        if number % 3 > 0:
            dy = np.where(actual[0] > 0, dy, 0)      # near zero, rounding decides on the sign
            y = np.maximum(y, 0)
        expected = (y, *reference.conv_gradients(x, w, dy, pads=pads, **g), dy.sum(tuple(range(dy.ndim - 1))))
        for name, a, e in zip(("y", "dx", "dw", "db"), actual, expected, strict=True):
            message = f"{name} of x {x.shape}, w {w.shape}, pads {pads}, {g}"
            scale = np.abs(e).max(initial=1e-3)
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=2e-6, err_msg=message)


@needs_native
def test_pooled_convolutions_of_random_shapes(rng):
    cases = []
    while len(cases) < 40:
        x, w, _, pads, g = _random_convolution(rng, False)
        conv = {"strides": g["strides"], "dilations": g["dilation"], "groups": g["groups"]}
        counts = reference.conv_counts(x.shape[1:-1], w.shape[:-2], g["strides"], pads, g["dilation"])
        window, strides = _ints(rng.integers(1, 4, len(counts))), _ints(rng.integers(1, 4, len(counts)))
        valid = len(cases) % 2 or min(np.subtract(counts, window)) < 0
        pool_pads = reference.same_pads(counts, window, strides, (1,) * len(counts))
        pool_pads = ((0, 0),) * len(counts) if valid else tuple(map(tuple, pool_pads))
        if valid and min(np.subtract(counts, window)) < 0:
            continue
        static = {**conv, "lows": tuple(low for low, _ in pads), "sizes": _ints(counts), "relu": len(cases) % 3 > 0,
                  "pool_window": window, "pool_strides": strides, "pool_pads": pool_pads}
        pooled = reference.conv_counts(counts, window, strides, pool_pads, (1,) * len(counts))
        dy = rng.normal(size=(x.shape[0], *pooled, w.shape[-1])).astype("float32")
        cases.append((static, (x, w, rng.normal(size=w.shape[-1]).astype("float32"), dy)))

    def run(arrays):
        results = []
        for (static, _), (x, w, b, dy) in zip(cases, arrays):
            y, winner = fusion._pooled(x, w, b, **static)
            results.append((y, *fusion._pooled_weight_gradient(x, dy, y, winner, kernel=w.shape[:-2], **static)))
        return results

    results = _numpy_of(run)([arrays for _, arrays in cases])
    with platform.native(False):
        expected = _numpy_of(lambda arrays: run(arrays))([arrays for _, arrays in cases])
    for (static, (x, w, _, _)), actual, right in zip(cases, results, expected):
        for name, a, e in zip(("y", "dw", "db"), actual, right, strict=True):
            scale = np.abs(e).max(initial=1e-3)
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=4e-6, err_msg=f"{name} {x.shape} {w.shape} {static}")


@needs_native
def test_max_pools_of_random_shapes(rng):
    """Values that are often equal: the first of them gets the gradient."""
    cases = []
    for number in range(40):
        ndim = int(rng.integers(1, 4))
        sizes, channels = rng.integers(4, 30 if ndim < 3 else 9, ndim), int(rng.integers(1, 40))
        window, strides = _ints(rng.integers(1, 4, ndim)), _ints(rng.integers(1, 4, ndim))
        counts = pads = None
        if number % 2:
            pads = tuple(map(tuple, reference.same_pads(sizes, window, strides, (1,) * ndim)))
        else:
            pads = ((0, 0),) * ndim
        counts = reference.conv_counts(sizes, window, strides, pads, (1,) * ndim)
        x = np.round(rng.normal(size=(3, *sizes, channels)), 1).astype("float32")
        dy = rng.normal(size=(3, *counts, channels)).astype("float32")
        cases.append(({"window": window, "strides": strides, "pads": pads}, x, dy))

    def run(arrays):
        results = []
        for (settings, _, _), (x, dy) in zip(cases, arrays):
            y, winner = pooling._largest(x, **settings)
            results.append((y, winner, *pooling._spread_to_winners(dy, winner, shape=x.shape, **settings)))
        return results

    results = _numpy_of(run)([case[1:] for case in cases])
    with platform.native(False):
        expected = _numpy_of(lambda arrays: run(arrays))([case[1:] for case in cases])
    for (settings, x, _), actual, right in zip(cases, results, expected):
        message = f"{x.shape} {settings}"
        np.testing.assert_array_equal(actual[0], right[0], err_msg=message)
        np.testing.assert_array_equal(actual[1], right[1], err_msg=message)
        np.testing.assert_allclose(actual[2], right[2], atol=4e-6, err_msg=message)


@needs_native
def test_recurrent_layers_of_random_shapes(rng):
    cases = []
    for number in range(60):
        batch, time, features, units = (int(rng.integers(1, n)) for n in (20, 8, 9, 70))
        gates = 4 if number % 2 else 3
        mask = rng.random((batch, time)) > 0.4 if number % 3 else None
        x = rng.normal(size=(batch, time, features))
        states = [rng.normal(size=(batch, units)) for _ in range(gates - 2)]
        kernel = rng.normal(size=(features, gates * units))
        recurrent_kernel = rng.normal(size=(units, gates * units)) / np.sqrt(units)
        bias = rng.normal(size=(gates * units,) if gates == 4 else (2, gates * units))
        cases.append((mask, [x, *states, kernel, recurrent_kernel, bias]))

    def run(all_arguments):
        results = []
        for (mask, _), arguments in zip(cases, all_arguments):
            layer = recurrent.lstm if len(arguments) == 6 else recurrent.gru
            results.append(layer(*arguments, mask=None if mask is None else jnp.asarray(mask)))
        return results

    results = _numpy_of(run)([[np.asarray(a, "float32") for a in arguments] for _, arguments in cases])
    for (mask, arguments), actual in zip(cases, results):
        layer = reference.lstm if len(arguments) == 6 else reference.gru
        expected = layer(*arguments, mask=mask)
        for a, e in zip(actual, expected):
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-5, err_msg=str([x.shape for x in arguments]))


@needs_native
def test_recurrent_layers_without_gradients_of_random_shapes(rng):
    cases = []
    for number in range(16):
        batch, time, features, units = (int(rng.integers(1, n)) for n in (150, 8, 9, 70))
        mask, gates = rng.random((batch, time)) > 0.4 if number % 3 else None, 4 if number % 2 else 3
        shapes = (features, gates * units), (units, gates * units), (4 * units,) if gates == 4 else (2, 3 * units)
        shapes = (batch, time, features), *[(batch, units)] * (gates - 2), *shapes
        cases.append((mask, [jnp.asarray(rng.normal(size=shape) / 3, "float32") for shape in shapes]))

    def run(all_arrays, results=1):
        layers = [recurrent.lstm if len(a) == 6 else recurrent.gru for a in all_arrays]
        masks = [None if m is None else jnp.asarray(m) for m, _ in cases]
        return [layer(*a, mask=m)[:results] for layer, a, m in zip(layers, all_arrays, masks)]

    arguments = [arrays for _, arrays in cases]
    program = str(jax.make_jaxpr(fusion.fused(run))(arguments))
    assert "lstm_results" in program and "gru_results" in program
    assert "lstm_states" not in program and "gru_states" not in program
    cells_wanted = fusion.fused(lambda a: run(a, 3))
    assert "lstm_results" not in str(jax.make_jaxpr(cells_wanted)(arguments))
    for (mask, arrays), (actual,) in zip(cases, jax.jit(fusion.fused(run))(arguments)):
        layer = reference.lstm if len(arrays) == 6 else reference.gru
        expected = layer(*arrays, mask=mask)[0]
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)


@needs_native
def test_lstm_gradients_of_random_shapes(rng):
    cases = []
    for number in range(8):
        batch, time, features, units = (int(rng.integers(1, n)) for n in (40, 12, 30, 70))
        states = [rng.normal(size=(batch, units)) for _ in range(2)]
        kernels = [rng.normal(size=(n, 4 * units)) for n in (features, units)]
        mask = rng.random((batch, time) if number % 2 else (0,)) > 0.4
        hidden, cells, dhidden = (rng.normal(size=(batch, time, units)) for _ in range(3))
        gates = rng.random((batch, time, 4 * units))
        x, dlast_c = rng.normal(size=(batch, time, features)), rng.normal(size=(batch, units))
        arrays = (x, *states, *kernels, mask, hidden, cells, gates, dhidden, dlast_c)
        cases.append([np.asarray(a, bool if a is mask else "float32") for a in arrays])

    def run(cases):
        native = [recurrent._lstm_gradients(*case) for case in cases]
        return native, [recurrent._lstm_gradients_reference(*case) for case in cases]

    for case, actual, expected in zip(cases, *_numpy_of(run)(cases)):
        for a, e in zip(actual, expected, strict=True):
            scale = np.abs(e).max(initial=1e-3)
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=2e-6, err_msg=str(case[0].shape))


@needs_native
def test_dense_layers_of_random_shapes(rng):
    shapes = [_ints(np.exp(rng.uniform(0, 6, 3))) for _ in range(40)] + [(600, 70, 130), (5, 300, 129)]
    cases = [
        (rng.normal(size=(n, i)), rng.normal(size=(o, i) if j % 2 else (i, o)), rng.normal(size=o if j % 3 else 0))
        for j, (n, i, o) in enumerate(shapes)
    ]

    def run(cases):
        return [dense._products(*case, transposed=bool(j % 2))[0] for j, case in enumerate(cases)]

    results = _numpy_of(run)([tuple(np.asarray(a, "float32") for a in case) for case in cases])
    for j, ((x, kernel, start), y) in enumerate(zip(cases, results)):
        expected = x @ (kernel.T if j % 2 else kernel) + (start if start.size else 0)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-4, err_msg=f"{x.shape} {kernel.shape}")


@needs_native
def test_dense_gradients_of_random_shapes(rng):
    shapes = [_ints(np.exp(rng.uniform(0, 6, 3))) for _ in range(80)]
    pairs = [(rng.normal(size=(n, i)), rng.normal(size=(n, o))) for n, i, o in shapes]

    def run(pairs):
        return [dense._weight_gradients(x, dy) for x, dy in pairs]

    results = _numpy_of(run)([(np.asarray(x, "float32"), np.asarray(dy, "float32")) for x, dy in pairs])
    for (x, dy), (dw, db) in zip(pairs, results):
        np.testing.assert_allclose(dw, x.T @ dy, rtol=1e-4, atol=2e-4, err_msg=f"{x.shape} {dy.shape}")
        np.testing.assert_allclose(db, dy.sum(0), rtol=1e-4, atol=2e-4)


@needs_native
def test_rows_and_columns_of_random_shapes(rng):
    """Column sums, layer normalization and GELU, which take matrices of any shape."""
    shapes = [_ints(np.exp(rng.uniform(0, 6, 2))) for _ in range(40)]
    arrays = [[rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape[1])] for shape in shapes]

    def run(arrays):
        results = []
        for x, dy, gamma in arrays:
            y, moments = normalization._rows(x, gamma, gamma, epsilon=1e-3)
            results.append((
                bias._column_sum(x)[0],
                y,
                *normalization._rows_gradient(x, gamma, moments, dy),
                *(gelu._values(x * 3, approximate=a)[0] for a in (False, True)),
                *(gelu._gradient(x * 3, dy, approximate=a)[0] for a in (False, True)),
            ))
        return results

    results = _numpy_of(run)(jax.tree.map(lambda a: np.asarray(a, "float32"), arrays))
    for (x, dy, gamma), actual in zip(arrays, results):
        h = reference.normalize(x, (1,), 1e-3)
        r = 1 / np.sqrt(x.var(axis=1, keepdims=True) + 1e-3)
        t = dy * gamma
        dx = r * (t - t.mean(axis=1, keepdims=True) - h * (t * h).mean(axis=1, keepdims=True))
        expected = [x.sum(0), h * gamma + gamma, dx, (dy * h).sum(0), dy.sum(0)]
        values, slopes = zip(*(reference.gelu(x * 3, approximate=a) for a in (False, True)))
        expected += [*values, *(dy * slope for slope in slopes)]
        for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
            # The terms of dx may be far larger than their sum.
            scale = max(1, np.abs(r * t if number == 2 else e).max())
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=4e-6, err_msg=f"{number} of {x.shape}")


@needs_native
def test_adam_of_random_shapes(rng):
    shapes = [(3,), (211, 190), (), (0, 4), (70_001,)]
    gradients, values, means, squares = ([rng.normal(size=s).astype("float32") for s in shapes] for _ in range(4))
    squares = [v**2 for v in squares]

    def run(rate, *lists):
        return adam.adam(*lists, rate, 0.9, 0.99, 1e-3)

    results = jax.jit(run)(np.float32(0.1), gradients, values, means, squares)
    for g, w, m, v, *new in zip(gradients, values, means, squares, *results, strict=True):
        m, v = 0.9 * m + (1 - 0.9) * g, 0.99 * v + (1 - 0.99) * g**2
        expected = w - 0.1 * m / (np.sqrt(v) + 1e-3), m, v
        for a, b in zip(new, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gelu_keeps_its_digits_in_the_tail_and_its_limits():
    x = np.concatenate([np.linspace(-12.5, 12.5, 6000), [0.0, -0.0, 1e-30, 40, 1e30, np.inf, np.nan]]).astype("float32")
    y = np.asarray(jax.jit(lambda x: gelu._values(x, approximate=False)[0])(x))
    expected = reference.gelu(x.astype("float64"))[0]
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=0)
    sure = np.abs(x) < 5
    np.testing.assert_allclose(y[sure], expected[sure], rtol=3e-6, atol=1e-9)


@needs_native
def test_attention_of_random_shapes(rng):
    cases = []
    for number in range(30):
        batch, heads, size, value_size = (int(rng.integers(1, n)) for n in (4, 4, 40, 40))
        queries, keys = (int(rng.integers(1, 200 if number % 8 == 0 else 40)) for _ in range(2))
        group = int(rng.integers(1, 3))
        shapes = [(queries, heads * group, size), (keys, heads, size), (keys, heads, value_size),
                  (queries, heads * group, value_size)]
        mask = None
        if number % 2:
            full = (batch, heads * group, queries, keys)
            mask = rng.random([n if rng.random() < 0.6 else 1 for n in full]) < 0.7
        causal = number % 3 == 0
        cases.append((mask, causal, [rng.normal(size=(batch, *shape)) for shape in shapes]))

    def run(all_arrays):
        results = []
        for (mask, causal, _), (q, k, v, dy) in zip(cases, all_arrays):
            operand = jnp.zeros((0,), bool) if mask is None else jnp.asarray(mask)
            settings = {"causal": causal, "scale": 0.7}
            y, stats = attention._states(q, k, v, operand, **settings)
            results.append((y, *attention._gradients(q, k, v, operand, stats, dy, **settings)))
        return results

    results = _numpy_of(run)([[np.asarray(a, "float32") for a in arrays] for _, _, arrays in cases])
    for (mask, causal, (q, k, v, dy)), actual in zip(cases, results):
        expected = reference.attention_gradients(q, k, v, dy, mask, causal, 0.7)
        for name, a, e in zip(("y", "dq", "dk", "dv"), actual, expected, strict=True):
            scale = max(1, np.abs(e).max())
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=5e-6, err_msg=f"{name} of {q.shape} {k.shape}")


@needs_native
def test_no_data_and_no_time_steps():
    x, w = jnp.zeros((0, 5, 5, 3), "float32"), jnp.ones((3, 3, 3, 4), "float32")
    assert convolution.conv(x, w).shape == (0, 3, 3, 4)
    gradient = jax.grad(lambda w: convolution.conv(x, w).sum())(w)
    np.testing.assert_array_equal(gradient, np.zeros(w.shape))
    h = jnp.ones((2, 4), "float32")
    y, last_h, last_c = recurrent.lstm(jnp.zeros((2, 0, 3), "float32"), h, h, jnp.ones((3, 16), "float32"),
                                       jnp.ones((4, 16), "float32"), None)
    assert y.shape == (2, 0, 4)
    np.testing.assert_array_equal(last_h, h)
    np.testing.assert_array_equal(last_c, h)


@needs_native
def test_not_a_number_is_not_hidden():
    x = jnp.ones((1, 4, 2), "float32").at[0, 1, 0].set(jnp.nan)
    y = jax.jit(recurrent.lstm)(x, jnp.zeros((1, 3), "float32"), jnp.zeros((1, 3), "float32"),
                                jnp.ones((2, 12), "float32"), jnp.ones((3, 12), "float32"), None)[0]
    assert not np.isnan(y[0, 0]).any()
    assert np.isnan(y[0, 1:]).all()
    images = jnp.ones((1, 32, 32, 16), "float32").at[0, 5, 5].set(jnp.nan).at[0, 8, 8].set(-1)
    y = jax.jit(lambda x: pooling.max_pool(x, 2))(images)
    assert np.isnan(y[0, 2, 2]).all() and np.isnan(y).sum() == 16
    w, b = jnp.ones((1, 1, 16, 3), "float32"), jnp.zeros((3,), "float32")
    y = jax.jit(lambda x: convolution.conv_bias(x, w, b, relu=True))(images)
    assert np.isnan(y[0, 5, 5]).all() and np.isnan(y).sum() == 3 and not y[0, 8, 8].any()


@needs_native
def test_wrong_shapes_are_reported_and_not_run():
    x, w = jnp.zeros((1, 5, 5, 3), "float32"), jnp.zeros((3, 3, 4, 8), "float32")
    result = jax.ShapeDtypeStruct((1, 3, 3, 8), "float32")
    settings = {"strides": (1, 1), "lows": (0, 0), "dilations": (1, 1), "groups": 1}
    with pytest.raises(Exception, match="conv_forward: channels of the kernel"):
        jax.jit(lambda x, w: library.call("conv_forward", result, x, w, **settings))(x, w).block_until_ready()


@needs_native
def test_the_same_bits_in_every_run(rng):
    x = jnp.asarray(rng.normal(size=(16, 20, 20, 8)), "float32")
    w = jnp.asarray(rng.normal(size=(3, 3, 8, 16)), "float32")
    gradient = jax.jit(jax.grad(lambda w: (convolution.conv(x, w) ** 2).sum()))
    first = np.asarray(gradient(w))
    for _ in range(10):
        np.testing.assert_array_equal(gradient(w), first)


_IN_A_PROCESS = """
import jax, numpy as np, jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from fitloom.ops.kernels import convolution, platform, recurrent, normalization, pooling
rng = np.random.default_rng(0)
x, w = rng.normal(size=(8, 9, 9, 4)).astype('f4'), rng.normal(size=(3, 3, 4, 8)).astype('f4')
seq, h, k, r = (rng.normal(size=s).astype('f4') for s in [(8, 4, 3), (8, 5), (3, 20), (5, 20)])

def loss(w, k, x, seq, h):
    y = pooling.max_pool(convolution.conv(x, w, 1, 'same'), 2)
    y = y + convolution.conv_bias(x, w, jnp.arange(8, dtype='f4') / 10, 2, relu=True)
    y = y + pooling.max_pool(jnp.tile(x, (1, 6, 6, 8)), 8)[..., :4, :4, :8]
    y = normalization.batch_norm_training(y, None, None, (0, 1, 2), 1e-3)[0]
    return (y ** 3).mean() + (recurrent.lstm(seq, h, h, k, r, None)[0] ** 2).mean()
"""


def _run(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IN_A_PROCESS + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_sharded_programs_are_plain_xla_and_right():
    result = _run(
        """
mesh = Mesh(np.array(jax.devices()), ('batch',), axis_types=(AxisType.Auto,))
split, whole = NamedSharding(mesh, P('batch')), NamedSharding(mesh, P())
expected = jax.jit(jax.grad(loss, (0, 1)))(w, k, x, seq, h)
places = (whole, whole, split, split, split)
step = jax.jit(jax.grad(loss, (0, 1)))
arguments = [jax.device_put(a, p) for a, p in zip((w, k, x, seq, h), places)]
assert 'fitloom' not in step.lower(*arguments).as_text()
for a, e in zip(step(*arguments), expected): np.testing.assert_allclose(a, e, rtol=2e-4, atol=1e-5)
for check in (True, False):
    mapped = jax.shard_map(
        lambda x, w: jax.lax.pmean(jax.grad(lambda w: (convolution.conv(x, w) ** 2).mean())(w), 'batch'),
        mesh=mesh, in_specs=(P('batch'), P()), out_specs=P(), check_vma=check)
    e = jax.grad(lambda w: (convolution.conv(x, w) ** 2).mean())(w)
    # With check_vma JAX itself sums the gradient of the replicated w over the devices, before pmean.
    np.testing.assert_allclose(jax.jit(mapped)(x, w), e * (4 if check else 1), rtol=2e-4, atol=1e-5)
explicit = Mesh(np.array(jax.devices()), ('batch',), axis_types=(AxisType.Explicit,))
with jax.set_mesh(explicit):
    xs = jax.device_put(x, NamedSharding(explicit, P('batch')))
    y = jax.jit(lambda x, w: convolution.conv(x, w))(xs, w)
np.testing.assert_allclose(y, convolution.conv(x, w), rtol=1e-4, atol=1e-4)
print('right')
""",
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
    )
    assert result.stdout.strip() == "right", result.stderr


@needs_native
@pytest.mark.parametrize("setting", [{"FITLOOM_NATIVE": "0"}, {"FITLOOM_NATIVE_LIBRARY": "/nowhere.so"}])
def test_without_the_library_everything_runs_on_xla(setting):
    result = _run(
        """
assert platform.native_instruction_set() == '' and not platform.native_enabled()
text = jax.jit(jax.grad(loss, (0, 1))).lower(w, k, x, seq, h).as_text()
print('fitloom' in text, float(loss(w, k, x, seq, h)) > 0)
""",
        **setting,
    )
    assert result.stdout.split() == ["False", "True"], result.stderr


@needs_native
def test_importing_starts_nothing():
    result = _run(
        """
import jax._src.xla_bridge as bridge
from fitloom.ops.kernels.native import library
print(library.instruction_set.cache_info().currsize, len(bridge._backends))
"""
    )
    assert result.stdout.split() == ["0", "0"], result.stderr


@needs_native
@pytest.mark.skipif(platform.native_instruction_set() != "avx512", reason="this processor has one version only")
def test_the_avx2_version_computes_the_same():
    result = _run(
        """
print(platform.native_instruction_set())
fast = jax.jit(jax.grad(loss, (0, 1)))(w, k, x, seq, h)
with platform.native(False):
    plain = jax.jit(jax.grad(lambda *a: loss(*a), (0, 1)))(w, k, x, seq, h)
for a, e in zip(fast, plain): np.testing.assert_allclose(a, e, rtol=2e-4, atol=1e-5)
""",
        FITLOOM_NATIVE_SET="avx2",
    )
    assert result.returncode == 0 and result.stdout.strip() == "avx2", result.stderr


def test_a_missing_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler found"):
        build.build(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_sanitizers_find_nothing(tmp_path):
    """The random shapes once more, in a library built with AddressSanitizer and UBSan."""
    path = build.build(tmp_path, sanitize="address,undefined")
    # Python has neither: both have to be there before jaxlib throws its first exception.
    runtimes = " ".join(
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    )
    here = pathlib.Path(__file__)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(here), "-k", "random_shapes and not 2- or no_data"],
        env={
            **os.environ,
            "FITLOOM_NATIVE_LIBRARY": str(path),
            "LD_PRELOAD": runtimes,
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1",
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=here.parents[3],
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.parametrize("channels, filters", [(2, 8), (3, 8), (8, 2), (8, 3), (4, 16)])
def test_runs_that_join_to_a_whole_vector(channels, filters):
    """Two taps of eight channels lie side by side as sixteen: joined runs are packed in panels, not as narrow ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 6, channels)).astype(np.float32)
    kernel = rng.normal(size=(2, 2, channels, filters)).astype(np.float32)

    def ours(x, kernel):
        return jnp.sum(convolution.conv(x, kernel) ** 2)

    def theirs(x, kernel):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(y ** 2)

    for a, b in zip(jax.jit(jax.grad(ours, (0, 1)))(x, kernel), jax.jit(jax.grad(theirs, (0, 1)))(x, kernel)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(np.abs(b).max()))


@needs_native
@pytest.mark.parametrize("seed", range(2))
def test_winograd_convolutions_are_as_exact_as_direct_ones(seed):
    """3x3 kernels, stride 1, 32 channels and more: another algorithm, held to the same tolerance."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(14):
        channels, filters = (int(rng.integers(32, 90)) for _ in range(2))
        sizes, pads = rng.integers(3, 14, 2), [tuple(map(int, p)) for p in rng.integers(0, 3, (2, 2))]
        counts = reference.conv_counts(sizes, (3, 3), (1, 1), pads, (1, 1))
        batch = int(64 * 4 // np.prod(counts) + 2 + rng.integers(0, 4))
        arrays = [(batch, *sizes, channels), (3, 3, channels, filters), (batch, *counts, filters)]
        cases.append((pads, [rng.normal(size=shape).astype("float32") for shape in arrays]))

    def run(all_arrays):
        results = []
        for (pads, _), (x, w, dy) in zip(cases, all_arrays):
            y, pull = jax.vjp(lambda x, w, pads=pads: convolution.conv(x, w, 1, pads), x, w)
            results.append((y, *pull(dy)))
        return results

    results = _numpy_of(run)([arrays for _, arrays in cases])
    for (pads, (x, w, dy)), actual in zip(cases, results):
        settings = {"strides": (1, 1), "dilation": (1, 1), "pads": pads}
        expected = (reference.conv(x, w, **settings), *reference.conv_gradients(x, w, dy, **settings))
        for name, a, e in zip(("y", "dx", "dw"), actual, expected):
            scale = np.abs(e).max()
            message = f"{name} of x {x.shape}, w {w.shape}, pads {pads}"
            np.testing.assert_allclose(a / scale, e / scale, rtol=0, atol=2e-6, err_msg=message)
