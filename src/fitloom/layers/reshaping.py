# SPDX-License-Identifier: Apache-2.0
"""Flatten, Reshape, Permute, RepeatVector; zero padding, cropping and upsampling of images."""
import math

from fitloom import engine, ops
from fitloom.base import config
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec


class Flatten(BuiltinLayer):
    """Join all axes but the batch into one; for 'channels_first' the channels go last first."""

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)
        self._channels_first = self.data_format == "channels_first"

    def call(self, inputs):
        """Return the flattened inputs."""
        ndim = len(inputs.shape)
        if self._channels_first and ndim > 2:
            inputs = ops.transpose(inputs, (0, *range(2, ndim), 1))
        shape = tuple(inputs.shape)
        return ops.reshape(inputs, (shape[0], math.prod(shape[1:])))


class Reshape(BuiltinLayer):
    """Give each sample the shape `target_shape`, in which one size may be -1 (found from the rest)."""

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        target_shape = tuple(target_shape)
        if not all(isinstance(n, int) or hasattr(n, "__index__") for n in target_shape) or \
                any(n < -1 for n in target_shape):
            raise ValueError("Each dimension of `target_shape` must be a non-negative integer or -1. Received: "
                             f"target_shape={target_shape}")
        if sum(n == -1 for n in target_shape) > 1:
            raise ValueError("There must be at most one unknown dimension (-1) in `target_shape`. Received: "
                             f"target_shape={target_shape}")
        self.target_shape = tuple(int(n) for n in target_shape)

    def build(self, input_shape):
        """Check that the sizes agree."""
        sizes, known = list(input_shape[1:]), math.prod(n for n in self.target_shape if n != -1)
        if None not in sizes:
            size = math.prod(sizes)
            if (-1 in self.target_shape and (known == 0 or size % known)) or (
                    -1 not in self.target_shape and size != known):
                raise ValueError(f"The total size of the tensor must be unchanged. Received: input_shape="
                                 f"{tuple(input_shape[1:])}, target_shape={self.target_shape}")

    def compute_output_shape(self, input_shape):
        """Return the batch axis and the target shape, its -1 found where the sizes are known."""
        known = math.prod(n for n in self.target_shape if n != -1)
        found = None if None in input_shape[1:] else math.prod(input_shape[1:]) // max(known, 1)
        return (input_shape[0], *(found if n == -1 else n for n in self.target_shape))

    def compute_output_spec(self, inputs):
        """Return the outputs as a KerasTensor; unknown sizes of the inputs stay open."""
        return engine.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)

    def call(self, inputs):
        """Return the reshaped inputs."""
        shape = tuple(inputs.shape)
        known = math.prod(n for n in self.target_shape if n != -1)
        target = tuple(math.prod(shape[1:]) // known if n == -1 else n for n in self.target_shape)
        return ops.reshape(inputs, (shape[0], *target))


class Permute(BuiltinLayer):
    """Reorder the axes of each sample; `dims` counts from 1 and leaves out the batch axis."""

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError("Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` "
                             f"must be consecutive and start from 1. Received dims={dims}")
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs):
        """Return the transposed inputs."""
        return ops.transpose(inputs, (0, *self.dims))


class RepeatVector(BuiltinLayer):
    """Repeat each vector n times: `(batch, features)` becomes `(batch, n, features)`."""

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(n, int):
            raise TypeError(f"Expected an integer value for `n`, got {type(n)}.")
        if n <= 0:
            raise ValueError(f"The `n` argument of RepeatVector must be a positive integer, but received n={n}.")
        self.n = n
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        """Return the repeated vectors."""
        return ops.repeat(ops.expand_dims(inputs, 1), self.n, axis=1)


def _pairs(value, ndim, name):
    """Return an int, a tuple of ints or of pairs as `ndim` pairs (before, after).

    Raises:
        ValueError: anything else, or a negative number.
    """
    given = (value,) * ndim if isinstance(value, int) else value
    try:
        pairs = tuple((int(p), int(p)) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in given)
        valid = all(isinstance(p, int) or len(p) == 2 for p in given) and min(map(min, pairs)) >= 0
    except (TypeError, ValueError, IndexError):
        pairs, valid = (), False
    if not valid or len(pairs) != ndim:
        raise ValueError(f"`{name}` should be an int >= 0, a tuple of {ndim} of them, or of {ndim} pairs (before, "
                         f"after). Received: {name}={value}")
    return pairs


class _Spatial(BuiltinLayer):
    """Base of layers that work on `ndim` spatial axes of `(batch, *spatial, channels)` or channels first."""

    ndim = 1

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.ndim + 2)

    def _around(self, pairs):
        """Return the pairs of the spatial axes with zero pairs for batch and channels."""
        if self.data_format == "channels_first":
            return ((0, 0), (0, 0), *pairs)
        return ((0, 0), *pairs, (0, 0))


