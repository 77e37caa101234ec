# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.activations`: element by element (and softmax-like) functions between layers."""
from fitloom import ops
from fitloom.base import identifiers, registry, serialization

_NAMESPACE = "keras.activations"
_activation = registry.builtin(_NAMESPACE)


@_activation
def linear(x):
    """Return x unchanged."""
    return x


@_activation
def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """Return `max(x, 0)`; generally x above the threshold, `negative_slope * (x - threshold)` below it.

    Args:
        x: tensor.
        negative_slope: slope below the threshold.
        max_value: upper bound of the result, or None.
        threshold: values below it count as negative.
    """
    x = ops.convert_to_tensor(x)
    if threshold:
        above = ops.where(x > threshold, x, ops.zeros_like(x))
    else:
        above = ops.relu(x)
    if max_value is not None:
        above = ops.minimum(above, float(max_value))
    if negative_slope:
        return above - float(negative_slope) * ops.relu(float(threshold) - x)
    return above


@_activation
def relu6(x):
    """Return `min(max(x, 0), 6)`."""
    return ops.relu6(x)


@_activation
def leaky_relu(x, negative_slope=0.2):
    """Return x where it is positive, else `negative_slope * x`."""
    return ops.leaky_relu(x, alpha=float(negative_slope))


@_activation
def elu(x, alpha=1.0):
    """Return x where it is positive, else `alpha * (exp(x) - 1)` (Clevert et al., 2016)."""
    x = ops.convert_to_tensor(x)
    return ops.where(x > 0, x, float(alpha) * ops.expm1(ops.minimum(x, 0.0)))


@_activation
def celu(x, alpha=1.0):
    """Return `max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)` (Barron, 2017)."""
    x = ops.convert_to_tensor(x)
    return ops.where(x > 0, x, float(alpha) * ops.expm1(ops.minimum(x, 0.0) / float(alpha)))


@_activation
def selu(x):
    """Return `1.0507 * elu(x, alpha=1.67326)` (Klambauer et al., 2017); use with 'lecun_normal'."""
    return ops.selu(x)


@_activation
def gelu(x, approximate=False):
    """Return `x * Phi(x)`, Phi the normal distribution function; `approximate` takes the tanh form."""
    return ops.gelu(x, approximate=approximate)


@_activation
def glu(x, axis=-1):
    """Split x in halves a, b along `axis` and return `a * sigmoid(b)`."""
    a, b = ops.split(x, 2, axis=axis)
    return a * ops.sigmoid(b)


@_activation
def sigmoid(x):
    """Return `1 / (1 + exp(-x))`."""
    return ops.sigmoid(x)


@_activation
def tanh(x):
    """Return the hyperbolic tangent."""
    return ops.tanh(x)


@_activation
def softmax(x, axis=-1):
    """Return `exp(x) / sum(exp(x))` along `axis` (an axis or several)."""
    x = ops.convert_to_tensor(x)
    if isinstance(axis, int):
        return ops.softmax(x, axis=axis)
    shifted = ops.exp(x - ops.reduce_max(x, axis=tuple(axis), keepdims=True))
    return shifted / ops.reduce_sum(shifted, axis=tuple(axis), keepdims=True)


@_activation
def log_softmax(x, axis=-1):
    """Return the logarithm of softmax, computed without underflow."""
    return ops.log_softmax(x, axis=axis)


@_activation
def softplus(x):
    """Return `log(1 + exp(x))`."""
    return ops.softplus(x)


@_activation
def softsign(x):
    """Return `x / (1 + |x|)`."""
    return ops.softsign(x)


@_activation
def silu(x):
    """Return `x * sigmoid(x)`."""
    return ops.silu(x)


@_activation
def mish(x):
    """Return `x * tanh(softplus(x))` (Misra, 2019)."""
    return x * ops.tanh(ops.softplus(x))


@_activation
def exponential(x):
    """Return `exp(x)`."""
    return ops.exp(x)


