# SPDX-License-Identifier: Apache-2.0
"""`keras.ops.nn`: activations, convolution, pooling, normalization, attention and losses with Keras's signatures."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from fitloom import engine
from fitloom.base import config
from fitloom.engine import op
from fitloom.ops import activations, convolving, decoding, losses, normalizing, shaping
from fitloom.ops.arithmetic import log_sigmoid as _log_sigmoid
from fitloom.ops.arithmetic import sigmoid as _sigmoid
from fitloom.ops.arithmetic import softplus as _softplus
from fitloom.ops.calling import as_index, host_value, static_axis
from fitloom.ops.numpy_rules import as_float, as_tensor, promoted


def _of_float(function):
    """The same function for inputs of any dtype."""
    def public(x, *arguments, **named):
        return function(as_float(x), *arguments, **named)
    public.__name__ = public.__qualname__ = function.__name__
    public.__doc__ = function.__doc__
    return public


celu = _of_float(activations.celu)
elu = _of_float(activations.elu)
glu = _of_float(activations.glu)
hard_shrink = _of_float(activations.hard_shrink)
hard_sigmoid = _of_float(activations.hard_sigmoid)
hard_silu = hard_swish = _of_float(activations.hard_silu)
hard_tanh = _of_float(activations.hard_tanh)
log_sigmoid = _of_float(_log_sigmoid)
selu = _of_float(activations.selu)
sigmoid = _of_float(_sigmoid)
silu = swish = _of_float(activations.silu)
soft_shrink = _of_float(activations.soft_shrink)
softplus = _of_float(_softplus)
softsign = _of_float(activations.softsign)
sparse_plus = _of_float(activations.sparse_plus)
sparse_sigmoid = _of_float(activations.sparse_sigmoid)
sparsemax = _of_float(activations.sparsemax)
squareplus = _of_float(activations.squareplus)
tanh_shrink = _of_float(activations.tanh_shrink)
threshold = _of_float(activations.threshold)


def relu(x):
    """Return max(x, 0), in the dtype of x."""
    return activations.relu(as_tensor(x))


def relu6(x):
    """Return min(max(x, 0), 6), in the dtype of x."""
    return activations.relu6(as_tensor(x))


def gelu(x, approximate=True):
    """Return x * P(X <= x) for a standard normal X, by tanh if `approximate`."""
    return activations.gelu(as_float(x), approximate)


def leaky_relu(x, negative_slope=0.2):
    """Return x where it is positive, else negative_slope * x."""
    return activations.leaky_relu(as_float(x), negative_slope)


def softmax(x, axis=-1):
    """Return exp(x) / sum(exp(x)) over `axis` (all axes if None)."""
    x = as_float(x)
    return activations.softmax(x, tuple(range(len(x.shape))) if axis is None else axis)


def log_softmax(x, axis=-1):
    """Return log(softmax(x)) over `axis` (all axes if None)."""
    x = as_float(x)
    return activations.log_softmax(x, tuple(range(len(x.shape))) if axis is None else axis)


# ---- convolution and pooling


def _layout(data_format):
    return config.standardize_data_format(data_format)


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Return the convolution over the spatial axes."""
    return convolving.conv(*promoted(inputs, kernel), strides, padding, dilation_rate, _layout(data_format))


def conv_transpose(inputs, kernel, strides=1, padding="valid", output_padding=None, data_format=None, dilation_rate=1):
    """Return the transposed convolution; kernel (*window, out, in)."""
    return convolving.conv_transpose(*promoted(inputs, kernel), strides, padding, output_padding, dilation_rate,
                                     _layout(data_format))


