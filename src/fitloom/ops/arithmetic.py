# SPDX-License-Identifier: Apache-2.0
"""Element by element: arithmetic, comparison, logic, bits, special functions.

Both inputs of a binary operation have one dtype (a Python number takes the tensor's), shapes broadcast as in NumPy.
Gradients follow TensorFlow where JAX differs: at a tie `maximum` and `minimum` give all to `x`; `pow` is 0 in the
direction of the exponent where the base is not positive.
"""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.engine import op
from fitloom.ops.calling import alike, binary, dtype_of, unary

# ---- one input


@jax.custom_jvp
def absolute_value(x):
    """|x| of an array, with derivative sign(x): 0 at 0."""
    return jnp.abs(x)


@absolute_value.defjvp
def _absolute_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jax.jvp(jnp.abs, primals, tangents)
    return absolute_value(x), dx * jnp.sign(x)


@jax.custom_jvp
def _bessel_i0(x):
    return special.i0(x)


@_bessel_i0.defjvp
def _bessel_i0_jvp(primals, tangents):
    return special.i0(primals[0]), tangents[0] * special.i1(primals[0])


abs = unary("abs", absolute_value, "Return |x| (complex: the modulus); the derivative at 0 is 0.", host=np.abs)
negative = unary("negative", jnp.negative, "Return -x.", host=np.negative)
square = unary("square", jnp.square, "Return x * x.", host=np.square)
sqrt = unary("sqrt", jnp.sqrt, "Return the square root; its derivative at 0 is infinite.")
rsqrt = unary("rsqrt", lax.rsqrt, "Return 1 / sqrt(x).")
exp = unary("exp", jnp.exp, "Return e ** x.")
expm1 = unary("expm1", jnp.expm1, "Return e ** x - 1, exact for small x.")
log = unary("log", jnp.log, "Return the natural logarithm.")
log1p = unary("log1p", jnp.log1p, "Return log(1 + x), exact for small x.")
sin = unary("sin", jnp.sin, "Return the sine of x in radians.")
cos = unary("cos", jnp.cos, "Return the cosine of x in radians.")
tan = unary("tan", jnp.tan, "Return the tangent of x in radians.")
asin = unary("asin", jnp.arcsin, "Return the inverse sine.")
acos = unary("acos", jnp.arccos, "Return the inverse cosine.")
atan = unary("atan", jnp.arctan, "Return the inverse tangent.")
sinh = unary("sinh", jnp.sinh, "Return the hyperbolic sine.")
cosh = unary("cosh", jnp.cosh, "Return the hyperbolic cosine.")
tanh = unary("tanh", jnp.tanh, "Return the hyperbolic tangent.")
asinh = unary("asinh", jnp.arcsinh, "Return the inverse hyperbolic sine.")
acosh = unary("acosh", jnp.arccosh, "Return the inverse hyperbolic cosine.")
atanh = unary("atanh", jnp.arctanh, "Return the inverse hyperbolic tangent.")
sigmoid = unary("sigmoid", jax.nn.sigmoid, "Return 1 / (1 + exp(-x)).")
softplus = unary("softplus", jax.nn.softplus, "Return log(1 + exp(x)), without overflow.", x="features")
log_sigmoid = unary("log_sigmoid", jax.nn.log_sigmoid, "Return log(sigmoid(x)), without underflow.")
erf = unary("erf", special.erf, "Return the error function.")
erfc = unary("erfc", special.erfc, "Return 1 - erf(x), exact for large x.")
erfinv = unary("erfinv", special.erfinv, "Return the inverse of erf on (-1, 1).")
erfcinv = unary("erfcinv", lambda x: special.erfinv(1 - x), "Return the inverse of erfc on (0, 2).")
ndtri = unary("ndtri", special.ndtri, "Return the quantile function of the standard normal distribution.")
lgamma = unary("lgamma", special.gammaln, "Return log |gamma(x)|.")
digamma = unary("digamma", special.digamma, "Return the derivative of lgamma.")
bessel_i0 = unary("bessel_i0", _bessel_i0, "Return the modified Bessel function of order 0.")
bessel_i0e = unary("bessel_i0e", special.i0e, "Return exp(-|x|) * bessel_i0(x).")
bessel_i1 = unary("bessel_i1", special.i1, "Return the modified Bessel function of order 1.")
bessel_i1e = unary("bessel_i1e", special.i1e, "Return exp(-|x|) * bessel_i1(x).")
floor = unary("floor", lambda x: x if _integral(x) else jnp.floor(x), "Return the largest whole number <= x.")
ceil = unary("ceil", lambda x: x if _integral(x) else jnp.ceil(x), "Return the smallest whole number >= x.")
round = unary("round", lambda x: x if _integral(x) else lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
              "Round to the nearest whole number, halves to the even one.")
