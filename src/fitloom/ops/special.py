# SPDX-License-Identifier: Apache-2.0
"""`tf.math.special`."""
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special as _special
from scipy import special as _host

from fitloom.engine import op
from fitloom.ops.arithmetic import bessel_i0, bessel_i0e, bessel_i1, bessel_i1e
from fitloom.ops.calling import tensor

__all__ = ["bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e",
           "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1", "dawsn", "expint", "fresnel_cos", "fresnel_sin",
           "spence"]


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


def _on_host(function, derivative):
    """Return SciPy's function of one argument inside compiled programs, with its derivative (x, value) -> slope."""
    @jax.custom_jvp
    def value(x):
        def computed(given):
            given = np.asarray(given)
            wide = given.astype(np.float64) if given.dtype.itemsize == 2 else given
            return np.asarray(function(wide), given.dtype)
        return jax.pure_callback(computed, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims")

    @value.defjvp
    def rule(primals, tangents):
        x, = primals
        found = value(x)
        return found, derivative(x, found) * tangents[0]
    return value


def _fresnel(part):
    return lambda x: _host.fresnel(x)[part]


_j0 = _on_host(_host.j0, lambda x, y: -_j1(x))
_j1 = _on_host(_host.j1, lambda x, y: jnp.where(x == 0, 0.5, _j0(x) - y / jnp.where(x == 0, 1, x)).astype(x.dtype))
_y0 = _on_host(_host.y0, lambda x, y: -_y1(x))
_y1 = _on_host(_host.y1, lambda x, y: _y0(x) - y / x)
_k0 = _on_host(_host.k0, lambda x, y: -_k1(x))
_k1 = _on_host(_host.k1, lambda x, y: -_k0(x) - y / x)
_k0e = _on_host(_host.k0e, lambda x, y: y - _k1e(x))
_k1e = _on_host(_host.k1e, lambda x, y: y * (1 - 1 / x) - _k0e(x))
_dawsn = _on_host(_host.dawsn, lambda x, y: 1 - 2 * x * y)
_fresnel_sin = _on_host(_fresnel(0), lambda x, y: jnp.sin(np.pi / 2 * x * x))
_fresnel_cos = _on_host(_fresnel(1), lambda x, y: jnp.cos(np.pi / 2 * x * x))


def _public(name, function, summary):
    recorded = op(lambda x: function(x), name=name)

    def public(x, name=None):
        return recorded(tensor(x))
    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Return {summary} of `x`, element by element, computed on the host."
    return public


bessel_j0 = _public("bessel_j0", _j0, "the Bessel function J0")
bessel_j1 = _public("bessel_j1", _j1, "the Bessel function J1")
bessel_y0 = _public("bessel_y0", _y0, "the Bessel function Y0")
bessel_y1 = _public("bessel_y1", _y1, "the Bessel function Y1")
bessel_k0 = _public("bessel_k0", _k0, "the modified Bessel function K0")
bessel_k1 = _public("bessel_k1", _k1, "the modified Bessel function K1")
bessel_k0e = _public("bessel_k0e", _k0e, "exp(x) K0(x)")
bessel_k1e = _public("bessel_k1e", _k1e, "exp(x) K1(x)")
dawsn = _public("dawsn", _dawsn, "Dawson's integral exp(-x^2) int_0^x exp(t^2) dt")
fresnel_sin = _public("fresnel_sin", _fresnel_sin, "Fresnel's integral of sin(pi t^2 / 2) from 0")
fresnel_cos = _public("fresnel_cos", _fresnel_cos, "Fresnel's integral of cos(pi t^2 / 2) from 0")