def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Return the convolution of each channel by itself."""
    return convolving.depthwise_conv(*promoted(inputs, kernel), strides, padding, dilation_rate, _layout(data_format))


def separable_conv(inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None,
                   dilation_rate=1):
    """Return a depthwise convolution followed by one of window 1."""
    return convolving.separable_conv(*promoted(inputs, depthwise_kernel, pointwise_kernel), strides, padding,
                                     dilation_rate, _layout(data_format))


def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """Return the largest value of each window."""
    return convolving.max_pool(as_tensor(inputs), pool_size, strides, padding, _layout(data_format))


def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """Return the mean of each window."""
    return convolving.avg_pool(as_float(inputs), pool_size, strides, padding, _layout(data_format))


@op(name="adaptive_pool")
def _adaptive(x, *, sizes, first, largest):
    axes = range(2, x.ndim) if first else range(1, x.ndim - 1)
    for axis, size in zip(axes, sizes, strict=True):
        n = x.shape[axis]
        windows = [lax.slice_in_dim(x, i * n // size, -(-(i + 1) * n // size), axis=axis) for i in range(size)]
        x = jnp.stack([(jnp.max if largest else jnp.mean)(w, axis=axis) for w in windows], axis)
    return x


def _adaptive_pool(inputs, output_size, data_format, largest):
    inputs = as_float(inputs)
    sizes = (output_size,) * (len(inputs.shape) - 2) if isinstance(output_size, int) else tuple(output_size)
    return _adaptive(inputs, sizes=sizes, first=_layout(data_format) == "channels_first", largest=largest)


def adaptive_average_pool(inputs, output_size, data_format=None):
    """Return means over as many windows as `output_size` asks for."""
    return _adaptive_pool(inputs, output_size, data_format, False)


def adaptive_max_pool(inputs, output_size, data_format=None):
    """Return maxima over as many windows as `output_size` asks for."""
    return _adaptive_pool(inputs, output_size, data_format, True)


def depth_to_space(x, block_size, data_format="channels_last"):
    """Return channels moved into blocks of height and width."""
    return shaping.depth_to_space(as_tensor(x), block_size, data_format)


def space_to_depth(x, block_size, data_format="channels_last"):
    """Return blocks of height and width moved into channels."""
    return shaping.space_to_depth(as_tensor(x), block_size, data_format)


def _twice(value):
    return (value, value) if isinstance(value, int) else tuple(value)


@op(name="unfold")
def _unfold(x, *, kernel, dilation, padding, stride):
    n, c = x.shape[:2]
    y = lax.conv_general_dilated_patches(x, kernel, stride, [(p, p) for p in padding], rhs_dilation=dilation)
    return y.reshape(n, c * kernel[0] * kernel[1], -1)


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Return the patches of (N, C, H, W) as columns, (N, C * kernel, count)."""
    return _unfold(as_float(x), kernel=_twice(kernel_size), dilation=_twice(dilation), padding=_twice(padding),
                   stride=_twice(stride))


