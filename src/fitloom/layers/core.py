# SPDX-License-Identifier: Apache-2.0
"""Dense, EinsumDense, Identity, Lambda and Masking."""
import re
import warnings

from fitloom import activations, ops
from fitloom.base import nest, registry, serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.eight_bits import EightBits, explicit
from fitloom.layers.input_spec import InputSpec
from fitloom.ops import layer_kernels as kernels


class Dense(EightBits):
    """Compute `activation(inputs @ kernel + bias)` over the last axis.

    Args:
        units: size of the output's last axis.
        activation: function, or its name; None for the identity.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: how the weights start.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties that join `losses`.
        kernel_constraint, bias_constraint: projections after each update.
        lora_rank, lora_alpha: if set, `enable_lora(lora_rank, lora_alpha)` follows `build`.
        quantization_config: `tf.keras.quantizers.Int8QuantizationConfig` of a layer whose policy is quantized.

    Weights: kernel `(inputs, units)`, bias `(units,)`.

    Raises:
        ValueError: `units` is not a positive int; inputs whose last axis differs from the first call's.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Dense(4, activation="relu")(tf.ones((2, 3))).shape
        TensorShape([2, 4])
    """

    not_in_config = ("lora_rank", "lora_alpha")

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, lora_rank=None, lora_alpha=None,
                 quantization_config=None, **kwargs):
        if isinstance(units, bool) or not hasattr(units, "__index__") or int(units) <= 0:
            raise ValueError(f"Received an invalid value for `units`, expected a positive integer. "
                             f"Received: units={units!r}")
        units = int(units)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_lora(lora_rank, lora_alpha)
        del lora_rank, lora_alpha
        self._keep(locals())
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True
        if units == 1 and getattr(self.activation, "__name__", "") == "softmax":
            warnings.warn(f"Dense '{self.name}' has one unit and the activation softmax, whose only value is 1: it "
                          "learns nothing. Use activation='sigmoid', or one unit for each class.", stacklevel=2)

    def build(self, input_shape):
        """Make kernel and bias."""
        if input_shape[-1] is None:
            raise ValueError(f"Dense '{self.name}' needs the size of its inputs' last axis, but received input shape "
                             f"{tuple(input_shape)}. Give it in Input(shape=...).")
        self._add_adapted((input_shape[-1], self.units), initializer=self.kernel_initializer,
                          regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer=self.bias_initializer, regularizer=self.bias_regularizer,
            constraint=self.bias_constraint) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self._adapt_if_asked()

    def call(self, inputs, training=None):
        """Return the affine map, activated."""
        if self._is_quantized:
            x = self._contract(inputs, explicit("...x,xy->...y", len(inputs.shape)))
            x = x if self.bias is None else x + self.bias
        else:
            x = kernels.dense(inputs, self.kernel, self.bias)
        return x if self.activation in (None, activations.linear) else self.activation(x)

    def _quantized_axes(self):
        return (0,)

    def _scale_shape(self, shape):
        return (shape[-1],)

    def _spread_scale(self, scale):
        return scale

    def compute_output_shape(self, input_shape):
        """Replace the last axis by `units`."""
        return (*input_shape[:-1], self.units)


