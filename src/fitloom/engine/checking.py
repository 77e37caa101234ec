# SPDX-License-Identifier: Apache-2.0
"""Where the user's code is, and `tf.debugging.enable_check_numerics`: which line made the first NaN or inf."""
import os
import sys

import jax
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


class _Checks:
    failed: list = []       # errors that host code found while a compiled program ran
    made = 0                # how many checks were built into programs


CHECKS = _Checks


def check_later(condition, describe, arrays=()):
    """Inside a compiled function: when the program runs, raise `describe(*values)` unless `condition` holds.

    The error names the user's line that made the check, and surfaces where the program's results are asked for.
    """
    line = user_line()
    CHECKS.made += 1

    def on_host(holds, *values):
        if not np.all(holds):
            CHECKS.failed.append(InvalidArgumentError(f"{describe(*map(np.asarray, values))} (checked at {line})"))
    jax.debug.callback(on_host, jax.lax.stop_gradient(condition), *map(jax.lax.stop_gradient, arrays))


def raise_failed():
    """Raise the first error that was found while programs ran."""
    if CHECKS.failed:
        error = CHECKS.failed[0]
        CHECKS.failed.clear()
        raise error


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
