# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`, over axes: reductions, order statistics, counts, products of tensors, linear algebra."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp as _logsumexp

from fitloom import engine
from fitloom.base import dtypes
from fitloom.engine import op
from fitloom.ops import linear_algebra
from fitloom.ops.calling import as_index, host_value, static_axis, static_int
from fitloom.ops.reductions import extreme
from fitloom.ops.numpy_rules import as_float, as_number, as_tensor, one, over, promoted, two, with_attributes

# ---- reductions

all = over("all", lambda x, **k: jnp.all(x != 0, **k), "Return whether all are true.")
any = over("any", lambda x, **k: jnp.any(x != 0, **k), "Return whether any is true.")
sum = over("sum", lambda x, **k: jnp.sum(x, dtype=x.dtype, **k), "Return the sum.", as_number)
mean = over("mean", jnp.mean, "Return the mean, a float.", as_float)
std = over("std", jnp.std, "Return the standard deviation.", as_float)
var = over("var", jnp.var, "Return the variance.", as_float)
median = over("median", jnp.median, "Return the median.", as_float)
amax = over("amax", lambda x, axis, keepdims=False: extreme(x, axis, keepdims, True) if x.size else
            jnp.max(x, axis=axis), "Return the largest value.")
amin = over("amin", lambda x, axis, keepdims=False: extreme(x, axis, keepdims, False) if x.size else
            jnp.min(x, axis=axis), "Return the smallest value.")
ptp = over("ptp", lambda x, **k: jnp.max(x, **k) - jnp.min(x, **k), "Return the largest less the smallest value.")
logsumexp = over("logsumexp", _logsumexp, "Return log(sum(exp(x))).", as_float)
nanmax = over("nanmax", jnp.nanmax, "Return the largest value, NaN left out.")
nanmin = over("nanmin", jnp.nanmin, "Return the smallest value, NaN left out.")
nansum = over("nansum", lambda x, **k: jnp.nansum(x, dtype=x.dtype, **k), "Return the sum, NaN left out.", as_number)
nanprod = over("nanprod", lambda x, **k: jnp.nanprod(x, dtype=x.dtype, **k), "Return the product, NaN left out.",
               as_number)
nanmean = over("nanmean", jnp.nanmean, "Return the mean, NaN left out.", as_float)
nanmedian = over("nanmedian", jnp.nanmedian, "Return the median, NaN left out.", as_float)
nanstd = over("nanstd", jnp.nanstd, "Return the standard deviation, NaN left out.", as_float)
nanvar = over("nanvar", jnp.nanvar, "Return the variance, NaN left out.", as_float)
argmax = over("argmax", lambda x, **k: jnp.argmax(x, **k).astype(jnp.int32),
              "Return the place of the largest, int32.")
argmin = over("argmin", lambda x, **k: jnp.argmin(x, **k).astype(jnp.int32),
              "Return the place of the smallest, int32.")
nanargmax = over("nanargmax", lambda x, **k: jnp.nanargmax(x, **k).astype(jnp.int32),
                 "Return the position of the largest, NaN left out.")
nanargmin = over("nanargmin", lambda x, **k: jnp.nanargmin(x, **k).astype(jnp.int32),
                 "Return the position of the smallest, NaN left out.")


@op(name="extreme")
def _extreme(x, initial, *, axis, keepdims, largest):
    found = (jnp.max if largest else jnp.min)(x, axis=axis, keepdims=keepdims, initial=initial)
    return found


def max(x, axis=None, keepdims=False, initial=None):
    """Return the largest value (at least `initial`)."""
    if initial is None:
        return amax(x, axis, keepdims)
    x = as_tensor(x)
    return _extreme(x, as_tensor(initial, x.dtype), axis=static_axis(axis), keepdims=bool(keepdims), largest=True)


def min(x, axis=None, keepdims=False, initial=None):
    """Return the smallest value (at most `initial`)."""
    if initial is None:
        return amin(x, axis, keepdims)
    x = as_tensor(x)
    return _extreme(x, as_tensor(initial, x.dtype), axis=static_axis(axis), keepdims=bool(keepdims), largest=False)


_prod = over("prod", lambda x, **k: jnp.prod(x, dtype=x.dtype, **k), "", as_number)


def prod(x, axis=None, keepdims=False, dtype=None):
    """Return the product."""
    return _prod(x if dtype is None else as_tensor(x, dtype), axis, keepdims)


