# SPDX-License-Identifier: Apache-2.0
"""Batch, layer, group, unit, root-mean-square and spectral normalization. Statistics are computed in float32."""
from fitloom import ops
from fitloom.base import dtypes
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.layers.wrapper import Wrapper
from fitloom.ops import layer_kernels as kernels


class _Normalization(BuiltinLayer):
    """Base of normalizations with a trained scale (gamma) and offset (beta)."""

    def _add_affine(self, shape):
        """Make gamma and beta. They are read in full precision: the kernels compute in float32."""
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma", shape=shape, initializer=self.gamma_initializer, regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint, autocast=False)
        if self.center:
            self.beta = self.add_weight(
                name="beta", shape=shape, initializer=self.beta_initializer, regularizer=self.beta_regularizer,
                constraint=self.beta_constraint, autocast=False)

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape


def _sizes(layer, input_shape, axes):
    """Return the sizes of the inputs' axes `axes`, a tuple; raise for an axis that they do not have."""
    for axis in axes:
        if not -len(input_shape) <= axis < len(input_shape):
            raise ValueError(f"{type(layer).__name__} '{layer.name}' has axis={axis}, but its inputs have "
                             f"{len(input_shape)} axes: {tuple(input_shape)}.")
    return tuple(input_shape[axis] for axis in axes)


def _check_clipping(limits):
    """Return the limits of batch renormalization; raise ValueError unless they are some."""
    if set(limits) - {"rmax", "rmin", "dmax"}:
        raise ValueError(f"Received invalid keys for `renorm_clipping` argument: {limits}. Supported values: "
                         "['rmax', 'rmin', 'dmax'].")
    rmax, rmin, dmax = (limits.get(name) for name in ("rmax", "rmin", "dmax"))
    if rmax is not None and rmin is not None and rmax < rmin:
        raise ValueError("rmax should be greater than rmin in the `renorm_clipping` argument. Received: "
                         f"rmax={rmax}, rmin={rmin}.")
    if dmax is not None and dmax < 0:
        raise ValueError(f"dmax should be non-negative in the `renorm_clipping` argument. Received: dmax={dmax}.")
    return limits