rint = round
sign = unary("sign", jnp.sign, "Return -1, 0 or 1; for complex numbers x / |x|.")
reciprocal = unary("reciprocal", lambda x: 1 / x if not _integral(x) else lax.div(jnp.ones_like(x), x),
                   "Return 1 / x.")
reciprocal_no_nan = unary("reciprocal_no_nan", lambda x: _divide_no_nan(jnp.ones_like(x), x),
                          "Return 1 / x, and 0 where x is 0.")
is_finite = unary("is_finite", jnp.isfinite, "Return whether each element is neither infinite nor NaN.")
is_nan = unary("is_nan", jnp.isnan, "Return whether each element is NaN.")
is_inf = unary("is_inf", jnp.isinf, "Return whether each element is infinite.")
logical_not = unary("logical_not", jnp.logical_not, "Return the negation of booleans.", dtype=bool)
invert = unary("invert", jnp.invert, "Flip every bit of integers.")
real = unary("real", jnp.real, "Return the real part.", x="input")
imag = unary("imag", jnp.imag, "Return the imaginary part.", x="input")
conj = unary("conj", jnp.conj, "Return the complex conjugate; real numbers unchanged.")
angle = unary("angle", jnp.angle, "Return the argument of complex numbers.", x="input")


def _integral(x):
    return not jnp.issubdtype(x.dtype, jnp.inexact)


# ---- two inputs of one dtype


def _maximum(x, y):
    return jnp.where((x >= y) | (x != x), x, y)


def _minimum(x, y):
    return jnp.where((x <= y) | (x != x), x, y)


def _floordiv(x, y):
    return jnp.floor_divide(x, y) if _integral(x) else jnp.floor(x / y)


def _realdiv(x, y):
    """Divide; whole numbers give float64 (float32 for 8 and 16 bits), as in TensorFlow."""
    if _integral(x):
        target = jnp.float32 if x.dtype.itemsize <= 2 else jnp.float64
        x, y = x.astype(target), y.astype(target)
    return lax.div(*jnp.broadcast_arrays(x, y))


def _divide_no_nan(x, y):
    zero = y == 0
    return jnp.where(zero, jnp.zeros((), x.dtype), x / jnp.where(zero, jnp.ones((), y.dtype), y))


def _times_log(log, x, y):
    zero = x == 0
    return jnp.where(zero, jnp.zeros((), x.dtype), x * log(jnp.where(zero, jnp.ones((), y.dtype), y)))


def _next_after(x, y):
    fixed = lax.stop_gradient(x)
    return x + (jnp.nextafter(fixed, lax.stop_gradient(y)) - fixed)  # the difference of neighbours is exact


def _polygamma(a, x):
    """(-1)^(a+1) a! zeta(a + 1, x), and digamma for a = 0."""
    order = jnp.where(a == 0, jnp.ones((), a.dtype), a)
    sign = jnp.where(order % 2 == 1, jnp.ones((), a.dtype), -jnp.ones((), a.dtype))
    value = sign * jnp.exp(special.gammaln(order + 1)) * special.zeta(order + 1, x)
    return jnp.where(a == 0, special.digamma(x), value)


def _multiply_no_nan(x, y):
    return jnp.where(y == 0, jnp.zeros((), x.dtype), x * y)


@jax.custom_jvp
def _power(x, y):
    return lax.pow(*jnp.broadcast_arrays(x, y)) if not _integral(x) else jnp.power(x, y)


@_power.defjvp
def _power_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    z = _power(x, y)
    one, zero = jnp.ones((), x.dtype), jnp.zeros((), x.dtype)
    by_x = jnp.where(y == 0, zero, y * _power(x, jnp.where(y == 0, one, y - one)))
    positive = x != 0 if jnp.issubdtype(x.dtype, jnp.complexfloating) else x > 0
    by_y = jnp.where(positive, z * jnp.log(jnp.where(positive, x, one)), zero)
    return z, dx * by_x + dy * by_y


def _divide_on_host(x, y):
    if x.dtype.kind != "f":
        return NotImplemented
    return np.divide(x, y)