def _cumulative(name, function):
    recorded = op(lambda x, *, axis: function(x, axis=axis, dtype=x.dtype), name=name)

    def public(x, axis=None, dtype=None):
        return recorded(as_number(x) if dtype is None else as_tensor(x, dtype), axis=static_axis(axis))
    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Return NumPy's {name} along `axis` (of the flattened tensor, if None)."
    return public


cumsum, cumprod, nancumsum, nancumprod = (
    _cumulative(n, getattr(jnp, n)) for n in ("cumsum", "cumprod", "nancumsum", "nancumprod"))


@op(name="count_nonzero")
def _count(x, *, axis):
    return jnp.sum(x != 0, axis=axis, dtype=jnp.int32)


def count_nonzero(x, axis=None):
    """Return how many elements differ from 0, int32."""
    return _count(as_tensor(x), axis=static_axis(axis))


@op(name="average")
def _average(x, weights, *, axis):
    if axis is not None and weights.ndim != x.ndim:
        shape = [1] * x.ndim
        for a, n in zip((axis,) if isinstance(axis, int) else axis, weights.shape, strict=True):
            shape[a] = n
        weights = weights.reshape(shape)
    weights = jnp.broadcast_to(weights, x.shape)
    return jnp.sum(x * weights, axis=axis) / jnp.sum(weights, axis=axis)


def average(x, axis=None, weights=None):
    """Return the (weighted) mean."""
    if weights is None:
        return mean(x, axis)
    return _average(*promoted(x, weights, floats=True), axis=static_axis(axis))


@op(name="moments")
def _moments(x, *, axes, keepdims):
    wide = x.astype(jnp.float32) if x.dtype.itemsize == 2 else x
    mean, variance = jnp.mean(wide, axes, keepdims=keepdims), jnp.var(wide, axes, keepdims=keepdims)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def moments(x, axes, keepdims=False, synchronized=False):
    """Return the mean and the variance over `axes` (`synchronized`, over all devices, as always here)."""
    return _moments(as_float(x), axes=static_axis(axes), keepdims=bool(keepdims))


# ---- quantiles


@op(name="quantile")
def _quantile(x, q, *, axis, method, keepdims, nan):
    return (jnp.nanquantile if nan else jnp.quantile)(x, q, axis=axis, method=method, keepdims=keepdims).astype(x.dtype)


def _quantiles(nan, scale):
    def public(x, q, axis=None, method="linear", keepdims=False):
        x = as_float(x)
        q = as_tensor(q, x.dtype)
        return _quantile(x, q / 100 if scale else q, axis=static_axis(axis), method=method, keepdims=bool(keepdims),
                         nan=nan)
    public.__name__ = public.__qualname__ = ("nan" if nan else "") + ("percentile" if scale else "quantile")
    public.__doc__ = f"Return the values below which a share q{' in percent' if scale else ''} of the elements lies."
    return public


quantile, percentile = _quantiles(False, False), _quantiles(False, True)
nanquantile, nanpercentile = _quantiles(True, False), _quantiles(True, True)

# ---- counts


@op(name="bincount")
def _bincount(x, weights, *, length):
    def count(values, w):
        return jnp.zeros(length, w.dtype).at[values].add(w, mode="drop")
    for _ in builtins.range(x.ndim - 1):
        count = jax.vmap(count)
    return count(x, weights)


def bincount(x, weights=None, minlength=0, sparse=False):
    """Return how often 0, 1, ... occur (the sum of weights), in each row of a matrix."""
    from fitloom.ops.creating import ones_like

    if sparse:
        raise NotImplementedError("bincount returns dense tensors; use sparse=False.")
    x = as_index(as_tensor(x))
    length = builtins.max(int(host_value(x, "bincount's input").max(initial=-1)) + 1, static_int(minlength))
    return _bincount(x, ones_like(x, "int32") if weights is None else as_tensor(weights), length=length)


@op(name="histogram")
def _histogram(x, low, high, *, bins):
    counts, edges = jnp.histogram(x, bins=bins, range=(low, high))
    return counts.astype(jnp.int32), edges.astype(x.dtype)


def histogram(x, bins=10, range=None):
    """Return (counts, edges) of equal bins."""
    if not isinstance(bins, int) or bins < 0:
        raise ValueError(f"histogram expected a whole number of bins, but received {bins!r}.")
    x = as_float(x)
    low, high = (amin(x), amax(x)) if not range else [as_tensor(v, x.dtype) for v in range]
    return _histogram(x, low, high, bins=bins)


