# SPDX-License-Identifier: Apache-2.0
"""Embedding and ReversibleEmbedding: vectors for whole numbers."""
from fitloom import ops
from fitloom.base import dtypes
from fitloom.layers.eight_bits import EightBits


class Embedding(EightBits):
    """Look up a trained vector for each whole number.

    Args:
        input_dim: number of vectors (largest index + 1).
        output_dim: their length.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the table.
        mask_zero: whether index 0 is padding, which later layers skip.
        weights: initial table (or a list that holds it).
        lora_rank, lora_alpha: if set, `enable_lora(lora_rank, lora_alpha)` follows `build`.
        quantization_config: as in Dense.

    Weights: embeddings `(input_dim, output_dim)`. Inputs: integers of any shape; an axis is added at the end.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Embedding(10, 4)(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 4])
    """

    not_in_config = ("weights", "lora_rank", "lora_alpha")
    _adapted = "embeddings"

    def __init__(self, input_dim, output_dim, embeddings_initializer="uniform", embeddings_regularizer=None,
                 embeddings_constraint=None, mask_zero=False, weights=None, lora_rank=None, lora_alpha=None,
                 quantization_config=None, **kwargs):
        length = kwargs.pop("input_length", None)   # Keras 2: the first layer of a Sequential model knows its inputs
        if length is not None and not {"input_shape", "batch_input_shape"} & set(kwargs):
            kwargs["input_shape"] = length if isinstance(length, (list, tuple)) else (length,)
        del length
        super().__init__(**kwargs)
        self._keep_lora(lora_rank, lora_alpha)
        given = weights
        del weights
        for name, size in (("input_dim", input_dim), ("output_dim", output_dim)):
            if isinstance(size, bool) or not hasattr(size, "__index__") or int(size) <= 0:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={size!r}")
        self.input_dim, self.output_dim = int(input_dim), int(output_dim)
        self._keep({"embeddings_initializer": embeddings_initializer, "embeddings_regularizer": embeddings_regularizer,
                    "embeddings_constraint": embeddings_constraint, "mask_zero": mask_zero,
                    "quantization_config": quantization_config})
        self.supports_masking = mask_zero
        self.autocast = False
        if given is not None:
            self.build(None)
            self.set_weights(given if isinstance(given, list) else [given])

    def build(self, input_shape=None):
        """Make the table."""
        if not self.built:
            self._add_adapted((self.input_dim, self.output_dim), initializer=self.embeddings_initializer,
                              regularizer=self.embeddings_regularizer, constraint=self.embeddings_constraint)
            self._adapt_if_asked()

    def call(self, inputs):
        """Return the rows at the indices."""
        if dtypes.as_dtype(inputs.dtype) not in (dtypes.int32, dtypes.int64):
            inputs = ops.cast(inputs, "int32")
        if self._is_quantized:
            return self._dequantized_rows(inputs)
        found = ops.gather(self.embeddings, inputs)
        return ops.cast(found, self.compute_dtype)

    def _dequantized_rows(self, inputs):
        scale = ops.expand_dims(ops.gather(ops.convert_to_tensor(self.embeddings_scale), inputs), -1)
        rows = ops.cast(ops.gather(ops.convert_to_tensor(self._embeddings), inputs), self.compute_dtype)
        rows = rows / ops.cast(scale, self.compute_dtype)
        if self.lora_enabled:
            a, b = (ops.cast(ops.convert_to_tensor(matrix), self.compute_dtype) for matrix in self._lora_matrices())
            rows = rows + ops.matmul(ops.gather(a, inputs), b) * (self.lora_alpha / self.lora_rank)
        return rows

    def _quantized_axes(self):
        return (1,)

    def _scale_shape(self, shape):
        return (shape[0],)

    def _spread_scale(self, scale):
        return ops.expand_dims(scale, -1)

    def compute_mask(self, inputs, mask=None):
        """Return whether each index is not 0, if `mask_zero`."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        """Append `output_dim`."""
        return (*input_shape, self.output_dim)


class ReversibleEmbedding(Embedding):
    """An embedding that also maps vectors back to scores over the indices: `layer(x, reverse=True)`.

    Args:
        tie_weights: whether the way back uses the transposed table; else it has weights of its own.
        reverse_dtype: dtype of the way back; None for the compute dtype.
        logit_soft_cap: scores become `cap * tanh(scores / cap)`.
        others: as in Embedding.

    Weights: embeddings, and reverse_embeddings `(output_dim, input_dim)` unless tied.
    """

    _quantizes = False      # its way back needs the floats

    def __init__(self, input_dim, output_dim, tie_weights=True, embeddings_initializer="uniform",
                 embeddings_regularizer=None, embeddings_constraint=None, mask_zero=False, reverse_dtype=None,
                 logit_soft_cap=None, **kwargs):
        super().__init__(input_dim, output_dim, embeddings_initializer=embeddings_initializer,
                         embeddings_regularizer=embeddings_regularizer, embeddings_constraint=embeddings_constraint,
                         mask_zero=mask_zero, **kwargs)
        self.tie_weights, self.reverse_dtype, self.logit_soft_cap = tie_weights, reverse_dtype, logit_soft_cap

    def build(self, inputs_shape=None):
        """Make the table(s)."""
        super().build(inputs_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                name="reverse_embeddings", shape=(self.output_dim, self.input_dim),
                initializer=self.embeddings_initializer)

    def call(self, inputs, reverse=False):
        """Return vectors, or with `reverse` the scores `inputs @ table^T`."""
        if not reverse:
            return super().call(inputs)
        kernel = ops.transpose(ops.convert_to_tensor(self.embeddings)) if self.tie_weights else self.reverse_embeddings
        dtype = self.reverse_dtype or self.compute_dtype
        scores = ops.matmul(ops.cast(inputs, dtype), ops.cast(kernel, dtype))
        if self.logit_soft_cap is not None:
            cap = float(self.logit_soft_cap)
            scores = ops.tanh(scores / cap) * cap
        return scores

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors."""
        return self._abstract(self.call, args, kwargs)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "quantization_config": None}
