# SPDX-License-Identifier: Apache-2.0
"""The mask that belongs to a tensor: which timesteps count. It travels as the tensor's attribute `_keras_mask`."""
from fitloom.base import nest
from fitloom.engine.tensor import Tensor


def set_mask(x, mask):
    """Attach a boolean mask to a tensor (None takes it away)."""
    x._keras_mask = mask


def get_mask(x):
    """Return the tensor's mask, or None."""
    return getattr(x, "_keras_mask", None)


def any_in(args, kwargs) -> bool:
    """Whether a tensor among a call's arguments has a mask."""
    for value in (*args, *kwargs.values()):
        if value is None or value is True or value is False:
            continue
        if value.__class__ is Tensor:
            if value._keras_mask is not None:
                return True
            continue
        if nest.is_nested(value):
            if any(getattr(x, "_keras_mask", None) is not None for x in nest.flatten(value)):
                return True
        elif getattr(value, "_keras_mask", None) is not None:
            return True
    return False
