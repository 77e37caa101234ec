# SPDX-License-Identifier: Apache-2.0
"""Convolutions in one, two or three spatial dimensions, their transposes, and depthwise ones.

Layouts: images `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` for
`channels_first`; kernels `(*spatial, input channels / groups, output channels)`, as in Keras.
Convolution means correlation here, as everywhere in this field: the kernel is not flipped.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels import platform
from fitloom.ops.kernels.bias import add_bias
from fitloom.ops.kernels.derivatives import with_backward
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated, Bilinear

# A depthwise convolution as a sum of shifted images costs one pass for each place of the kernel.
_MOST_PLACES = 64
# winograd.cc takes 3x3 kernels with so many channels on both sides.
LEAST_WINOGRAD_CHANNELS = 32

Padding = str | Sequence[tuple[int, int]]


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolve: `y[o, c] = sum_{k, i} x[o * strides + k * dilation - low, i] * kernel[k, i, c]`.

    Args:
        x: `(batch, *spatial, in)` or, for channels_first, `(batch, in, *spatial)`.
        kernel: `(*spatial, in / groups, out)`, x's dtype. The number of groups follows from the
            shapes; output channel c sees the input channels of group `c // (out / groups)`.
        strides: Step of the window, one for all or one for each spatial dimension.
        padding: `'valid'`, `'same'` (`ceil(size / stride)` outputs), `'causal'` (one dimension:
            output o sees inputs up to `o * stride`), or `((low, high), ...)`.
        dilation: Distance between neighbouring places of the kernel.
        data_format: `'channels_last'` or `'channels_first'`.

    Returns:
        `(batch, *spatial, out)` in x's layout and dtype.
    """
    x = _to_last(x, data_format)
    y = _conv(x, kernel, *_settings(x, kernel, strides, padding, dilation))
    return _from_last(y, data_format)


