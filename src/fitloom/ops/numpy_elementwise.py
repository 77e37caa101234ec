# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`, element by element: NumPy's names over the operations of this room."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops import arithmetic, creating, indexing, shaping
from fitloom.ops.calling import as_index, host_value, static_axis, static_int, static_ints
from fitloom.ops.casting import cast as _cast
from fitloom.ops.casting import saturate_cast as _saturate_cast
from fitloom.ops.numpy_rules import as_float, as_number, as_tensor, bits, one, promoted, two, with_attributes

# ---- one tensor, element by element

abs = absolute = one("absolute", arithmetic.absolute_value, "Return |x|.")
angle = one("angle", jnp.angle, "Return the argument of complex numbers.", floats=True)
arccos = one("arccos", jnp.arccos, "Return the inverse cosine.", floats=True)
arccosh = one("arccosh", jnp.arccosh, "Return the inverse hyperbolic cosine.", floats=True)
arcsin = one("arcsin", jnp.arcsin, "Return the inverse sine.", floats=True)
arcsinh = one("arcsinh", jnp.arcsinh, "Return the inverse hyperbolic sine.", floats=True)
arctan = one("arctan", jnp.arctan, "Return the inverse tangent.", floats=True)
arctanh = one("arctanh", jnp.arctanh, "Return the inverse hyperbolic tangent.", floats=True)
bitwise_not = bitwise_invert = one("bitwise_invert", jnp.invert, "Flip every bit.")
cbrt = one("cbrt", jnp.cbrt, "Return the cube root.", floats=True)
ceil = one("ceil", jnp.ceil, "Return the smallest whole number >= x, as a float.", floats=True)
conj = conjugate = one("conjugate", jnp.conj, "Return the complex conjugate.")
copy = one("copy", jnp.copy, "Return a copy.")
cos = one("cos", jnp.cos, "Return the cosine.", floats=True)
cosh = one("cosh", jnp.cosh, "Return the hyperbolic cosine.", floats=True)
deg2rad = one("deg2rad", lambda x: x * np.asarray(np.pi / 180, x.dtype), "Return degrees as radians.", floats=True)
erf = one("erf", special.erf, "Return the error function.", floats=True)
erfc = one("erfc", special.erfc, "Return 1 - erf(x).", floats=True)
erfinv = one("erfinv", special.erfinv, "Return the inverse of erf.", floats=True)
exp = one("exp", jnp.exp, "Return e ** x.", floats=True)
exp2 = one("exp2", jnp.exp2, "Return 2 ** x.", floats=True)
expm1 = one("expm1", jnp.expm1, "Return e ** x - 1.", floats=True)
fabs = one("fabs", arithmetic.absolute_value, "Return |x| as a float.", floats=True)
floor = one("floor", jnp.floor, "Return the largest whole number <= x, as a float.", floats=True)
i0 = one("i0", special.i0, "Return the modified Bessel function of order 0.", floats=True)
imag = one("imag", jnp.imag, "Return the imaginary part.")
isfinite = one("isfinite", jnp.isfinite, "Return whether x is neither infinite nor NaN.")
isinf = one("isinf", jnp.isinf, "Return whether x is infinite.")
isnan = one("isnan", jnp.isnan, "Return whether x is NaN.")
isneginf = one("isneginf", jnp.isneginf, "Return whether x is minus infinity.")
isposinf = one("isposinf", jnp.isposinf, "Return whether x is plus infinity.")
isreal = one("isreal", jnp.isreal, "Return whether the imaginary part is 0.")
log = one("log", jnp.log, "Return the natural logarithm.", floats=True)
log10 = one("log10", lambda x: jnp.log(x) * np.asarray(1 / np.log(10), x.dtype), "Return log to base 10.", floats=True)
log1p = one("log1p", jnp.log1p, "Return log(1 + x).", floats=True)
log2 = one("log2", lambda x: jnp.log(x) * np.asarray(1 / np.log(2), x.dtype), "Return log to base 2.", floats=True)
logical_not = one("logical_not", lambda x: jnp.logical_not(x.astype(bool)), "Return not x.")
negative = one("negative", jnp.negative, "Return -x.")
rad2deg = one("rad2deg", lambda x: x * np.asarray(180 / np.pi, x.dtype), "Return radians as degrees.", floats=True)
ravel = one("ravel", lambda x: x.reshape(-1), "Return all elements in one axis.")
real = one("real", jnp.real, "Return the real part.")
reciprocal = one("reciprocal", lambda x: 1 / x, "Return 1 / x.", floats=True)
rsqrt = one("rsqrt", jax.lax.rsqrt, "Return 1 / sqrt(x).", floats=True)
sign = one("sign", jnp.sign, "Return -1, 0 or 1.")
signbit = one("signbit", jnp.signbit, "Return whether the sign bit is set.")
sin = one("sin", jnp.sin, "Return the sine.", floats=True)
sinc = one("sinc", jnp.sinc, "Return sin(pi x) / (pi x).", floats=True)
sinh = one("sinh", jnp.sinh, "Return the hyperbolic sine.", floats=True)
sqrt = one("sqrt", jnp.sqrt, "Return the square root.", floats=True)
square = one("square", jnp.square, "Return x * x.")
tan = one("tan", jnp.tan, "Return the tangent.", floats=True)
tanh = one("tanh", jnp.tanh, "Return the hyperbolic tangent.", floats=True)
trunc = one("trunc", jnp.trunc, "Return x without its fraction.", floats=True)
view_as_complex = one("view_as_complex", lambda x: jax.lax.complex(x[..., 0], x[..., 1]),
                      "Return complex numbers from pairs in the last axis.")