@op(name="fold")
def _fold(x, *, size, kernel, dilation, padding, stride):
    import jax

    shape = (x.shape[0], x.shape[1] // (kernel[0] * kernel[1]), *size)

    def unfolded(image):
        return _unfold.fn(image, kernel=kernel, dilation=dilation, padding=padding, stride=stride)
    return jax.linear_transpose(unfolded, jax.ShapeDtypeStruct(shape, x.dtype))(x)[0]


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Return the image in which patches (N, C * kernel, count) add up: the transpose of `unfold`."""
    return _fold(as_float(x), size=_twice(output_size), kernel=_twice(kernel_size), dilation=_twice(dilation),
                 padding=_twice(padding), stride=_twice(stride))


# ---- normalization and attention


def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
    """Return (x - mean) / sqrt(variance + epsilon) * scale + offset, the statistics along `axis`."""
    x = as_float(x)
    kept = [a % len(x.shape) for a in ((axis,) if isinstance(axis, int) else axis)]
    axes = tuple(a for a in range(len(x.shape)) if a not in kept)
    return normalizing.batch_norm_inference(x, mean, variance, scale, offset, axes=axes, epsilon=float(epsilon))


def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None, **kwargs):
    """Return x with mean 0 and variance 1 over `axis`, times gamma plus beta."""
    if kwargs.pop("rms_scaling", False):
        return rms_normalization(x, gamma, axis, epsilon)
    if kwargs:
        raise TypeError(f"layer_normalization received unknown arguments {sorted(kwargs)}.")
    axes, x = (axis,) if isinstance(axis, int) else tuple(axis), as_float(x)
    epsilon = config.epsilon() if epsilon is None else float(epsilon)
    if not any(_whole(x, each) for each in (gamma, beta)):
        return normalizing.layer_norm(x, gamma, beta, axes=axes, epsilon=epsilon)
    x = normalizing.layer_norm(x, None, None, axes=axes, epsilon=epsilon)
    x = x if gamma is None else x * as_float(gamma)
    return x if beta is None else x + as_float(beta)


def _whole(x, weight):
    """Whether a weight has all axes of x, rather than those that are normalized."""
    return weight is not None and len(weight.shape) == len(x.shape) > 1


def rms_normalization(x, scale=None, axis=-1, epsilon=None):
    """Return x / sqrt(mean(x ** 2) + epsilon) * scale over `axis`."""
    axes, x = (axis,) if isinstance(axis, int) else tuple(axis), as_float(x)
    epsilon = config.epsilon() if epsilon is None else float(epsilon)
    if _whole(x, scale):
        return normalizing.rms_norm(x, None, axes=axes, epsilon=epsilon) * as_float(scale)
    return normalizing.rms_norm(x, scale, axes=axes, epsilon=epsilon)


@op(name="normalize")
def _normalize(x, *, axis, order, epsilon):
    if order == 2:
        total = jnp.sum(x * x, axis=axis, keepdims=True)
        return x * lax.rsqrt(jnp.maximum(total, jnp.asarray(epsilon ** 2, x.dtype)))
    length = jnp.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return x / jnp.maximum(length, jnp.asarray(epsilon, x.dtype))


def normalize(x, axis=-1, order=2, epsilon=None):
    """Return x / max(norm, epsilon) along `axis`."""
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"normalize expected a whole number order of at least 1, but received {order!r}.")
    return _normalize(as_float(x), axis=static_axis(axis), order=order,
                      epsilon=config.epsilon() if epsilon is None else float(epsilon))


def dot_product_attention(query, key, value, bias=None, mask=None, scale=None, is_causal=False, flash_attention=None,
                          attn_logits_soft_cap=None):
    """Return softmax(scale * query key^T + bias) value for each head; inputs (batch, tokens, heads, size).

    `flash_attention` chooses a kernel in Keras; here the fastest one is always used.
    """
    query, key, value = promoted(query, key, value, floats=True)
    if any(len(t.shape) != 4 for t in (query, key, value)):
        raise ValueError("dot_product_attention expected query, key and value with 4 axes (batch, tokens, heads, size)"
                         f", but received shapes {[tuple(t.shape) for t in (query, key, value)]}.")
    return normalizing.scaled_dot_product_attention(
        query, key, value, None if bias is None else as_tensor(bias), None if mask is None else as_tensor(mask, "bool"),
        is_causal=bool(is_causal), scale=None if scale is None else float(scale),
        soft_cap=None if attn_logits_soft_cap is None else float(attn_logits_soft_cap))


# ---- losses


def _same_shape(name, target, output, but_axis=None):
    if tuple(target.shape) != tuple(output.shape) and len(target.shape) != len(output.shape):
        raise ValueError(f"{name} expected target and output of one shape, but received {tuple(target.shape)} and "
                         f"{tuple(output.shape)}.")


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return -sum(target * log(output)) along `axis`, from probabilities or logits."""
    target, output = promoted(target, output, floats=True)
    _same_shape("categorical_crossentropy", target, output)
    recorded = losses._soft if from_logits else losses.probability_cross_entropy
    return recorded(output, target, axis=int(axis))


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return -log(output[target]) along `axis`, from probabilities or logits."""
    output = as_float(output)
    target = as_index(target)
    if len(target.shape) == len(output.shape) and target.shape[-1] == 1:
        target = shaping.squeeze(target, -1)
    recorded = losses._sparse if from_logits else losses.sparse_probability_cross_entropy
    if target.dtype not in ("int32", "int64"):
        target = as_tensor(target, "int32")
    return recorded(output, target, axis=int(axis))


def binary_crossentropy(target, output, from_logits=False):
    """Return -target log(output) - (1 - target) log(1 - output), from probabilities or logits."""
    target, output = promoted(target, output, floats=True)
    return (losses._binary if from_logits else losses.binary_probability_cross_entropy)(output, target)


def ctc_loss(target, output, target_length, output_length, mask_index=0):
    """Return the connectionist temporal classification loss; `mask_index` is the blank."""
    return losses.ctc_loss(as_index(target), as_float(output), target_length, output_length, logits_time_major=False,
                           blank_index=mask_index)


def ctc_decode(inputs, sequence_lengths, strategy="greedy", beam_width=100, top_paths=1, merge_repeated=True,
               mask_index=0):
    """Return (labels (paths, batch, time) padded with -1, scores) of the most likely sequences.

    Args:
        strategy: 'greedy' (the best class at each time) or 'beam_search' (on the host).
    """
    inputs = as_float(inputs)
    if strategy == "greedy":
        classes = inputs.shape[-1]
        labels, score = losses.ctc_best_path(inputs, as_index(sequence_lengths), blank=int(mask_index) % classes,
                                             merge=bool(merge_repeated))
        return shaping.expand_dims(labels, 0), score
    if strategy != "beam_search":
        raise ValueError(f"ctc_decode expected strategy 'greedy' or 'beam_search', but received '{strategy}'.")
    rows, scores = decoding.ctc_beams(host_value(inputs, "ctc_decode's input"), host_value(sequence_lengths),
                                      beam_width, top_paths, mask_index)
    width = int(inputs.shape[1])
    made = np.full((top_paths, len(rows), width), -1, np.int32)
    for i, paths in enumerate(rows):
        for k, labels in enumerate(paths):
            made[k, i, :len(labels)] = labels
    return engine.Tensor(made), engine.Tensor(scores)


def psnr(x1, x2, max_val):
    """Return the peak signal-to-noise ratio in dB, over all elements."""
    return _psnr(*promoted(x1, x2, floats=True), top=float(max_val))


@op(name="psnr")
def _psnr(a, b, *, top):
    return 10 / np.log(10).astype(a.dtype) * jnp.log(jnp.asarray(top * top, a.dtype) / jnp.mean(jnp.square(a - b)))
