# SPDX-License-Identifier: Apache-2.0
"""Activations as layers."""
from fitloom import activations, ops
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec


class _Elementwise(BuiltinLayer):
    """Base of layers that compute element by element: shapes and masks stay."""

    _built_when_made = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape


class Activation(_Elementwise):
    """Apply a function, or the activation of this name.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Activation("relu")(tf.constant([-1.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs):
        """Return `activation(inputs)`."""
        return inputs if self.activation is None else self.activation(inputs)


class ReLU(_Elementwise):
    """Compute `max(x, 0)`, with an upper bound, a slope below the threshold, and a threshold.

    Args:
        max_value: upper bound >= 0, or None.
        negative_slope: slope below the threshold, >= 0.
        threshold: values below it count as negative, >= 0.
    """

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        alpha = kwargs.pop("alpha", None)   # Keras 2
        super().__init__(**kwargs)
        negative_slope = negative_slope if alpha is None else alpha
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if (value is None and name != "max_value") or (value is not None and value < 0):
                none = "" if name == "max_value" else "None or "
                raise ValueError(f"{name} of a ReLU layer cannot be {none}a negative value. Received: {name}={value}")
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def call(self, inputs):
        """Return the rectified inputs."""
        return activations.relu(inputs, negative_slope=self.negative_slope, max_value=self.max_value,
                                threshold=self.threshold)


class LeakyReLU(_Elementwise):
    """Compute x where it is positive, else `negative_slope * x`."""

    def __init__(self, negative_slope=0.3, **kwargs):
        alpha = kwargs.pop("alpha", None)   # Keras 2
        super().__init__(**kwargs)
        negative_slope = negative_slope if alpha is None else alpha
        if negative_slope is None or negative_slope < 0:
            raise ValueError("The negative_slope value of a Leaky ReLU layer cannot be None or negative value. "
                             f"Expected a float. Received: negative_slope={negative_slope}")
        self.negative_slope = negative_slope

    def call(self, inputs):
        """Return the rectified inputs."""
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)


class ThresholdedReLU(_Elementwise):
    """Compute x where it is above `theta`, else 0 (Konda et al., 2014)."""

    def __init__(self, theta=1.0, **kwargs):
        super().__init__(**kwargs)
        if theta is None or theta < 0:
            raise ValueError(f"ThresholdedReLU expected theta >= 0, but received {theta}.")
        self.theta = float(theta)

    def call(self, inputs):
        """Return the inputs above the threshold."""
        return ops.where(ops.greater(inputs, ops.cast(self.theta, inputs.dtype)), inputs, ops.zeros_like(inputs))


class PReLU(_Elementwise):
    """Compute x where it is positive, else `alpha * x` with a trained alpha (He et al., 2015).

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: of the slopes.
        shared_axes: axes along which one slope is shared, such as (1, 2) for images.

    Weights: alpha, in the shape of one input.
    """

    def __init__(self, alpha_initializer="Zeros", alpha_regularizer=None, alpha_constraint=None, shared_axes=None,
                 **kwargs):
        super().__init__(**kwargs)
        if shared_axes is not None and not isinstance(shared_axes, (list, tuple)):
            shared_axes = [shared_axes]
        shared_axes = None if shared_axes is None else list(shared_axes)
        self._keep(locals())

    def build(self, input_shape):
        """Make the slopes."""
        shape, axes = list(input_shape[1:]), {}
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.alpha = self.add_weight(
            name="alpha", shape=tuple(shape), initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer, constraint=self.alpha_constraint)
        if self.shared_axes:
            axes = {i: input_shape[i] for i in range(1, len(input_shape)) if i not in self.shared_axes}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs):
        """Return the rectified inputs."""
        return ops.relu(inputs) - self.alpha * ops.relu(-inputs)


class ELU(_Elementwise):
    """Compute x where it is positive, else `alpha * (exp(x) - 1)`."""

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs):
        """Return the activated inputs."""
        return activations.elu(inputs, alpha=self.alpha)


class Softmax(_Elementwise):
    """Compute softmax along `axis` (or several axes); computed in float32.

    Call arguments:
        mask: boolean tensor like the inputs; False positions get weight 0.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs, mask=None):
        """Return the normalized exponentials; exactly 0 where masked, also where everything is."""
        if mask is not None:
            sizes = zip(reversed(tuple(mask.shape)), reversed(tuple(inputs.shape)))
            if len(mask.shape) > len(inputs.shape) or any(m not in (1, None, n) and n is not None for m, n in sizes):
                raise ValueError(f"Softmax '{self.name}' expected a mask broadcastable to its inputs of shape "
                                 f"{tuple(inputs.shape)}, but received one of shape {tuple(mask.shape)}.")
            # A finite lowest value: -inf would give NaN where everything is masked.
            lowest = -3e4 if self.compute_dtype == "float16" else -1e9
            kept = ops.cast(mask, inputs.dtype)
            return activations.softmax(inputs + (1.0 - kept) * lowest, axis=self.axis) * kept
        return activations.softmax(inputs, axis=self.axis)