class _ZeroPadding(_Spatial):
    def call(self, inputs):
        """Return the padded inputs."""
        pairs = self.padding if self.ndim > 1 else (self.padding,)
        return ops.pad(inputs, self._around(pairs))


class ZeroPadding1D(_ZeroPadding):
    """Add zeros before and after the timesteps; `padding` is an int or a pair."""

    def __init__(self, padding=1, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.padding = _pairs(padding if isinstance(padding, int) else (padding,), 1, "padding")[0]


class ZeroPadding2D(_ZeroPadding):
    """Add zeros around images; `padding` is an int, two ints, or two pairs (before, after)."""

    ndim = 2

    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.padding = _pairs(padding, 2, "padding")


class ZeroPadding3D(_ZeroPadding):
    """Add zeros around volumes; `padding` is an int, three ints, or three pairs (before, after)."""

    ndim = 3

    def __init__(self, padding=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.padding = _pairs(padding, 3, "padding")


class _Cropping(_Spatial):
    def build(self, input_shape):
        """Check that something remains."""
        pairs = self.cropping if self.ndim > 1 else (self.cropping,)
        for axis, (pair, size) in enumerate(zip(self._around(pairs), input_shape)):
            if size is not None and sum(pair) >= size and sum(pair):
                received = f"Received: input_shape={tuple(input_shape)}, cropping={self.cropping} (axis {axis})"
                if self.ndim == 1:
                    raise ValueError("`cropping` parameter of `Cropping1D` layer must be smaller than the input "
                                     "length. " + received)
                raise ValueError("Values in `cropping` argument should be smaller than the corresponding spatial "
                                 f"dimension of the input. {received}")

    def call(self, inputs):
        """Return the inner part of the inputs."""
        pairs = self.cropping if self.ndim > 1 else (self.cropping,)
        sizes = tuple(inputs.shape)
        around = self._around(pairs)
        return ops.slice(inputs, [low for low, _ in around], [n - low - high for n, (low, high) in zip(sizes, around)])


class Cropping1D(_Cropping):
    """Cut timesteps off; `cropping` is an int or a pair."""

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__("channels_last", **kwargs)
        self.cropping = _pairs(cropping if isinstance(cropping, int) else (cropping,), 1, "cropping")[0]


class Cropping2D(_Cropping):
    """Cut rows and columns off; `cropping` is an int, two ints, or two pairs (before, after)."""

    ndim = 2

    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.cropping = _pairs(cropping, 2, "cropping")


class Cropping3D(_Cropping):
    """Cut the sides of volumes off; `cropping` is an int, three ints, or three pairs (before, after)."""

    ndim = 3

    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.cropping = _pairs(cropping, 3, "cropping")


class _UpSampling(_Spatial):
    def call(self, inputs):
        """Return the inputs, every place repeated."""
        first = 2 if self.data_format == "channels_first" else 1
        for axis, times in enumerate(self.size, first):
            inputs = ops.repeat(inputs, times, axis=axis)
        return inputs


class UpSampling1D(_UpSampling):
    """Repeat each timestep `size` times."""

    def __init__(self, size=2, **kwargs):
        super().__init__("channels_last", **kwargs)
        self.size = self._sizes(size, 1, "size")

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "size": self.size[0]}


class UpSampling2D(_UpSampling):
    """Enlarge images by whole factors.

    Args:
        size: factor, or one for rows and one for columns.
        data_format: 'channels_last' or 'channels_first'.
        interpolation: 'nearest' repeats; 'bilinear', 'bicubic', 'lanczos3', 'lanczos5' resize.
    """

    ndim = 2

    def __init__(self, size=(2, 2), data_format=None, interpolation="nearest", **kwargs):
        super().__init__(data_format, **kwargs)
        self.size = self._sizes(size, 2, "size")
        self.interpolation = interpolation.lower()
        known = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
        if self.interpolation not in known:
            raise ValueError(f"`interpolation` must be one of {known}, but received '{interpolation}'.")

    def call(self, inputs):
        """Return the enlarged images."""
        if self.interpolation == "nearest":
            return super().call(inputs)
        first = self.data_format == "channels_first"
        x = ops.transpose(inputs, (0, 2, 3, 1)) if first else inputs
        sizes = [n * k for n, k in zip(tuple(x.shape)[1:3], self.size)]
        x = ops.cast(ops.resize_images(x, sizes, method=self.interpolation, antialias=False), inputs.dtype)
        return ops.transpose(x, (0, 3, 1, 2)) if first else x


class UpSampling3D(_UpSampling):
    """Repeat every place of volumes by whole factors."""

    ndim = 3

    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.size = self._sizes(size, 3, "size")