add = binary("add", jnp.add, "Return x + y.", host=np.add)
subtract = binary("subtract", jnp.subtract, "Return x - y.", host=np.subtract)
multiply = binary("multiply", jnp.multiply, "Return x * y.", host=np.multiply)
truediv = binary("truediv", _realdiv, "Return x / y; whole numbers are divided as floats.", host=_divide_on_host)
realdiv = binary("realdiv", _realdiv, "Return x / y for floats.")
floordiv = binary("floordiv", _floordiv, "Return floor(x / y).", host=np.floor_divide)
floormod = binary("floormod", jnp.mod, "Return x - floor(x / y) * y: the sign is y's.", host=np.mod)
truncatediv = binary("truncatediv", lambda x, y: lax.div(*jnp.broadcast_arrays(x, y)) if _integral(x)
                     else jnp.trunc(x / y), "Return x / y rounded towards 0.")
truncatemod = binary("truncatemod", lambda x, y: lax.rem(*jnp.broadcast_arrays(x, y)),
                     "Return the remainder of truncatediv: the sign is x's.")
maximum = binary("maximum", _maximum, "Return the larger of x and y; NaN if either is.", host=np.maximum)
minimum = binary("minimum", _minimum, "Return the smaller of x and y; NaN if either is.", host=np.minimum)
squared_difference = binary("squared_difference", lambda x, y: jnp.square(x - y), "Return (x - y) ** 2.")
divide_no_nan = binary("divide_no_nan", _divide_no_nan, "Return x / y, and 0 where y is 0.")
multiply_no_nan = binary("multiply_no_nan", _multiply_no_nan, "Return x * y, and 0 where y is 0.")
atan2 = binary("atan2", jnp.arctan2, "Return the angle of the point (x, y).", x="y", y="x")
xlogy = binary("xlogy", lambda x, y: _times_log(jnp.log, x, y), "Return x * log(y), and 0 where x is 0.")
xlog1py = binary("xlog1py", lambda x, y: _times_log(jnp.log1p, x, y), "Return x * log1p(y), and 0 where x is 0.")
xdivy = binary("xdivy", lambda x, y: jnp.where(x == 0, jnp.zeros((), x.dtype),
                                               x / jnp.where(x == 0, jnp.ones((), y.dtype), y)),
               "Return x / y, and 0 where x is 0.")
nextafter = binary("nextafter", lambda x, y: _next_after(x, y),
                   "Return the next number after x1 in the direction of x2.", x="x1", y="x2")
igamma = binary("igamma", special.gammainc, "Return the lower regularized incomplete gamma function.", x="a", y="x")
igammac = binary("igammac", special.gammaincc, "Return the upper regularized incomplete gamma function.", x="a", y="x")
zeta = binary("zeta", special.zeta, "Return the Hurwitz zeta function.", y="q")
polygamma = binary("polygamma",
                   lambda a, x: _polygamma(lax.stop_gradient(a), x), "Return the a-th derivative of digamma.",
                   x="a", y="x")

_POW = op(_power, name="pow")


@op
def _pow_static(x, *, exponent):
    """x ** exponent where the exponent is known: XLA turns it into products and roots."""
    if exponent == builtins.int(exponent):
        return lax.integer_pow(x, builtins.int(exponent))
    if exponent == 0.5:
        return jnp.sqrt(x)
    if exponent == -0.5:
        return lax.rsqrt(x)
    return _power(x, jnp.asarray(exponent, x.dtype))


def pow(x, y, name=None):
    """Return x ** y.

    The derivative by y is 0 where x <= 0. A Python exponent that is a multiple of 1/2 is part of the compiled
    program, so that `x ** 2` costs one product.

    Example:
        >>> import fitloom as tf
        >>> tf.pow(tf.constant([2.0, 3.0]), 2).numpy().tolist()
        [4.0, 9.0]
    """
    if y.__class__ in (int, float) and builtins.abs(y) <= 16 and y * 2 == builtins.int(y * 2):
        dtype = dtype_of(x)
        if dtype is not None and (dtype.is_inexact or (y.__class__ is int and y >= 0)):
            return _pow_static(x, exponent=y)
    return _POW(*alike("pow", x, y))


def divide(x, y, name=None):
    """Return x / y, Python's division: whole numbers give floats."""
    return truediv(x, y)


mod = floormod
div_no_nan = divide_no_nan

# ---- comparison and logic

