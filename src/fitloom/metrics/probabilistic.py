# SPDX-License-Identifier: Apache-2.0
"""Means of crossentropies and divergences."""
from fitloom import engine, ops
from fitloom.base import registry
from fitloom.losses import classification as losses
from fitloom.losses.regression import poisson
from fitloom.losses.shapes import as_tensor
from fitloom.metrics.reduction_metrics import MeanMetricWrapper


@registry.builtin("keras.metrics", "kl_divergence", "kld", "KLD")
class KLDivergence(MeanMetricWrapper):
    """Mean Kullback-Leibler divergence."""

    def __init__(self, name="kl_divergence", dtype=None):
        super().__init__(losses.kl_divergence, name, dtype)


@registry.builtin("keras.metrics", "poisson")
class Poisson(MeanMetricWrapper):
    """Mean Poisson loss."""

    def __init__(self, name="poisson", dtype=None):
        super().__init__(poisson, name, dtype)


@registry.builtin("keras.metrics", "binary_crossentropy", "BCE", "bce")
class BinaryCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of 0/1 targets: `tf.keras.losses.binary_crossentropy`."""

    def __init__(self, name="binary_crossentropy", dtype=None, from_logits=False, label_smoothing=0):
        super().__init__(losses.binary_crossentropy, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


@registry.builtin("keras.metrics", "categorical_crossentropy")
class CategoricalCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of one-hot targets: `tf.keras.losses.categorical_crossentropy`."""

    def __init__(self, name="categorical_crossentropy", dtype=None, from_logits=False, label_smoothing=0, axis=-1):
        super().__init__(losses.categorical_crossentropy, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


def _sparse_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """The loss function, whose ignored rows do not count."""
    values = losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits, ignore_class, axis)
    if ignore_class is not None:
        labels = ops.reshape(ops.cast(as_tensor(y_true), "int32"), values.shape)
        engine.set_mask(values, ops.not_equal(labels, ignore_class))
    return values


@registry.builtin("keras.metrics", "sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of class numbers: `tf.keras.losses.sparse_categorical_crossentropy`."""

    def __init__(self, name="sparse_categorical_crossentropy", dtype=None, from_logits=False, ignore_class=None,
                 axis=-1):
        super().__init__(_sparse_crossentropy, name, dtype, from_logits=from_logits, ignore_class=ignore_class,
                         axis=axis)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis
