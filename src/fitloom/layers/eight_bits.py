# SPDX-License-Identifier: Apache-2.0
"""Layers whose weight can be of eight bits: an int8 weight, and a scale for each of its outputs."""
import string

from fitloom import ops, quantizers
from fitloom.layers import dtype_policy
from fitloom.layers.low_rank import LowRank
from fitloom.ops import quantizing


class EightBits(LowRank):
    """Base of Dense, EinsumDense and Embedding: `quantize('int8')`, and the policy 'int8_from_float32'.

    Subclasses say along which axes of the weight one scale holds, and how the scale is laid out.
    """

    quantization_config = None
    _quantizes = True

    def _quantized_axes(self):
        """Axes of the weight that share a scale."""
        raise NotImplementedError

    def _scale_shape(self, shape):
        """Shape in which the scale of a weight of `shape` is stored."""
        raise NotImplementedError

    def _refuse_other_modes(self, mode):
        if mode not in (None, "int8"):
            raise NotImplementedError(f"{type(self).__name__} '{self.name}': quantization mode '{mode}' is not "
                                      "implemented; 'int8' is.")

    def _add_adapted(self, shape, **settings):
        """Make the weight, or for a quantized policy its int8 form and the scale."""
        name, mode = self._adapted, self.quantization_mode
        self._refuse_other_modes(mode)
        if mode is None:
            setattr(self, name, self.add_weight(name=name, shape=shape, **settings))
        else:
            self._add_quantized(shape)

    def _add_quantized(self, shape):
        name, state = self._adapted, self.__dict__
        locked, state["_tracker_locked"] = state["_tracker_locked"], False
        state["_" + name] = self.add_weight(name=name, shape=shape, dtype="int8", initializer="zeros", trainable=False)
        setattr(self, name + "_scale", self.add_weight(name=name + "_scale", shape=self._scale_shape(shape),
                                                       initializer="ones", trainable=False))
        state["_tracker_locked"] = locked
        self.inputs_quantizer = quantizers.AbsMaxQuantizer() if self.quantization_config is None \
            else self.quantization_config.activation_quantizer
        self._is_quantized = True

    def quantize(self, mode=None, type_check=True, config=None):
        """Replace the weight by whole numbers of eight bits and a scale; it is not trained any more.

        Args:
            mode: 'int8'; may be left out if `config` says it.
            type_check: whether subclasses, which may compute something else, are refused.
            config: `tf.keras.quantizers.Int8QuantizationConfig`, for other quantizers than the largest magnitude.

        Raises:
            ValueError: not built, quantized already, an unknown mode, or float16.
            NotImplementedError: a mode that is not implemented, or a subclass.
        """
        if type_check and not self._own_class or not self._quantizes:
            super().quantize(mode)
        mode, config = quantizers.resolve(mode, config)
        self._check_quantize(mode)
        name, state = self._adapted, self.__dict__
        self.quantization_config = config
        old = state["_" + name if self.lora_enabled else name]
        numbers, scale = self._quantized_value(old, config)
        self._untrack_variable(old)
        state.pop(name, None)
        self._add_quantized(tuple(old.shape))
        state["_" + name].assign(numbers)
        getattr(self, name + "_scale").assign(scale)
        if self.dtype_policy.quantization_mode is None:
            self.dtype_policy = dtype_policy.get(f"{mode}_from_{self.dtype_policy.name}")

    def _check_quantize(self, mode):
        if not self.built:
            raise ValueError(f"Cannot quantize a layer that isn't yet built. Layer '{self.name}' (of type "
                             f"'{type(self).__name__}') is not built yet.")
        if self._is_quantized:
            raise ValueError(f"Layer '{self.name}' is already quantized with dtype_policy='{self.dtype_policy.name}'. "
                             f"Received: mode={mode}")
        if mode == "int8" and self.compute_dtype == "float16":
            raise ValueError("Quantization mode='int8' doesn't work well with compute_dtype='float16'. Use a layer of "
                             "'mixed_bfloat16' or 'float32'.")
        self._refuse_other_modes(mode)

    def _quantized_value(self, weight, config=None):
        """Return (numbers, scale as it is stored) of a weight."""
        quantizer = None if config is None else config.weight_quantizer
        quantizer = quantizer or quantizers.AbsMaxQuantizer(axis=self._quantized_axes())
        numbers, scale = quantizer(ops.cast(ops.convert_to_tensor(weight), self.variable_dtype), to_numpy=True)
        return numbers, self._stored_scale(scale)

    def _stored_scale(self, scale):
        """Return a scale that has the weight's axes, those that share one with size 1, as it is stored."""
        return ops.reshape(ops.squeeze(scale, list(self._quantized_axes())),
                           self._scale_shape(tuple(self.__dict__.get("_" + self._adapted,
                                                                    self.__dict__.get(self._adapted)).shape)))

    def _contract(self, inputs, equation):
        """Return `einsum(equation, inputs, weight)` for the int8 weight, LoRA's product added."""
        scale = ops.convert_to_tensor(getattr(self, self._adapted + "_scale"))
        quantizer = self.inputs_quantizer
        numbers = self.__dict__["_" + self._adapted]
        plain = quantizer is None or type(quantizer) is quantizers.AbsMaxQuantizer
        if not plain:
            raise NotImplementedError(f"Layer '{self.name}' can quantize its inputs by AbsMaxQuantizer only, not by "
                                      f"{type(quantizer).__name__}.")
        result = quantizing.eight_bit_contraction(
            inputs, ops.convert_to_tensor(numbers), scale, equation=equation,
            limits=None if quantizer is None else tuple(float(end) for end in quantizer.value_range),
            epsilon=0.0 if quantizer is None else float(quantizer.epsilon))
        if self.lora_enabled:
            a, b = (ops.cast(ops.convert_to_tensor(matrix), inputs.dtype) for matrix in self._lora_matrices())
            added = ops.einsum(equation, inputs, ops.matmul(a, b))
            result = result + added * (self.lora_alpha / self.lora_rank)
        return result

    def _dequantized(self):
        """The weight as floats, without LoRA's product."""
        name = self._adapted
        scale = self._spread_scale(ops.convert_to_tensor(getattr(self, name + "_scale")))
        return ops.cast(ops.convert_to_tensor(self.__dict__["_" + name]), self.variable_dtype) / scale

    def _spread_scale(self, scale):
        """Return the stored scale in the weight's axes."""
        raise NotImplementedError

    def _merged(self):
        if not self._is_quantized:
            return super()._merged()
        if not self.lora_enabled:
            return self.__dict__["_" + self._adapted]
        a, b = self._lora_matrices()
        product = ops.matmul(ops.convert_to_tensor(a), ops.convert_to_tensor(b)) * (self.lora_alpha / self.lora_rank)
        return self._dequantized() + ops.cast(product, self.variable_dtype)

    # ---- files

    def _stored_variables(self):
        if not self._is_quantized:
            return super()._stored_variables()
        name = self._adapted
        stored = [self.__dict__["_" + name], getattr(self, "bias", None), getattr(self, name + "_scale")]
        return [variable for variable in stored if variable is not None]

    def save_own_variables(self, store):
        """Put the layer's own variables into `store`: weight, bias, scale."""
        if not self._is_quantized:
            super().save_own_variables(store)
            return
        replaced = {}
        if self.lora_enabled:
            numbers, scale = self._quantized_value(self._merged(), self.quantization_config)
            replaced = {id(self.__dict__["_" + self._adapted]): numbers,
                        id(getattr(self, self._adapted + "_scale")): scale}
        for index, variable in enumerate(self._stored_variables()):
            store[f"{index}"] = replaced.get(id(variable), variable)

    @classmethod
    def from_config(cls, config):
        """Make a layer from `get_config`'s dict."""
        given = config.get("quantization_config")
        if isinstance(given, dict):
            config = {**config, "quantization_config": quantizers.deserialize(given)}
        return super().from_config(config)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        if self.quantization_config is not None:
            config["quantization_config"] = quantizers.serialize(self.quantization_config)
        return config


def explicit(equation, ndim):
    """Return an einsum equation with letters in the place of '...', for inputs of `ndim` axes."""
    equation = equation.replace(" ", "")
    if "..." not in equation:
        return equation
    left = equation.split(",")[0].replace("...", "")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    return equation.replace("...", "".join(free[:ndim - len(left)]))
