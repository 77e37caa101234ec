# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`, element by element and shapes: NumPy's names over the operations of this room."""

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
from fitloom.ops.numpy_rules import as_float, as_number, as_tensor, one, promoted, two, with_attributes

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
bitwise_and = two("bitwise_and", jnp.bitwise_and, "Return the bits set in both.")
bitwise_left_shift = left_shift = two("bitwise_left_shift", jnp.left_shift, "Shift the bits up.")
bitwise_or = two("bitwise_or", jnp.bitwise_or, "Return the bits set in either.")
bitwise_right_shift = right_shift = two("bitwise_right_shift", jnp.right_shift, "Shift the bits down.")
bitwise_xor = two("bitwise_xor", jnp.bitwise_xor, "Return the bits set in exactly one.")
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


# ---- dtypes and tensors


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """Return `x` as a tensor."""
    return as_tensor(x, dtype)


def convert_to_numpy(x):
    """Return the value as a NumPy array."""
    return np.array(host_value(x, "convert_to_numpy's input"))


def is_tensor(x):
    """Return whether `x` is a tensor."""
    return engine.is_tensor(x)


def array(x, dtype=None):
    """Return `x` as a tensor."""
    return as_tensor(x, dtype)


def cast(x, dtype):
    """Return `x` as another dtype."""
    return as_tensor(x, dtype)


def saturate_cast(x, dtype):
    """Return `x` as another dtype, limited to its range."""
    return _saturate_cast(as_tensor(x), dtype)


def dtype(x):
    """Return the name of the dtype."""
    return dtypes.name_of(as_tensor(x).dtype)


def shape(x):
    """Return the shape as a tuple, None for sizes that are not known."""
    return tuple(as_tensor(x).shape)


def ndim(x):
    """Return the number of axes."""
    return len(as_tensor(x).shape)


def size(x):
    """Return the number of elements."""
    count = 1
    for length in as_tensor(x).shape:
        count = None if length is None or count is None else count * length
    return count


@op(name="view")
def _view(x, *, dtype):
    return jax.lax.bitcast_convert_type(x, dtype) if x.dtype.itemsize == jnp.dtype(dtype).itemsize else x.view(dtype)


def view(x, dtype=None):
    """Return the same bits read as another dtype."""
    return _view(as_tensor(x), dtype=dtypes.name_of(dtype or as_tensor(x).dtype))


# ---- from nothing


def _dtype(dtype):
    return config.floatx() if dtype is None else dtypes.name_of(dtype)


def zeros(shape, dtype=None):
    """Return zeros."""
    return creating.zeros(shape, _dtype(dtype))


def ones(shape, dtype=None):
    """Return ones."""
    return creating.ones(shape, _dtype(dtype))


empty = zeros


def full(shape, fill_value, dtype=None):
    """Return a tensor of `fill_value`."""
    return shaping.broadcast_to(as_tensor(fill_value, _dtype(dtype)), static_ints(shape))


def zeros_like(x, dtype=None):
    """Return zeros in the shape of `x`."""
    return creating.zeros_like(as_tensor(x), dtype=dtype)


def ones_like(x, dtype=None):
    """Return ones in the shape of `x`."""
    return creating.ones_like(as_tensor(x), dtype=dtype)


empty_like = zeros_like


@op(name="full_like")
def _full_like(x, value, *, dtype):
    return jnp.broadcast_to(value.astype(dtype), x.shape)


def full_like(x, fill_value, dtype=None):
    """Return `fill_value` in the shape of `x`."""
    x = as_tensor(x)
    return _full_like(x, as_tensor(fill_value), dtype=dtypes.name_of(dtype or x.dtype))


def arange(start, stop=None, step=None, dtype=None):
    """Return start, start + step, ... without `stop`."""
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    parts = [host_value(p, "arange's bounds") for p in (start, stop, step)]
    if dtype is None:
        dtype = config.floatx() if builtins.any(p.dtype.kind == "f" for p in parts) else "int32"
    return engine.Tensor(np.arange(*[p.item() for p in parts]).astype(dtypes.numpy_dtype(dtype)))