view_as_real = one("view_as_real", lambda x: jnp.stack([jnp.real(x), jnp.imag(x)], -1),
                   "Return (real, imaginary) pairs in a new last axis.")

# ---- two tensors, element by element

add = two("add", arithmetic.add.op, "Return x1 + x2.")
arctan2 = two("arctan2", jnp.arctan2, "Return the angle of the point (x2, x1).", floats=True)
bitwise_and = bits("bitwise_and", jnp.bitwise_and, "Return the bits set in both.")
bitwise_left_shift = left_shift = bits("bitwise_left_shift", jnp.left_shift, "Shift the bits up.")
bitwise_or = bits("bitwise_or", jnp.bitwise_or, "Return the bits set in either.")
bitwise_right_shift = right_shift = bits("bitwise_right_shift", jnp.right_shift, "Shift the bits down.")
bitwise_xor = bits("bitwise_xor", jnp.bitwise_xor, "Return the bits set in exactly one.")
divide = true_divide = two("divide", arithmetic.truediv.op, "Return x1 / x2.", floats=True)
divide_no_nan = two("divide_no_nan", arithmetic.divide_no_nan.op, "Return x1 / x2, and 0 where x2 is 0.", floats=True)
equal = two("equal", jnp.equal, "Return x1 == x2.")
floor_divide = two("floor_divide", arithmetic.floordiv.op, "Return floor(x1 / x2).")
fmax = two("fmax", jnp.fmax, "Return the larger; the other where one is NaN.")
fmin = two("fmin", jnp.fmin, "Return the smaller; the other where one is NaN.")
fmod = two("fmod", jnp.fmod, "Return the remainder with the sign of x1.")
gcd = two("gcd", jnp.gcd, "Return the greatest common divisor.")
greater = two("greater", jnp.greater, "Return x1 > x2.")
greater_equal = two("greater_equal", jnp.greater_equal, "Return x1 >= x2.")
heaviside = two("heaviside", jnp.heaviside, "Return 0 below 0, x2 at 0, 1 above.", floats=True)
hypot = two("hypot", jnp.hypot, "Return sqrt(x1 ** 2 + x2 ** 2).", floats=True)
inner = two("inner", jnp.inner, "Return the sum of products over the last axes.")
kron = two("kron", jnp.kron, "Return the Kronecker product.")
lcm = two("lcm", jnp.lcm, "Return the least common multiple.")
less = two("less", jnp.less, "Return x1 < x2.")
less_equal = two("less_equal", jnp.less_equal, "Return x1 <= x2.")
logaddexp = two("logaddexp", jnp.logaddexp, "Return log(exp(x1) + exp(x2)).", floats=True)
logaddexp2 = two("logaddexp2", jnp.logaddexp2, "Return log2(2 ** x1 + 2 ** x2).", floats=True)
maximum = two("maximum", arithmetic.maximum.op, "Return the larger.")
minimum = two("minimum", arithmetic.minimum.op, "Return the smaller.")
mod = two("mod", jnp.mod, "Return the remainder with the sign of x2.")
multiply = two("multiply", arithmetic.multiply.op, "Return x1 * x2.")
nextafter = two("nextafter", jnp.nextafter, "Return the next number after x1 towards x2.", floats=True)
not_equal = two("not_equal", jnp.not_equal, "Return x1 != x2.")
outer = two("outer", lambda a, b: jnp.outer(a, b), "Return all products of elements.")
subtract = two("subtract", arithmetic.subtract.op, "Return x1 - x2.")
vdot = two("vdot", jnp.vdot, "Return the dot product of the flattened inputs, the first conjugated.")
_logical = {name: op(getattr(jnp, name), name=name) for name in ("logical_and", "logical_or", "logical_xor")}


