# SPDX-License-Identifier: Apache-2.0
"""Attention, AdditiveAttention, MultiHeadAttention and GroupedQueryAttention."""
import math

import numpy as np

from fitloom import ops
from fitloom.base import registry
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.core import EinsumDense
from fitloom.layers.regularization import Dropout
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Attention(BuiltinLayer):
    """Dot-product attention without weights for the inputs: `softmax(scores(query, key)) @ value`.

    Args:
        use_scale: multiply the scores by a trained number.
        score_mode: 'dot' (query . key) or 'concat' (`w * sum(tanh(query + key))`, Luong style).
        dropout: fraction of the weights dropped in training.
        seed: of the dropout.

    Call arguments:
        inputs: [query `(batch, T, d)`, value `(batch, S, v)`] or [query, value, key `(batch, S, d)`].
        mask: list of their masks; masked values get no weight, masked queries give 0.
        return_attention_scores: return the weights `(batch, T, S)` too.
        use_causal_mask: let position t see positions up to t.
    """

    def __init__(self, use_scale=False, score_mode="dot", dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError("Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. "
                             f"Received: score_mode={score_mode}")
        self.use_scale, self.score_mode, self.dropout, self.seed = use_scale, score_mode, dropout, seed
        if dropout > 0:
            self.seed_generator = SeedGenerator(seed=seed)
        self.supports_masking = True

    def build(self, input_shape):
        """Make the scale and, for 'concat', the weight of the scores."""
        self._check_inputs(input_shape)
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=self._scale_shape(input_shape),
                                         initializer=self._scale_initializer)
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(name="concat_score_weight", shape=(), initializer="ones")

    _scale_initializer = "ones"

    def _scale_shape(self, input_shape):
        return ()

    def _check_inputs(self, inputs):
        several = isinstance(inputs, (list, tuple)) and not any(isinstance(each, int) for each in inputs)
        if not several or len(inputs) not in (2, 3):     # a shape, whose sizes are ints, is that of one tensor
            if several:
                raise ValueError(f"{type(self).__name__} layer accepts inputs list of length 2 or 3, namely "
                                 f"[query, value] or [query, value, key]. Received length: {len(inputs)}.")
            raise ValueError(f"{type(self).__name__} layer must be called on a list of inputs, namely [query, value] "
                             f"or [query, value, key]. Received: inputs={type(inputs).__name__}.")

    def _scores(self, query, key):
        if self.score_mode == "dot":
            ndim = len(key.shape)
            scores = ops.matmul(query, ops.transpose(key, (*range(ndim - 2), ndim - 1, ndim - 2)))
            return scores if self.scale is None else scores * self.scale
        joined = ops.expand_dims(query, -2) + ops.expand_dims(key, -3)
        if self.scale is not None:
            joined = joined * self.scale
        return self.concat_score_weight * ops.reduce_sum(ops.tanh(joined), axis=-1)

    def call(self, inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False):
        """Return the weighted values, and the weights if asked for."""
        self._check_inputs(inputs)
        query, value, key = (*inputs, inputs[1])[:3]
        if mask is not None and not isinstance(mask, (list, tuple)):
            raise ValueError(f"{type(self).__name__} layer mask must be a list, namely [query_mask, value_mask]. "
                             f"Received: mask={type(mask).__name__}.")
        if mask is not None and not 2 <= len(mask) <= 3:
            raise ValueError(f"{type(self).__name__} layer accepts mask list of length 2 or 3. Received length: "
                             f"{len(mask)}.")
        query_mask, value_mask = tuple(mask[:2]) if mask is not None else (None, None)
        scores = self._scores(query, key)
        visible = None
        if use_causal_mask:
            visible = ops.constant(np.tril(np.ones((1, *tuple(scores.shape)[1:]), bool)))
        if value_mask is not None:
            value_mask = ops.expand_dims(ops.cast(value_mask, "bool"), -2)
            visible = value_mask if visible is None else ops.logical_and(visible, value_mask)
        if visible is not None:
            lowest = 65504.0 if self.compute_dtype == "float16" else 1e9
            scores = scores - lowest * ops.cast(ops.logical_not(visible), scores.dtype)
        weights = ops.softmax(scores, axis=-1)
        used = weights
        if training and self.dropout > 0:
            used = kernels.dropout(weights, self.seed_generator.draw(), rate=float(self.dropout))
        result = ops.matmul(used, value)
        if query_mask is not None:
            result = result * ops.expand_dims(ops.cast(query_mask, result.dtype), -1)
        return (result, used) if return_attention_scores else result

    def compute_mask(self, inputs, mask=None):
        """Return the query's mask."""
        return None if mask is None or mask[0] is None else ops.convert_to_tensor(mask[0])

    def compute_output_shape(self, input_shape):
        """Return the query's shape with the value's last axis."""
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors."""
        return self._abstract(self.call, args, kwargs)


class AdditiveAttention(Attention):
    """Additive attention (Bahdanau et al., 2015): scores are `sum(scale * tanh(query + key))`.

    Args:
        use_scale: whether the scale `(d,)` is trained; else it is 1.
        dropout: fraction of the weights dropped in training.

    Call arguments: as in Attention.
    """

    _scale_initializer = "glorot_uniform"

    def __init__(self, use_scale=True, dropout=0.0, **kwargs):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def _scale_shape(self, input_shape):
        return (input_shape[0][-1],)

    def _scores(self, query, key):
        x = ops.tanh(ops.expand_dims(query, -2) + ops.expand_dims(key, -3))
        return ops.reduce_sum(x if self.scale is None else self.scale * x, axis=-1)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "seed": self.seed}


class _ProjectedAttention(BuiltinLayer):
    """Base of attention between projected inputs: masks, windows, and what the heads compute."""

    def _check(self):
        if self.flash_attention:
            raise NotImplementedError("flash_attention=True is not implemented; leave it None: the attention kernel "
                                      "is chosen by the device.")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"`sliding_window` must be positive. Received: sliding_window={self.sliding_window}")
        self.supports_masking = True

    def _check_shapes(self, value_shape, key_shape):
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError("All dimensions of `value` and `key`, except the last one, must be equal. Received: "
                             f"value_shape={tuple(value_shape)} and key_shape={tuple(key_shape)}")

    def _projection(self, name, equation, shape, bias_axes):
        """Make one of the dense sublayers; each gets initializers of its own, so that draws differ."""
        clone = lambda i: i.clone() if hasattr(i, "clone") else i
        return EinsumDense(
            equation, output_shape=shape, bias_axes=bias_axes if self.use_bias else None, name=name,
            dtype=self.dtype_policy, kernel_initializer=clone(self.kernel_initializer),
            bias_initializer=clone(self.bias_initializer), kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer, activity_regularizer=self.activity_regularizer,
            kernel_constraint=self.kernel_constraint, bias_constraint=self.bias_constraint)

    def _into_heads(self, name, input_shape, heads, size):
        """Make the projection of the last axis to (heads, size)."""
        free = _LETTERS[:len(input_shape) - 1]
        i, n, h = _LETTERS[len(input_shape) - 1:len(input_shape) + 2]
        layer = self._projection(name, f"{free}{i},{i}{n}{h}->{free}{n}{h}",
                                 (*[None] * (len(input_shape) - 2), heads, size), n + h)
        layer.build(input_shape)
        layer.supports_masking = True      # its rows stay in their places; the heads deal with the masks
        return layer

    def _out_of_heads(self, shape, heads_shape, output_shape):
        """Make the projection of (heads, size) to the output axes."""
        free = _LETTERS[:len(shape) - 1]
        n, h, *out = _LETTERS[len(shape) - 1:len(shape) + 1 + len(output_shape)]
        out = "".join(out)
        layer = self._projection("attention_output", f"{free}{n}{h},{n}{h}{out}->{free}{out}",
                                 (*[None] * (len(shape) - 2), *output_shape), out)
        layer.build((*shape[:-1], *heads_shape))
        return layer

    def _visible(self, queries, keys, query_mask, value_mask, key_mask, attention_mask, causal):
        """Combine the masks to one that is True where a query may see a key; None if everything is visible."""
        parts = []
        if query_mask is not None:
            parts.append(ops.expand_dims(ops.cast(query_mask, "bool"), -1))
        for mask in (value_mask, key_mask):
            if mask is not None:
                parts.append(ops.expand_dims(ops.cast(mask, "bool"), -2))
        band = None
        if causal:
            band = np.tril(np.ones((queries, keys), bool))
        if self.sliding_window is not None:
            near = np.abs(np.arange(queries)[:, None] - np.arange(keys)[None]) < self.sliding_window
            band = near if band is None else band & near
        if band is not None:
            parts.append(ops.constant(band[None]))
        if attention_mask is not None:
            parts.append(ops.cast(attention_mask, "bool"))
        combined = None
        for part in parts:
            if combined is not None and len(part.shape) > len(combined.shape):
                combined = ops.expand_dims(combined, 1)   # a mask with an axis of heads
            combined = part if combined is None else ops.logical_and(combined, part)
        return combined

    def compute_output_spec(self, *args, **kwargs):
        """Return the outputs as KerasTensors."""
        return self._abstract(self.call, args, kwargs)


class MultiHeadAttention(_ProjectedAttention):
    """Attention of several heads (Vaswani et al., 2017): `concat_i(softmax(Q_i K_i^T / sqrt(key_dim)) V_i) W`.

    Args:
        num_heads: number of heads.
        key_dim: size of each head's query and key.
        value_dim: size of each head's value; `key_dim` by default.
        dropout: fraction of the attention weights dropped in training.
        use_bias: whether the projections have biases.
        output_shape: sizes of the output axes after the projection; the query's last axis by default.
        attention_axes: axes over which is attended; all but the batch and the last by default.
        sliding_window: positions further apart than this do not see each other.
        flash_attention: None or False.
        kernel_initializer ... bias_constraint: of the projections.
        use_gate: multiply the heads' outputs by a trained sigmoid gate of the query.
        seed: of the dropout.

    Call arguments:
        query `(batch, T, d)`, value `(batch, S, v)`, key (value by default).
        query_mask, value_mask, key_mask: booleans `(batch, T)` or `(batch, S)`.
        attention_mask: booleans `(batch, T, S)` or `(batch, heads, T, S)`: what each query may see.
        return_attention_scores: return the weights `(batch, heads, T, S)` too.
        use_causal_mask: let position t see positions up to t.

    Weights: query, key and value `(d, heads, size)` kernels and `(heads, size)` biases, then attention_output.

    Example:
        >>> import fitloom as tf
        >>> x = tf.ones((2, 5, 8))
        >>> tf.keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x).shape
        TensorShape([2, 5, 8])
    """

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True, output_shape=None,
                 attention_axes=None, sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        value_dim = key_dim if value_dim is None else value_dim
        if output_shape is not None and not (isinstance(output_shape, int) or isinstance(output_shape, (list, tuple))
                                             and all(isinstance(size, int) for size in output_shape)):
            raise ValueError("Invalid `output_shape`: expected None, an integer or a tuple of integers. Received: "
                             f"output_shape={output_shape!r} (of type {type(output_shape).__name__})")
        for name, value in (("num_heads", num_heads), ("key_dim", key_dim), ("value_dim", value_dim)):
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f"Invalid value for argument `{name}` of MultiHeadAttention. Expected a positive "
                                 f"integer. Received: {name}={value!r}")
        if isinstance(attention_axes, int):
            attention_axes = (attention_axes,)
        elif attention_axes is not None:
            attention_axes = tuple(attention_axes)
        self._output_shape = (output_shape,) if isinstance(output_shape, int) else \
            None if output_shape is None else tuple(output_shape)
        arguments = dict(locals())
        del arguments["output_shape"]
        self._keep(arguments)
        self._check()

    not_in_config = ("output_shape", "flash_attention")
    query_dense = property(lambda self: self._query_dense, doc="The projection of the query; its name in files.")
    key_dense = property(lambda self: self._key_dense, doc="The projection of the key.")
    value_dense = property(lambda self: self._value_dense, doc="The projection of the value.")
    output_dense = property(lambda self: self._output_dense, doc="The projection of the heads' outputs.")

    def build(self, query_shape, value_shape, key_shape=None):
        """Make the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_shapes(value_shape, key_shape)
        self._query_dense = self._into_heads("query", query_shape, self.num_heads, self.key_dim)
        self._key_dense = self._into_heads("key", key_shape, self.num_heads, self.key_dim)
        if self.use_gate:
            self._gate_dense = self._into_heads("gate", query_shape, self.num_heads, self.value_dim)
        self._value_dense = self._into_heads("value", value_shape, self.num_heads, self.value_dim)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        self._dropout_layer.build(None)
        if self.attention_axes is None:
            self.attention_axes = tuple(range(1, len(query_shape) - 1))
        self.attention_axes = tuple(axis % len(query_shape) for axis in self.attention_axes)
        self._output_dense = self._out_of_heads(
            query_shape, (self.num_heads, self.value_dim), self._output_shape or (query_shape[-1],))

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=None, use_causal_mask=False):
        """Return the attended values, and the weights if asked for."""
        key = value if key is None else key
        visible = self._visible(query.shape[1], value.shape[1], query_mask, value_mask, key_mask, attention_mask,
                                use_causal_mask)
        gate = ops.sigmoid(self._gate_dense(query)) if self.use_gate else None
        outputs, scores = self._compute_attention(
            self._query_dense(query), self._key_dense(key), self._value_dense(value), attention_mask=visible,
            training=training, return_attention_scores=return_attention_scores)
        outputs = self._output_dense(outputs if gate is None else outputs * gate)
        return (outputs, scores) if return_attention_scores else outputs

    def _compute_attention(self, query, key, value, attention_mask=None, training=None,
                           return_attention_scores=False):
        """Run the heads: the outputs `(batch, T, heads, size)`, and the weights if asked for or None.

        Subclasses call and override it, by this name. The kernel takes one axis of positions: others join the batch.
        """
        return_scores = return_attention_scores
        visible = None if attention_mask is None else ops.cast(attention_mask, "bool")
        shape, axes = tuple(query.shape), self.attention_axes
        others = [i for i in range(1, len(shape) - 2) if i not in axes]
        order = [0, *others, *axes, len(shape) - 2, len(shape) - 1]
        lead = [shape[0], *[shape[i] for i in others]]
        positions = [[x.shape[i] for i in axes] for x in (query, value)]
        plain = len(shape) == 4 and axes == (1,)
        if not plain:
            query, key, value = (
                ops.reshape(ops.transpose(x, order), (math.prod(lead), -1, *tuple(x.shape)[-2:]))
                for x in (query, key, value))
        if visible is not None:
            while len(visible.shape) < len(lead) + 1 + 2 * len(axes):
                visible = ops.expand_dims(visible, -2 * len(axes) - 1)
            if not plain:
                heads = visible.shape[-2 * len(axes) - 1]
                visible = ops.broadcast_to(visible, (*lead, heads, *positions[0], *positions[1]))
                visible = ops.reshape(visible, (math.prod(lead), heads, math.prod(positions[0]),
                                                math.prod(positions[1])))
        dropped = bool(training) and self.dropout > 0
        result = kernels.dot_product_attention(
            query, key, value, None, visible, self._dropout_layer.seed_generator.draw() if dropped else None,
            dropout_rate=float(self.dropout) if dropped else 0.0, return_scores=return_scores)
        outputs, scores = result if return_scores else (result, None)
        if not plain:
            outputs = ops.reshape(outputs, (*[shape[i] for i in order[:-2]], *tuple(outputs.shape)[-2:]))
            outputs = ops.transpose(outputs, np.argsort(order).tolist())
            if return_scores:
                scores = ops.reshape(scores, (*lead, self.num_heads, *positions[0], *positions[1]))
        return outputs, scores

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        """Return the query's shape with the output's last axes."""
        self._check_shapes(value_shape, value_shape if key_shape is None else key_shape)
        return (*query_shape[:-1], *(self._output_shape or (query_shape[-1],)))

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "output_shape": self._output_shape}