# ---- products

dot = two("dot", jnp.dot, "Return NumPy's dot product.")
_matmul = two("matmul", lambda a, b: jnp.matmul(a, b, preferred_element_type=a.dtype), "Return the matrix product.")


def matmul(x1, x2):
    """Return NumPy's matrix product (vectors are allowed)."""
    return _matmul(x1, x2)


@op(name="tensordot")
def _tensordot(a, b, *, axes):
    return jnp.tensordot(a, b, axes)


def tensordot(x1, x2, axes=2):
    """Return the sum of products over axes."""
    if isinstance(axes, (list, tuple)):
        axes = tuple(p if isinstance(p, int) else tuple(p) for p in axes)
    return _tensordot(*promoted(x1, x2), axes=axes)


def einsum(subscripts, *operands, **kwargs):
    """Return the sum of products that the subscripts describe."""
    return linear_algebra.einsum(subscripts, *promoted(*operands))


@op(name="cross")
def _cross(a, b, *, axes):
    return jnp.cross(a, b, *axes)


def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """Return the cross product."""
    return _cross(*promoted(x1, x2), axes=(axisa, axisb, axisc, axis))


@op(name="correlate")
def _correlate(a, b, *, mode):
    return jnp.correlate(a, b, mode)


def correlate(x1, x2, mode="valid"):
    """Return the cross-correlation of two vectors."""
    return _correlate(*promoted(x1, x2, floats=True), mode=mode)


corrcoef = one("corrcoef", jnp.corrcoef, "Return the matrix of correlation coefficients.", floats=True)


@op(name="trapezoid")
def _trapezoid(y, x, *, axis):
    return jnp.trapezoid(y, x, axis=axis)


@op(name="trapezoid")
def _trapezoid_even(y, *, dx, axis):
    return jnp.trapezoid(y, dx=dx, axis=axis)


def trapezoid(y, x=None, dx=1.0, axis=-1):
    """Return the integral by the trapezoidal rule."""
    if x is None:
        return _trapezoid_even(as_float(y), dx=float(dx), axis=int(axis))
    return _trapezoid(*promoted(y, x, floats=True), axis=int(axis))


@op(name="cdist")
def _cdist(x, y):
    squares = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), -1)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, jnp.ones_like(squares))), squares)


def cdist(x, y):
    """Return the Euclidean distance of every row of x to every row of y."""
    return _cdist(*promoted(x, y, floats=True))


# ---- segments


def _segments(kind, function):
    recorded = op(lambda x, ids, *, count, ordered: function(x, ids, count, indices_are_sorted=ordered),
                  name=f"segment_{kind}")

    def public(data, segment_ids, num_segments=None, sorted=False):
        if num_segments is None:
            num_segments = int(host_value(segment_ids, "segment_ids (give num_segments)").max(initial=-1)) + 1
        return recorded(as_tensor(data), as_index(segment_ids), count=static_int(num_segments), ordered=bool(sorted))
    public.__name__ = public.__qualname__ = f"segment_{kind}"
    public.__doc__ = f"Return the {kind} of the slices with each segment id."
    return public


segment_sum, segment_max = _segments("sum", jax.ops.segment_sum), _segments("max", jax.ops.segment_max)
segment_min, segment_prod = _segments("min", jax.ops.segment_min), _segments("prod", jax.ops.segment_prod)

# ---- matrices

det = one("det", jnp.linalg.det, "Return the determinant.", floats=True)
eig = one("eig", lambda x: tuple(jnp.linalg.eig(x)), "Return (eigenvalues, eigenvectors), complex.", floats=True)
eigh = one("eigh", lambda x: tuple(jnp.linalg.eigh(x)), "Return (eigenvalues, eigenvectors), Hermitian input.",
           floats=True)
inv = one("inv", jnp.linalg.inv, "Return the inverse matrix.", floats=True)
logdet = one("logdet", lambda x: jnp.linalg.slogdet(x)[1], "Return log |determinant|.", floats=True)
slogdet = one("slogdet", lambda x: tuple(jnp.linalg.slogdet(x)), "Return (sign, log |determinant|).", floats=True)
solve = two("solve", lambda a, b: jnp.linalg.solve(a, b[..., None])[..., 0] if b.ndim == a.ndim - 1
            else jnp.linalg.solve(a, b), "Return x with a x = b.", floats=True)
