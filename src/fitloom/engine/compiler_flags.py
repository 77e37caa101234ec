# SPDX-License-Identifier: Apache-2.0
"""Go around faults of XLA's compiler in versions that have them.

jaxlib 0.10.2 and 0.11.0 hand reductions on CPUs to YNNPACK, which computes some of them wrong without a word (a matrix
product, squared and summed, above 32 K rows: jax issue 39103) and crashes in others (39257, 40412). There the fusion of
reductions is turned off, unless XLA_FLAGS say anything about it. `python -m fitloom doctor` checks the result.
"""
import os

import jax.lib

FAULTY = ("0.10.2", "0.11.0")
NAME = "--xla_cpu_experimental_ynn_fusion_type"
REMEDY = f"{NAME}=-reduce"


def avoid_faults():
    """Give XLA its flags before it reads them; return whether anything was set. The environment stays as it was."""
    given = os.environ.get("XLA_FLAGS", "")
    if jax.lib.__version__ not in FAULTY or NAME in given:
        return False
    os.environ["XLA_FLAGS"] = f"{given} {REMEDY}".strip()
    try:
        from jax._src.lib import xla_client

        _ = xla_client.CompileOptions().executable_build_options.debug_options   # XLA reads its flags once, here
    except (ImportError, AttributeError):
        return True                        # read later: then child processes see the flag as well
    if given:
        os.environ["XLA_FLAGS"] = given
    else:
        del os.environ["XLA_FLAGS"]
    return True
