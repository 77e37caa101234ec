# SPDX-License-Identifier: Apache-2.0
"""The kernels against the slow references of tests/reference/kernels.py, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fitloom.ops.kernels import (
    attention,
    convolution,
    cross_entropy,
    dense,
    embedding,
    normalization,
    pooling,
    recurrent,
)
from reference import kernels as reference

jax.config.update("jax_enable_x64", True)

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def check(actual, expected):
    """Compare arrays, or tuples of arrays; a list stands for an array."""
    if not isinstance(expected, tuple):
        actual, expected = (actual,), (np.asarray(expected),)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **CLOSE)


# ---- pooling ----

POOLS = [
    ((2, 7, 8, 3), 2, None, "valid"),
    ((2, 7, 8, 3), (3, 2), 2, "same"),
    ((2, 9, 3), 3, 1, "same"),
    ((2, 9, 3), 2, 3, "valid"),
    ((2, 5, 6, 7, 2), (2, 3, 2), (1, 2, 3), "same"),
    ((1, 12, 11, 2), 9, 4, "same"),
]


@pytest.mark.parametrize("shape, window, strides, padding", POOLS)
def test_pools(rng, shape, window, strides, padding):
    x = rng.normal(size=shape)
    ndim = len(shape) - 2
    windows = (window,) * ndim if isinstance(window, int) else window
    steps = windows if strides is None else (strides,) * ndim if isinstance(strides, int) else strides
    pads = [(0, 0)] * ndim
    if padding == "same":
        pads = reference.same_pads(shape[1:-1], windows, steps, (1,) * ndim)
    for function, reduce in ((pooling.max_pool, np.max), (pooling.avg_pool, np.mean)):
        expected = reference.pool(x, windows, steps, pads, reduce)

        @jax.jit
        def both(x, function=function):
            first = function(jnp.moveaxis(x, -1, 1), window, strides, padding, "channels_first")
            return function(x, window, strides, padding), first

        check(both(x), (expected, np.moveaxis(expected, -1, 1)))


def test_max_pool_gradient_goes_to_the_first_of_equal_values():
    gradient = np.asarray(jax.jit(jax.grad(lambda x: pooling.max_pool(x, 2).sum()))(np.zeros((1, 4, 4, 1))))
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    check(gradient[0, :, :, 0], expected)


@pytest.mark.parametrize("window, strides", [(2, 2), (3, 2), (3, 1)])
def test_max_pool_gradient_is_that_of_reduce_window(rng, window, strides):
    x = rng.normal(size=(3, 9, 8, 4))

    def plain(x):
        return lax.reduce_window(x, -np.inf, lax.max, (1, window, window, 1), (1, strides, strides, 1), "SAME")

    dy = rng.normal(size=jax.eval_shape(plain, x).shape)

    @jax.jit
    def both(x, dy):
        return jax.vjp(lambda x: pooling.max_pool(x, window, strides, "same"), x)[1](dy), jax.vjp(plain, x)[1](dy)

    check(*both(x, dy))


def test_pools_of_integers_and_of_minus_infinity():
    x = jnp.arange(16, dtype="int32").reshape(1, 4, 4, 1)
    assert pooling.max_pool(x, 2).dtype == "int32"
    check(pooling.max_pool(x, 2)[0, :, :, 0], [[5, 7], [13, 15]])
    check(pooling.max_pool(jnp.full((1, 3, 3, 1), -np.inf), 2, 2, "same"), np.full((1, 2, 2, 1), -np.inf))
    assert np.isnan(pooling.max_pool(jnp.array([[[1.0], [np.nan]]]), 2)).all()


def test_pooling_says_what_is_wrong():
    with pytest.raises(ValueError, match="padding must be 'valid' or 'same', received 'full'"):
        pooling.max_pool(jnp.ones((1, 4, 4, 1)), 2, padding="full")
    with pytest.raises(ValueError, match="window must be 2 positive integers"):
        pooling.avg_pool(jnp.ones((1, 4, 4, 1)), (2, 2, 2))
    with pytest.raises(ValueError, match="data_format"):
        pooling.avg_pool(jnp.ones((1, 4, 4, 1)), 2, data_format="NHWC")


# ---- convolution ----

CONVOLUTIONS = [
    ((2, 7, 6, 4), (3, 2, 4, 5), 1, 1, 1, "valid"),
    ((2, 7, 6, 4), (3, 3, 2, 6), 2, 1, 2, "same"),
    ((2, 11, 3), (4, 3, 5), 3, 1, 1, "same"),
    ((2, 11, 4), (3, 2, 4), 1, 3, 2, "valid"),
    ((1, 5, 6, 4, 2), (2, 3, 2, 2, 3), 2, 1, 1, "same"),
]


def _pads(x_shape, w_shape, strides, dilation, padding):
    ndim = len(x_shape) - 2
    if padding == "valid":
        return [(0, 0)] * ndim
    return reference.same_pads(x_shape[1:-1], w_shape[:-2], (strides,) * ndim, (dilation,) * ndim)


@pytest.mark.parametrize("x_shape, w_shape, strides, dilation, groups, padding", CONVOLUTIONS)
def test_convolutions_and_their_gradients(rng, x_shape, w_shape, strides, dilation, groups, padding):
    x, w = rng.normal(size=x_shape), rng.normal(size=w_shape)
    pads = _pads(x_shape, w_shape, strides, dilation, padding)
    each = [(v,) * (len(x_shape) - 2) for v in (strides, dilation)]
    expected = reference.conv(x, w, each[0], pads, each[1], groups)
    dy = rng.normal(size=expected.shape)

    @jax.jit
    def run(x, w, dy):
        y, pull = jax.vjp(lambda x, w: convolution.conv(x, w, strides, padding, dilation), x, w)
        # The formula that other code uses directly for the gradient of x.
        dx = convolution._input_gradient_on_xla(w, dy, x_shape[1:-1], each[0], pads, each[1], groups)
        first = convolution.conv(jnp.moveaxis(x, -1, 1), w, strides, padding, dilation, "channels_first")
        return y, pull(dy), dx, first

    y, gradients, dx, first = run(x, w, dy)
    check(y, expected)
    check(gradients, reference.conv_gradients(x, w, dy, each[0], pads, each[1], groups))
    check(dx, gradients[0])
    check(first, np.moveaxis(expected, -1, 1))


@pytest.mark.parametrize("strides, dilation, padding", [(1, 1, "same"), (2, 1, "valid"), (2, 2, "same"), (3, 1, "same")])
def test_depthwise_convolutions(rng, strides, dilation, padding):
    x, w = rng.normal(size=(2, 8, 9, 3)), rng.normal(size=(3, 2, 3, 2))
    pads = _pads(x.shape, w.shape, strides, dilation, padding)
    each = [(strides,) * 2, pads, (dilation,) * 2]
    flat = w.reshape(3, 2, 1, 6)
    expected = reference.conv(x, flat, *each, groups=3)
    dy = rng.normal(size=expected.shape)

    @jax.jit
    def run(x, w, dy):
        y, pull = jax.vjp(lambda x, w: convolution.depthwise_conv(x, w, strides, padding, dilation), x, w)
        return y, *pull(dy)

    dx, dw = reference.conv_gradients(x, flat, dy, *each, groups=3)
    check(run(x, w, dy), (expected, dx, dw.reshape(w.shape)))


def test_causal_convolution_sees_no_future(rng):
    x, w = rng.normal(size=(1, 10, 2)), rng.normal(size=(3, 2, 4))
    seen = jax.jit(jax.jacrev(lambda x: convolution.conv(x, w, 1, "causal", 2).sum((0, 2))))(x)
    seen = np.asarray(seen)[:, 0].sum(-1)
    assert np.triu(np.abs(seen), 1).max() == 0
    assert np.abs(np.diag(seen)).min() > 0


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("padding, extra", [("valid", None), ("same", None), ("valid", 0), ("same", 0), ("same", 1)])
def test_transposed_convolution_is_that_of_keras(rng, size, kernel, strides, dilation, padding, extra):
    keras = pytest.importorskip("keras")
    if extra is not None and (extra >= strides or (padding == "same" and kernel == 1 and extra == 0)):
        pytest.skip("not a valid output padding")
    x = rng.normal(size=(2, size, 3)).astype("float32")
    w = rng.normal(size=(kernel, 4, 3)).astype("float32")
    settings = {"strides": strides, "padding": padding, "output_padding": extra}

    @jax.jit
    def both(x, w):
        return (convolution.conv_transpose(x, w, dilation=dilation, **settings),
                keras.ops.conv_transpose(x, w, dilation_rate=dilation, data_format="channels_last", **settings))

    actual, expected = both(x, w)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_convolution_says_what_is_wrong():
    x = jnp.ones((1, 5, 5, 3))
    with pytest.raises(ValueError, match="3 channels in 2 dimensions needs a kernel of shape"):
        convolution.conv(x, jnp.ones((3, 3, 2, 4)))
    with pytest.raises(ValueError, match="'causal' is for one spatial dimension"):
        convolution.conv(x, jnp.ones((3, 3, 3, 4)), padding="causal")
    with pytest.raises(ValueError, match="strides must be 2 positive integers"):
        convolution.conv(x, jnp.ones((3, 3, 3, 4)), strides=(1, 0))


# ---- normalization ----


@pytest.mark.parametrize("axes, shape", [((0, 1, 2), (4, 3, 3, 2)), ((0, 2, 3), (4, 2, 3, 3)), ((-1,), (4, 5))])
def test_batch_norm(rng, axes, shape):
    x = rng.normal(size=shape) * 3 + 50
    kept = tuple(n for i, n in enumerate(shape) if i not in [a % len(shape) for a in axes])
    gamma, beta = rng.normal(size=kept), rng.normal(size=kept)
    y, mean, var = normalization.batch_norm_training(x, gamma, beta, axes, 1e-3)
    broadcast = tuple(a % len(shape) for a in axes)
    expected = reference.normalize(x, axes, 1e-3) * np.expand_dims(gamma, broadcast) + np.expand_dims(beta, broadcast)
    check((y, mean, var), (expected, x.mean(axes), x.var(axes)))
    check(normalization.batch_norm_inference(x, mean, var, gamma, beta, axes, 1e-3), expected)


def test_batch_norm_leaves_masked_positions_out(rng):
    x, mask = rng.normal(size=(4, 6, 3)), np.zeros((4, 6), bool)
    mask[:, :4] = True
    _, mean, var = normalization.batch_norm_training(x, None, None, (0, 1), 1e-3, mask)
    np.testing.assert_allclose(mean, x[:, :4].mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(var, x[:, :4].var((0, 1)), rtol=1e-6)
    whole = normalization.batch_norm_training(x, None, None, (0, 1), 1e-3, np.zeros((4, 6), bool))
    assert np.isfinite(whole[0]).all()


def test_variance_of_a_large_mean_keeps_its_digits(rng):
    """mean(x^2) - mean(x)^2 in float32 would be off by a factor here."""
    x = (rng.normal(size=(1000, 4)) + 1e4).astype("float32")
    _, mean, var = normalization.batch_norm_training(x, None, None, (0,), 1e-3)
    np.testing.assert_allclose(var, x.astype("float64").var(0), rtol=1e-3)
    y = normalization.layer_norm(x, None, None, (0,))
    np.testing.assert_allclose(y, reference.normalize(x.astype("float64"), (0,), 1e-3), rtol=2e-2, atol=2e-2)


def test_half_precision_statistics_do_not_overflow(rng):
    x = (rng.normal(size=(64, 32)) * 3000).astype("float16")
    for y in (
        normalization.layer_norm(x, None, None),
        normalization.rms_norm(x, None),
        normalization.batch_norm_training(x, None, None, (0,), 1e-3)[0],
        normalization.group_norm(x, None, None, 4),
    ):
        assert y.dtype == "float16" and np.isfinite(y).all() and 0.8 < np.asarray(y, "float32").std() < 1.2


def test_layer_rms_and_group_norm(rng):
    x, gamma, beta = rng.normal(size=(3, 4, 6)), rng.normal(size=6), rng.normal(size=6)
    check(normalization.layer_norm(x, gamma, beta), reference.normalize(x, (-1,), 1e-3) * gamma + beta)
    check(normalization.rms_norm(x, gamma), reference.normalize(x, (-1,), 1e-6, shift=False) * gamma)
    groups = reference.normalize(x.reshape(3, 4, 3, 2), (1, 3), 1e-3).reshape(3, 4, 6)
    check(normalization.group_norm(x, gamma, beta, 3), groups * gamma + beta)
    first = normalization.group_norm(np.moveaxis(x, -1, 1), gamma, beta, 3, axis=1)
    check(np.moveaxis(np.asarray(first), 1, -1), groups * gamma + beta)
    with pytest.raises(ValueError, match="6 channels cannot be split into 4 equal groups"):
        normalization.group_norm(x, None, None, 4)


# ---- recurrent ----


def _recurrent(rng, gates, batch=4, time=5, features=3, units=6):
    return (
        rng.normal(size=(batch, time, features)),
        rng.normal(size=(batch, units)),
        rng.normal(size=(features, gates * units)),
        rng.normal(size=(units, gates * units)) / 3,
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("standard", [False, True])
def test_recurrent_layers(rng, masked, standard):
    mask = None
    if masked:
        mask = rng.random((4, 5)) > 0.5
        mask[0, :2] = False  # begins with masked steps: no output yet, but a first state
    functions = {} if standard else {"activation": jnp.tanh, "recurrent_activation": jax.nn.sigmoid}
    x, h, kernel, recurrent_kernel = _recurrent(rng, 4)
    bias, c = rng.normal(size=24), rng.normal(size=(4, 6))
    expected = reference.lstm(x, h, c, kernel, recurrent_kernel, bias, mask)
    check(recurrent.lstm(x, h, c, kernel, recurrent_kernel, bias, mask, **functions), expected)
    x, h, kernel, recurrent_kernel = _recurrent(rng, 3)
    for reset_after in (True, False):
        bias = rng.normal(size=(2, 18) if reset_after else 18)
        expected = reference.gru(x, h, kernel, recurrent_kernel, bias, mask, reset_after)
        actual = recurrent.gru(x, h, kernel, recurrent_kernel, bias, mask, reset_after=reset_after, **functions)
        check(actual, expected)


def test_reversed_layers_begin_at_the_end(rng):
    x, h, kernel, recurrent_kernel = _recurrent(rng, 4)
    mask = rng.random((4, 5)) > 0.3
    arguments = (h, h, kernel, recurrent_kernel, None)
    check(
        recurrent.lstm(x, *arguments, mask, reverse=True),
        recurrent.lstm(x[:, ::-1], *arguments, mask[:, ::-1]),
    )


def test_simple_rnn(rng):
    x, h, kernel, recurrent_kernel = _recurrent(rng, 1)
    bias = rng.normal(size=6)
    check(recurrent.simple_rnn(x, h, kernel, recurrent_kernel, bias),
          reference.simple_rnn(x, h, kernel, recurrent_kernel, bias))


# ---- attention, losses, dense, embedding ----


def test_attention(rng):
    q, k, v = (rng.normal(size=(2, n, 3, 4)) for n in (5, 6, 6))
    mask, bias = rng.random((2, 1, 5, 6)) > 0.4, rng.normal(size=(2, 3, 5, 6))
    mask[..., 0] = True
    check(attention.dot_product_attention(q, k, v), reference.attention(q, k, v)[0])
    expected = reference.attention(q, k, v, mask, bias)
    check(attention.dot_product_attention(q, k, v, bias, mask, return_scores=True), expected)
    causal = np.tril(np.ones((5, 6), bool))
    check(attention.dot_product_attention(q, k, v, is_causal=True), reference.attention(q, k, v, causal)[0])
    few = attention.dot_product_attention(q, k[:, :, :1], v[:, :, :1])
    check(few, reference.attention(q, k[:, :, [0, 0, 0]], v[:, :, [0, 0, 0]])[0])


def test_a_query_that_sees_nothing_gets_the_mean(rng):
    q, k, v = (rng.normal(size=(1, 3, 1, 4)).astype("float32") for _ in range(3))
    y = attention.dot_product_attention(q, k, v, mask=np.zeros((3, 3), bool))
    np.testing.assert_allclose(y, np.broadcast_to(v.mean(1, keepdims=True), y.shape), rtol=1e-5)


def test_attention_drops_scores():
    q = jnp.ones((1, 64, 2, 8))
    v = jnp.ones((1, 64, 2, 1))
    y = attention.dot_product_attention(q, q, v, dropout_rate=0.5, seed=np.uint32(1))
    assert 0.02 < float(y.std()) < 0.3 and abs(float(y.mean()) - 1) < 0.1
    with pytest.raises(ValueError, match="needs a seed"):
        attention.dot_product_attention(q, q, v, dropout_rate=0.5)


def test_cross_entropies(rng):
    x, labels = rng.normal(size=(5, 4)) * 3, reference.softmax(rng.normal(size=(5, 4)))
    p = reference.softmax(x)
    expected = -(labels * np.log(p)).sum(-1)
    check(cross_entropy.softmax_cross_entropy(x, labels), expected)
    check(cross_entropy.softmax_cross_entropy(x.T, labels.T, axis=0), expected)
    check(cross_entropy.categorical_cross_entropy(3 * p, labels), expected)
    numbers = np.array([0, 3, 1, 1, 2])
    check(cross_entropy.sparse_softmax_cross_entropy(x, numbers), -np.log(p[np.arange(5), numbers]))
    check(cross_entropy.sparse_categorical_cross_entropy(p, numbers), -np.log(p[np.arange(5), numbers]))
    s = reference.sigmoid(x)
    expected = -(labels * np.log(s) + (1 - labels) * np.log(1 - s))
    check(cross_entropy.sigmoid_cross_entropy(x, labels), expected)
    check(cross_entropy.binary_cross_entropy(s, labels), expected)


def test_cross_entropies_at_the_ends():
    huge = jnp.array([[1e4, -1e4], [-1e4, 1e4]], "float32")
    check(cross_entropy.sparse_softmax_cross_entropy(huge, jnp.array([0, 0])), [0.0, 2e4])
    check(cross_entropy.sigmoid_cross_entropy(huge, jnp.zeros_like(huge)), [[1e4, 0], [0, 1e4]])
    gradient = jax.grad(lambda x: cross_entropy.sigmoid_cross_entropy(x, jnp.zeros_like(x)).sum())(jnp.zeros(3))
    check(gradient, np.full(3, 0.5))
    clipped = cross_entropy.binary_cross_entropy(jnp.array([0.0, 1.0], "float32"), jnp.array([1.0, 1.0], "float32"))
    np.testing.assert_allclose(clipped, [-np.log(1e-7), 1.19e-7], rtol=1e-2)
    hidden = jnp.array([[0.0, -jnp.inf, 0.0]])
    check(cross_entropy.sparse_softmax_cross_entropy(hidden, jnp.array([0])), [np.log(2)])


def test_a_label_outside_gives_nan_and_no_gradient():
    def loss(x):
        return cross_entropy.sparse_softmax_cross_entropy(x, jnp.array([0, 7, -1]))

    x = jnp.ones((3, 4))
    assert np.isnan(loss(x)).tolist() == [False, True, True]
    masked = jax.grad(lambda x: jnp.where(jnp.array([True, False, False]), loss(x), 0.0).sum())(x)
    assert np.isfinite(masked).all() and (masked[1:] == 0).all()


def test_dense_and_embedding(rng):
    x, kernel, bias = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)), rng.normal(size=5)
    check(dense.dense(x, kernel, bias, jnp.tanh), np.tanh(x @ kernel + bias))
    with pytest.raises(ValueError, match="expects inputs whose last axis is 4, received shape \\(2, 3\\)"):
        dense.dense(x[0, :2, :3], kernel)
    table, ids = rng.normal(size=(6, 3)), np.array([[0, 5], [2, 2]])
    check(embedding.embedding(table, ids), table[ids])
    gradient = jax.grad(lambda t: embedding.embedding(t, ids).sum())(table)
    check(gradient[:, 0], [1, 0, 2, 0, 0, 1])
    outside = embedding.embedding(table, np.array([-1, 6, 0]))
    assert np.isnan(outside).all(-1).tolist() == [True, True, False]
    with pytest.raises(TypeError, match="ids must be integers"):
        embedding.embedding(table, np.array([0.5]))
