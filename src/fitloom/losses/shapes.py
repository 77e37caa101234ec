# SPDX-License-Identifier: Apache-2.0
"""Agreement of targets and outputs: conversion, ranks, shapes, label ranges."""
import warnings

import numpy as np

from fitloom import engine, ops
from fitloom.base import config, dtypes


def as_tensor(x, dtype=None):
    """Return `x` as a tensor; NumPy float64 and Python floats take `floatx`, `dtype` casts."""
    if not engine.is_tensor(x):
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            x = x.astype(dtypes.numpy_dtype(config.floatx()))
        x = engine.convert_to_tensor(x)
    elif getattr(type(x), "is_variable", False):
        x = x.value_tensor()
    return x if dtype is None or x.dtype == dtype else ops.cast(x, dtype)


def as_pair(y_true, y_pred):
    """Return targets and outputs as floating tensors of the outputs' dtype."""
    y_pred = as_tensor(y_pred)
    if not dtypes.is_floating(y_pred.dtype):
        y_pred = ops.cast(y_pred, config.floatx())
    return as_tensor(y_true, y_pred.dtype), y_pred


def squeeze_or_expand(y_true, y_pred):
    """Make ranks equal where one side has a last axis of size 1 that the other lacks.

    (batch, 1) against (batch,) makes both (batch, 1); (batch, n, 1) against (batch, n) drops the last axis.
    """
    true_ndim, pred_ndim = len(y_true.shape), len(y_pred.shape)
    if true_ndim == pred_ndim + 1 and y_true.shape[-1] == 1:
        if pred_ndim == 1:
            y_pred = ops.expand_dims(y_pred, -1)
        else:
            y_true = ops.squeeze(y_true, [-1])
    elif pred_ndim == true_ndim + 1 and y_pred.shape[-1] == 1:
        if true_ndim == 1:
            y_true = ops.expand_dims(y_true, -1)
        else:
            y_pred = ops.squeeze(y_pred, [-1])
    return y_true, y_pred


# Examples of Keras' documentation train several outputs towards one number a row.
_ONE_TARGET = ("mean_squared_error", "mean_absolute_error")


def matched(y_true, y_pred, name):
    """Return floating targets and outputs of one shape.

    Raises:
        ValueError: the shapes differ. (Keras broadcasts (32, 3) targets against (32, 1) outputs in silence.) One
            target a row for several outputs is a warning in the losses of `_ONE_TARGET`.
    """
    y_true, y_pred = squeeze_or_expand(*as_pair(y_true, y_pred))
    true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
    if true_shape == pred_shape or not true_shape or not pred_shape:
        return y_true, y_pred
    if name in _ONE_TARGET and pred_shape[:-1] in (true_shape, true_shape[:-1] if true_shape[-1] == 1 else ()):
        warnings.warn(f"{name}: one target a row (y_true has shape {true_shape}) is compared with all {pred_shape[-1]} "
                      f"outputs of the row.{_shape_advice(true_shape, pred_shape)}", stacklevel=2)
        return y_true if len(true_shape) == len(pred_shape) else ops.expand_dims(y_true, -1), y_pred
    if len(true_shape) != len(pred_shape) or any(
            a is not None and b is not None and a != b for a, b in zip(true_shape, pred_shape)):
        raise ValueError(
            f"{name}: targets and outputs must have the same shape, but y_true has shape {true_shape} and y_pred "
            f"has shape {pred_shape}.{_shape_advice(true_shape, pred_shape)}")
    return y_true, y_pred


def _shape_advice(true_shape, pred_shape):
    if len(true_shape) + 1 == len(pred_shape) and true_shape == pred_shape[:-1]:
        return (f" If the targets are class numbers, use a sparse loss ('sparse_categorical_crossentropy') or encode "
                f"them: tf.one_hot(y_true, {pred_shape[-1]}).")
    if len(true_shape) == len(pred_shape):
        if true_shape[:-1] == pred_shape[:-1]:
            if true_shape[-1] == 1:
                return (f" If the targets are class numbers, use 'sparse_categorical_crossentropy'; otherwise give "
                        f"the model 1 output unit instead of {pred_shape[-1]}.")
            return f" Give the model's last layer {true_shape[-1]} units, or the targets {pred_shape[-1]} columns."
        if len(true_shape) > 1 and true_shape[0] != pred_shape[0]:
            return " The batch sizes differ."
    return " Reshape one of them; use tf.broadcast_to if you want broadcasting."


def class_labels(y_true, y_pred, axis, name):
    """Return integer class labels that have the outputs' shape without the class axis.

    Raises:
        ValueError: targets of another shape, such as one-hot rows.
    """
    y_pred = as_tensor(y_pred)
    if not dtypes.is_floating(y_pred.dtype):
        y_pred = ops.cast(y_pred, config.floatx())
    y_true = as_tensor(y_true)
    ndim = len(y_pred.shape)
    if ndim < 1:
        raise ValueError(f"{name} expected y_pred of shape (..., classes), but received a scalar.")
    if len(y_true.shape) == ndim and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, [axis])
    wanted = list(y_pred.shape)
    del wanted[axis]
    true_shape = tuple(y_true.shape)
    if len(true_shape) != len(wanted) or any(
            a is not None and b is not None and a != b for a, b in zip(true_shape, wanted)):
        one_hot = true_shape == tuple(y_pred.shape)
        advice = ("They look one-hot: use 'categorical_crossentropy', or labels tf.argmax(y_true, -1)."
                  if one_hot else "Give one class number for each output row.")
        raise ValueError(f"{name}: targets and outputs must have the same shape up until the last dimension (class "
                         f"numbers of shape {tuple(wanted)}), but y_true has shape {true_shape} and y_pred has shape "
                         f"{tuple(y_pred.shape)}. {advice}")
    return ops.cast(y_true, "int32") if y_true.dtype != "int32" else y_true, y_pred


def check_labels(y, units, name="sparse_categorical_crossentropy", ignore_class=None):
    """Raise unless host class labels are whole numbers in [0, units).

    Args:
        y: NumPy array (or list) of labels.
        units: number of classes, the size of the outputs' class axis.
        name: the loss, for the message.
        ignore_class: a label that may stand outside.

    Raises:
        ValueError: naming the first offending value and its position.
    """
    labels = np.asarray(y)
    if labels.size == 0 or labels.dtype.kind not in "iufb":
        return
    bad = (labels < 0) | (labels >= units)
    if labels.dtype.kind == "f":
        bad |= labels != np.floor(labels)
    if ignore_class is not None:
        bad &= labels != ignore_class
    if not bad.any():
        return
    position = tuple(int(i) for i in np.argwhere(bad)[0])
    value = labels[position].item()
    shown = position[0] if len(position) == 1 or all(i == 0 for i in position[1:]) else position
    count = int(bad.sum())
    if value == int(value) if np.isfinite(value) else False:
        fix = (f"Labels that start at 1 need y - 1; {int(value) + 1} or more classes need a last layer of that many "
               f"units." if value >= units else "Use ignore_class= for a label that marks missing targets.")
    else:
        fix = "Labels must be whole numbers: check how y was made."
    raise ValueError(f"{name} expected class labels from 0 to {units - 1} (the model has {units} output units), but "
                     f"y[{shown}] is {value}{f' ({count} such labels)' if count > 1 else ''}. {fix}")