cholesky = with_attributes("cholesky", lambda x, upper=False: _cholesky(x, upper),
                           "Return the Cholesky factor (lower, unless `upper`).", as_float)
cholesky_inverse = with_attributes("cholesky_inverse", lambda x, upper=False: _cholesky_inverse(x, upper),
                                   "Return the inverse of the matrix with this Cholesky factor.", as_float)


def _cholesky(x, upper):
    lower = jnp.linalg.cholesky(x)
    return jnp.conj(jnp.swapaxes(lower, -1, -2)) if upper else lower


def _cholesky_inverse(factor, upper):
    lower = jnp.swapaxes(factor, -1, -2) if upper else factor
    one = jnp.broadcast_to(jnp.eye(lower.shape[-1], dtype=lower.dtype), lower.shape)
    half = lax.linalg.triangular_solve(lower, one, left_side=True, lower=True)
    return jnp.swapaxes(half, -1, -2) @ half


@op(name="solve_triangular")
def _solve_triangular(a, b, *, lower):
    column = b.ndim == a.ndim - 1
    b = b[..., None] if column else b
    x = lax.linalg.triangular_solve(a, b, left_side=True, lower=lower)
    return x[..., 0] if column else x


def solve_triangular(a, b, lower=False):
    """Return x with a x = b for a triangular matrix."""
    return _solve_triangular(*promoted(a, b, floats=True), lower=bool(lower))


@op(name="lstsq")
def _lstsq(a, b, *, rcond):
    column = b.ndim == a.ndim - 1
    x = jnp.linalg.pinv(a, rtol=rcond) @ (b[..., None] if column else b)
    return x[..., 0] if column else x


def lstsq(a, b, rcond=None):
    """Return the x of least norm that minimizes |a x - b|."""
    return _lstsq(*promoted(a, b, floats=True), rcond=rcond)


@op(name="lu_factor")
def _lu_factor(x):
    packed, pivots, _ = lax.linalg.lu(x)
    return packed, pivots.astype(jnp.int32)


def lu_factor(x):
    """Return (L and U in one matrix, pivots)."""
    return _lu_factor(as_float(x))


def matrix_rank(x, tol=None):
    """Return the rank."""
    return linear_algebra.matrix_rank(as_float(x), tol)


def pinv(x, rcond=None):
    """Return the Moore-Penrose inverse."""
    return linear_algebra.pinv(as_float(x), rcond)


def qr(x, mode="reduced"):
    """Return (q, r)."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr expected mode 'reduced' or 'complete', but received '{mode}'.")
    return linear_algebra.qr(as_float(x), mode == "complete")


@op(name="svd")
def _svd(x, *, full_matrices, compute_uv):
    out = jnp.linalg.svd(x, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(out) if compute_uv else out


def svd(x, full_matrices=True, compute_uv=True):
    """Return (u, s, v^H), or s alone."""
    return _svd(as_float(x), full_matrices=bool(full_matrices), compute_uv=bool(compute_uv))


@op(name="norm")
def _norm(x, *, ord, axis, keepdims):
    return jnp.linalg.norm(x, ord=ord, axis=axis, keepdims=keepdims)


def norm(x, ord=None, axis=None, keepdims=False):
    """Return NumPy's norm of vectors or matrices."""
    return _norm(as_float(x), ord=ord, axis=static_axis(axis), keepdims=bool(keepdims))


@op(name="top_k")
def _top_k(x, *, k):
    values, places = lax.top_k(x, k)
    return values, places.astype(jnp.int32)


def top_k(x, k, sorted=True):
    """Return the k largest values of the last axis, falling, and their positions."""
    return _top_k(as_tensor(x), k=static_int(k))


def in_top_k(targets, predictions, k):
    """Return whether the target's score is among the k largest."""
    from fitloom.ops import ordering

    return ordering.in_top_k(targets, as_tensor(predictions), k)


# ---- Fourier transforms of (real, imaginary) pairs


def _pairs(name, function):
    recorded = op(lambda r, i: _parts(function(lax.complex(r, i)), r.dtype), name=name)

    def public(x):
        return recorded(*promoted(*x, floats=True))
    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Return NumPy's {name}: a pair (real, imaginary) in and out."
    return public


def _parts(z, dtype):
    return jnp.real(z).astype(dtype), jnp.imag(z).astype(dtype)


fft, fft2, ifft2 = _pairs("fft", jnp.fft.fft), _pairs("fft2", jnp.fft.fft2), _pairs("ifft2", jnp.fft.ifft2)


