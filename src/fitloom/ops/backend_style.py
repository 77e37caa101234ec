# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.backend` as older scripts call it (`K.mean`, `K.clip`, ...): thin names over the op table."""

from __future__ import annotations

import builtins

import numpy as np

from fitloom import engine, ops
from fitloom.base import config, dtypes
from fitloom.ops import random as draws


def _floatx(dtype):
    return config.floatx() if dtype is None else dtype


def all(x, axis=None, keepdims=False):
    """Return whether all are true."""
    return ops.reduce_all(ops.cast(x, "bool"), axis, keepdims)


def any(x, axis=None, keepdims=False):
    """Return whether any is true."""
    return ops.reduce_any(ops.cast(x, "bool"), axis, keepdims)


def argmax(x, axis=-1):
    """Return the position of the largest value."""
    return ops.argmax(x, axis)


def argmin(x, axis=-1):
    """Return the position of the smallest value."""
    return ops.argmin(x, axis)


def arange(start, stop=None, step=1, dtype="int32"):
    """Return start, start + step, ..."""
    return ops.range(start, stop, step, dtype=dtype) if stop is not None else ops.range(start, delta=step, dtype=dtype)


def batch_dot(x, y, axes=None):
    """Return the product over one axis of each, the first axis being the batch."""
    x_ndim, y_ndim = len(x.shape), len(y.shape)
    if axes is None:
        axes = (x_ndim - 1, y_ndim - 2 if y_ndim > 2 else 1)
    axes = (axes, axes) if isinstance(axes, int) else axes
    letters, others = "bcdefg"[:x_ndim], "bhijkl"[:y_ndim]
    shared = letters[axes[0] % x_ndim]
    others = "".join(shared if i == axes[1] % y_ndim else c for i, c in enumerate(others))
    out = "b" + "".join(c for c in letters[1:] if c != shared) + "".join(c for c in others[1:] if c != shared)
    product = ops.einsum(f"{letters},{others}->{out}", x, y)
    return ops.expand_dims(product, 1) if len(out) == 1 else product


def batch_flatten(x):
    """Return x with all axes but the first joined."""
    return ops.reshape(x, [-1, int(np.prod(tuple(x.shape)[1:]))])


def bias_add(x, bias, data_format=None):
    """Add a vector along the channels."""
    first = config.standardize_data_format(data_format) == "channels_first"
    return ops.bias_add(x, bias, "NC" if first else None)


def binary_crossentropy(target, output, from_logits=False):
    """Return the binary cross entropy by element."""
    from fitloom.ops.neural_style import binary_crossentropy as function

    return function(target, output, from_logits)


