# SPDX-License-Identifier: Apache-2.0
"""Spectrograms of sound: STFTSpectrogram and MelSpectrogram."""
import math

import numpy as np

from fitloom import ops
from fitloom.base import config
from fitloom.initializers import STFT
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.ops import layer_kernels as kernels
from fitloom.ops import signal


class STFTSpectrogram(BuiltinLayer):
    """Compute the short-time Fourier transform as a convolution with (trainable) windowed waves.

    Args:
        mode: 'log', 'magnitude', 'psd', 'real', 'imag', 'angle' or 'stft' (real and imaginary parts).
        frame_length, frame_step: window length and step (half the length by default), in samples.
        fft_length: length of the transform; `frame_length` by default.
        window: 'hann', 'hamming', a vector, or None; periodic: whether it is periodic.
        scaling: 'density', 'spectrum' or None.
        padding: 'valid' or 'same'.
        expand_dims: return `(batch, frames, bins, channels)`.
        data_format: 'channels_last' `(batch, steps, channels)` or 'channels_first'.
    """

    def __init__(self, mode="log", frame_length=256, frame_step=None, fft_length=None, window="hann", periodic=False,
                 scaling="density", padding="valid", expand_dims=False, data_format=None, **kwargs):
        super().__init__(**kwargs)
        modes = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
        if mode not in modes:
            raise ValueError(f"Output mode is invalid, it must be one of {modes}. Received: mode={mode}")
        if frame_step is not None and frame_step > frame_length or frame_length < 1 or \
                fft_length is not None and fft_length < frame_length:
            raise ValueError("It must hold 1 <= frame_step <= frame_length <= fft_length. Received: frame_length="
                             f"{frame_length}, frame_step={frame_step}, fft_length={fft_length}")
        if padding not in ("valid", "same"):
            raise ValueError(f"Padding is invalid, it should be 'valid' or 'same'. Received: padding={padding!r}")
        self._keep(locals())
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=3)

    @property
    def _bins(self):
        return (self.fft_length or self.frame_length) // 2 + 1

    def build(self, input_shape):
        """Make the waves."""
        for side in ("real", "imag"):
            kernel = None
            if self.mode != {"real": "imag", "imag": "real"}[side]:
                kernel = self.add_weight(
                    name=side + "_kernel", shape=(self.frame_length, 1, self._bins),
                    initializer=STFT(side, self.window, self.scaling, self.periodic))
            setattr(self, side + "_kernel", kernel)

    def call(self, inputs):
        """Return the spectrogram."""
        first = self.data_format == "channels_first"
        x = inputs if first else ops.transpose(inputs, (0, 2, 1))
        batch, channels, steps = tuple(x.shape)
        x = ops.reshape(x, (batch * channels, steps, 1))
        real, imag = (None if kernel is None else kernels.conv(
            x, kernel, padding=self.padding, strides=self.frame_step or self.frame_length // 2 or 1)
            for kernel in (self.real_kernel, self.imag_kernel))
        y = self._value(real, imag)
        frames, bins = tuple(y.shape)[1:]
        y = ops.reshape(y, (batch, channels, frames, bins))
        if self.expand_dims:
            return y if first else ops.transpose(y, (0, 2, 3, 1))
        y = ops.transpose(y, (0, 1, 3, 2)) if first else ops.transpose(y, (0, 2, 1, 3))
        return ops.reshape(y, (batch, channels * bins, frames) if first else (batch, frames, channels * bins))

    def _value(self, real, imag):
        if self.mode == "stft":
            return ops.concat([real, imag], axis=2)
        if self.mode in ("real", "imag"):
            return real if self.mode == "real" else imag
        if self.mode == "angle":
            return ops.atan2(imag, real)
        power = ops.square(real) + ops.square(imag)
        if self.mode == "psd":
            return power + _doubled(power)
        magnitude = ops.sqrt(ops.maximum(power, config.epsilon()))
        return magnitude if self.mode == "magnitude" else ops.log(magnitude)


def _doubled(power):
    """Return the power of the inner bins again: each stands for two of the full transform."""
    bins = power.shape[-1]
    return ops.pad(power[:, :, 1:bins - 1], ((0, 0), (0, 0), (1, 1)))


class MelSpectrogram(BuiltinLayer):
    """Compute the mel spectrogram of sound `(batch, steps)` or `(steps,)`: `(batch, mel bins, frames)`.

    Args:
        fft_length: length of the transform; sequence_stride: step between frames; sequence_length: window length,
            `fft_length` by default; all in samples.
        window: 'hann' or 'hamming'.
        sampling_rate: samples a second.
        num_mel_bins, min_freq, max_freq: number and range in Hz of the mel bins; up to half the rate by default.
        power_to_db: return decibels relative to `ref_power`, at least `min_power`, at most `top_db` below the peak.
        mag_exp: exponent of the magnitudes.
    """

    def __init__(self, fft_length=2048, sequence_stride=512, sequence_length=None, window="hann", sampling_rate=16000,
                 num_mel_bins=128, min_freq=20.0, max_freq=None, power_to_db=True, top_db=80.0, mag_exp=2.0,
                 min_power=1e-10, ref_power=1.0, **kwargs):
        super().__init__(**kwargs)
        if window not in ("hann", "hamming"):
            raise ValueError(f"`window` must be 'hann' or 'hamming', but received window={window!r}.")
        self._keep(locals())
        self.sequence_length = sequence_length or fft_length
        self.max_freq = max_freq or int(sampling_rate / 2)

    def call(self, inputs):
        """Return the spectrogram."""
        dtype = "float64" if self.compute_dtype == "float64" else "float32"   # Fourier transforms know no others
        inputs = ops.cast(inputs, dtype)
        single = len(inputs.shape) == 1
        x = ops.expand_dims(inputs, 0) if single else inputs
        half = self.fft_length // 2
        x = ops.pad(x, ((0, 0), (half, half)), mode="REFLECT")
        before = (self.fft_length - self.sequence_length) // 2
        named = signal.hann_window if self.window == "hann" else signal.hamming_window
        window = np.pad(np.asarray(named(self.sequence_length)),
                        (before, self.fft_length - self.sequence_length - before))
        frames = signal.frame(x, self.fft_length, self.sequence_stride) * ops.cast(window, dtype)
        spectrum = signal.rfft(frames, [self.fft_length])
        magnitude = ops.pow(ops.abs(spectrum), float(self.mag_exp))
        matrix = signal.linear_to_mel_weight_matrix(
            self.num_mel_bins, half + 1, self.sampling_rate, self.min_freq, self.max_freq, dtype=dtype)
        mel = ops.transpose(ops.matmul(magnitude, matrix), (0, 2, 1))
        if self.power_to_db:
            decibels = lambda v: ops.log(ops.maximum(v, float(self.min_power))) * (10.0 / math.log(10.0))
            mel = decibels(mel) - decibels(ops.constant(float(abs(self.ref_power)), dtype=dtype))
            mel = ops.maximum(mel, ops.reduce_max(mel) - float(self.top_db))
        mel = ops.cast(mel, self.compute_dtype)
        return ops.squeeze(mel, 0) if single else mel
