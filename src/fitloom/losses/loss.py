# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.losses.Loss`: a function of targets and outputs, with weights, masks and a reduction."""
import numpy as np

from fitloom import engine, ops
from fitloom.base import config, dtypes, naming, nest, serialization
from fitloom.losses.reduction import reduce_weighted, standardize_reduction, sum_and_count
from fitloom.losses.shapes import as_tensor


class Loss:
    """A measure of what is wrong; subclass it and write `call(y_true, y_pred)`.

    `loss(y_true, y_pred, sample_weight)` = reduction of w * call(y_true, y_pred) over the values that no mask hides.

    Args:
        name: name in logs and files.
        reduction: 'sum_over_batch_size' or 'mean' (sum / number of values), 'sum', 'mean_with_sample_weight'
            (sum / sum of weights), 'none' or None (a value for each row).
        dtype: dtype of the computation; None means `floatx`.

    Example:
        >>> import fitloom as tf
        >>> class Cubic(tf.keras.losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return tf.reduce_mean(tf.abs(y_true - y_pred) ** 3, axis=-1)
        >>> float(Cubic()([[0., 2.]], [[0., 0.]]))
        4.0
    """

    # Whether the loss of a row depends on that row only: then padded rows can be masked away.
    per_example = False

    def __init__(self, name=None, reduction="sum_over_batch_size", dtype=None):
        self.name = name or naming.unique_name(naming.to_snake_case(type(self).__name__))
        self.reduction = standardize_reduction(reduction)
        self._dtype = _dtype_name(dtype)

    @property
    def dtype(self):
        """Name of the dtype the loss is computed in."""
        return self._dtype

    def call(self, y_true, y_pred):
        """Return the loss of each row; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define call(self, y_true, y_pred).")

    def valid(self, y_true, y_pred, losses):
        """Return a mask of the values that count in the mean, or None for all."""
        return

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss; a mask carried by `y_pred` hides its padded steps."""
        values, mask = self._values(y_true, y_pred, None)
        return reduce_weighted(values, sample_weight, mask, self.reduction, self._dtype)

    def terms(self, y_true, y_pred, sample_weight=None, mask=None):
        """Return (sum of w*v, count), so that loss = sum / count over any number of batches.

        Args:
            mask: 1 for values that count, shape (batch,) or as the values; joined with the mask of `y_pred`.
        """
        values, mask = self._values(y_true, y_pred, mask)
        return sum_and_count(values, sample_weight, mask, self.reduction, self._dtype)

    def _values(self, y_true, y_pred, mask):
        carried = engine.get_mask(y_pred) if not nest.is_nested(y_pred) else None
        y_pred = nest.map_structure(self._to_dtype, _leaves(y_pred))
        y_true = nest.map_structure(self._convert_true, _leaves(y_true))
        values = self.call(y_true, y_pred)
        if values is None:
            raise ValueError(f"The loss '{self.name}' returned None. It must return the value of each row.")
        for more in (carried, self.valid(y_true, y_pred, values), engine.get_mask(values)):
            mask = both(mask, more)
        return values, mask

    def _to_dtype(self, x):
        return as_tensor(x, self._dtype)

    _convert_true = _to_dtype

    def get_config(self):
        """Return the constructor's arguments."""
        settings = {"name": self.name, "reduction": self.reduction}
        if self._dtype != config.floatx():
            settings["dtype"] = self._dtype
        return settings

    @classmethod
    def from_config(cls, config):
        """Return the loss a configuration describes."""
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


def _dtype_name(dtype):
    if dtype is None:
        return config.floatx()
    return dtypes.name_of(getattr(dtype, "compute_dtype", dtype))


def _leaves(structure):
    """Return `structure` with lists of plain numbers made into arrays: [[0, 1], [1, 0]] is one array, not four."""
    if isinstance(structure, (list, tuple)) and not any(
            engine.is_tensor(leaf) or isinstance(leaf, np.ndarray) for leaf in nest.flatten(structure)):
        return engine.convert_to_tensor(structure)
    return structure


def both(mask, other):
    """Return the conjunction of two masks, either of which may be None; ranks are aligned at the front."""
    if mask is None or other is None:
        return other if mask is None else mask
    mask, other = as_tensor(mask, "bool"), as_tensor(other, "bool")
    while len(mask.shape) < len(other.shape):
        mask = ops.expand_dims(mask, -1)
    while len(other.shape) < len(mask.shape):
        other = ops.expand_dims(other, -1)
    return ops.logical_and(mask, other)


class LossFunctionWrapper(Loss):
    """A Loss made of a function.

    Args:
        fn: `fn(y_true, y_pred, **kwargs)`, one value for each row.
        **kwargs: arguments given to `fn` each time.
    """

    def __init__(self, fn, reduction="sum_over_batch_size", name=None, dtype=None, **kwargs):
        super().__init__(name=name or getattr(fn, "__name__", None), reduction=reduction, dtype=dtype)
        self.fn, self._fn_kwargs = fn, kwargs

    def call(self, y_true, y_pred):
        """Return fn(y_true, y_pred)."""
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self):
        """Return name, reduction and the function."""
        serialize = serialization.serialize_keras_object
        return {**super().get_config(), "fn": serialize(self.fn),
                **{k: serialize(v) for k, v in self._fn_kwargs.items()}}

    @classmethod
    def from_config(cls, config):
        """Return the loss a configuration describes."""
        read = serialization.deserialize_keras_object
        return cls(**{k: read(v) if isinstance(v, dict) else v for k, v in config.items()})

    def __repr__(self):
        return f"<{type(self).__name__}({getattr(self.fn, '__name__', self.fn)}, kwargs={self._fn_kwargs})>"