@_activation
def hard_sigmoid(x):
    """Return `clip(x / 6 + 0.5, 0, 1)`."""
    return ops.relu6(ops.convert_to_tensor(x) + 3.0) / 6.0


@_activation
def hard_silu(x):
    """Return `x * hard_sigmoid(x)`."""
    return x * hard_sigmoid(x)


@_activation
def hard_tanh(x):
    """Return `clip(x, -1, 1)`."""
    return ops.maximum(ops.minimum(x, 1.0), -1.0)


@_activation
def hard_shrink(x, threshold=0.5):
    """Return x where `|x| > threshold`, else 0."""
    x = ops.convert_to_tensor(x)
    return ops.where(ops.abs(x) > float(threshold), x, ops.zeros_like(x))


@_activation
def soft_shrink(x, threshold=0.5):
    """Return x moved towards 0 by `threshold`, and 0 within it."""
    x = ops.convert_to_tensor(x)
    return ops.relu(x - float(threshold)) - ops.relu(-x - float(threshold))


@_activation
def tanh_shrink(x):
    """Return `x - tanh(x)`."""
    return x - ops.tanh(x)


@_activation
def log_sigmoid(x):
    """Return `log(sigmoid(x))`, computed without underflow."""
    return -ops.softplus(-ops.convert_to_tensor(x))


@_activation
def squareplus(x, b=4):
    """Return `(x + sqrt(x^2 + b)) / 2`."""
    x = ops.convert_to_tensor(x)
    return (x + ops.sqrt(ops.square(x) + float(b))) / 2.0


@_activation
def sparse_plus(x):
    """Return 0 below -1, x above 1, `(x + 1)^2 / 4` between."""
    x = ops.convert_to_tensor(x)
    between = ops.square(x + 1.0) / 4.0
    return ops.where(x <= -1.0, ops.zeros_like(x), ops.where(x < 1.0, between, x))


@_activation
def sparse_sigmoid(x):
    """Return `clip((x + 1) / 2, 0, 1)`."""
    return ops.maximum(ops.minimum((ops.convert_to_tensor(x) + 1.0) / 2.0, 1.0), 0.0)


@_activation
def sparsemax(x, axis=-1):
    """Return the point of the probability simplex nearest to x along `axis` (Martins and Astudillo, 2016)."""
    x = ops.convert_to_tensor(x)
    size = x.shape[axis]
    from_largest = -ops.sort(-x, axis=axis)
    along = [1] * len(x.shape)
    along[axis] = size
    k = ops.reshape(ops.cast(ops.range(1, size + 1), x.dtype), along)
    total = ops.cumsum(from_largest, axis=axis)
    inside = ops.cast(1.0 + k * from_largest > total, x.dtype)
    count = ops.reduce_sum(inside, axis=axis, keepdims=True)
    tau = (ops.reduce_sum(from_largest * inside, axis=axis, keepdims=True) - 1.0) / count
    return ops.relu(x - tau)


@_activation
def threshold(x, threshold, default_value):
    """Return x where it is greater than `threshold`, else `default_value`."""
    x = ops.convert_to_tensor(x)
    return ops.where(x > threshold, x, default_value * ops.ones_like(x))


swish, hard_swish = silu, hard_silu
registry.builtin(_NAMESPACE, "swish")(silu)
registry.builtin(_NAMESPACE, "hard_swish")(hard_silu)


def get(identifier):
    """Return the function for a name, configuration or callable; None gives `linear`.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.activations.get("relu").__name__
        'relu'
    """
    if identifier is None:
        return linear
    if isinstance(identifier, type) and callable(identifier):
        return identifier
    return identifiers.get("activation", identifier, _NAMESPACE)


def serialize(activation):
    """Return an activation of this package as its name, others as plain data."""
    known = registry.builtin_name(activation)
    if known is not None and known[0] == _NAMESPACE:
        return known[1]
    return serialization.serialize_keras_object(activation)


def deserialize(config, custom_objects=None):
    """Return the function that `serialize` (or a name) describes."""
    return identifiers.deserialize("activation", config, _NAMESPACE, custom_objects)