@op(name="rfft")
def _rfft(x, *, n):
    return _parts(jnp.fft.rfft(x, n), x.dtype)


def rfft(x, fft_length=None):
    """Return (real, imaginary) of the half spectrum of a real signal."""
    return _rfft(as_float(x), n=None if fft_length is None else static_int(fft_length))


@op(name="irfft")
def _irfft(r, i, *, n):
    return jnp.fft.irfft(lax.complex(r, i), n).astype(r.dtype)


def irfft(x, fft_length=None):
    """Return the real signal of a half spectrum given as (real, imaginary)."""
    return _irfft(*promoted(*x, floats=True), n=None if fft_length is None else static_int(fft_length))


def _window_values(window, length, fft_length, dtype):
    """Return the window as NumPy, centred in fft_length."""
    if window is None:
        values = np.ones(length)
    elif isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ValueError(f"stft expected window 'hann', 'hamming', a tensor or None, but received '{window}'.")
        phase = 2 * np.pi * np.arange(length) / length
        values = 0.5 - 0.5 * np.cos(phase) if window == "hann" else 0.54 - 0.46 * np.cos(phase)
    else:
        values = host_value(window, "the window")
        if values.shape != (length,):
            raise ValueError(f"The window must have shape ({length},), but received {values.shape}.")
    left = (fft_length - length) // 2
    return np.pad(values, (left, fft_length - length - left)).astype(dtype)


def extract_sequences(x, sequence_length, sequence_stride):
    """Return overlapping windows of the last axis, (..., count, sequence_length)."""
    from fitloom.ops.signal import frame

    return frame(as_float(x), sequence_length, sequence_stride)


def _check_frames(name, length, stride, fft_length):
    if int(stride) < 1 or int(length) < 1 or int(fft_length) < int(length):
        raise ValueError(f"{name} expected sequence_stride and sequence_length of at least 1 and an fft_length that "
                         f"is not less than sequence_length, but received {stride}, {length} and {fft_length}.")


@op(name="stft")
def _stft(x, window, *, step, n, center):
    if center:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n // 2, n // 2)], mode="reflect")
    places = np.arange(1 + (x.shape[-1] - n) // step)[:, None] * step + np.arange(n)
    return _parts(jnp.fft.rfft(x[..., places] * window), x.dtype)


def stft(x, sequence_length, sequence_stride, fft_length, window="hann", center=True):
    """Return (real, imaginary) of the short-time Fourier transform, (..., frames, fft_length // 2 + 1)."""
    x = as_float(x)
    _check_frames("stft", sequence_length, sequence_stride, fft_length)
    window = _window_values(window, sequence_length, fft_length, dtypes.numpy_dtype(x.dtype))
    return _stft(x, engine.Tensor(window), step=int(sequence_stride), n=int(fft_length), center=bool(center))


@op(name="istft")
def _istft(r, i, window, *, step, n, length, center):
    frames = jnp.fft.irfft(lax.complex(r, i), n).astype(r.dtype) * window
    count = frames.shape[-2]
    total = n + step * (count - 1)
    places = (np.arange(count)[:, None] * step + np.arange(n)).reshape(-1)
    signal = jnp.zeros((*frames.shape[:-2], total), r.dtype).at[..., places].add(frames.reshape(*frames.shape[:-2], -1))
    weight = jnp.zeros(total, r.dtype).at[places].add(jnp.tile(jnp.square(window), count))
    signal = jnp.where(weight > 1e-10, signal / jnp.where(weight > 1e-10, weight, jnp.ones_like(weight)), signal)
    start = n // 2 if center else 0
    end = start + length if length is not None else total - (n // 2 if center else 0)
    signal = signal[..., start:end]
    if length is not None and signal.shape[-1] < length:
        signal = jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, length - signal.shape[-1])])
    return signal


def istft(x, sequence_length, sequence_stride, fft_length, length=None, window="hann", center=True):
    """Return the signal of a short-time Fourier transform given as (real, imaginary)."""
    r, i = promoted(*x, floats=True)
    _check_frames("istft", sequence_length, sequence_stride, fft_length)
    window = _window_values(window, sequence_length, fft_length, dtypes.numpy_dtype(r.dtype))
    return _istft(r, i, engine.Tensor(window), step=int(sequence_stride), n=int(fft_length),
                  length=None if length is None else int(length), center=bool(center))

