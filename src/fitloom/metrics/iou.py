# SPDX-License-Identifier: Apache-2.0
"""Intersection over union of segmentations, from a confusion matrix."""
from fitloom import ops
from fitloom.base import config, dtypes, registry
from fitloom.losses.reduction import align
from fitloom.losses.shapes import as_tensor
from fitloom.metrics.metric import BuiltinMetric


class _Matrix(BuiltinMetric):
    """A metric of `total_confusion_matrix`, rows true classes, columns answers."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
                 axis=-1):
        super().__init__(name=name, dtype=dtype)
        self.num_classes, self.ignore_class, self.axis = num_classes, ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        # float32 would stop counting at 2^24 pixels; integers would cut fractional weights
        self._counts = "float64" if dtypes.is_floating(self._dtype) else self._dtype
        self.total_confusion_matrix = self.add_variable((num_classes, num_classes), "zeros", dtype=self._counts,
                                                        name="total_confusion_matrix")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch of class numbers, or of scores where `sparse_y_true` / `sparse_y_pred` is False."""
        self._add(y_true, y_pred, sample_weight)

    def _classes(self, y_true, y_pred):
        if not self.sparse_y_true:
            y_true = ops.argmax(y_true, axis=self.axis, output_type="int32")
        if not self.sparse_y_pred:
            y_pred = ops.argmax(y_pred, axis=self.axis, output_type="int32")
        return y_true, y_pred

    def _update(self, y_true, y_pred, sample_weight):
        y_true, y_pred = (ops.cast(x, "int32") for x in self._classes(y_true, y_pred))
        weight = ops.ones(y_true.shape, self._counts)
        if sample_weight is not None:
            weight = weight * align(as_tensor(sample_weight, self._counts), weight)
        y_true, y_pred, weight = (ops.reshape(x, [-1]) for x in (y_true, y_pred, weight))
        if self.ignore_class is not None:
            kept = ops.not_equal(y_true, self.ignore_class)
            weight = ops.where(kept, weight, ops.zeros_like(weight))
            y_true = ops.where(kept, y_true, ops.zeros_like(y_true))
        cell = y_true * self.num_classes + y_pred
        inside = ops.logical_and(ops.logical_and(y_true >= 0, y_true < self.num_classes),
                                 ops.logical_and(y_pred >= 0, y_pred < self.num_classes))
        cell = ops.where(inside, cell, -ops.ones_like(cell))
        sums = ops.unsorted_segment_sum(weight, cell, self.num_classes ** 2)
        self.total_confusion_matrix.assign_add(ops.reshape(sums, [self.num_classes, self.num_classes]))

    def _mean_over(self, target_class_ids):
        matrix = ops.cast(self.total_confusion_matrix.value, "float64")
        diagonal = ops.reduce_sum(matrix * ops.eye(self.num_classes, dtype=matrix.dtype), axis=0)
        union = ops.reduce_sum(matrix, axis=0) + ops.reduce_sum(matrix, axis=1) - diagonal
        if target_class_ids is not None:
            chosen = ops.constant(list(target_class_ids), dtype="int32")
            diagonal, union = ops.gather(diagonal, chosen), ops.gather(union, chosen)
        present = ops.cast(ops.not_equal(union, 0.0), matrix.dtype)
        ratios = diagonal / (union + config.epsilon())
        mean = ops.divide_no_nan(ops.reduce_sum(ratios), ops.reduce_sum(present))
        return ops.cast(mean, self._dtype if dtypes.is_floating(self._dtype) else config.floatx())

    def _base_config(self):
        return {"num_classes": self.num_classes, "name": self.name, "dtype": self._dtype,
                "ignore_class": self.ignore_class}


@registry.builtin("keras.metrics")
class IoU(_Matrix):
    """Mean over `target_class_ids` of TP / (TP + FP + FN).

    Args:
        num_classes: number of classes.
        target_class_ids: classes that count.
        ignore_class: true class whose elements do not count.
        sparse_y_true, sparse_y_pred: whether these are class numbers (else scores over `axis`).

    Raises:
        ValueError: a target class that does not exist.

    Example:
        >>> import fitloom as tf
        >>> round(float(tf.keras.metrics.IoU(2, [0])([0, 0, 1, 1], [0, 1, 0, 1])), 4)
        0.3333
    """

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_true=True,
                 sparse_y_pred=True, axis=-1):
        super().__init__(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        if max(target_class_ids) >= num_classes:
            raise ValueError(f"target_class_ids {list(target_class_ids)} must lie in [0, {num_classes}).")
        self.target_class_ids = list(target_class_ids)

    def result(self):
        """Return the mean over the target classes that occur."""
        return self._mean_over(self.target_class_ids)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**self._base_config(), "target_class_ids": self.target_class_ids,
                "sparse_y_true": self.sparse_y_true, "sparse_y_pred": self.sparse_y_pred, "axis": self.axis}


@registry.builtin("keras.metrics")
class BinaryIoU(IoU):
    """`IoU` of two classes: scores from `threshold` on are class 1."""

    def __init__(self, target_class_ids=(0, 1), threshold=0.5, name=None, dtype=None):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def _classes(self, y_true, y_pred):
        return y_true, ops.cast(as_tensor(y_pred, config.floatx()) >= self.threshold, "int32")

    def get_config(self):
        """Return the constructor's arguments."""
        return {"target_class_ids": self.target_class_ids, "threshold": self.threshold, "name": self.name,
                "dtype": self._dtype}


@registry.builtin("keras.metrics")
class MeanIoU(IoU):
    """`IoU` over all classes."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
                 axis=-1):
        super().__init__(num_classes, list(range(num_classes)), name, dtype, ignore_class, sparse_y_true,
                         sparse_y_pred, axis)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**self._base_config(), "sparse_y_true": self.sparse_y_true, "sparse_y_pred": self.sparse_y_pred,
                "axis": self.axis}


@registry.builtin("keras.metrics")
class OneHotIoU(IoU):
    """`IoU` of one-hot targets and (by default) scores."""

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_pred=False,
                 axis=-1):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**self._base_config(), "target_class_ids": self.target_class_ids, "sparse_y_pred": self.sparse_y_pred,
                "axis": self.axis}


@registry.builtin("keras.metrics")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets and (by default) scores."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_pred=False, axis=-1):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**self._base_config(), "sparse_y_pred": self.sparse_y_pred, "axis": self.axis}