def eye(N, M=None, k=0, dtype=None):
    """Return ones on the k-th diagonal."""
    return engine.Tensor(np.eye(static_int(N), None if M is None else static_int(M), int(k),
                                dtype=dtypes.numpy_dtype(_dtype(dtype))))


def identity(n, dtype=None):
    """Return the identity matrix."""
    return eye(n, dtype=dtype)


def tri(N, M=None, k=0, dtype=None):
    """Return ones on and below the k-th diagonal."""
    return engine.Tensor(np.tri(static_int(N), M, int(k), dtype=dtypes.numpy_dtype(_dtype(dtype))))


def _spaced(name, function):
    @op(name=name)
    def recorded(start, stop, *, num, endpoint, dtype, axis, options):
        out = function(start, stop, num, endpoint=endpoint, axis=axis, **dict(options))
        return out.astype(dtype)
    return recorded


_linspace = _spaced("linspace", jnp.linspace)
_logspace = _spaced("logspace", jnp.logspace)
_geomspace = _spaced("geomspace", jnp.geomspace)


def _space(recorded, start, stop, num, endpoint, dtype, axis, **options):
    start, stop = promoted(start, stop, floats=True)
    return recorded(start, stop, num=static_int(num), endpoint=bool(endpoint),
                    dtype=dtypes.name_of(dtype or start.dtype), axis=int(axis), options=tuple(options.items()))


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """Return `num` evenly spaced values (and the step, if `retstep`)."""
    values = _space(_linspace, start, stop, num, endpoint, dtype, axis)
    if not retstep:
        return values
    return values, divide(subtract(stop, start), float(builtins.max(num - 1 if endpoint else num, 1)))


def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """Return base ** evenly spaced exponents."""
    return _space(_logspace, start, stop, num, endpoint, dtype, axis, base=base)


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """Return values whose logarithms are evenly spaced."""
    return _space(_geomspace, start, stop, num, endpoint, dtype, axis)


def _window(function, *more):
    def public(x, *arguments):
        return engine.Tensor(np.asarray(function(static_int(x), *[float(a) for a in arguments]), config.floatx()))
    public.__name__ = public.__qualname__ = function.__name__
    public.__doc__ = f"Return the {function.__name__} window of length x."
    return public


bartlett, blackman, hamming, hanning, kaiser = map(
    _window, (np.bartlett, np.blackman, np.hamming, np.hanning, np.kaiser))


def meshgrid(*x, indexing="xy"):
    """Return coordinate tensors of the grid spanned by vectors."""
    return creating.meshgrid(*[as_tensor(v) for v in x], indexing=indexing)


def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """Return vectors with 1 at each index."""
    _no_sparse(sparse)
    return creating.one_hot(as_tensor(x), num_classes, axis=axis, dtype=_dtype(dtype))


def _no_sparse(sparse):
    if sparse:
        raise NotImplementedError("Sparse results are not made here; use sparse=False.")


def multi_hot(inputs, num_classes=None, axis=-1, dtype=None, sparse=False, **kwargs):
    """Return 1 at every class that occurs along the last axis of `inputs`."""
    from fitloom.ops.reductions import reduce_max

    num_classes = kwargs.pop("num_tokens", num_classes)
    if num_classes is None:
        raise ValueError("multi_hot expected num_classes.")
    _no_sparse(sparse)
    inputs = as_tensor(inputs)
    hot = creating.one_hot(inputs, num_classes, axis=axis, dtype=_dtype(dtype))
    if len(inputs.shape) == 0:
        return hot
    return reduce_max(hot, axis=-2 if axis in (-1, len(inputs.shape)) else (1 if len(inputs.shape) > 1 else 0))


# ---- shapes


def reshape(x, newshape):
    """Return the same elements in another shape; one size may be -1 (or None)."""
    return shaping.reshape(as_tensor(x), newshape)


def transpose(x, axes=None):
    """Return x with its axes permuted."""
    return shaping.transpose(as_tensor(x), axes)