equal = binary("equal", jnp.equal, "Return x == y.", host=np.equal)
not_equal = binary("not_equal", jnp.not_equal, "Return x != y.", host=np.not_equal)
less = binary("less", jnp.less, "Return x < y.", host=np.less)
less_equal = binary("less_equal", jnp.less_equal, "Return x <= y.", host=np.less_equal)
greater = binary("greater", jnp.greater, "Return x > y.", host=np.greater)
greater_equal = binary("greater_equal", jnp.greater_equal, "Return x >= y.", host=np.greater_equal)
logical_and = binary("logical_and", jnp.logical_and, "Return x and y, for booleans.", dtype=bool)
logical_or = binary("logical_or", jnp.logical_or, "Return x or y, for booleans.", dtype=bool)
logical_xor = binary("logical_xor", jnp.logical_xor, "Return x != y, for booleans.", dtype=bool)
bitwise_and = binary("bitwise_and", jnp.bitwise_and, "Return the bits set in both x and y.")
bitwise_or = binary("bitwise_or", jnp.bitwise_or, "Return the bits set in x or y.")
bitwise_xor = binary("bitwise_xor", jnp.bitwise_xor, "Return the bits set in exactly one of x and y.")
left_shift = binary("left_shift", jnp.left_shift, "Shift the bits of x up by y.")
right_shift = binary("right_shift", jnp.right_shift, "Shift the bits of x down by y, keeping the sign.")


@op
def _approximate_equal(x, y, *, tolerance):
    return jnp.abs(x - y) < tolerance


def approximate_equal(x, y, tolerance=0.00001, name=None):
    """Return |x - y| < tolerance."""
    return _approximate_equal(*alike("approximate_equal", x, y), tolerance=float(tolerance))


# ---- many inputs


@op(name="add_n")
def _add_n(*inputs):
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


def add_n(inputs, name=None):
    """Return the sum of a list of tensors of one shape and dtype."""
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    if not inputs:
        raise InvalidArgumentError("add_n expected at least one tensor, but received an empty list.")
    return _add_n(*alike("add_n", *inputs))


def accumulate_n(inputs, shape=None, tensor_dtype=None, name=None):
    """Return the sum of a list of tensors (the same as `add_n`)."""
    return add_n(inputs)


def scalar_mul(scalar, x, name=None):
    """Return scalar * x."""
    return multiply(x, scalar)


@op
def _complex(x, y):
    return lax.complex(*jnp.broadcast_arrays(x, y))


def complex(real, imag, name=None):
    """Return real + i * imag: complex64 from float32, complex128 from float64."""
    return _complex(*alike("complex", real, imag))


@op
def _betainc(a, b, x):
    return special.betainc(lax.stop_gradient(a), lax.stop_gradient(b), x)


def betainc(a, b, x, name=None):
    """Return the regularized incomplete beta function; it has a gradient by x only."""
    return _betainc(*alike("betainc", a, b, x))


@op
def _lbeta(x):
    return jnp.sum(special.gammaln(x), axis=-1) - special.gammaln(jnp.sum(x, axis=-1))


def lbeta(x, name=None):
    """Return log of the multivariate beta function over the last axis."""
    return _lbeta(x)


@op
def _add_bias(value, bias, *, axis):
    shape = [1] * value.ndim
    shape[axis] = bias.shape[0]
    return value + bias.reshape(shape)


def bias_add(value, bias, data_format=None, name=None):
    """Add a vector along the channel axis: the last one, or axis 1 for `data_format` 'NC...'.

    Args:
        value: (..., channels), or (N, channels, ...) for 'NCHW' and the like.
        bias: (channels,).
    """
    first = data_format is not None and str(data_format).startswith("NC")
    return _add_bias(value, bias, axis=1 if first else -1)


def real_dtype(dtype):
    """Return float32 for complex64, float64 for complex128, and other dtypes unchanged."""
    return dtypes.as_dtype(dtype).real_dtype




stop_gradient = unary("stop_gradient", lax.stop_gradient, "Return x; no gradient flows back through it.")


@op(name="zero_fraction")
def _zero_fraction(x):
    return jnp.mean((x == 0).astype(jnp.float32), dtype=jnp.float32)


def zero_fraction(value, name=None):
    """Return the share of elements that are 0, float32."""
    return _zero_fraction(value)


def polyval(coeffs, x, name=None):
    """Return coeffs[0] x^n + ... + coeffs[n], by Horner's rule; the coefficients are a list of tensors."""
    if not isinstance(coeffs, list):
        raise ValueError(f"polyval expected a list of coefficients, but received {type(coeffs).__name__}.")
    value = multiply(x, 0)
    for coefficient in coeffs:
        value = add(multiply(value, x), coefficient)
    return value