class BatchNormalization(_Normalization):
    """Normalize each channel with the statistics of the batch in training, with moving averages else.

    Training: `gamma * (x - mean) / sqrt(var + epsilon) + beta` and
    `moving = momentum * moving + (1 - momentum) * batch statistic`. With `trainable=False` the moving statistics
    are used in training too.

    Args:
        axis: axis of the channels.
        momentum: weight of the past in the moving averages.
        epsilon: added to the variance.
        center, scale: whether beta is added and gamma multiplied.
        beta_initializer ... gamma_constraint: of the weights.
        renorm: batch renormalization (Ioffe, 2017): in training the normalized inputs become `x r + d` with
            r = std / renorm_stddev and d = (mean - renorm_mean) / renorm_stddev, constants for the gradient.
        renorm_clipping: dict of 'rmin', 'rmax' (limits of r) and 'dmax' (limit of |d|).
        renorm_momentum: weight of the past in renorm_mean and renorm_stddev.
        synchronized: accepted; statistics are always those of the whole batch, on however many devices it lies.

    Weights: gamma, beta, moving_mean, moving_variance, each `(channels,)`; with `renorm` also moving_stddev,
        renorm_mean and renorm_stddev.

    Call arguments:
        training: which statistics.
        mask: booleans in the shape of the inputs without their last axis; False positions do not count.
    """

    per_example = False   # in training every row depends on the batch

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False, **kwargs):
        super().__init__(**kwargs)
        if renorm:
            renorm_clipping = _check_clipping(renorm_clipping or {})
        if not isinstance(axis, int):
            if isinstance(axis, (list, tuple)) and len(axis) == 1:
                axis = axis[0]
            else:
                raise TypeError(f"`axis` of BatchNormalization must be an int, but received axis={axis!r}.")
        self._keep(locals())
        self.supports_masking = True

    def build(self, input_shape):
        """Make gamma, beta and the moving statistics."""
        size = _sizes(self, input_shape, [self.axis])[0]
        if size is None:
            raise ValueError(f"Axis {self.axis} of the inputs of BatchNormalization '{self.name}' must have a known "
                             f"size, but received input shape {tuple(input_shape)}.")
        self._add_affine((size,))
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=(size,), initializer=self.moving_mean_initializer, trainable=False,
            autocast=False)
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=(size,), initializer=self.moving_variance_initializer, trainable=False,
            autocast=False)
        if self.renorm:
            spread = lambda shape, dtype=None: ops.sqrt(self.moving_variance_initializer(shape, dtype=dtype))
            for name, initializer in (("moving_stddev", spread), ("renorm_mean", self.moving_mean_initializer),
                                      ("renorm_stddev", spread)):
                setattr(self, name, self.add_weight(name=name, shape=(size,), initializer=initializer, trainable=False,
                                                    autocast=False))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def _renormalized(self, inputs, mask, axes):
        """Return the outputs of a training step with renormalization; move the averages."""
        outputs, mean, variance = kernels.batch_norm_training(inputs, None, None, mask, axes=axes,
                                                              epsilon=float(self.epsilon))
        own = self.renorm_mean.dtype
        mean, outputs = ops.stop_gradient(ops.cast(mean, own)), ops.cast(outputs, own)
        stddev = ops.sqrt(ops.stop_gradient(ops.cast(variance, own)) + float(self.epsilon))
        known = ops.maximum(ops.convert_to_tensor(self.renorm_stddev), float(self.epsilon) ** 0.5)
        r, d = stddev / known, (mean - self.renorm_mean) / known
        limits = self.renorm_clipping
        r = ops.maximum(r, float(limits["rmin"])) if limits.get("rmin") is not None else r
        r = ops.minimum(r, float(limits["rmax"])) if limits.get("rmax") is not None else r
        if limits.get("dmax") is not None:
            d = ops.minimum(ops.maximum(d, -float(limits["dmax"])), float(limits["dmax"]))
        if self.gamma is not None:
            r, d = r * self.gamma, d * self.gamma
        d = d if self.beta is None else d + self.beta
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        outputs = outputs * ops.reshape(r, shape) + ops.reshape(d, shape)
        for moving, current, past in ((self.renorm_mean, mean, self.renorm_momentum),
                                      (self.renorm_stddev, stddev, self.renorm_momentum),
                                      (self.moving_mean, mean, self.momentum),
                                      (self.moving_stddev, stddev, self.momentum)):
            moving.assign(moving * float(past) + current * (1.0 - float(past)))
        self.moving_variance.assign(ops.relu(ops.square(self.moving_stddev) - float(self.epsilon)))
        return ops.cast(outputs, self.compute_dtype)

    def call(self, inputs, training=None, mask=None):
        """Return the normalized inputs; in training also move the averages."""
        ndim = len(inputs.shape)
        axes = tuple(i for i in range(ndim) if i != self.axis % ndim)
        epsilon = float(self.epsilon)
        if not (training and self.trainable):
            return kernels.batch_norm_inference(
                inputs, self.moving_mean, self.moving_variance, self.gamma, self.beta, axes=axes, epsilon=epsilon)
        if mask is not None and len(mask.shape) != ndim - 1:
            raise ValueError(f"BatchNormalization '{self.name}' expected a mask of {ndim - 1} axes (the inputs' "
                             f"without the last), but received one of shape {tuple(mask.shape)}.")
        if self.renorm:
            return self._renormalized(inputs, mask, axes)
        outputs, mean, variance = kernels.batch_norm_training(
            inputs, self.gamma, self.beta, mask, axes=axes, epsilon=epsilon)
        past = float(self.momentum)
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            current = ops.cast(current, moving.dtype)
            moving.assign(moving * past + current * (1.0 - past))
        return outputs


