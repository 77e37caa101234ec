# SPDX-License-Identifier: Apache-2.0
"""Losses between numbers, as functions: one value for each row (the mean over the last axis).

Args of all: `y_true` and `y_pred`, of one shape (batch, ..., d); the result has shape (batch, ...), y_pred's dtype.
Raises (all): ValueError when the shapes differ.
"""
import math

from fitloom import ops
from fitloom.base import config, registry
from fitloom.losses.shapes import matched


@registry.builtin("keras.losses", "mse", "MSE")
def mean_squared_error(y_true, y_pred):
    """Return mean((y_true - y_pred)^2, axis=-1).

    Example:
        >>> import fitloom as tf
        >>> tf.keras.losses.mean_squared_error([[0., 1.]], [[1., 1.]]).numpy()
        array([0.5], dtype=float32)
    """
    y_true, y_pred = matched(y_true, y_pred, "mean_squared_error")
    return ops.reduce_mean(ops.square(y_true - y_pred), axis=-1)


@registry.builtin("keras.losses", "mae", "MAE")
def mean_absolute_error(y_true, y_pred):
    """Return mean(|y_true - y_pred|, axis=-1)."""
    y_true, y_pred = matched(y_true, y_pred, "mean_absolute_error")
    return ops.reduce_mean(ops.abs(y_true - y_pred), axis=-1)


@registry.builtin("keras.losses", "mape", "MAPE")
def mean_absolute_percentage_error(y_true, y_pred):
    """Return 100 * mean(|y_true - y_pred| / max(|y_true|, epsilon), axis=-1)."""
    y_true, y_pred = matched(y_true, y_pred, "mean_absolute_percentage_error")
    return 100.0 * ops.reduce_mean(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), config.epsilon())), axis=-1)


@registry.builtin("keras.losses", "msle", "MSLE")
def mean_squared_logarithmic_error(y_true, y_pred):
    """Return mean((log(max(y_true, epsilon) + 1) - log(max(y_pred, epsilon) + 1))^2, axis=-1)."""
    y_true, y_pred = matched(y_true, y_pred, "mean_squared_logarithmic_error")
    log_true = ops.log(ops.maximum(y_true, config.epsilon()) + 1.0)
    log_pred = ops.log(ops.maximum(y_pred, config.epsilon()) + 1.0)
    return ops.reduce_mean(ops.square(log_true - log_pred), axis=-1)


@registry.builtin("keras.losses", "huber_loss")
def huber(y_true, y_pred, delta=1.0):
    """Return the mean over the last axis of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2.

    Args:
        delta: where the square turns into a line.

    Source: Huber 1964.
    """
    y_true, y_pred = matched(y_true, y_pred, "huber")
    error = ops.abs(y_pred - y_true)
    quadratic, linear = 0.5 * ops.square(error), delta * error - 0.5 * delta * delta
    return ops.reduce_mean(ops.where(error <= delta, quadratic, linear), axis=-1)


@registry.builtin("keras.losses", "logcosh")
def log_cosh(y_true, y_pred):
    """Return mean(log(cosh(y_pred - y_true)), axis=-1), as e + softplus(-2e) - log 2, which never overflows."""
    y_true, y_pred = matched(y_true, y_pred, "log_cosh")
    error = y_pred - y_true
    return ops.reduce_mean(error + ops.softplus(-2.0 * error) - math.log(2.0), axis=-1)


@registry.builtin("keras.losses")
def poisson(y_true, y_pred):
    """Return mean(y_pred - y_true log(y_pred + epsilon), axis=-1)."""
    y_true, y_pred = matched(y_true, y_pred, "poisson")
    return ops.reduce_mean(y_pred - y_true * ops.log(y_pred + config.epsilon()), axis=-1)


@registry.builtin("keras.losses")
def cosine_similarity(y_true, y_pred, axis=-1):
    """Return -sum(l2_norm(y_true) * l2_norm(y_pred), axis): -1 for one direction, 0 for orthogonal, 1 for opposite."""
    y_true, y_pred = matched(y_true, y_pred, "cosine_similarity")
    return -ops.reduce_sum(unit(y_true, axis) * unit(y_pred, axis), axis=axis)


def unit(x, axis):
    """Return x / max(|x|, 1e-6) along `axis`."""
    return x / ops.sqrt(ops.maximum(ops.reduce_sum(ops.square(x), axis=axis, keepdims=True), 1e-12))


def _signed_labels(y_true):
    """Turn labels that are all 0 or 1 into -1 and 1; leave others."""
    binary = ops.reduce_all(ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


@registry.builtin("keras.losses")
def hinge(y_true, y_pred):
    """Return mean(max(1 - y_true * y_pred, 0), axis=-1); labels are -1 and 1 (0 and 1 are converted)."""
    y_true, y_pred = matched(y_true, y_pred, "hinge")
    return ops.reduce_mean(ops.maximum(1.0 - _signed_labels(y_true) * y_pred, 0.0), axis=-1)


@registry.builtin("keras.losses")
def squared_hinge(y_true, y_pred):
    """Return mean(max(1 - y_true * y_pred, 0)^2, axis=-1); labels are -1 and 1 (0 and 1 are converted)."""
    y_true, y_pred = matched(y_true, y_pred, "squared_hinge")
    return ops.reduce_mean(ops.square(ops.maximum(1.0 - _signed_labels(y_true) * y_pred, 0.0)), axis=-1)


@registry.builtin("keras.losses")
def categorical_hinge(y_true, y_pred):
    """Return max(max((1 - y_true) * y_pred) - sum(y_true * y_pred) + 1, 0); y_true is one-hot."""
    y_true, y_pred = matched(y_true, y_pred, "categorical_hinge")
    right = ops.reduce_sum(y_true * y_pred, axis=-1)
    wrong = ops.reduce_max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(wrong - right + 1.0, 0.0)
