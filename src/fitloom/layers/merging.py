# SPDX-License-Identifier: Apache-2.0
"""Layers that merge several inputs into one: Add, Multiply, Concatenate, Dot, ... and their lower-case functions."""
import functools

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.layers.builtin_layer import BuiltinLayer


class Merge(BuiltinLayer):
    """Base of layers that merge a list of inputs element by element, with broadcasting."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def _merge(self, inputs):
        raise NotImplementedError(f"{type(self).__name__} must define `_merge(self, inputs)`.")

    def build(self, input_shape):
        """Check that the shapes can be merged."""
        shapes = self._checked_shapes(input_shape)
        batches = {shape[0] for shape in shapes if shape and shape[0] is not None}
        if len(batches) > 1:
            raise ValueError("Cannot merge tensors with different batch sizes. Received tensors with shapes "
                             f"{list(map(tuple, shapes))}")
        functools.reduce(self._broadcast, [tuple(shape)[1:] for shape in shapes])

    def _checked_shapes(self, input_shape, least=1):
        if not isinstance(input_shape, (list, tuple)) or not input_shape or \
                not isinstance(input_shape[0], (list, tuple)):
            raise ValueError("A merge layer should be called on a list of inputs. "
                             f"Received: input_shape={input_shape} (not a list of shapes)")
        if len(input_shape) < least:
            raise ValueError(f"A merge layer should be called on a list of at least {least} input. "
                             f"Received {len(input_shape)} inputs. Full input_shape received: {input_shape}")
        return input_shape

    @staticmethod
    def _broadcast(a, b):
        """Return the shape to which two shapes broadcast; None dimensions take anything."""
        longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
        merged = list(longer[:len(longer) - len(shorter)])
        for m, n in zip(longer[len(merged):], shorter):
            if m == n or n == 1:
                merged.append(m)
            elif m == 1 or m is None:
                merged.append(n)
            elif n is None:
                merged.append(m)
            else:
                raise ValueError(f"Inputs have incompatible shapes. Received shapes {a} and {b}")
        return tuple(merged)

    def call(self, inputs):
        """Return the merged inputs."""
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(f"A merge layer should be called on a list of inputs. Received: inputs={inputs} "
                             "(not a list of tensors)")
        ndim = max(len(x.shape) for x in inputs)
        # As in Keras, an input with fewer axes gets them after its batch axis.
        inputs = [x if len(x.shape) == ndim else ops.reshape(
            x, (x.shape[0], *(1,) * (ndim - len(x.shape)), *tuple(x.shape)[1:])) for x in inputs]
        return self._merge(inputs)

    def compute_mask(self, inputs, mask=None):
        """Return where any input is valid; None if an input has no mask, that is, if it is valid everywhere."""
        if mask is None:
            return None
        if not isinstance(mask, (list, tuple)):
            raise ValueError(f"`mask` should be a list. Received: mask={mask}")
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(f"`inputs` should be a list. Received: inputs={inputs}")
        if len(mask) != len(inputs):
            raise ValueError("The lists `inputs` and `mask` should have the same length. Received: inputs of length "
                             f"{len(inputs)}, mask of length {len(mask)}")
        if any(m is None for m in mask):
            return None
        return functools.reduce(ops.logical_or, [ops.cast(m, "bool") for m in mask])


class Add(Merge):
    """Add the inputs.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Add()([tf.ones((1, 2)), tf.ones((1, 2))]).numpy().tolist()
        [[2.0, 2.0]]
    """

    def _merge(self, inputs):
        return functools.reduce(ops.add, inputs)


class Subtract(Merge):
    """Subtract the second of two inputs from the first."""

    def build(self, input_shape):
        """Check that there are two inputs."""
        super().build(input_shape)
        if len(input_shape) != 2:
            raise ValueError("A `Subtract` layer should be called on exactly 2 inputs. "
                             f"Received: input_shape={input_shape}")

    def _merge(self, inputs):
        if len(inputs) != 2:
            raise ValueError(f"A `Subtract` layer should be called on exactly 2 inputs. Received: {len(inputs)}")
        return ops.subtract(*inputs)


class Multiply(Merge):
    """Multiply the inputs; masked steps of an input count as 1."""

    def _merge(self, inputs):
        given = [x if mask is None else ops.where(mask, x, ops.ones_like(x))
                 for x, mask in zip(inputs, map(_mask_of, inputs))]
        product = functools.reduce(ops.multiply, given)
        return _zero_where_all_are_masked(product, inputs)


class Average(Merge):
    """Average the inputs."""

    def _merge(self, inputs):
        total = functools.reduce(ops.add, inputs)
        total = total if dtypes.is_floating(total.dtype) else ops.cast(total, self.compute_dtype)
        return total / float(len(inputs))


def _mask_of(x):
    """Return the mask that `x` carries, with an axis for its features, or None."""
    mask = engine.get_mask(x)
    return None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), -1)


def _zero_where_all_are_masked(merged, inputs):
    masks = [_mask_of(x) for x in inputs]
    if any(mask is None for mask in masks):
        return merged
    return ops.where(functools.reduce(ops.logical_or, masks), merged, ops.zeros_like(merged))


def _extreme(function, inputs):
    """Reduce `inputs` pair by pair; where one of a pair is masked, the other is taken as it is."""
    merged, valid = inputs[0], _mask_of(inputs[0])
    for x in inputs[1:]:
        mask = _mask_of(x)
        if mask is not None:
            x = ops.where(mask, x, merged)
        if valid is not None:
            merged = ops.where(valid, merged, x)
        valid = None if mask is None or valid is None else ops.logical_or(valid, mask)
        merged = function(merged, x)
    return merged


class Maximum(Merge):
    """Take the largest of the inputs, element by element; masked steps of an input do not count."""

    def _merge(self, inputs):
        return _extreme(ops.maximum, inputs)


class Minimum(Merge):
    """Take the smallest of the inputs, element by element; masked steps of an input do not count."""

    def _merge(self, inputs):
        return _extreme(ops.minimum, inputs)


class Concatenate(Merge):
    """Join the inputs along `axis`."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape):
        """Check that the shapes agree in all other axes."""
        shapes = self._checked_shapes(input_shape)
        ndims = {len(shape) for shape in shapes}
        others = {tuple(n for i, n in enumerate(shape) if i != self.axis % len(shape)) for shape in shapes}
        known = [{row[i] for row in others} - {None} for i in range(len(next(iter(others))))] if len(ndims) == 1 else []
        if len(ndims) > 1 or any(len(sizes) > 1 for sizes in known):
            raise ValueError("A `Concatenate` layer requires inputs with matching shapes except for the "
                             f"concatenation axis. Received: input_shape={list(map(tuple, shapes))}")

    def call(self, inputs):
        """Return the joined inputs."""
        return ops.concat(list(inputs), axis=self.axis)

    def compute_output_shape(self, input_shape):
        """Add the sizes along `axis`."""
        joined = list(self._checked_shapes(input_shape)[0])
        for shape in input_shape[1:]:
            for i, size in enumerate(shape):
                if i == self.axis % len(shape):
                    joined[i] = None if None in (joined[i], size) else joined[i] + size
                elif joined[i] is None:
                    joined[i] = size
        return tuple(joined)

    def compute_mask(self, inputs, mask=None):
        """Return the joined masks; inputs without one count as valid everywhere."""
        if mask is None:
            return None
        if not isinstance(mask, (list, tuple)):
            raise ValueError(f"`mask` should be a list. Received mask={mask}")
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(f"`inputs` should be a list. Received: inputs={inputs}")
        if len(mask) != len(inputs):
            raise ValueError("The lists `inputs` and `mask` should have the same length. Received: inputs of length "
                             f"{len(inputs)} and mask of length {len(mask)}")
        if all(m is None for m in mask):
            return None
        masks = []
        for x, m in zip(inputs, mask):
            m = m if m is None else ops.cast(m, "bool")
            if m is None:
                masks.append(ops.ones_like(x, dtype="bool"))
            elif len(m.shape) < len(x.shape):
                for _ in range(len(x.shape) - len(m.shape)):
                    m = ops.expand_dims(m, -1)
                masks.append(ops.logical_and(ops.ones_like(x, dtype="bool"), m))
            else:
                masks.append(m)
        return ops.reduce_any(ops.concat(masks, axis=self.axis), axis=-1)