class GroupedQueryAttention(_ProjectedAttention):
    """Attention whose query heads share key and value heads in groups (Ainslie et al., 2023).

    Args:
        head_dim: size of each head.
        num_query_heads: number of query heads, a multiple of
        num_key_value_heads: number of key and value heads.
        dropout ... seed: as in MultiHeadAttention.

    Call arguments: as in MultiHeadAttention.
    """

    not_in_config = ("flash_attention",)

    def __init__(self, head_dim, num_query_heads, num_key_value_heads, dropout=0.0, use_bias=True,
                 sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if num_query_heads % num_key_value_heads:
            raise ValueError("`num_query_heads` must be divisible by `num_key_value_heads`, but received "
                             f"num_query_heads={num_query_heads} and num_key_value_heads={num_key_value_heads}.")
        self._keep(locals())
        self._check()

    def build(self, query_shape, value_shape, key_shape=None):
        """Make the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_shapes(value_shape, key_shape)
        self._query_dense = self._into_heads("query", query_shape, self.num_query_heads, self.head_dim)
        self._key_dense = self._into_heads("key", key_shape, self.num_key_value_heads, self.head_dim)
        if self.use_gate:
            self._gate_dense = self._into_heads("gate", query_shape, self.num_query_heads, self.head_dim)
        self._value_dense = self._into_heads("value", value_shape, self.num_key_value_heads, self.head_dim)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        self._dropout_layer.build(None)
        self._output_dense = self._out_of_heads(
            query_shape, (self.num_query_heads, self.head_dim), (query_shape[-1],))

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=None, use_causal_mask=False):
        """Return the attended values, and the weights if asked for."""
        key = value if key is None else key
        visible = self._visible(query.shape[1], value.shape[1], query_mask, value_mask, key_mask, attention_mask,
                                use_causal_mask)
        if visible is not None and len(visible.shape) == 3:
            visible = ops.expand_dims(visible, 1)
        dropped = bool(training) and self.dropout > 0
        result = kernels.dot_product_attention(
            self._query_dense(query), self._key_dense(key), self._value_dense(value), None, visible,
            self._dropout_layer.seed_generator.draw() if dropped else None,
            dropout_rate=float(self.dropout) if dropped else 0.0, return_scores=return_attention_scores)
        outputs, scores = result if return_attention_scores else (result, None)
        if self.use_gate:
            outputs = outputs * ops.sigmoid(self._gate_dense(query))
        outputs = self._output_dense(outputs)
        return (outputs, scores) if return_attention_scores else outputs

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        """Return the query's shape."""
        self._check_shapes(value_shape, value_shape if key_shape is None else key_shape)
        return tuple(query_shape)


GroupQueryAttention = GroupedQueryAttention
registry.builtin("keras.layers", "GroupQueryAttention", written="GroupQueryAttention")(GroupedQueryAttention)
