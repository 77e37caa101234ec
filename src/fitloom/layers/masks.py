# SPDX-License-Identifier: Apache-2.0
"""The mask that belongs to a tensor: which timesteps count. It travels as the tensor's attribute `_keras_mask`."""

_used = False


def set_mask(x, mask):
    """Attach a boolean mask to a tensor (None takes it away)."""
    global _used
    _used = True
    x._keras_mask = mask


def get_mask(x):
    """Return the tensor's mask, or None."""
    return getattr(x, "_keras_mask", None) if _used else None


def any_masks() -> bool:
    """Whether a mask was ever attached in this process (a quick answer for the common case)."""
    return _used
