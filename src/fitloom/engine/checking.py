# SPDX-License-Identifier: Apache-2.0
"""`tf.debugging.enable_check_numerics`: name the operation that made the first NaN or inf."""
import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine.context import SETTINGS


def check_results(instruction, results):
    """Raise if numerics are checked and a result is not finite."""
    if SETTINGS.check_numerics:
        for array in results:
            host = np.asarray(array)
            if host.dtype.kind in "fc" and not np.all(np.isfinite(host)):
                from fitloom.engine.trace import user_line
                kind = "NaN" if np.isnan(host).any() else "inf"
                raise InvalidArgumentError(
                    f"{instruction.name} at {user_line()} produced {kind} (shape {host.shape}).")
    return results
