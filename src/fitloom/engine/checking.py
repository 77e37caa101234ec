# SPDX-License-Identifier: Apache-2.0
"""Where the user's code is, and `tf.debugging.enable_check_numerics`: which line made the first NaN or inf."""
import os
import sys

import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine.context import SETTINGS

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def user_line():
    """Return 'file:line' of the innermost frame outside the package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def check_results(instruction, results):
    """Raise if numerics are checked and a result is not finite."""
    if SETTINGS.check_numerics:
        for array in results:
            host = np.asarray(array)
            if host.dtype.kind in "fc" and not np.all(np.isfinite(host)):
                kind = "NaN" if np.isnan(host).any() else "inf"
                raise InvalidArgumentError(
                    f"{instruction.name} at {user_line()} produced {kind} (shape {host.shape}).")
    return results
