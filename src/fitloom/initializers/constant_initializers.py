# SPDX-License-Identifier: Apache-2.0
"""Initializers whose values are known: constants, the identity, the Fourier basis."""
import numpy as np

from fitloom.base import serialization
from fitloom.initializers.initializer import Initializer, dimensions, numpy_dtype


class Constant(Initializer):
    """Fill with `value`: a scalar, or anything that broadcasts to the shape.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.initializers.Constant(3.0)((2,)).numpy().tolist()
        [3.0, 3.0]
    """

    def __init__(self, value=0.0):
        self.value = value

    def draw(self, shape, dtype=None):
        """Return the filled array."""
        value = np.asarray(self.value.numpy() if hasattr(self.value, "numpy") else self.value)
        return np.array(np.broadcast_to(value, dimensions(shape)), dtype=numpy_dtype(dtype))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"value": serialization.serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config):
        """Make the initializer that `get_config` describes."""
        return cls(serialization.deserialize_keras_object(config["value"]) if "value" in config else 0.0)


class Zeros(Initializer):
    """Fill with zeros."""

    def draw(self, shape, dtype=None):
        """Return zeros."""
        return np.zeros(dimensions(shape), numpy_dtype(dtype))


class Ones(Initializer):
    """Fill with ones."""

    def draw(self, shape, dtype=None):
        """Return ones."""
        return np.ones(dimensions(shape), numpy_dtype(dtype))


class Identity(Initializer):
    """Return `gain` times the identity matrix; the shape must have two axes."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def draw(self, shape, dtype=None):
        """Return the scaled identity."""
        shape = dimensions(shape)
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices only, but received shape={shape} of {len(shape)} axes.")
        return np.asarray(self.gain * np.eye(*shape), numpy_dtype(dtype))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"gain": self.gain}


class STFT(Initializer):
    """Kernel of a convolution that computes one side of the short-time Fourier transform.

    For a shape `(frame_length, 1, n)` with `n = fft_length // 2 + 1`:
    `kernel[t, 0, k] = window[t] * cos(2 pi t k / fft_length) / norm` (side 'real'; `-sin` for 'imag').

    Args:
        side: 'real' or 'imag'.
        window: 'hann', 'hamming', a vector of `frame_length` numbers, or None for ones.
        scaling: 'density' divides by sqrt(sum(window^2)), 'spectrum' by sum(window), None not at all; without a
            window nothing is scaled.
        periodic: whether a window given by name is periodic rather than symmetric.
    """

    def __init__(self, side="real", window="hann", scaling="density", periodic=False):
        if side not in ("real", "imag"):
            raise ValueError(f"`side` must be 'real' or 'imag', but received '{side}'.")
        if isinstance(window, str) and window not in _WINDOWS:
            raise ValueError(f"`window` must be one of {sorted(_WINDOWS)}, a vector or None; received '{window}'.")
        if scaling not in ("density", "spectrum", None):
            raise ValueError(f"`scaling` must be 'density', 'spectrum' or None, but received '{scaling}'.")
        self.side, self.window, self.scaling, self.periodic = side, window, scaling, periodic

    def draw(self, shape, dtype=None):
        """Return the windowed basis."""
        frame_length, _, bins = dimensions(shape)
        window = stft_window(self.window, frame_length, self.periodic)
        angle = 2 * np.pi * np.outer(np.arange(frame_length), np.arange(bins)) / (2 * (bins - 1))
        basis = np.cos(angle) if self.side == "real" else -np.sin(angle)
        norms = {"density": np.sqrt(np.sum(window**2)), "spectrum": np.abs(np.sum(window))}
        norm = 1.0 if self.window is None else norms.get(self.scaling, 1.0)
        return np.asarray((basis * window[:, None] / norm)[:, None, :], numpy_dtype(dtype))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"side": self.side, "window": self.window, "periodic": self.periodic, "scaling": self.scaling}


_WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def stft_window(window, length, periodic) -> np.ndarray:
    """Return the window as a vector: by name, by its values, or ones for None."""
    if window is None:
        return np.ones(length)
    if isinstance(window, str):
        a, b = _WINDOWS[window]
        return a - b * np.cos(2 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1))
    return np.asarray(window, np.float64)