def conv_bias(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    data_format: str = "channels_last",
    relu: bool = False,
) -> jax.Array:
    """Convolve, add one number a channel and, if `relu`, make what is negative zero.

    Native code does all of it in the pass that stores the result; in the gradient it reads the sign of
    the result and sums for the bias where it reads the result's gradient anyway.

    Args:
        x, kernel, strides, padding, dilation, data_format: As in `conv`.
        bias: `(out,)`, x's dtype.
        relu: Return `max(y, 0)`, whose derivative at zero is zero.

    Returns:
        `(batch, *spatial, out)` in x's layout and dtype.
    """
    images = _to_last(x, data_format)
    settings = _settings(images, kernel, strides, padding, dilation)
    strides, pads, dilation, groups = settings
    whole = images.size > 0 and kernel.size > 0 and bias.shape == kernel.shape[-1:] and bias.dtype == x.dtype
    if not whole or not _native_takes(images, kernel):
        y = add_bias(_from_last(_conv(images, kernel, *settings), data_format), bias, data_format)
        return jax.nn.relu(y) if relu else y
    sizes = _conv_shape(images, kernel, strides, pads, dilation)[1:-1]
    lows = tuple(low for low, _ in pads)
    y = _biased(
        images, kernel, bias, sizes=sizes, strides=strides, lows=lows, dilations=dilation, groups=groups, relu=relu
    )
    return _from_last(y, data_format)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Apply the transpose of `conv` with the same arguments, which enlarges by `strides`.

    With K = (size of kernel - 1) * dilation + 1 the output size in each dimension is

    - `'valid'`: `(n - 1) * stride + max(K, stride)`, or `(n - 1) * stride + K + output_padding`
    - `'same'`: `n * stride`, or `(n - 1) * stride + K - 2 * (K // 2) + output_padding`

    Args:
        x: `(batch, *spatial, in)` or, for channels_first, `(batch, in, *spatial)`.
        kernel: `(*spatial, out, in)`, as Keras stores it.
        strides: Factor of enlargement.
        padding: `'valid'` or `'same'`.
        output_padding: Places to add at the end of each dimension; None for the usual sizes.
        dilation: Distance between neighbouring places of the kernel.
        data_format: `'channels_last'` or `'channels_first'`.

    Returns:
        `(batch, *spatial, out)` in x's layout and dtype.
    """
    ndim = x.ndim - 2
    strides = _per_dimension(strides, ndim, "strides")
    dilation = _per_dimension(dilation, ndim, "dilation")
    extra: tuple = (None,) * ndim
    if output_padding is not None:
        extra = (output_padding,) * ndim if isinstance(output_padding, int) else tuple(output_padding)
    x = _to_last(x, data_format)
    if kernel.ndim != x.ndim or kernel.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"a transposed convolution of {x.shape[-1]} channels in {ndim} dimensions needs a "
            f"kernel of shape ({'size, ' * ndim}filters, {x.shape[-1]}), received {kernel.shape}"
        )
    sizes, pads = [], []
    per_dimension = zip(x.shape[1:-1], kernel.shape[:-2], strides, dilation, extra, strict=True)  # type: ignore[arg-type]
    for n, k, s, d, more in per_dimension:
        size, low = _transposed_size(n, (k - 1) * d + 1, s, padding, more)
        sizes.append(size)
        pads.append((low, (n - 1) * s + (k - 1) * d + 1 - size - low))
    y = _conv_input_gradient(kernel, x, tuple(sizes), strides, tuple(pads), dilation, 1)
    return _from_last(y, data_format)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolve each channel with kernels of its own: `y[o, c * m + j] = sum_k x[.., c] w[k, c, j]`.

    Args:
        x: `(batch, *spatial, channels)` or, for channels_first, `(batch, channels, *spatial)`.
        kernel: `(*spatial, channels, m)`; m is Keras's depth multiplier.
        strides, padding, dilation, data_format: As in `conv`.

    Returns:
        `(batch, *spatial, channels * m)` in x's layout and dtype.
    """
    ndim = x.ndim - 2
    strides = _per_dimension(strides, ndim, "strides")
    dilation = _per_dimension(dilation, ndim, "dilation")
    x = _to_last(x, data_format)
    channels, multiplier = kernel.shape[-2:]
    if kernel.ndim != x.ndim or channels != x.shape[-1]:
        raise ValueError(
            f"a depthwise convolution of {x.shape[-1]} channels in {ndim} dimensions needs a "
            f"kernel of shape ({'size, ' * ndim}{x.shape[-1]}, multiplier), received {kernel.shape}"
        )
    pads = _pads(x.shape[1:-1], kernel.shape[:-2], strides, dilation, padding)
    flat = kernel.reshape(*kernel.shape[:-2], 1, channels * multiplier)
    if _native_takes(x, kernel):
        x = jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x
        sizes = _conv_shape(x, flat, strides, pads, dilation)[1:-1]
        lows = tuple(low for low, _ in pads)
        y = _depthwise_forward(x, flat, sizes=sizes, strides=strides, lows=lows, dilations=dilation)
    elif _few_places(kernel) and min(map(min, pads), default=0) >= 0 and platform.on_cpu():
        x = jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x
        y = _shifted_sum(x, flat, strides=strides, pads=pads, dilation=dilation)
    else:
        y = _conv_on_xla(x, flat, strides, pads, dilation, channels)
    return _from_last(y, data_format)


