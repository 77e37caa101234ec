# SPDX-License-Identifier: Apache-2.0
"""`tf.math.special`."""
from jax.scipy import special as _special

from fitloom.engine import op
from fitloom.ops.arithmetic import bessel_i0, bessel_i0e, bessel_i1, bessel_i1e
from fitloom.ops.calling import tensor

__all__ = ["bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "expint", "spence"]


@op(name="expint")
def _expint(x):
    return _special.expi(x)


@op(name="spence")
def _spence(x):
    return _special.spence(x)


def expint(x, name=None):
    """Return the exponential integral of `x`."""
    return _expint(tensor(x))


def spence(x, name=None):
    """Return Spence's integral of `x`: of log(t) / (1 - t) from 1 to x."""
    return _spence(tensor(x))
