# SPDX-License-Identifier: Apache-2.0
"""The kernels as operations: what layers compute with. Tensors by position (None where optional), settings by keyword.

Each is documented where it is defined, in `fitloom.ops.kernels`.
"""
import jax
import jax.numpy as jnp
import numpy as np

from fitloom.engine import op
from fitloom.ops.kernels import attention, bias, convolution, normalization, pooling, random, recurrent
from fitloom.ops.kernels import dense as _dense
from fitloom.ops.kernels import dropout as _dropout
from fitloom.ops.kernels import embedding as _embedding


def _operation(function, name=None):
    """Make an operation of a kernel, some of whose arrays may be None."""

    def run(*arrays, present, **settings):
        given = iter(arrays)
        return function(*[next(given) if there else None for there in present], **settings)

    recorded = op(run, name=name or function.__name__)

    def public(*inputs, **settings):
        present = tuple(x is not None for x in inputs)
        return recorded(*[x for x in inputs if x is not None], present=present, **settings)

    public.__name__ = public.__qualname__ = name or function.__name__
    public.__doc__ = function.__doc__
    public.op = recorded
    return public


dense = _operation(_dense.dense)
einsum_dense = _operation(_dense.einsum_dense)
add_bias = _operation(bias.add_bias)
embedding = _operation(_embedding.embedding)
conv = _operation(convolution.conv)
conv_bias = _operation(convolution.conv_bias)
conv_transpose = _operation(convolution.conv_transpose)
depthwise_conv = _operation(convolution.depthwise_conv)
max_pool = _operation(pooling.max_pool)
avg_pool = _operation(pooling.avg_pool)
batch_norm_training = _operation(
    lambda x, gamma, beta, mask, *, axes, epsilon: normalization.batch_norm_training(
        x, gamma, beta, axes, epsilon, mask), "batch_norm_training")
batch_norm_inference = _operation(normalization.batch_norm_inference)
layer_norm = _operation(normalization.layer_norm)
rms_norm = _operation(normalization.rms_norm)
group_norm = _operation(normalization.group_norm)
dropout = _operation(
    lambda x, seed, *, rate, noise_shape=None: _dropout.dropout(x, rate, seed, noise_shape), "dropout")


def _words(seed):
    """Return the two uint32 words of a uint64 seed."""
    return jnp.stack([seed.astype(jnp.uint32), (seed >> np.uint64(32)).astype(jnp.uint32)])


seed_words = _operation(_words, "seed_words")
draw_uniform = _operation(
    lambda seed, *, shape, low=0.0, high=1.0, dtype="float32": random.uniform(seed, shape, low, high, dtype),
    "draw_uniform")
draw_normal = _operation(
    lambda seed, *, shape, dtype="float32": random.normal(seed, shape, dtype=dtype), "draw_normal")
draw_beta = _operation(
    lambda seed, *, shape, alpha, beta: random.beta(_words(seed), shape, alpha, beta), "draw_beta")
draw_integers = _operation(
    lambda seed, *, shape, low, high: random.randint(seed, shape, low, high), "draw_integers")
dot_product_attention = _operation(
    lambda query, key, value, bias, mask, seed, **settings: attention.dot_product_attention(
        query, key, value, bias, mask, seed=seed, **settings), "dot_product_attention")

# The activations that the recurrent kernels can run inside their loop; None is the fast path of each.
RECURRENT_ACTIVATIONS = {
    "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "linear": lambda x: x, "elu": jax.nn.elu,
    "softplus": jax.nn.softplus, "softsign": jax.nn.soft_sign, "silu": jax.nn.silu,
    "hard_sigmoid": lambda x: jax.nn.relu6(x + 3) / 6,
}


def _recurrent(kernel, outer="tanh", inner="sigmoid"):
    """Resolve activation names; the usual ones become None, for the kernel's fast path."""
    def run(*arrays, activation, recurrent_activation=inner, **settings):
        functions = {"activation": None if activation == outer else RECURRENT_ACTIVATIONS[activation]}
        if kernel is not recurrent.simple_rnn:
            functions["recurrent_activation"] = RECURRENT_ACTIVATIONS[recurrent_activation]
            if recurrent_activation == inner:
                functions["recurrent_activation"] = None
        return kernel(*arrays, **functions, **settings)

    return _operation(run, kernel.__name__)


lstm = _recurrent(recurrent.lstm)
gru = _recurrent(recurrent.gru)
simple_rnn = _recurrent(recurrent.simple_rnn)