def separable_conv(
    x: jax.Array,
    depthwise_kernel: jax.Array,
    pointwise_kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Apply `depthwise_conv` and then a convolution of size one over the channels.

    Args:
        x: As in `depthwise_conv`.
        depthwise_kernel: `(*spatial, channels, m)`.
        pointwise_kernel: `(1, ..., 1, channels * m, out)`.
        strides, padding, dilation, data_format: As in `conv`, for the depthwise part.

    Returns:
        `(batch, *spatial, out)` in x's layout and dtype.
    """
    y = depthwise_conv(x, depthwise_kernel, strides, padding, dilation, data_format)
    return conv(y, pointwise_kernel, data_format=data_format)


def _to_last(x, data_format):
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"data_format must be 'channels_last' or 'channels_first', received {data_format!r}")
    return x if data_format == "channels_last" else jnp.moveaxis(x, 1, -1)


def _from_last(y, data_format):
    return y if data_format == "channels_last" else jnp.moveaxis(y, -1, 1)


def _per_dimension(value, ndim, name):
    values = (value,) * ndim if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != ndim or min(values, default=1) < 1:
        raise ValueError(f"{name} must be {ndim} positive integers, received {value!r}")
    return values


def _pads(sizes, kernel_sizes, strides, dilation, padding):
    """Return ((low, high), ...) for a padding given by name or already as numbers."""
    widths = [(k - 1) * d + 1 for k, d in zip(kernel_sizes, dilation, strict=True)]
    if not isinstance(padding, str):
        pads = tuple((int(low), int(high)) for low, high in padding)
        if len(pads) != len(sizes):
            raise ValueError(f"padding must have {len(sizes)} pairs, received {padding!r}")
        return pads
    if padding == "valid":
        return ((0, 0),) * len(sizes)
    if padding == "causal":
        if len(sizes) != 1:
            raise ValueError("padding 'causal' is for one spatial dimension")
        return ((widths[0] - 1, 0),)
    if padding != "same":
        raise ValueError(
            f"padding must be 'valid', 'same', 'causal' or pairs of numbers, received {padding!r}"
        )
    pads = []
    for size, width, stride in zip(sizes, widths, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _transposed_size(n, width, stride, padding, extra):
    """Return the output size of a transposed convolution and the low padding of its transpose."""
    if padding == "valid":
        extra = max(stride - width, 0) if extra is None else extra
        return (n - 1) * stride + width + extra, 0
    if padding != "same":
        raise ValueError(f"padding must be 'valid' or 'same', received {padding!r}")
    if extra is None:
        total = stride + width - 2
    else:
        total = width + width % 2 - 2 + extra
    low = min(-(-total // 2), width - 1)
    return (n - 1) * stride + 2 + total - width, width - 1 - low


def _settings(x, kernel, strides, padding, dilation):
    """Return strides, padding, dilation and groups of a convolution of channels-last images, or complain."""
    ndim = x.ndim - 2
    strides = _per_dimension(strides, ndim, "strides")
    dilation = _per_dimension(dilation, ndim, "dilation")
    channels, per_group = x.shape[-1], kernel.shape[-2]
    if kernel.ndim != x.ndim or channels % per_group or kernel.shape[-1] % (channels // per_group):
        raise ValueError(
            f"a convolution of {channels} channels in {ndim} dimensions needs a kernel of shape "
            f"({'size, ' * ndim}channels / groups, filters) with filters divisible by groups, "
            f"received {kernel.shape}"
        )
    pads = _pads(x.shape[1:-1], kernel.shape[:-2], strides, dilation, padding)
    return strides, pads, dilation, channels // per_group


# The three faces of one trilinear form, sum(dy * conv(x, w)), each linear in both arguments:
# the result, the gradient of x, and the gradient of w. Each is the transpose of the others.


def _conv(x, w, strides, pads, dilation, groups):
    if _native_takes(x, w):
        lows = tuple(low for low, _ in pads)
        sizes = _conv_shape(x, w, strides, pads, dilation)[1:-1]
        return _forward(x, w, sizes=sizes, strides=strides, lows=lows, dilations=dilation, groups=groups)
    return _conv_on_xla(x, w, strides, pads, dilation, groups)


def _conv_input_gradient(w, dy, sizes, strides, pads, dilation, groups):
    """The x for which `sum(x * result) = sum(dy * conv(x, w))`; x has spatial `sizes`."""
    if _native_takes(dy, w):
        lows = tuple(low for low, _ in pads)
        return _input_gradient(
            w, dy, sizes=sizes, strides=strides, lows=lows, dilations=dilation, groups=groups
        )
    return _input_gradient_on_xla(w, dy, sizes, strides, pads, dilation, groups)


def _native_takes(x, w):
    return x.ndim <= 5 and x.dtype == w.dtype == jnp.float32 and platform.native_enabled()


def _dimension_numbers(ndim):
    spatial = "DHW"[3 - ndim :] if ndim <= 3 else "ABEFGJKLMPQRSTUVXYZ"[:ndim]
    return (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")


def _conv_shape(x, w, strides, pads, dilation):
    sizes = [
        max((n + low + high - (k - 1) * d - 1) // s + 1, 0)
        for n, (low, high), k, d, s in zip(x.shape[1:-1], pads, w.shape[:-2], dilation, strides, strict=True)
    ]
    return (x.shape[0], *sizes, w.shape[-1])


def _conv_on_xla(x, w, strides, pads, dilation, groups):
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=_dimension_numbers(x.ndim - 2),
        feature_group_count=groups,
    )


def _input_gradient_on_xla(w, dy, sizes, strides, pads, dilation, groups):
    ndim = dy.ndim - 2
    # Swap the channels of w within each group, flip it, and slide it over the spread-out dy.
    spatial, (inner, outer) = w.shape[:-2], w.shape[-2:]
    w = w.reshape(*spatial, inner, groups, outer // groups)
    w = jnp.moveaxis(w, -1, -3)  # (*spatial, outer / groups, inner, groups)
    w = jnp.swapaxes(w, -1, -2).reshape(*spatial, outer // groups, groups * inner)
    w = jnp.flip(w, range(ndim))
    outer_pads = []
    for k, d, (low, _), size, n, s in zip(
        spatial, dilation, pads, sizes, dy.shape[1:-1], strides, strict=True
    ):
        width = (k - 1) * d + 1
        outer_pads.append((width - 1 - low, size + low - (n - 1) * s - 1))
    return lax.conv_general_dilated(
        dy,
        w,
        (1,) * ndim,
        outer_pads,
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=_dimension_numbers(ndim),
        feature_group_count=groups,
    )


def _pads_for(x_sizes, w_sizes, y_sizes, strides, lows, dilation):
    """The padding, given the low side and the number of outputs; negative where x has more."""
    return tuple(
        (low, (m - 1) * s + (k - 1) * d + 1 - n - low)
        for n, k, m, s, low, d in zip(x_sizes, w_sizes, y_sizes, strides, lows, dilation, strict=True)
    )


def _forward_reference(x, w, *, sizes, strides, lows, dilations, groups):
    pads = _pads_for(x.shape[1:-1], w.shape[:-2], sizes, strides, lows, dilations)
    return _conv_on_xla(x, w, strides, pads, dilations, groups)


def _input_gradient_reference(w, dy, *, sizes, strides, lows, dilations, groups):
    pads = tuple((low, 0) for low in lows)
    return _input_gradient_on_xla(w, dy, sizes, strides, pads, dilations, groups)


def _weight_gradient_reference(x, dy, *, sizes, strides, lows, dilations, groups):
    shape = (*sizes, x.shape[-1] // groups, dy.shape[-1])
    pads = _pads_for(x.shape[1:-1], sizes, dy.shape[1:-1], strides, lows, dilations)
    forward = functools.partial(
        _conv_on_xla, x, strides=strides, pads=pads, dilation=dilations, groups=groups
    )
    kernel = jax.ShapeDtypeStruct(shape, dy.dtype)
    return jax.linear_transpose(forward, kernel)(dy)[0]


def _forward_result(x, w, *, sizes, **static):
    return jax.ShapeDtypeStruct((x.shape[0], *sizes, w.shape[-1]), x.dtype)


def _input_gradient_result(w, dy, *, sizes, groups, **static):
    return jax.ShapeDtypeStruct((dy.shape[0], *sizes, w.shape[-2] * groups), dy.dtype)


def _weight_gradient_result(x, dy, *, sizes, groups, **static):
    return jax.ShapeDtypeStruct((*sizes, x.shape[-1] // groups, dy.shape[-1]), dy.dtype)


# `sizes` are the spatial sizes of the result, which strides leave open.
_forward = Bilinear("conv", _forward_reference, "conv_forward", _forward_result, batched=0)
_input_gradient = Bilinear(
    "conv_input_gradient", _input_gradient_reference, "conv_input_gradient", _input_gradient_result, batched=1
)
_weight_gradient = Bilinear(
    "conv_weight_gradient",
    _weight_gradient_reference,
    "conv_weight_gradient",
    _weight_gradient_result,
    batched=None,
)


def _set_transposes(forward, input_gradient, weight_gradient):
    """Tell three functions of x and w, w and dy, x and dy that they are each other's transposes."""

    def sizes_of(image):
        return image.aval.shape[1:-1]

    def kernel_sizes_of(kernel):
        return kernel.aval.shape[:-2]

    forward.set_transposes(
        lambda ct, x, w, sizes, **static: input_gradient(w, ct, sizes=sizes_of(x), **static),
        lambda ct, x, w, sizes, **static: weight_gradient(x, ct, sizes=kernel_sizes_of(w), **static),
    )
    input_gradient.set_transposes(
        lambda ct, w, dy, sizes, **static: weight_gradient(ct, dy, sizes=kernel_sizes_of(w), **static),
        lambda ct, w, dy, sizes, **static: forward(ct, w, sizes=sizes_of(dy), **static),
    )
    weight_gradient.set_transposes(
        lambda ct, x, dy, sizes, **static: input_gradient(ct, dy, sizes=sizes_of(x), **static),
        lambda ct, x, dy, sizes, **static: forward(x, ct, sizes=sizes_of(dy), **static),
    )


_set_transposes(_forward, _input_gradient, _weight_gradient)


# With a bias and perhaps a maximum with zero. What these functions are made of knows every derivative, and so do
# they; training runs their native versions.


def biased_reference(x, w, bias, *, relu, **static):
    y = _forward(x, w, **static) + bias
    return (jax.nn.relu(y) if relu else y,)


def _biased_native(x, w, bias, *, sizes, relu, **attributes):
    result = _forward_result(x, w, sizes=sizes)
    return library.call("conv_bias_forward", (result,), x, w, bias, relu=int(relu), **attributes)


def _where_positive(dy, y):
    return jnp.where(y > 0, dy, jnp.zeros((), dy.dtype))


def _relu_input_gradient_reference(w, dy, y, **static):
    return (_input_gradient(w, _where_positive(dy, y), **static),)


def _relu_input_gradient_native(w, dy, y, *, sizes, groups, **attributes):
    result = _input_gradient_result(w, dy, sizes=sizes, groups=groups)
    return library.call("conv_relu_input_gradient", (result,), w, dy, y, groups=groups, **attributes)


def biased_gradient_reference(x, dy, y, **static):
    """The gradients of w and bias; y is the result of a maximum with zero, or has no elements."""
    dy = _where_positive(dy, y) if y.size else dy
    return _weight_gradient(x, dy, **static), jnp.sum(dy, axis=tuple(range(dy.ndim - 1)))


def _bias_weight_gradient_native(x, dy, y, *, sizes, groups, **attributes):
    results = (
        _weight_gradient_result(x, dy, sizes=sizes, groups=groups),
        jax.ShapeDtypeStruct(dy.shape[-1:], dy.dtype),
    )
    return library.call("conv_bias_weight_gradient", results, x, dy, y, groups=groups, **attributes)


biased_once = Accelerated("conv_bias", biased_reference, _biased_native)
_relu_input_gradient = Accelerated(
    "conv_relu_input_gradient", _relu_input_gradient_reference, _relu_input_gradient_native
)
_bias_weight_gradient = Accelerated(
    "conv_bias_weight_gradient", biased_gradient_reference, _bias_weight_gradient_native
)
plain_primitive = _forward.primitive
biased_primitive, biased_gradient_primitive = biased_once.primitive, _bias_weight_gradient.primitive


def _biased_forward(x, w, bias, *, relu, **static):
    (y,) = biased_once(x, w, bias, relu=relu, **static)
    return y, (x, w, y if relu else jnp.zeros((0,), y.dtype))


def _biased_backward(residuals, dy, *, relu, sizes, **static):
    x, w, y = residuals
    if relu:
        (dx,) = _relu_input_gradient(w, dy, y, sizes=x.shape[1:-1], **static)
    else:
        dx = _input_gradient(w, dy, sizes=x.shape[1:-1], **static)
    dw, dbias = _bias_weight_gradient(x, dy, y, sizes=w.shape[:-2], **static)
    return dx, dw, dbias


_biased = with_backward(_biased_forward, _biased_backward)


# The same three for depthwise kernels (*spatial, 1, channels), by native code ...


def _depthwise_forward_reference(x, w, *, sizes, strides, lows, dilations):
    groups = x.shape[-1]
    return _forward_reference(
        x, w, sizes=sizes, strides=strides, lows=lows, dilations=dilations, groups=groups
    )


def _depthwise_input_gradient_reference(w, dy, *, sizes, strides, lows, dilations):
    groups = dy.shape[-1]
    return _input_gradient_reference(
        w, dy, sizes=sizes, strides=strides, lows=lows, dilations=dilations, groups=groups
    )


def _depthwise_weight_gradient_reference(x, dy, *, sizes, strides, lows, dilations):
    groups = x.shape[-1]
    return _weight_gradient_reference(
        x, dy, sizes=sizes, strides=strides, lows=lows, dilations=dilations, groups=groups
    )


def _depthwise_forward_result(x, w, *, sizes, **static):
    return jax.ShapeDtypeStruct((x.shape[0], *sizes, x.shape[-1]), x.dtype)


def _depthwise_input_gradient_result(w, dy, *, sizes, **static):
    return jax.ShapeDtypeStruct((dy.shape[0], *sizes, dy.shape[-1]), dy.dtype)


def _depthwise_weight_gradient_result(x, dy, *, sizes, **static):
    return jax.ShapeDtypeStruct((*sizes, 1, dy.shape[-1]), dy.dtype)


_depthwise_forward = Bilinear(
    "depthwise", _depthwise_forward_reference, "depthwise_forward", _depthwise_forward_result, batched=0
)
_depthwise_input_gradient = Bilinear(
    "depthwise_input_gradient",
    _depthwise_input_gradient_reference,
    "depthwise_input_gradient",
    _depthwise_input_gradient_result,
    batched=1,
)
_depthwise_weight_gradient = Bilinear(
    "depthwise_weight_gradient",
    _depthwise_weight_gradient_reference,
    "depthwise_weight_gradient",
    _depthwise_weight_gradient_result,
    batched=None,
)
_set_transposes(_depthwise_forward, _depthwise_input_gradient, _depthwise_weight_gradient)


# ... and as a sum of shifted images in plain XLA, where a grouped convolution is slow: 42 -> 1.8
# ms forward on two cores.


def _few_places(kernel):
    return math.prod(kernel.shape[:-2]) <= _MOST_PLACES


def _views(x, w_shape, strides, pads, dilation):
    """Yield each place of the kernel and what it sees of the image, from (start, limit)."""
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((a, b, 0) for a, b in pads), (0, 0, 0)])
    for place, start, limit in _view_bounds(x.shape, w_shape, strides, pads, dilation):
        view = lax.slice(padded, (0, *start, 0), (x.shape[0], *limit, x.shape[-1]), (1, *strides, 1))
        yield place, view