def logical_and(x1, x2):
    """Return x1 and x2."""
    return _logical["logical_and"](as_tensor(x1, "bool"), as_tensor(x2, "bool"))


def logical_or(x1, x2):
    """Return x1 or x2."""
    return _logical["logical_or"](as_tensor(x1, "bool"), as_tensor(x2, "bool"))


def logical_xor(x1, x2):
    """Return whether exactly one is true."""
    return _logical["logical_xor"](as_tensor(x1, "bool"), as_tensor(x2, "bool"))


def power(x1, x2):
    """Return x1 ** x2."""
    if isinstance(x2, (int, float)) and not isinstance(x2, bool):
        x1 = as_tensor(x1)
        if isinstance(x2, int) or dtypes.as_dtype(x1.dtype).is_inexact:
            return arithmetic.pow(x1, x2)
    return arithmetic.pow(*promoted(x1, x2))


@op(name="ldexp")
def _ldexp(x, n):
    return x * jnp.exp2(n.astype(x.dtype))


def ldexp(x1, x2):
    """Return x1 * 2 ** x2."""
    return _ldexp(as_float(x1), as_tensor(x2))


@op(name="clip")
def _clip(x, low, high):
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def clip(x, x_min, x_max):
    """Return x limited to [x_min, x_max]; the gradient at both ends goes to x."""
    return _clip(*promoted(as_number(x), x_min, x_max))


@op(name="round")
def _round(x, *, decimals):
    return jnp.round(x, decimals)


def round(x, decimals=0):
    """Return x rounded to `decimals`, halves to even."""
    return _round(as_tensor(x), decimals=int(decimals))


@op(name="nan_to_num")
def _nan_to_num(x, *, nan, posinf, neginf):
    return jnp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """Return x with NaN and infinities replaced (by the largest numbers of the dtype, if None)."""
    return _nan_to_num(as_tensor(x), nan=nan, posinf=posinf, neginf=neginf)


@op(name="isclose")
def _isclose(a, b, *, rtol, atol, equal_nan):
    return jnp.isclose(a, b, rtol, atol, equal_nan)


def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Return |x1 - x2| <= atol + rtol * |x2|."""
    return _isclose(*promoted(x1, x2), rtol=float(rtol), atol=float(atol), equal_nan=bool(equal_nan))


def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Return whether all elements are close."""
    from fitloom.ops.reductions import reduce_all

    return reduce_all(isclose(x1, x2, rtol, atol, equal_nan))


@op(name="isin")
def _isin(x, members, *, invert):
    return jnp.isin(x, members, invert=invert)


def isin(x1, x2, assume_unique=False, invert=False):
    """Return whether each element of x1 occurs in x2."""
    return _isin(*promoted(x1, x2), invert=bool(invert))


@op(name="where")
def _where(condition, x, y):
    return jnp.where(condition, x, y)


def where(condition, x1=None, x2=None):
    """Return x1 where the condition holds, else x2; with the condition alone, the positions of true elements."""
    if (x1 is None) != (x2 is None):
        raise ValueError("where expected both x1 and x2, or neither.")
    condition = as_tensor(condition, "bool")
    if x1 is None:
        return nonzero(condition)
    return _where(condition, *promoted(x1, x2))


def nonzero(x):
    """Return the positions of elements that are not 0, one tensor an axis (values known)."""
    return tuple(engine.Tensor(p.astype(np.int32)) for p in np.nonzero(host_value(as_tensor(x), "nonzero's input")))


@op(name="select")
def _select(*arrays, count):
    return jnp.select([c.astype(bool) for c in arrays[:count]], arrays[count:-1], arrays[-1])


def select(condlist, choicelist, default=0):
    """Return, by element, the choice of the first condition that holds."""
    choices = promoted(*choicelist, default)
    return _select(*[as_tensor(c) for c in condlist], *choices, count=len(condlist))


@op(name="polar")
def _polar(length, angle):
    return jax.lax.complex(length * jnp.cos(angle), length * jnp.sin(angle))


def polar(abs_, angle):
    """Return abs * exp(i angle)."""
    return _polar(*promoted(abs_, angle, floats=True))