def broadcast_to(x, shape):
    """Return x repeated to `shape`."""
    return shaping.broadcast_to(as_tensor(x), shape)


def expand_dims(x, axis):
    """Return x with new axes of size 1 (a number, or a tuple of positions)."""
    return shaping.expand_dims(as_tensor(x), axis)


def squeeze(x, axis=None):
    """Return x without axes of size 1."""
    return shaping.squeeze(as_tensor(x), axis)


def concatenate(xs, axis=0):
    """Return tensors joined along an axis."""
    return shaping.concat(list(promoted(*xs)), axis)


def stack(x, axis=0):
    """Return tensors joined along a new axis."""
    return shaping.stack(list(promoted(*x)) if isinstance(x, (list, tuple)) else x, axis)


def unstack(x, num=None, axis=0):
    """Return the list of slices along an axis."""
    return shaping.unstack(as_tensor(x), num, axis)


def _stacking(name, function):
    recorded = op(lambda *xs: function(xs), name=name)

    def public(xs):
        return recorded(*promoted(*xs))
    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Return the tensors joined as NumPy's {name} does."
    return public


dstack, hstack, vstack = (_stacking(n, getattr(jnp, n)) for n in ("dstack", "hstack", "vstack"))


@op(name="split")
def _split(x, *, parts, axis, kind):
    return tuple(getattr(jnp, kind)(x, parts, axis) if axis is not None else getattr(jnp, kind)(x, parts))


def _parts(value):
    return static_int(value) if np.ndim(value) == 0 else static_ints(value)


def split(x, indices_or_sections, axis=0):
    """Return equal parts (a number), or the parts between positions (a list)."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=int(axis), kind="split"))


def array_split(x, indices_or_sections, axis=0):
    """Return parts whose sizes differ by at most 1."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=int(axis), kind="array_split"))


def dsplit(x, indices_or_sections):
    """Return parts along axis 2."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="dsplit"))


def hsplit(x, indices_or_sections):
    """Return parts along axis 1 (0 for vectors)."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="hsplit"))


