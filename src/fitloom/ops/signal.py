# SPDX-License-Identifier: Apache-2.0
"""Fourier transforms, frames and windows: `tf.signal`."""

from __future__ import annotations

import builtins

import jax.numpy as jnp
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.engine import op
from fitloom.ops.calling import static_int, static_ints, tensor


def _fit(x, lengths):
    """Cut or zero-pad the last axes to the given lengths."""
    for axis, length in zip(builtins.range(-len(lengths), 0), lengths, strict=True):
        if x.shape[axis] > length:
            x = jnp.take(x, np.arange(length), axis=axis)
        elif x.shape[axis] < length:
            widths = [(0, 0)] * x.ndim
            widths[axis] = (0, length - x.shape[axis])
            x = jnp.pad(x, widths)
    return x


def _single(x, y):
    """Keep 32-bit input in complex64 / float32."""
    wide = x.dtype in (jnp.float64, jnp.complex128)
    if jnp.issubdtype(y.dtype, jnp.complexfloating):
        return y.astype(jnp.complex128 if wide else jnp.complex64)
    return y.astype(jnp.float64 if wide else jnp.float32)


def _transform(name, function, axes, summary):
    recorded = op(lambda x: _single(x, function(x, axes=axes)), name=name)

    def public(input, name=None):
        return recorded(tensor(input))

    public.__name__ = public.__qualname__ = name
    public.__doc__ = summary
    return public


fft = _transform("fft", jnp.fft.fftn, (-1,), "Return the discrete Fourier transform of the last axis.")
ifft = _transform("ifft", jnp.fft.ifftn, (-1,), "Return the inverse transform of the last axis.")
fft2d = _transform("fft2d", jnp.fft.fftn, (-2, -1), "Return the transform of the last two axes.")
ifft2d = _transform("ifft2d", jnp.fft.ifftn, (-2, -1), "Return the inverse transform of the last two axes.")
fft3d = _transform("fft3d", jnp.fft.fftn, (-3, -2, -1), "Return the transform of the last three axes.")
ifft3d = _transform("ifft3d", jnp.fft.ifftn, (-3, -2, -1), "Return the inverse transform of the last three axes.")


@op(name="rfft")
def _rfft(x, *, lengths):
    return _single(x, jnp.fft.rfftn(_fit(x, lengths), axes=tuple(builtins.range(-len(lengths), 0))))