def _view_bounds(x_shape, w_shape, strides, pads, dilation):
    counts = [
        (n + low + high - (k - 1) * d - 1) // s + 1
        for n, (low, high), k, d, s in zip(x_shape[1:-1], pads, w_shape[:-2], dilation, strides, strict=True)
    ]
    for place in itertools.product(*map(range, w_shape[:-2])):
        start = [p * d for p, d in zip(place, dilation, strict=True)]
        limit = [a + (n - 1) * s + 1 for a, n, s in zip(start, counts, strides, strict=True)]
        yield place, start, limit


def _shifted_sum_forward(x, w, *, strides, pads, dilation):
    wide = jnp.promote_types(x.dtype, jnp.float32)
    terms = [
        view.astype(wide) * w[place].astype(wide)
        for place, view in _views(x, w.shape, strides, pads, dilation)
    ]
    return functools.reduce(jnp.add, terms).astype(x.dtype), (x, w)


def _shifted_sum_backward(residuals, dy, *, strides, pads, dilation):
    x, w = residuals
    wide = jnp.promote_types(x.dtype, jnp.float32)
    wide_dy = dy.astype(wide)
    axes = tuple(range(x.ndim - 1))
    dw = [
        jnp.sum(view.astype(wide) * wide_dy, axis=axes)
        for _, view in _views(x, w.shape, strides, pads, dilation)
    ]
    dw = jnp.stack(dw).reshape(w.shape).astype(w.dtype)
    return _shifted_sum_input_gradient(w, dy, x.shape, strides, pads, dilation), dw