def vsplit(x, indices_or_sections):
    """Return parts along axis 0."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="vsplit"))


def tile(x, repeats):
    """Return x repeated as a whole."""
    return with_attributes_tile(as_tensor(x), repeats)


with_attributes_tile = with_attributes("tile", jnp.tile, "Return x repeated as a whole.")
flip = with_attributes("flip", lambda x, axis=None: jnp.flip(x, axis), "Return x reversed along `axis`.")
fliplr = one("fliplr", jnp.fliplr, "Return x reversed along axis 1.")
flipud = one("flipud", jnp.flipud, "Return x reversed along axis 0.")
moveaxis = with_attributes("moveaxis", lambda x, source, destination: jnp.moveaxis(x, source, destination),
                           "Return x with axes moved.")
swapaxes = with_attributes("swapaxes", lambda x, axis1, axis2: jnp.swapaxes(x, axis1, axis2),
                           "Return x with two axes exchanged.")
rot90 = with_attributes("rot90", lambda array, k=1, axes=(0, 1): jnp.rot90(array, k, axes), "Return x turned.")
roll = with_attributes("roll", lambda x, shift, axis=None: jnp.roll(x, shift, axis), "Return x shifted in a circle.")
diag = with_attributes("diag", lambda x, k=0: jnp.diag(x, k), "Return a diagonal matrix, or the diagonal of one.")
diagflat = with_attributes("diagflat", lambda x, k=0: jnp.diagflat(x, k), "Return x on the diagonal of a matrix.")
diagonal = with_attributes("diagonal", lambda x, offset=0, axis1=0, axis2=1: jnp.diagonal(x, offset, axis1, axis2),
                           "Return the diagonal.")
trace = with_attributes(
    "trace", lambda x, offset=0, axis1=0, axis2=1: jnp.trace(x, offset, axis1, axis2, dtype=x.dtype),
    "Return the sum of the diagonal.", as_number)
tril = with_attributes("tril", lambda x, k=0: jnp.tril(x, k), "Return x with zeros above the k-th diagonal.")
triu = with_attributes("triu", lambda x, k=0: jnp.triu(x, k), "Return x with zeros below the k-th diagonal.")
diff = with_attributes("diff", lambda a, n=1, axis=-1: jnp.diff(a, n, axis), "Return differences of neighbours.")
sort = with_attributes("sort", lambda x, axis=-1: jnp.sort(x, axis), "Return x sorted.")
argsort = with_attributes("argsort", lambda x, axis=-1: jnp.argsort(x, axis, stable=True).astype(jnp.int32),
                          "Return the positions that sort x, int32.")
argpartition = with_attributes("argpartition", lambda x, kth, axis=-1: jnp.argpartition(x, kth, axis).astype(jnp.int32),
                               "Return positions that put the kth smallest at place kth.")
vander = with_attributes("vander", lambda x, N=None, increasing=False: jnp.vander(x, N, increasing),
                         "Return the Vandermonde matrix.")


def repeat(x, repeats, axis=None):
    """Return each element repeated."""
    return shaping.repeat(as_tensor(x), repeats, axis)


@op(name="append")
def _append(x1, x2, *, axis):
    return jnp.append(x1, x2, axis)


def append(x1, x2, axis=None):
    """Return x2 joined to the end of x1 (both flattened, if `axis` is None)."""
    return _append(*promoted(x1, x2), axis=static_axis(axis))


@op(name="pad")
def _pad(x, value, *, widths, mode):
    return jnp.pad(x, widths, mode, **({"constant_values": value} if mode == "constant" else {}))


def pad(x, pad_width, mode="constant", constant_values=None):
    """Return x with elements added: NumPy's modes 'constant', 'reflect', 'symmetric', 'edge', ..."""
    if constant_values is not None and mode != "constant":
        raise ValueError(f"pad takes constant_values in mode 'constant' only, but received mode '{mode}'.")
    x = as_tensor(x)
    widths = np.broadcast_to(np.asarray(pad_width), (len(x.shape), 2))
    value = as_tensor(0 if constant_values is None else constant_values, x.dtype)
    return _pad(x, value, widths=tuple((int(a), int(b)) for a, b in widths), mode=mode)


def get_item(x, key):
    """Return x[key]."""
    return as_tensor(x)[key]


# ---- elements by position


@op(name="take")
def _take(x, indices, *, axis):
    indices = jnp.where(indices < 0, indices + (x.size if axis is None else x.shape[axis]), indices)
    return jnp.take(x, indices, axis=axis, mode="clip")


def take(x, indices, axis=None):
    """Return elements (slices along `axis`) at indices; negative ones count from the end."""
    return _take(as_tensor(x), as_index(indices), axis=static_axis(axis))


def take_along_axis(x, indices, axis=None):
    """Return the elements that indices of x's shape pick along `axis`."""
    return indexing._take_along_axis(as_tensor(x), as_index(indices), axis=static_axis(axis))


def scatter(indices, values, shape):
    """Return zeros with values added at indices."""
    return indexing.scatter_nd(indices, as_tensor(values), shape)


def scatter_update(inputs, indices, updates, reduction=None):
    """Return `inputs` with the elements at indices replaced, or combined by 'add', 'max', 'min' or 'mul'."""
    kinds = {None: "update", "add": "add", "max": "max", "min": "min", "mul": "mul"}
    if reduction not in kinds:
        raise ValueError("scatter_update expected reduction None, 'add', 'max', 'min' or 'mul', but received "
                         f"{reduction!r}.")
    inputs = as_tensor(inputs)
    return indexing._scatter_into(inputs, as_index(indices), as_tensor(updates, inputs.dtype), kind=kinds[reduction])


def _starts(start_indices):
    parts = start_indices if isinstance(start_indices, (list, tuple)) else unstack(start_indices)
    return [as_index(s) for s in parts]


@op(name="slice")
def _slice(x, *starts, shape):
    return jax.lax.dynamic_slice(x, starts, shape)