class LayerNormalization(_Normalization):
    """Normalize each sample over `axis`: `gamma * (x - mean) / sqrt(var + epsilon) + beta` (Ba et al., 2016).

    Args:
        axis: axis or axes to average over.
        epsilon: added to the variance.
        center, scale: whether beta is added and gamma multiplied.
        rms_scaling: divide by sqrt(var + epsilon) and multiply by gamma only: no mean is subtracted, no beta added.
            RMSNormalization is what is usually meant.
        beta_initializer ... gamma_constraint: of the weights.

    Weights: gamma, beta, in the shape of the axes.
    """

    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, rms_scaling=False, **kwargs):
        super().__init__(**kwargs)
        if isinstance(axis, int):
            axis = [axis]
        elif isinstance(axis, (list, tuple)) and axis and all(isinstance(a, int) for a in axis):
            axis = list(axis)
        else:
            raise TypeError("Expected an int or a list/tuple of ints for the argument 'axis', but received instead: "
                            f"{axis!r} (layer {type(self).__name__}).")
        self._keep(locals())
        self.supports_masking = True

    def build(self, input_shape):
        """Make gamma and beta."""
        self._add_affine(_sizes(self, input_shape, self.axis))

    def _add_affine(self, shape):
        if self.rms_scaling:
            self.beta = None
            self.gamma = self.add_weight(
                name="gamma", shape=shape, initializer=self.gamma_initializer, regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint, autocast=False)
            return
        super()._add_affine(shape)

    def call(self, inputs):
        """Return the normalized inputs."""
        gamma, beta = (_in_order(w, self.axis, len(inputs.shape)) for w in (self.gamma, self.beta))
        if self.rms_scaling:
            return self._scaled(inputs, gamma)
        return kernels.layer_norm(inputs, gamma, beta, axes=tuple(self.axis), epsilon=float(self.epsilon))

    def _scaled(self, inputs, gamma):
        x = ops.cast(inputs, "float32") if inputs.dtype in ("float16", "bfloat16") else inputs
        shape = [x.shape[a] if a in {axis % len(x.shape) for axis in self.axis} else 1 for a in range(len(x.shape))]
        scaled = x * ops.rsqrt(ops.reduce_variance(x, axis=self.axis, keepdims=True) + float(self.epsilon))
        return ops.cast(scaled * ops.cast(ops.reshape(gamma, shape), x.dtype), inputs.dtype)


def _in_order(weight, axes, ndim):
    """Return a weight in the shape of `axes` with its axes in the order of the inputs', as the kernels take it."""
    axes = [axis % ndim for axis in axes]
    if weight is None or axes == sorted(axes):
        return weight
    return ops.transpose(weight, sorted(range(len(axes)), key=axes.__getitem__))