class EinsumDense(EightBits):
    """Compute `activation(einsum(equation, inputs, kernel) + bias)`.

    Args:
        equation: such as 'abc,cd->abd', or with an ellipsis, '...x,xy->...y'.
        output_shape: shape of the output without its batch axis (without the ellipsis axes too); None for
            unknown sizes.
        activation: function, its name, or None.
        bias_axes: letters of the output axes over which the bias varies, or None for no bias.
        kernel_initializer ... bias_constraint: as in Dense.
        lora_rank, lora_alpha: as in Dense.
        quantization_config: as in Dense.
        gptq_unpacked_column_size: must be None (not implemented).

    Weights: kernel (by the equation), bias.
    """

    not_in_config = ("lora_rank", "lora_alpha", "gptq_unpacked_column_size", "output_shape")

    def __init__(self, equation, output_shape, activation=None, bias_axes=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, lora_rank=None, lora_alpha=None, gptq_unpacked_column_size=None,
                 quantization_config=None, **kwargs):
        super().__init__(**kwargs)
        self._keep_lora(lora_rank, lora_alpha)
        del lora_rank, lora_alpha
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        del output_shape
        self._keep(locals())

    def build(self, input_shape):
        """Make kernel and bias in the shapes that the equation gives."""
        kernel_shape, bias_shape, self.full_output_shape = self._shapes(input_shape)
        self._equation = explicit(self.equation, len(input_shape))
        self._add_adapted(kernel_shape, initializer=self.kernel_initializer,
                          regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        self.bias = self.add_weight(
            name="bias", shape=bias_shape, initializer=self.bias_initializer, regularizer=self.bias_regularizer,
            constraint=self.bias_constraint) if bias_shape is not None else None
        self.input_spec = InputSpec(ndim=len(input_shape))
        self._adapt_if_asked()

    def _shapes(self, input_shape):
        """Return the shapes of kernel, bias (or None) and output."""
        matched = re.fullmatch(r"([a-zA-Z]*)(\.\.\.)?([a-zA-Z]*),([a-zA-Z]+)->([a-zA-Z]*)(\.\.\.)?([a-zA-Z]*)",
                               self.equation.replace(" ", ""))
        if matched is None:
            raise ValueError(f"Invalid einsum equation '{self.equation}'. Equations must be in the form "
                             "[X],[Y]->[Z], ...[X],[Y]->...[Z], or [X]...,[Y]->[Z]....")
        left, dots, right, kernel, out_left, out_dots, out_right = matched.groups()
        if bool(dots) != bool(out_dots):
            raise ValueError(f"Invalid einsum equation '{self.equation}': an ellipsis must stand on both sides.")
        count = len(input_shape) - len(left) - len(right)
        if count < 0 or count and not dots:
            raise ValueError(f"The equation '{self.equation}' does not fit inputs of shape {tuple(input_shape)}.")
        sizes = dict(zip(left, input_shape))
        if right:
            sizes.update(zip(right, input_shape[-len(right):]))
        between = tuple(input_shape[len(left):len(left) + count])
        out = out_left + out_right
        if not dots:
            full = (input_shape[0], *self.partial_output_shape)
        elif out_left:
            full = (input_shape[0], *self.partial_output_shape[:len(out_left) - 1], *between,
                    *self.partial_output_shape[len(out_left) - 1:])
        else:
            full = (*between, *self.partial_output_shape)
        if len(full) != len(out) + len(between):
            raise ValueError(f"`output_shape={self.partial_output_shape}` does not fit the equation "
                             f"'{self.equation}'.")
        out_sizes = dict(zip(out_left, full))
        if out_right:
            out_sizes.update(zip(out_right, full[-len(out_right):]))
        for letter, size in out_sizes.items():
            if letter in sizes:
                known = sizes[letter]
                if size is not None and known is not None and size != known:
                    raise ValueError(f"The size of axis '{letter}' is {known} in the inputs {tuple(input_shape)}, "
                                     f"but {size} in output_shape={self.partial_output_shape}.")
                out_sizes[letter] = known if known is not None else size
        output_shape = (*(out_sizes[c] for c in out_left), *between, *(out_sizes[c] for c in out_right))
        for letter in kernel:
            if letter not in sizes and letter not in out_sizes:
                raise ValueError(f"Weight axis '{letter}' of '{self.equation}' is neither in the inputs nor in the "
                                 "output.")
        kernel_shape = tuple(sizes[c] if sizes.get(c) is not None else out_sizes.get(c) for c in kernel)
        bias_shape = None
        if self.bias_axes:
            for letter in self.bias_axes:
                if letter not in out:
                    raise ValueError(f"Bias axis '{letter}' is not in the output of '{self.equation}'.")
            first = min(out.index(c) for c in self.bias_axes)
            after = out[first:]
            bias_shape = tuple(out_sizes[c] if c in self.bias_axes else 1 for c in after)
            if dots and out_left and first < len(out_left):
                place = len(out_left) - first
                bias_shape = bias_shape[:place] + (1,) * len(between) + bias_shape[place:]
        return kernel_shape, bias_shape, output_shape

    def call(self, inputs, training=None):
        """Return the contraction, activated."""
        if self._is_quantized:
            x = self._contract(inputs, self._equation)
            x = x if self.bias is None else x + self.bias
        else:
            x = kernels.einsum_dense(inputs, self.kernel, self.bias, equation=self.equation.replace(" ", ""))
        return x if self.activation in (None, activations.linear) else self.activation(x)

    def _letters(self):
        """The letters of the kernel's and the output's axes."""
        kernel, out = self._equation.split(",")[1].split("->")
        return kernel, out

    def _quantized_axes(self):
        kernel, out = self._letters()
        return tuple(at for at, letter in enumerate(kernel) if letter not in out)

    def _scale_shape(self, shape):
        kernel, out = self._letters()
        return tuple(shape[kernel.index(letter)] if letter in kernel else 1 for letter in out)

    def _stored_scale(self, scale):
        kernel, out = self._letters()
        kept = [letter for letter in kernel if letter in out]
        scale = ops.squeeze(scale, list(self._quantized_axes()))
        scale = ops.transpose(scale, [kept.index(letter) for letter in out if letter in kept])
        return ops.reshape(scale, self._scale_shape(tuple(self._kernel.shape)))

    def _spread_scale(self, scale):
        kernel, out = self._letters()
        kept = [letter for letter in out if letter in kernel]
        scale = ops.reshape(scale, [self._kernel.shape[kernel.index(letter)] for letter in kept])
        scale = ops.transpose(scale, [kept.index(letter) for letter in kernel if letter in kept])
        return ops.reshape(scale, [size if letter in kept else 1 for letter, size in zip(kernel, self._kernel.shape)])

    def compute_output_shape(self, input_shape):
        """Return the shape that equation and `output_shape` give."""
        return self._shapes(input_shape)[2]

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "output_shape": self.partial_output_shape}