def slice(inputs, start_indices, shape):
    """Return the block of `shape` at `start_indices` (moved inward if it would leave the tensor)."""
    inputs = as_tensor(inputs)
    starts = _starts(start_indices)
    sizes = [n if s == -1 else s for s, n in zip(static_ints(shape), tuple(inputs.shape), strict=True)]
    return _slice(inputs, *starts, shape=tuple(sizes))


@op(name="slice_update")
def _slice_update(x, updates, *starts):
    return jax.lax.dynamic_update_slice(x, updates, starts)


def slice_update(inputs, start_indices, updates):
    """Return `inputs` with the block at `start_indices` replaced."""
    starts = _starts(start_indices)
    inputs = as_tensor(inputs)
    return _slice_update(inputs, as_tensor(updates, inputs.dtype), *starts)


@op(name="searchsorted")
def _searchsorted(sequence, values, *, side):
    return jnp.searchsorted(sequence, values, side=side).astype(jnp.int32)


def searchsorted(sorted_sequence, values, side="left"):
    """Return where each value would go in a sorted vector, int32."""
    if len(as_tensor(sorted_sequence).shape) != 1:
        raise ValueError("searchsorted expected a sorted_sequence with one axis.")
    return _searchsorted(*promoted(sorted_sequence, values), side=side)


def digitize(x, bins):
    """Return which interval between `bins` each value lies in, int32."""
    return _searchsorted(*promoted(bins, x), side="right")


def unravel_index(indices, shape):
    """Return the coordinates of flat positions, one tensor an axis."""
    return tuple(unstack(creating.unravel_index(as_tensor(indices), shape)))


def unique(x, sorted=True, return_index=False, return_inverse=False, return_counts=False, axis=None, size=None,
           fill_value=None):
    """Return distinct values (and first positions, inverse, counts); values must be known."""
    found = np.unique(host_value(as_tensor(x), "unique's input"), return_index=return_index,
                      return_inverse=return_inverse, return_counts=return_counts, axis=axis)
    results = list(found) if isinstance(found, tuple) else [found]
    if size is not None:
        values = results[0]
        along = 0 if axis is None else axis
        short = size - values.shape[along]
        widths = [(0, builtins.max(short, 0) if a == along else 0) for a in builtins.range(values.ndim)]
        results[0] = np.take(np.pad(values, widths, constant_values=0 if fill_value is None else fill_value),
                             np.arange(size), along)
    tensors = [engine.Tensor(r if i == 0 else r.astype(np.int32)) for i, r in enumerate(results)]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


# ---- rearranging by a pattern


def rearrange(tensor, pattern, **axes_lengths):
    """Return the tensor rearranged by a pattern such as 'b (h s) c -> b h (s c)'."""
    left, right = (_axes(side) for side in pattern.split("->"))
    tensor = as_tensor(tensor)
    if len(left) != len(tensor.shape):
        raise ValueError(f"rearrange expected a tensor with {len(left)} axes for '{pattern}', but received shape "
                         f"{tuple(tensor.shape)}.")
    sizes = dict(axes_lengths)
    for group, length in zip(left, tuple(tensor.shape), strict=True):
        known = int(np.prod([sizes[n] for n in group if n in sizes]))
        for name in group:
            sizes.setdefault(name, None if length is None else length // known)
    flat = [n for group in left for n in group]
    if builtins.sorted(flat) != builtins.sorted(n for group in right for n in group):
        raise ValueError(f"rearrange expected the same axes on both sides of '{pattern}'.")
    whole = [-1 if sizes[n] is None else sizes[n] for n in flat]
    out = transpose(reshape(tensor, whole), [flat.index(n) for group in right for n in group])
    return reshape(out, [-1 if None in (sizes[n] for n in group) else int(np.prod([sizes[n] for n in group]))
                         for group in right])


def _axes(side):
    groups, open_group = [], None
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            open_group = []
        elif token == ")":
            groups.append(open_group)
            open_group = None
        elif open_group is not None:
            open_group.append(token)
        else:
            groups.append([token])
    return groups