def cast_to_floatx(x):
    """Return x as floatx: an array stays an array."""
    if engine.is_tensor(x):
        return ops.cast(x, config.floatx())
    return np.asarray(x, dtype=dtypes.numpy_dtype(config.floatx()))


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return the categorical cross entropy."""
    from fitloom.ops.neural_style import categorical_crossentropy as function

    return function(target, output, from_logits, axis)


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1, ignore_class=None):
    """Return the categorical cross entropy for whole-number targets; `ignore_class` counts as 0."""
    from fitloom.ops.neural_style import sparse_categorical_crossentropy as function

    target = ops.cast(target, "int64")
    if ignore_class is None:
        return function(target, output, from_logits, axis)
    valid = target != ignore_class
    loss = function(ops.where(valid, target, ops.zeros_like(target)), output, from_logits, axis)
    return ops.where(valid, loss, ops.zeros_like(loss))


def clip(x, min_value, max_value):
    """Return x limited to [min_value, max_value]."""
    return ops.clip_by_value(x, min_value, max_value)


def concatenate(tensors, axis=-1):
    """Return tensors joined along an axis."""
    return ops.concat(tensors, axis)


def count_params(x):
    """Return the number of elements."""
    return int(np.prod(tuple(x.shape)))


def ctc_batch_cost(y_true, y_pred, input_length, label_length):
    """Return the CTC loss from probabilities, (batch, 1); the blank is the last class."""
    logits = ops.log(y_pred + config.epsilon())
    loss = ops.ctc_loss(ops.cast(y_true, "int32"), logits, ops.cast(ops.reshape(label_length, [-1]), "int32"),
                        ops.cast(ops.reshape(input_length, [-1]), "int32"), logits_time_major=False, blank_index=-1)
    return ops.expand_dims(loss, 1)


def ctc_decode(y_pred, input_length, greedy=True, beam_width=100, top_paths=1):
    """Return ([labels padded with -1], scores) from probabilities; the blank is the last class."""
    from fitloom.ops.neural_style import ctc_decode as function

    logits = ops.log(y_pred + config.epsilon())
    labels, scores = function(logits, ops.cast(ops.reshape(input_length, [-1]), "int32"),
                              "greedy" if greedy else "beam_search", beam_width, top_paths, True, y_pred.shape[-1] - 1)
    return ops.unstack(ops.cast(labels, "int64"), axis=0), scores


def cumprod(x, axis=0):
    """Return running products."""
    return ops.cumprod(x, axis)


def cumsum(x, axis=0):
    """Return running sums."""
    return ops.cumsum(x, axis)


def dot(x, y):
    """Return the product over the last axis of x and the last but one of y."""
    if len(x.shape) > 2 or len(y.shape) > 2:
        return ops.tensordot(x, y, [[len(x.shape) - 1], [builtins.max(len(y.shape) - 2, 0)]])
    return ops.matmul(x, y)


def dropout(x, level, noise_shape=None, seed=None):
    """Return x with elements dropped."""
    return ops.dropout(x, level, noise_shape, seed)


def dtype(x):
    """Return the name of the dtype."""
    return dtypes.name_of(x.dtype)


def eval(x):
    """Return the value as a NumPy array."""
    return np.array(ops.host_value(x, "K.eval's input"))


get_value = eval


def batch_get_value(tensors):
    """Return the values as NumPy arrays."""
    return [eval(t) for t in tensors]


def set_value(x, value):
    """Assign to a variable."""
    x.assign(np.asarray(value, dtypes.numpy_dtype(x.dtype)))


def batch_set_value(tuples):
    """Assign to several variables."""
    for x, value in tuples:
        set_value(x, value)


def eye(size, dtype=None, name=None):
    """Return the identity matrix."""
    return ops.eye(size, dtype=_floatx(dtype))


def expand_dims(x, axis=-1):
    """Return x with a new axis."""
    return ops.expand_dims(x, axis)


def flatten(x):
    """Return all elements in one axis."""
    return ops.reshape(x, [-1])


def gather(reference, indices):
    """Return the rows at indices."""
    return ops.gather(reference, indices)


def in_train_phase(x, alt, training=None):
    """Return x when training, else alt; either may be a function."""
    chosen = x if training else alt
    return chosen() if callable(chosen) else chosen


def in_test_phase(x, alt, training=None):
    """Return x when not training, else alt; either may be a function."""
    return in_train_phase(alt, x, training)


def in_top_k(predictions, targets, k):
    """Return for each row whether its target is among the k largest predictions."""
    from fitloom.ops.numpy_statistics import in_top_k as function

    return function(targets, predictions, k)


def int_shape(x):
    """Return the shape as a tuple."""
    return tuple(x.shape)


def is_sparse(tensor):
    """Return whether the tensor is sparse."""
    return hasattr(tensor, "dense_shape")


def l2_normalize(x, axis=None):
    """Return x / norm along `axis`."""
    return ops.l2_normalize(x, axis)


def learning_phase():
    """Return 0: layers are told by their `training` argument."""
    return 0


def set_learning_phase(value):
    """Take 0, which is the phase; for 1 raise, since layers are told by their `training` argument."""
    if value not in (0, 1, False, True):
        raise ValueError(f"Expected learning phase to be 0 or 1. Received: {value!r}")
    if value:
        raise NotImplementedError("K.set_learning_phase(1) has no place where it would act: call the model with "
                                  "training=True. fit() does so by itself.")


def logsumexp(x, axis=None, keepdims=False):
    """Return log(sum(exp(x)))."""
    return ops.reduce_logsumexp(x, axis, keepdims)


def max(x, axis=None, keepdims=False):
    """Return the largest value."""
    return ops.reduce_max(x, axis, keepdims)


def mean(x, axis=None, keepdims=False):
    """Return the mean; booleans count as floats."""
    return ops.reduce_mean(_numbers(x), axis, keepdims)


def min(x, axis=None, keepdims=False):
    """Return the smallest value."""
    return ops.reduce_min(x, axis, keepdims)


def _numbers(x):
    x = ops.convert_to_tensor(x) if not engine.is_tensor(x) else x
    return ops.cast(x, config.floatx()) if dtypes.as_dtype(x.dtype).is_bool else x


def moving_average_update(x, value, momentum):
    """Assign x * momentum + value * (1 - momentum) to x."""
    return x.assign(x * momentum + value * (1.0 - momentum))


def ndim(x):
    """Return the number of axes."""
    return len(x.shape)


def one_hot(indices, num_classes):
    """Return vectors with 1 at each index."""
    return ops.one_hot(indices, num_classes)


def ones(shape, dtype=None, name=None):
    """Return a tensor of ones."""
    return ops.ones(shape, _floatx(dtype))


def ones_like(x, dtype=None, name=None):
    """Return ones in the shape of x."""
    return ops.ones_like(x, dtype)


def permute_dimensions(x, pattern):
    """Return x with its axes permuted."""
    return ops.transpose(x, pattern)


def prod(x, axis=None, keepdims=False):
    """Return the product."""
    return ops.reduce_prod(x, axis, keepdims)


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal numbers."""
    return draws.normal(shape, mean, stddev, _floatx(dtype), seed)


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Return uniform numbers."""
    return draws.uniform(shape, minval, maxval, _floatx(dtype), seed)


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """Return a new variable of normal numbers."""
    return engine.Variable(random_normal(shape, mean, scale, dtype, seed), name=name)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """Return a new variable of numbers between `low` and `high`."""
    return engine.Variable(random_uniform(shape, low, high, dtype, seed), name=name)


def random_bernoulli(shape, p=0.0, dtype=None, seed=None):
    """Return 1 with probability p, else 0."""
    return ops.cast(draws.uniform(shape, 0.0, 1.0, "float32", seed) <= p, _floatx(dtype))


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal numbers within two standard deviations."""
    return draws.truncated_normal(shape, mean, stddev, _floatx(dtype), seed)