def _shifted_sum_input_gradient(w, dy, shape, strides, pads, dilation):
    if all(s == 1 for s in strides):
        # The same sum with the kernel flipped; dy gets the padding that x lacked.
        outer = tuple(
            ((k - 1) * d - low, n + low - m)
            for k, d, (low, _), n, m in zip(
                w.shape[:-2], dilation, pads, shape[1:-1], dy.shape[1:-1], strict=True
            )
        )
        flipped = jnp.flip(w, range(len(strides)))
        return _shifted_sum_forward(dy, flipped, strides=strides, pads=outer, dilation=dilation)[0]
    # Spread dy * w over the positions of the image that each place of the kernel saw.
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    total = jnp.zeros((), wide)
    for place, start, limit in _view_bounds(shape, w.shape, strides, pads, dilation):
        config = [
            (a - low, n + low - end, s - 1)
            for a, end, (low, _), n, s in zip(start, limit, pads, shape[1:-1], strides, strict=True)
        ]
        term = dy.astype(wide) * w[place].astype(wide)
        total = total + lax.pad(term, jnp.zeros((), wide), [(0, 0, 0), *config, (0, 0, 0)])
    return total.astype(dy.dtype)


_shifted_sum = with_backward(_shifted_sum_forward, _shifted_sum_backward)
