# SPDX-License-Identifier: Apache-2.0
"""Initializers that draw: normal, uniform, scaled to the fans of a weight, orthogonal."""
import math

import numpy as np

from fitloom import engine
from fitloom.initializers.initializer import RandomInitializer, dimensions, numpy_dtype

# Standard deviation of the unit normal truncated to [-2, 2].
_TRUNCATED_STDDEV = 0.87962566103423978


class RandomNormal(RandomInitializer):
    """Draw from a normal distribution.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.initializers.RandomNormal(stddev=0.1, seed=1)((2, 3)).shape
        TensorShape([2, 3])
    """

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed=seed)

    def draw(self, shape, dtype=None):
        """Return `mean + stddev * n`."""
        dtype = numpy_dtype(dtype, type(self).__name__)
        return self.normal(dimensions(shape), dtype, self.mean, self.stddev)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Draw from a normal distribution; values beyond two standard deviations are drawn again."""

    def draw(self, shape, dtype=None):
        """Return `mean + stddev * n` with |n| <= 2."""
        dtype = numpy_dtype(dtype, type(self).__name__)
        return self.normal(dimensions(shape), dtype, self.mean, self.stddev, truncated=True)


class RandomUniform(RandomInitializer):
    """Draw uniformly from [minval, maxval)."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval, self.maxval = minval, maxval
        super().__init__(seed=seed)

    def draw(self, shape, dtype=None):
        """Return `minval + (maxval - minval) * u`; integers for an integer dtype."""
        dtype = numpy_dtype(dtype)
        if dtype.kind in "iu":
            key = sum(int(part) << (64 * i) for i, part in enumerate(self.start("integers", 1))) % 2**64
            return engine.host_generator(key).integers(self.minval, self.maxval, dimensions(shape)).astype(dtype)
        return self.uniform(dimensions(shape), dtype, self.minval, self.maxval)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class VarianceScaling(RandomInitializer):
    """Draw with variance `scale / n`, n being the number of inputs, outputs or their mean.

    Args:
        scale: positive float.
        mode: 'fan_in', 'fan_out' or 'fan_avg'.
        distribution: 'truncated_normal' (corrected for the truncation), 'untruncated_normal' or 'uniform'
            (in [-limit, limit], limit = sqrt(3 * scale / n)).
        seed: int, SeedGenerator or None.
        input_axes, output_axes: axes of the shape that are inputs and outputs; by default the last but one and
            the last, times the other axes (the receptive field).
    """

    def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None, input_axes=None,
                 output_axes=None):
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if not scale > 0.0:
            raise ValueError(f"`scale` must be a positive float, but received scale={scale}.")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"`mode` must be 'fan_in', 'fan_out' or 'fan_avg', but received '{mode}'.")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError("`distribution` must be 'truncated_normal', 'untruncated_normal' or 'uniform', but "
                             f"received '{distribution}'.")
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed=seed)

    def draw(self, shape, dtype=None):
        """Return the scaled draw."""
        shape, dtype = dimensions(shape), numpy_dtype(dtype, type(self).__name__)
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return self.uniform(shape, dtype, -limit, limit)
        truncated = self.distribution == "truncated_normal"
        return self.normal(shape, dtype, 0.0, math.sqrt(variance) / (_TRUNCATED_STDDEV if truncated else 1), truncated)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "mode": self.mode, "distribution": self.distribution,
                "input_axes": self.input_axes, "output_axes": self.output_axes}


class _Named(VarianceScaling):
    """Base of the published special cases: (scale, mode, distribution) are fixed by the class."""

    settings: tuple = ()

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(*self.settings, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**RandomInitializer.get_config(self), "input_axes": self.input_axes, "output_axes": self.output_axes}


class GlorotUniform(_Named):
    """Draw uniformly from +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Draw truncated normals of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """Draw uniformly from +-sqrt(6 / fan_in) (He et al., 2015)."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Draw truncated normals of variance 2 / fan_in (He et al., 2015)."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Draw uniformly from +-sqrt(3 / fan_in) (LeCun et al., 1998)."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """Draw truncated normals of variance 1 / fan_in (LeCun et al., 1998)."""

    settings = (1.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """Return `gain` times a random matrix with orthonormal rows or columns (Saxe et al., 2014).

    A shape of more than two axes is seen as the matrix (product of all but the last axis, last axis).
    """

    def __init__(self, gain=1.0, seed=None):
        self.gain = gain
        super().__init__(seed=seed)

    def draw(self, shape, dtype=None):
        """Return the orthogonal factor of a matrix of normals, signs made unique."""
        shape, dtype = dimensions(shape), numpy_dtype(dtype, type(self).__name__)
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs a shape of two or more axes, but received shape={shape}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normals = self.normal((max(rows, columns), min(rows, columns)), dtype, 0.0, 1.0)
        q, r = np.linalg.qr(normals.astype(np.float64))
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return np.asarray(self.gain * (q.T if rows < columns else q).reshape(shape), dtype)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "gain": self.gain}


def compute_fans(shape, input_axes=None, output_axes=None):
    """Return (fan_in, fan_out) of a weight's shape.

    A vector counts for both; for kernels, the other axes (the receptive field) multiply both.
    """
    if input_axes is not None or output_axes is not None:
        size = math.prod(shape)
        inputs = [axis % len(shape) for axis in (input_axes or ())]
        outputs = [axis % len(shape) for axis in (output_axes or ())]
        if set(inputs) & set(outputs):
            raise ValueError(f"input_axes={input_axes} and output_axes={output_axes} share an axis.")
        in_size = math.prod(shape[axis] for axis in inputs)
        out_size = math.prod(shape[axis] for axis in outputs)
        field = size // max(in_size * out_size, 1)
        return in_size * field, out_size * field
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field