class Identity(BuiltinLayer):
    """Return the inputs unchanged."""

    _built_when_made = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        """Return `inputs`."""
        return inputs


class Lambda(BuiltinLayer):
    """Wrap a function as a layer; prefer a subclass of Layer for anything that is saved.

    Args:
        function: `function(inputs, **arguments)`; may also take `mask` and `training`.
        output_shape: shape without the batch axis, or a function of the input shape; by default found by tracing.
        mask: mask of the outputs, or a function `mask(inputs, mask)`.
        arguments: dict of further keyword arguments.
    """

    per_example = False

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        self.function, self.arguments = function, arguments or {}
        self._output_shape, self.mask = output_shape, mask
        self.supports_masking = mask is not None

    def compute_output_shape(self, input_shape):
        """Return `output_shape` if given, else evaluate the function abstractly."""
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        first = nest.flatten_up_to(None, input_shape)[0] if isinstance(input_shape, dict) else input_shape
        while first and isinstance(first[0], (list, tuple)):
            first = first[0]
        return (first[0], *self._output_shape)

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors; without `output_shape` the function is evaluated abstractly."""
        if self._output_shape is None:
            return self._abstract(self.call, args, kwargs)
        return super().compute_output_spec(*args, **kwargs)

    def call(self, inputs, mask=None, training=None):
        """Return `function(inputs, **arguments)`."""
        names = getattr(self.function, "__code__", None)
        names = names.co_varnames[:names.co_argcount + names.co_kwonlyargcount] if names else ()
        given = dict(self.arguments)
        if "mask" in names:
            given["mask"] = mask
        if "training" in names:
            given["training"] = training
        return self.function(inputs, **given)

    def compute_mask(self, inputs, mask=None):
        """Return the given mask, or what the mask function returns."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self):
        """Return the constructor's arguments; a lambda is stored as bytecode, to be loaded with safe_mode=False."""
        config = super(BuiltinLayer, self).get_config()
        for name, value in (("function", self.function), ("output_shape", self._output_shape), ("mask", self.mask)):
            if value is not None:
                config[name] = serialization.serialize_keras_object(value) if callable(value) else value
        config["arguments"] = dict(self.arguments)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """Make the layer; bytecode is run only with `safe_mode=False`."""
        config = dict(config)
        for name in ("function", "output_shape", "mask"):
            value = config.get(name)
            if isinstance(value, dict):
                config[name] = serialization.deserialize_keras_object(
                    value, custom_objects=custom_objects, safe_mode=safe_mode)
            elif name == "function" and isinstance(value, str):
                config[name] = registry.lookup(value, "keras.activations", custom_objects)
        return super().from_config(config)


class Masking(BuiltinLayer):
    """Mask the timesteps in which every feature equals `mask_value`; masked values become 0."""

    _built_when_made = True

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        """Return for each timestep whether any feature differs from `mask_value`."""
        return ops.reduce_any(ops.not_equal(inputs, ops.cast(self.mask_value, inputs.dtype)), axis=-1)

    def call(self, inputs):
        """Return the inputs, masked timesteps set to 0."""
        kept = ops.reduce_any(ops.not_equal(inputs, ops.cast(self.mask_value, inputs.dtype)), axis=-1, keepdims=True)
        return inputs * ops.cast(kept, inputs.dtype)