def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    """Return max(x, 0), with a slope below, an upper bound and a threshold."""
    above = ops.where(x > threshold, x, ops.zeros_like(x)) if threshold else ops.relu(x)
    if max_value is not None:
        above = ops.minimum(above, float(max_value))
    return above - alpha * ops.relu(threshold - x) if alpha else above


def repeat(x, n):
    """Return a matrix repeated n times along a new axis 1."""
    return ops.tile(ops.expand_dims(x, 1), [1, n, 1])


def repeat_elements(x, rep, axis):
    """Return each slice along `axis` repeated."""
    return ops.repeat(x, rep, axis)


def reverse(x, axes):
    """Return x reversed."""
    return ops.reverse(x, [axes] if isinstance(axes, int) else axes)


def std(x, axis=None, keepdims=False):
    """Return the standard deviation."""
    return ops.reduce_std(_numbers(x), axis, keepdims)


def squeeze(x, axis):
    """Return x without an axis of size 1."""
    return ops.squeeze(x, axis)


def sum(x, axis=None, keepdims=False):
    """Return the sum."""
    return ops.reduce_sum(x, axis, keepdims)


def switch(condition, then_expression, else_expression):
    """Return one of two by a condition, by element; either may be a function."""
    then_expression = then_expression() if callable(then_expression) else then_expression
    else_expression = else_expression() if callable(else_expression) else else_expression
    return ops.where(condition, then_expression, else_expression)


def to_dense(tensor):
    """Return a sparse tensor as a dense one; a dense one as it is."""
    from fitloom.ops.sparse import to_dense as function

    return function(tensor) if is_sparse(tensor) else tensor


def update(x, new_x):
    """Assign."""
    return x.assign(new_x)


def update_add(x, increment):
    """Add to a variable."""
    return x.assign_add(increment)


def update_sub(x, decrement):
    """Subtract from a variable."""
    return x.assign_sub(decrement)


def var(x, axis=None, keepdims=False):
    """Return the variance."""
    return ops.reduce_variance(_numbers(x), axis, keepdims)


def variable(value, dtype=None, name=None, constraint=None):
    """Return a variable of dtype floatx."""
    return engine.Variable(np.asarray(value, dtypes.numpy_dtype(_floatx(dtype))), name=name, constraint=constraint)


def constant(value, dtype=None, shape=None, name=None):
    """Return a tensor with a fixed value."""
    return ops.constant(value, dtype=_floatx(dtype), shape=shape)


def zeros(shape, dtype=None, name=None):
    """Return a tensor of zeros."""
    return ops.zeros(shape, _floatx(dtype))


def zeros_like(x, dtype=None, name=None):
    """Return zeros in the shape of x."""
    return ops.zeros_like(x, dtype)


def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Return images with margins of zeros."""
    first = config.standardize_data_format(data_format) == "channels_first"
    pads = [[0, 0], [0, 0], *padding] if first else [[0, 0], *padding, [0, 0]]
    return ops.pad(x, pads)


def temporal_padding(x, padding=(1, 1)):
    """Return sequences with margins of zeros."""
    return ops.pad(x, [[0, 0], list(padding), [0, 0]])
