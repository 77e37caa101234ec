# SPDX-License-Identifier: Apache-2.0
"""How many bytes new variables may take while a configuration from a file is turned into a model."""
import math
import threading

from fitloom.base import dtypes


class _State(threading.local):
    left = None         # bytes; None: no limit


_state = _State()


class allocation_limit:
    """Context in which variables made by initializers may take `most_bytes` together.

    Args:
        most_bytes: the limit.
        reason: who sets it, for the message.
    """

    def __init__(self, most_bytes, reason):
        self.most_bytes, self.reason = most_bytes, reason

    def __enter__(self):
        self.before, _state.left = (_state.left, getattr(_state, "reason", "")), self.most_bytes
        _state.reason = self.reason

    def __exit__(self, *_):
        _state.left, _state.reason = self.before


def charge(shape, dtype):
    """Count a variable before it is made.

    Raises:
        ValueError: it would exceed the limit.
    """
    if _state.left is None:
        return
    wanted = math.prod(shape) * dtypes.numpy_dtype(dtype).itemsize
    if wanted > _state.left:
        raise ValueError(f"A variable of shape {tuple(shape)} takes {wanted} bytes, but {_state.reason}.")
    _state.left -= wanted