class RMSNormalization(BuiltinLayer):
    """Divide each sample by its root mean square over `axis` and multiply by a trained scale (Zhang, 2019)."""

    def __init__(self, axis=-1, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.axis = [axis] if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Make the scale."""
        self.scale = self.add_weight(name="scale", shape=_sizes(self, input_shape, self.axis), initializer="ones",
                                     autocast=False)

    def call(self, x):
        """Return the normalized inputs."""
        scale = _in_order(self.scale, self.axis, len(x.shape))
        return kernels.rms_norm(x, scale, axes=tuple(self.axis), epsilon=float(self.epsilon))

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape


class GroupNormalization(_Normalization):
    """Normalize each sample over all positions and the channels of each of `groups` groups (Wu and He, 2018).

    Args:
        groups: number of groups; -1: one a channel (instance normalization); 1: layer normalization.
        axis: axis of the channels.
        epsilon, center, scale, beta_initializer ... gamma_constraint: as in LayerNormalization.

    Weights: gamma, beta `(channels,)`.
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(groups, bool) or not isinstance(groups, int) or groups == 0 or groups < -1:
            raise ValueError("Invalid value for argument `groups` of GroupNormalization. Expected a positive integer, "
                             f"or -1 for instance normalization. Received: groups={groups!r}")
        self._keep(locals())
        self.supports_masking = True

    def build(self, input_shape):
        """Make gamma and beta."""
        size = input_shape[self.axis]
        if size is None:
            raise ValueError(f"Axis {self.axis} of input tensor should have a defined dimension but the layer "
                             f"received an input with shape {tuple(input_shape)}.")
        if self.groups == -1:
            self.groups = size
        if size < self.groups:
            raise ValueError(f"Number of groups ({self.groups}) cannot be more than the number of channels ({size}).")
        if size % self.groups:
            raise ValueError(f"Number of groups ({self.groups}) must be a multiple of the number of channels ({size}): "
                             "the channels must split into equal groups.")
        self._add_affine((size,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def call(self, inputs):
        """Return the normalized inputs."""
        return kernels.group_norm(inputs, self.gamma, self.beta, groups=self.groups, axis=self.axis,
                                  epsilon=float(self.epsilon))


class UnitNormalization(BuiltinLayer):
    """Scale each sample to Euclidean norm 1 over `axis`."""

    _built_when_made = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axis, int) and not (
                isinstance(axis, (list, tuple)) and axis and all(isinstance(a, int) for a in axis)):
            raise TypeError(f"Invalid value for `axis` argument: expected an int or a list/tuple of ints. Received: "
                            f"axis={axis!r}")
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        self.supports_masking = True

    def call(self, inputs):
        """Return the scaled inputs."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        if not dtypes.is_floating(inputs.dtype):
            inputs = ops.cast(inputs, self.compute_dtype)
        square = ops.reduce_sum(ops.square(inputs), axis=axis, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(square, 1e-24 if self.compute_dtype != "float16" else 6e-8))

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape


class SpectralNormalization(Wrapper):
    """Divide the kernel of the layer inside by its largest singular value at each training call (Miyato, 2018).

    Args:
        layer: a layer with `kernel` or `embeddings`.
        power_iterations: steps of power iteration a call.

    Weights: those of the layer, and vector_u `(1, outputs)`.
    """

    per_example = False

    def __init__(self, layer, power_iterations=1, **kwargs):
        super().__init__(layer, **kwargs)
        if power_iterations <= 0:
            raise ValueError("`power_iterations` should be greater than zero. Received: power_iterations="
                             f"{power_iterations}")
        self.power_iterations = power_iterations

    def build(self, input_shape):
        """Build the layer and the vector of the power iteration."""
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        weight = getattr(self.layer, "kernel", None)
        self.kernel = self.layer.embeddings if weight is None and hasattr(self.layer, "embeddings") else weight
        if self.kernel is None:
            raise ValueError(f"{type(self.layer).__name__} '{self.layer.name}' object has no attribute 'kernel' nor "
                             "'embeddings' to normalize.")
        self.vector_u = self.add_weight(
            name="vector_u", shape=(1, self.kernel.shape[-1]), initializer="truncated_normal", trainable=False,
            dtype=self.kernel.dtype)

    def call(self, inputs, training=False):
        """Return the layer's outputs; in training normalize its kernel first."""
        if training:
            kernel = ops.convert_to_tensor(self.kernel)
            matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
            u = ops.convert_to_tensor(self.vector_u)
            for _ in range(self.power_iterations):
                v = ops.l2_normalize(ops.matmul(u, ops.transpose(matrix)))
                u = ops.l2_normalize(ops.matmul(v, matrix))
            sigma = ops.matmul(ops.matmul(v, matrix), ops.transpose(u))
            self.vector_u.assign(u)
            self.kernel.assign(kernel / ops.reshape(sigma, ()))
        outputs = self.layer(inputs)
        floats = all(dtypes.is_floating(x.dtype.name) for x in (inputs, outputs))
        return ops.cast(outputs, inputs.dtype) if floats else outputs

    def compute_output_shape(self, input_shape):
        """Return the layer's output shape."""
        return self.layer.compute_output_shape(input_shape)
