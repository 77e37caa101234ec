# SPDX-License-Identifier: Apache-2.0
"""How near two numbers have to be. Loosening one of these needs its reason in the commit message.

Use: `np.testing.assert_allclose(actual, expected, **FLOAT32)`, or `**for_dtype(actual.dtype)`.
"""

import numpy as np

# One operation, or a few whose errors do not add up. Eight to ten units in the last place.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-14}
FLOAT32 = {"rtol": 1e-6, "atol": 1e-7}
BFLOAT16 = {"rtol": 2e-2, "atol": 1e-2}
FLOAT16 = {"rtol": 2e-3, "atol": 1e-3}

# Sums over hundreds of terms (matmul, convolution, normalisation): the order of summation differs.
FLOAT32_SUMS = {"rtol": 1e-5, "atol": 1e-5}
FLOAT16_SUMS = {"rtol": 1e-2, "atol": 5e-3}
BFLOAT16_SUMS = {"rtol": 5e-2, "atol": 2e-2}

# Against another implementation after 20 optimizer steps (tests/parity).
PARITY = {"rtol": 1e-5, "atol": 1e-6}

# Central differences in float64 with a step of 1e-6: the truncation and the rounding error meet near 1e-9.
FINITE_DIFFERENCES = {"rtol": 1e-6, "atol": 1e-8}

_BY_DTYPE = {"float64": FLOAT64, "float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}
_EXACT = {"rtol": 0, "atol": 0}


def for_dtype(dtype):
    """Return the tolerance of one operation in `dtype`; integers and bools are exact."""
    return _BY_DTYPE.get(np.dtype(dtype).name, _EXACT)