class Dot(Merge):
    """Contract two inputs over an axis of each, one sample at a time.

    Args:
        axes: axis of both inputs, or a pair.
        normalize: whether both are scaled to norm 1 along it first (the result is the cosine).
    """

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)) or len(axes) != 2 or not all(isinstance(a, int) for a in axes):
                raise ValueError(f"Dot's `axes` must be an int or a pair of ints, but received axes={axes!r}.")
        self.axes, self.normalize = axes, normalize

    def _axes_for(self, shape_a, shape_b):
        axes = [self.axes] * 2 if isinstance(self.axes, int) else list(self.axes)
        return [a % len(shape) for a, shape in zip(axes, (shape_a, shape_b))]

    def build(self, input_shape):
        """Check the contracted sizes."""
        shapes = self._checked_shapes(input_shape)
        if len(shapes) != 2:
            raise ValueError(f"A `Dot` layer should be called on a list of 2 inputs. Received: {input_shape}")
        a, b = self._axes_for(*shapes)
        if None not in (shapes[0][a], shapes[1][b]) and shapes[0][a] != shapes[1][b]:
            raise ValueError(f"Incompatible input shapes: axis values {shapes[0][a]} (at axis {a}) != {shapes[1][b]} "
                             f"(at axis {b}). Full input shapes: {tuple(shapes[0])}, {tuple(shapes[1])}")

    def call(self, inputs):
        """Return the contraction, at least two axes."""
        x, y = inputs
        a, b = self._axes_for(tuple(x.shape), tuple(y.shape))
        if self.normalize:
            x, y = (v * ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(v), axis=i, keepdims=True), 1e-12))
                    for v, i in ((x, a), (y, b)))
        letters = "cdefghijklmnopqrstuvw"
        first = ["b", *letters[:len(x.shape) - 1]]
        second = ["b", *letters[len(x.shape) - 1:len(x.shape) + len(y.shape) - 2]]
        first[a] = second[b] = "z"
        out = "b" + "".join(c for c in first[1:] + second[1:] if c != "z")
        product = ops.einsum(f"{''.join(first)},{''.join(second)}->{out}", x, y)
        return ops.expand_dims(product, -1) if len(out) == 1 else product

    def compute_mask(self, inputs, mask=None):
        """Return None: positions are summed over."""
        return


def _functional(layer, summary):
    def function(inputs, **kwargs):
        return layer(**kwargs)(inputs)

    function.__name__ = function.__qualname__ = layer.__name__.lower()
    function.__doc__ = summary
    return function


add = _functional(Add, "Return the sum of a list of tensors.")
subtract = _functional(Subtract, "Return the difference of two tensors.")
multiply = _functional(Multiply, "Return the product of a list of tensors.")
average = _functional(Average, "Return the average of a list of tensors.")
maximum = _functional(Maximum, "Return the largest of a list of tensors, element by element.")
minimum = _functional(Minimum, "Return the smallest of a list of tensors, element by element.")


def concatenate(inputs, axis=-1, **kwargs):
    """Return a list of tensors joined along `axis`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes=-1, **kwargs):
    """Return the contraction of two tensors over `axes`, one sample at a time."""
    return Dot(axes=axes, **kwargs)(inputs)