@op(name="irfft")
def _irfft(x, *, lengths):
    half = (*lengths[:-1], lengths[-1] // 2 + 1)
    return _single(x, jnp.fft.irfftn(_fit(x, half), lengths, axes=tuple(builtins.range(-len(lengths), 0))))


def _real(ndim, inverse):
    def public(input_tensor, fft_length=None, name=None):
        x = tensor(input_tensor)
        if fft_length is None:
            last = tuple(x.shape)[-ndim:]
            lengths = (*last[:-1], 2 * (last[-1] - 1)) if inverse else last
        else:
            lengths = static_ints(fft_length)
        return (_irfft if inverse else _rfft)(x, lengths=tuple(lengths))

    public.__name__ = public.__qualname__ = ("irfft" if inverse else "rfft") + ("" if ndim == 1 else f"{ndim}d")
    public.__doc__ = ("Return the real signal of a half spectrum." if inverse
                      else "Return the non-negative half of the spectrum of a real signal.")
    return public


rfft, rfft2d, rfft3d = _real(1, False), _real(2, False), _real(3, False)
irfft, irfft2d, irfft3d = _real(1, True), _real(2, True), _real(3, True)


@op(name="fftshift")
def _shift(x, *, axes, inverse):
    return (jnp.fft.ifftshift if inverse else jnp.fft.fftshift)(x, axes)


def fftshift(x, axes=None, name=None):
    """Return the spectrum with frequency 0 in the middle."""
    return _shift(tensor(x), axes=None if axes is None else static_ints(axes), inverse=False)


def ifftshift(x, axes=None, name=None):
    """Undo `fftshift`."""
    return _shift(tensor(x), axes=None if axes is None else static_ints(axes), inverse=True)


# ---- windows


def _window(terms):
    def public(window_length, periodic=True, dtype=dtypes.float32, name=None):
        n = static_int(window_length)
        if n == 1:
            return engine.Tensor(np.ones(1, dtypes.numpy_dtype(dtype)))
        # An odd window is symmetric in TensorFlow, also when a periodic one is asked for.
        phase = 2 * np.pi * np.arange(n) / (n if periodic and n % 2 == 0 else n - 1)
        return engine.Tensor((terms[0] - terms[1] * np.cos(phase)).astype(dtypes.numpy_dtype(dtype)))
    return public


hann_window = _window((0.5, 0.5))
hann_window.__doc__ = "Return the window 0.5 - 0.5 cos(2 pi i / n)."
hamming_window = _window((0.54, 0.46))
hamming_window.__doc__ = "Return the window 0.54 - 0.46 cos(2 pi i / n)."


def kaiser_window(window_length, beta=12.0, dtype=dtypes.float32, name=None):
    """Return the Kaiser window."""
    return engine.Tensor(np.kaiser(static_int(window_length), float(beta)).astype(dtypes.numpy_dtype(dtype)))


def vorbis_window(window_length, dtype=dtypes.float32, name=None):
    """Return the Vorbis window."""
    n = static_int(window_length)
    inner = np.sin(np.pi / n * (np.arange(n) + 0.5)) ** 2
    return engine.Tensor(np.sin(np.pi / 2 * inner).astype(dtypes.numpy_dtype(dtype)))


# ---- frames


@op(name="frame")
def _frame(x, pad_value, *, length, step, pad_end, axis):
    x = jnp.moveaxis(x, axis, -1)
    size = x.shape[-1]
    if pad_end:
        count = -(-size // step)
        short = builtins.max(0, (count - 1) * step + length - size)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, short)], constant_values=pad_value)
    else:
        count = builtins.max(0, 1 + (size - length) // step)
    places = np.arange(count)[:, None] * step + np.arange(length)
    out = jnp.take(x, places.astype(np.int32), axis=-1)
    return jnp.moveaxis(out, (-2, -1), (axis, axis + 1) if axis >= 0 else (axis - 1, axis))


def frame(signal, frame_length, frame_step, pad_end=False, pad_value=0, axis=-1, name=None):
    """Return overlapping windows of `frame_length`, `frame_step` apart, as a new axis."""
    signal = tensor(signal)
    return _frame(signal, engine.convert_to_tensor(pad_value, dtype=signal.dtype), length=static_int(frame_length),
                  step=static_int(frame_step), pad_end=bool(pad_end), axis=int(axis))


@op(name="overlap_and_add")
def _overlap(x, *, step):
    count, length = x.shape[-2:]
    total = (count - 1) * step + length
    places = (np.arange(count)[:, None] * step + np.arange(length)).reshape(-1)
    return jnp.zeros((*x.shape[:-2], total), x.dtype).at[..., places].add(x.reshape(*x.shape[:-2], -1))


def overlap_and_add(signal, frame_step, name=None):
    """Return the signal whose frames, `frame_step` apart, add up: (..., frames, length) to (..., samples)."""
    return _overlap(tensor(signal), step=static_int(frame_step))


def stft(signals, frame_length, frame_step, fft_length=None, window_fn=hann_window, pad_end=False, name=None):
    """Return the short-time Fourier transform, (..., frames, fft_length // 2 + 1)."""
    frames = frame(signals, frame_length, frame_step, pad_end)
    if window_fn is not None:
        frames = frames * window_fn(frame_length, dtype=frames.dtype)
    if fft_length is None:
        fft_length = 1 << (static_int(frame_length) - 1).bit_length()
    return rfft(frames, [static_int(fft_length)])


def inverse_stft(stfts, frame_length, frame_step, fft_length=None, window_fn=hann_window, name=None):
    """Return the signal of a short-time Fourier transform (use `inverse_stft_window_fn` for exact inversion)."""
    length = static_int(frame_length)
    if fft_length is None:
        fft_length = 1 << (length - 1).bit_length()
    frames = irfft(stfts, [static_int(fft_length)])[..., :length]
    if window_fn is not None:
        frames = frames * window_fn(length, dtype=frames.dtype)
    return overlap_and_add(frames, frame_step)


def inverse_stft_window_fn(frame_step, forward_window_fn=hann_window, name=None):
    """Return the window that makes `inverse_stft` undo `stft`."""
    def window(frame_length, dtype=dtypes.float32):
        w = np.asarray(forward_window_fn(frame_length, dtype=dtype))
        step = static_int(frame_step)
        overlaps = -(-len(w) // step)
        squares = np.pad(w ** 2, (0, overlaps * step - len(w))).reshape(overlaps, step).sum(0)
        return engine.Tensor((w / np.tile(squares, overlaps)[:len(w)]).astype(dtypes.numpy_dtype(dtype)))
    return window


def linear_to_mel_weight_matrix(num_mel_bins=20, num_spectrogram_bins=129, sample_rate=8000, lower_edge_hertz=125.0,
                                upper_edge_hertz=3800.0, dtype=dtypes.float32, name=None):
    """Return the matrix, (spectrogram bins, mel bins), that turns a linear spectrum into a mel spectrum."""
    def mel(hertz):
        return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)

    hertz = np.linspace(0.0, sample_rate / 2.0, num_spectrogram_bins)[1:]
    edges = np.linspace(mel(lower_edge_hertz), mel(upper_edge_hertz), num_mel_bins + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    x = mel(hertz)[:, None]
    weights = np.maximum(0.0, np.minimum((x - lower) / (centre - lower), (upper - x) / (upper - centre)))
    return engine.Tensor(np.pad(weights, [(1, 0), (0, 0)]).astype(dtypes.numpy_dtype(dtype)))


def _cosines(size, type, ortho):
    """Return the matrix of a cosine transform, from rows to frequencies."""
    n, k = np.arange(size)[:, None], np.arange(size)[None, :]
    if type == 1:
        return np.cos(np.pi * n * k / max(1, size - 1)) * np.where((n == 0) | (n == size - 1), 1.0, 2.0)
    if type == 2:
        basis = 2 * np.cos(np.pi / size * (n + 0.5) * k)
        return basis * np.where(k == 0, np.sqrt(0.25 / size), np.sqrt(0.5 / size)) if ortho else basis
    if type == 3:
        basis = np.cos(np.pi / size * n * (k + 0.5))
        return basis * (np.where(n == 0, np.sqrt(1 / size), np.sqrt(2 / size)) if ortho else np.where(n == 0, 1.0, 2.0))
    basis = 2 * np.cos(np.pi / size * (n + 0.5) * (k + 0.5))
    return basis * np.sqrt(0.5 / size) if ortho else basis


@op(name="dct")
def _dct(x, *, type, n, ortho):
    size = x.shape[-1] if n is None else n
    return _fit(x, (size,)) @ jnp.asarray(_cosines(size, type, ortho), x.dtype)


def dct(input, type=2, n=None, axis=-1, norm=None, name=None):
    """Return the discrete cosine transform of type 1, 2, 3 or 4 along the last axis, cut or filled up to `n` first."""
    if axis != -1:
        raise NotImplementedError("signal.dct works along the last axis: axis=-1.")
    if type not in (1, 2, 3, 4):
        raise ValueError(f"signal.dct computes the types 1, 2, 3 and 4, but received type={type}.")
    if norm not in (None, "ortho") or norm and type == 1:
        raise ValueError(f"signal.dct takes norm=None, or 'ortho' for the types 2, 3 and 4, but received {norm!r}.")
    if n is not None and type == 4:
        raise NotImplementedError("signal.dct of type 4 takes the whole axis: n=None.")
    if n is not None and n < 1:
        raise ValueError(f"signal.dct needs n of at least 1, but received {n}.")
    return _dct(tensor(input), type=type, n=n, ortho=norm == "ortho")


def idct(input, type=2, n=None, axis=-1, norm=None, name=None):
    """Return the inverse of `dct` times a factor: 2 n (2 (n - 1) for type 1), or 1 if norm='ortho'."""
    if n is not None:
        raise NotImplementedError("signal.idct takes the whole axis: n=None.")
    return dct(input, {1: 1, 2: 3, 3: 2, 4: 4}.get(type, type), None, axis, norm)


def kaiser_bessel_derived_window(window_length, beta=12.0, dtype=dtypes.float32, name=None):
    """Return the Kaiser-Bessel derived window: the square root of a Kaiser window's running share, and its mirror."""
    half = static_int(window_length) // 2
    running = np.cumsum(np.kaiser(half + 1, float(beta)))
    rising = np.sqrt(running[:-1] / running[-1])
    return engine.Tensor(np.concatenate([rising, rising[::-1]]).astype(dtypes.numpy_dtype(dtype)))


def mdct(signals, frame_length, window_fn=vorbis_window, pad_end=False, norm=None, name=None):
    """Return the modified discrete cosine transform: (..., samples) to (..., frames, frame_length / 2).

    Frames half a length apart are windowed (divided by sqrt(2) if `window_fn` is None), folded to a half and
    transformed by the cosine transform of type 4.
    """
    length = static_int(frame_length)
    if length % 4:
        raise ValueError(f"signal.mdct needs a frame_length that is a multiple of 4, but received {length}.")
    frames = frame(signals, length, length // 2, pad_end=pad_end)
    frames = frames * (window_fn(length, dtype=frames.dtype) if window_fn is not None else float(np.sqrt(0.5)))
    return _mdct(frames, ortho=norm == "ortho")


@op(name="mdct")
def _mdct(frames, *, ortho):
    a, b, c, d = jnp.split(frames, 4, axis=-1)
    folded = jnp.concatenate([-c[..., ::-1] - d, a - b[..., ::-1]], axis=-1)
    return folded @ jnp.asarray(_cosines(folded.shape[-1], 4, ortho), folded.dtype)


def inverse_mdct(mdcts, window_fn=vorbis_window, norm=None, name=None):
    """Return the signal of `mdct`'s result, but for the first and last half frame."""
    mdcts = tensor(mdcts)
    half = mdcts.shape[-1]
    frames = _inverse_mdct(mdcts, ortho=norm == "ortho")
    frames = frames * (window_fn(2 * half, dtype=frames.dtype) if window_fn is not None else float(np.sqrt(0.5)))
    return overlap_and_add(frames, half)


@op(name="inverse_mdct")
def _inverse_mdct(x, *, ortho):
    size = x.shape[-1]
    folded = x @ jnp.asarray(_cosines(size, 4, ortho) * (1 if ortho else 0.5 / size), x.dtype)
    first, second = jnp.split(folded, 2, axis=-1)
    return jnp.concatenate([second, -second[..., ::-1], -first[..., ::-1], -first], axis=-1)


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms, name=None):
    """Return mel-frequency cepstral coefficients: a scaled cosine transform of log mel spectra."""
    x = tensor(log_mel_spectrograms)
    return dct(x) * float(1.0 / np.sqrt(2.0 * x.shape[-1]))
