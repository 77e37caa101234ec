# SPDX-License-Identifier: Apache-2.0
"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from fitloom.ops.kernels import platform
from fitloom.ops.kernels.bias import add_bias
from fitloom.ops.kernels.derivatives import with_backward
from fitloom.ops.kernels.native import library
from fitloom.ops.kernels.primitives import Accelerated

# Below this many multiplications the gradient takes less time than the call of foreign code.
_LEAST_MULTIPLICATIONS = 1 << 16
# The native product takes what is large. With many rows it packs the whole kernel, whose panels have to fit into the
# cache; with fewer each thread packs panels of its own, of which there have to be some (128x784x512, in CPU time:
# 1.03 ms against XLA's 1.20).
_LEAST_PRODUCT, _MANY_ROWS, _MOST_INPUTS = 1 << 20, 512, 1024
_LEAST_ROWS, _LEAST_UNITS = 32, 128


def dense(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    activation: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Compute `activation(x @ kernel + bias)`.

    Args:
        x: `(..., inputs)`.
        kernel: `(inputs, units)`.
        bias: `(units,)` or None.
        activation: Function of an array, or None.

    Returns:
        `(..., units)` in x's dtype.
    """
    if x.ndim < 1 or kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"a dense layer with a kernel of shape {kernel.shape} expects inputs whose last axis "
            f"is {kernel.shape[0]}, received shape {x.shape}"
        )
    y = _dense(x, kernel, bias)
    return y if activation is None else activation(y)


def einsum_dense(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None, *, equation: str) -> jax.Array:
    """Compute `einsum(equation, x, kernel) + bias`, as `dense` where the equation is one of its kind.

    That is where the last axes of x are the first of the kernel and are summed over, such as in
    'abc,cde->abde'.

    Args:
        x: Any shape.
        kernel: Any shape.
        bias: An array in the shape of the last axes of the result (or one that broadcasts), or None.
        equation: As in `jnp.einsum`.

    Returns:
        Array of x's dtype.
    """
    inputs, _, result = equation.partition("->")
    left, right = inputs.split(",")
    if left.startswith("...") and result.startswith("..."):
        left, result = left[3:], result[3:]
    summed = "".join(letter for letter in right if letter not in result)
    units = right[len(summed) :]
    shape = kernel.shape[len(summed) :]
    as_dense = (
        "." not in left + result
        and summed
        and right.startswith(summed)
        and left.endswith(summed)
        and result == left[: -len(summed)] + units
        and len(set(left + units)) == len(left + units)
        and (bias is None or bias.shape == shape)
    )
    if not as_dense:
        y = jnp.einsum(equation, x, kernel, preferred_element_type=x.dtype)
        return y if bias is None else add_bias(y, bias)
    depth = math.prod(kernel.shape[: len(summed)])
    lead = x.shape[: x.ndim - len(summed)]
    y = _dense(
        x.reshape(*lead, depth),
        kernel.reshape(depth, math.prod(shape)),
        None if bias is None else bias.reshape(math.prod(shape)),
    )
    return y.reshape(*lead, *shape)


def _forward(x, kernel, bias):
    return _affine(x, kernel, bias), (x, kernel, bias)


def _affine(x, kernel, bias, transposed=False):
    """Return `x @ kernel + bias`, or `x @ kernel.T + bias`, natively where that is faster."""
    *lead, inputs = x.shape
    rows, units = math.prod(lead), kernel.shape[0 if transposed else 1]
    same = x.dtype == kernel.dtype == jnp.float32 and (bias is None or bias.dtype == x.dtype)
    large = rows * inputs * units >= _LEAST_PRODUCT
    fits = inputs <= _MOST_INPUTS if rows >= _MANY_ROWS else rows >= _LEAST_ROWS and units >= _LEAST_UNITS
    if not (same and large and fits and platform.native_enabled()):
        y = x @ (kernel.T if transposed else kernel)
        return y if bias is None else y + bias
    start = jnp.zeros((0,), x.dtype) if bias is None else bias
    (y,) = _products(x.reshape(rows, inputs), kernel, start, transposed=transposed)
    return y.reshape(*lead, units)


def _products_reference(x, kernel, bias, *, transposed):
    y = x @ (kernel.T if transposed else kernel)
    return (y + bias if bias.shape[0] == y.shape[1] else y,)


def _products_native(x, kernel, bias, *, transposed):
    result = jax.ShapeDtypeStruct((x.shape[0], kernel.shape[0 if transposed else 1]), x.dtype)
    return library.call("dense", (result,), x, kernel, bias, transposed=int(transposed))


def _backward(residuals, dy):
    x, kernel, bias = residuals
    flat_x = x.reshape(-1, x.shape[-1])
    flat_dy = dy.reshape(-1, dy.shape[-1])
    worth_a_call = flat_x.size * dy.shape[-1] >= _LEAST_MULTIPLICATIONS
    if x.dtype == dy.dtype == jnp.float32 and worth_a_call:
        dkernel, dbias = _weight_gradients(flat_x, flat_dy)
    else:
        dkernel, dbias = _weight_gradients_reference(flat_x, flat_dy)
    dx = _affine(flat_dy, kernel, None, transposed=True).reshape(x.shape)
    return dx, dkernel, None if bias is None else dbias


def _weight_gradients_reference(x, dy):
    transposed = x.T
    if platform.on_cpu():
        # XLA:CPU's product of a transposed matrix is slower than a transposition and a product.
        transposed = lax.optimization_barrier(transposed)
    return transposed @ dy, jnp.sum(dy, axis=0)


def _weight_gradients_native(x, dy):
    results = (
        jax.ShapeDtypeStruct((x.shape[1], dy.shape[1]), x.dtype),
        jax.ShapeDtypeStruct((dy.shape[1],), x.dtype),
    )
    return library.call("dense_gradient", results, x, dy)


_products = Accelerated("dense", _products_reference, _products_native)
_weight_gradients = Accelerated("dense_gradient", _weight_gradients_reference, _weight_gradients_native)
_dense = with_backward(_forward, _backward)
