# SPDX-License-Identifier: Apache-2.0
"""Whole numbers and texts as categories: CategoryEncoding, Discretization, Hashing, HashedCrossing."""
import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.preprocessing_numeric import host_batches
from fitloom.ops import sparse as sparse_ops
from fitloom.ops.fingerprints import fingerprint64, siphash


def encode(indices, mode, depth, dtype, weights=None, sparse=False):
    """Return whole numbers as 'one_hot', 'multi_hot', 'count' or weighted counts over the last axis.

    Numbers outside [0, depth) count nowhere. For 'one_hot' a last axis of size 1 goes away.
    """
    ndim = len(indices.shape)
    if mode == "one_hot":
        if ndim > 1 and indices.shape[-1] == 1:
            indices = ops.squeeze(indices, -1)
        encoded = ops.one_hot(indices, depth, dtype=dtype)
    else:
        indices = indices if ndim else ops.reshape(indices, (1,))
        encoded = ops.one_hot(indices, depth, dtype=dtype)
        if mode == "multi_hot":
            encoded = ops.reduce_max(encoded, axis=-2)
        else:
            if weights is not None:
                encoded = encoded * ops.expand_dims(ops.cast(weights, dtype), -1)
            encoded = ops.reduce_sum(encoded, axis=-2)
    return sparse_ops.from_dense(encoded) if sparse else encoded


def encoded_shape(input_shape, mode, depth):
    """Return the shape of `encode`'s result."""
    if mode == "int":
        return tuple(input_shape)
    if mode == "one_hot":
        shape = input_shape[:-1] if len(input_shape) > 1 and input_shape[-1] == 1 else input_shape
        return (*shape, depth)
    return (*input_shape[:-1], depth)


class _Encoding(BuiltinLayer):
    """Base of layers that give categories as whole numbers or encoded."""

    modes: tuple = ("int", "one_hot", "multi_hot", "count")

    def _check_mode(self, output_mode, sparse):
        if output_mode not in self.modes:
            raise ValueError(f"Unknown argument for output_mode. Expected one of {self.modes}. "
                             f"Received: output_mode={output_mode}")
        if sparse and output_mode == "int":
            raise ValueError("`sparse` may only be true if `output_mode` is 'one_hot', 'multi_hot', 'count' or "
                             "'tf_idf'.")
        self.output_mode, self.sparse = output_mode, sparse
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True


class CategoryEncoding(_Encoding):
    """Encode whole numbers below `num_tokens` as vectors.

    Args:
        num_tokens: number of categories.
        output_mode: 'multi_hot' (which occur), 'one_hot' (one vector each), 'count' (how often).
        sparse: return a SparseTensor.

    Call arguments:
        inputs: integers; count_weights: with 'count', what each occurrence adds.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.CategoryEncoding(4)([[0, 1], [2, 2]]).numpy().tolist()
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """

    modes = ("one_hot", "multi_hot", "count")
    not_in_config = ("sparse",)

    def __init__(self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs):
        super().__init__(**kwargs)
        if num_tokens is None:
            raise ValueError("num_tokens must be set to use this layer. If the number of tokens is not known "
                             "beforehand, use the IntegerLookup layer instead.")
        if num_tokens < 1:
            raise ValueError(f"`num_tokens` must be >= 1. Received: num_tokens={num_tokens}.")
        self.num_tokens = num_tokens
        self._check_mode("count" if output_mode == "count" else output_mode, sparse)

    def call(self, inputs, count_weights=None):
        """Return the encoded numbers."""
        if count_weights is not None and self.output_mode != "count":
            raise ValueError("`count_weights` is not used when `output_mode` is not 'count'. Received: "
                             f"count_weights={count_weights}")
        return encode(ops.cast(inputs, "int32"), self.output_mode, self.num_tokens, self.compute_dtype,
                      count_weights, self.sparse)

    def compute_output_shape(self, input_shape):
        """Return the encoded shape."""
        return encoded_shape(tuple(input_shape), self.output_mode, self.num_tokens)


class Discretization(_Encoding):
    """Put numbers into bins: bin i holds `bin_boundaries[i - 1] <= x < bin_boundaries[i]`.

    Args:
        bin_boundaries: increasing numbers; or
        num_bins: number of bins of about equal counts, found by `adapt`.
        epsilon: error of the quantiles that `adapt` keeps.
        output_mode: 'int', 'one_hot', 'multi_hot' or 'count'.
        sparse: return a SparseTensor (not for 'int').

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Discretization([0.0, 1.0])([[-1.0, 0.5, 3.0]]).numpy().tolist()
        [[0, 1, 2]]
    """

    def __init__(self, bin_boundaries=None, num_bins=None, epsilon=0.01, output_mode="int", sparse=False, dtype=None,
                 name=None, **kwargs):
        if dtype is None:
            dtype = "int64" if output_mode == "int" else None
        super().__init__(name=name, dtype=dtype, **kwargs)
        self._check_mode(output_mode, sparse)
        if num_bins is not None and num_bins < 0:
            raise ValueError(f"`num_bins` must be greater than or equal to 0. Received: `num_bins={num_bins}`")
        if (num_bins is None) == (bin_boundaries is None):
            raise ValueError("You need to set either `num_bins` or `bin_boundaries`, and not both. Received: "
                             f"num_bins={num_bins}, bin_boundaries={bin_boundaries}")
        self.input_bin_boundaries, self.num_bins, self.epsilon = bin_boundaries, num_bins, epsilon
        self.bin_boundaries = list(bin_boundaries) if bin_boundaries is not None else []
        self.summary = np.empty((2, 0), np.float32)

    def adapt(self, data, steps=None):
        """Find the boundaries from an array or a dataset of batches."""
        if self.input_bin_boundaries is not None:
            raise ValueError("Cannot adapt a Discretization layer that has been initialized with `bin_boundaries`, "
                             "use `num_bins` instead.")
        self.reset_state()
        for count, batch in enumerate(host_batches(data, "Discretization")):
            if steps is not None and count >= steps:
                break
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data):
        """Add a batch to the summary of the distribution: (value, weight) pairs."""
        values = np.sort(np.ravel(data))
        share = len(values) * self.epsilon
        stride = max(share, 1)
        kept = values[int(share)::int(stride)]
        new = np.stack([kept, np.full(len(kept), stride)]).astype(np.float32)
        merged = np.concatenate([self.summary, new], axis=1)
        self.summary = self._compress(merged[:, np.argsort(merged[0])], self.epsilon)

    @staticmethod
    def _compress(summary, epsilon):
        """Replace pairs by the quantiles at multiples of epsilon."""
        if summary.shape[1] * epsilon < 1:
            return summary
        levels = epsilon + np.arange(0.0, 1.0, epsilon)
        total = summary[1].cumsum()
        reached = total / total[-1]
        weights = np.interp(levels, reached, total)
        return np.stack([np.interp(levels, reached, summary[0]), np.diff(weights, prepend=0)]).astype(np.float32)

    def finalize_state(self):
        """Take the boundaries from the summary."""
        if self.input_bin_boundaries is None and self.summary.size:
            self.bin_boundaries = self._compress(self.summary, 1.0 / self.num_bins)[0, :-1].tolist()

    def reset_state(self):
        """Forget what was adapted to."""
        if self.input_bin_boundaries is None:
            self.summary = np.empty((2, 0), np.float32)

    def call(self, inputs):
        """Return the bins."""
        if self.num_bins and self.num_bins > 1 and not self.bin_boundaries:
            raise ValueError(f"Discretization '{self.name}' has no bins yet: call adapt(data) first, or give "
                             "`bin_boundaries`.")
        bins = ops.bucketize(ops.cast(inputs, "float32"), [float(b) for b in self.bin_boundaries])
        bins = ops.cast(bins, "int32")
        if self.output_mode == "int":
            return ops.cast(bins, self.compute_dtype) if "int" in self.compute_dtype else bins
        return encode(bins, self.output_mode, self._bins(), self.compute_dtype, sparse=self.sparse)

    def compute_output_shape(self, input_shape):
        """Return the shape of the bins, or encoded."""
        return encoded_shape(tuple(input_shape), self.output_mode, self._bins())

    def _bins(self):
        return len(self.bin_boundaries) + 1 if self.bin_boundaries or self.num_bins is None else self.num_bins

    def load_own_variables(self, store):
        """Nothing: boundaries are configuration."""

    def get_config(self):
        """Return the constructor's arguments as plain data; boundaries found by `adapt` among them."""
        config = super(BuiltinLayer, self).get_config()
        config.pop("trainable", None)           # Keras's constructor does not take it
        found = self.input_bin_boundaries is None and bool(self.bin_boundaries)
        boundaries = self.bin_boundaries if found else self.input_bin_boundaries
        return {**config, "bin_boundaries": None if boundaries is None else [float(b) for b in boundaries],
                "num_bins": None if found else self.num_bins, "epsilon": self.epsilon,
                "output_mode": self.output_mode, "sparse": self.sparse, "dtype": self.dtype}


def host_texts(inputs):
    """Return texts, or whole numbers written as texts, as an object array of bytes."""
    if isinstance(inputs, engine.KerasTensor):
        raise TypeError("Texts have no symbolic value.")
    array = np.asarray(inputs.numpy() if hasattr(inputs, "numpy") else inputs)
    flat = [x if isinstance(x, bytes) else str(x).encode() for x in array.ravel().tolist()]
    return np.array(flat + [None], object)[:-1].reshape(array.shape)


class _HostEncoding(_Encoding):
    """Base of encodings that work on texts, on the host: they cannot stand in a compiled function."""

    def _finish(self, indices):
        indices = engine.convert_to_tensor(indices)
        if self.output_mode == "int":
            return indices
        return encode(ops.cast(indices, "int32"), self.output_mode, self.num_bins, self._float_dtype,
                      sparse=self.sparse)

    @property
    def _float_dtype(self):
        return self.compute_dtype if dtypes.is_floating(self.compute_dtype) else "float32"

    def compute_output_spec(self, inputs):
        """Return the outputs as KerasTensors."""
        shape = self.compute_output_shape(getattr(inputs, "shape", None) or [x.shape for x in inputs])
        return engine.KerasTensor(shape, dtype="int64" if self.output_mode == "int" else self._float_dtype)


class Hashing(_HostEncoding):
    """Put texts and whole numbers into `num_bins` bins by a hash: TensorFlow's, so that the bins are the same.

    Args:
        num_bins: number of bins, the one for `mask_value` included.
        mask_value: the value that gets bin 0 for itself.
        salt: an int or a pair of them: another hash (SipHash) with this key.
        output_mode: 'int', 'one_hot', 'multi_hot' or 'count'.
        sparse: return a SparseTensor (not for 'int').

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.Hashing(num_bins=3)([["A"], ["B"], ["C"], ["D"], ["E"]]).numpy().ravel().tolist()
        [1, 0, 1, 1, 2]
    """

    def __init__(self, num_bins, mask_value=None, salt=None, output_mode="int", sparse=False, **kwargs):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else None
        super().__init__(**kwargs)
        if num_bins is None or num_bins <= 0:
            raise ValueError("The `num_bins` for `Hashing` cannot be `None` or non-positive values. Received: "
                             f"num_bins={num_bins}.")
        if salt is not None and not isinstance(salt, int) and not (
                isinstance(salt, (list, tuple)) and len(salt) == 2 and all(isinstance(s, int) for s in salt)):
            raise ValueError("The `salt` argument for `Hashing` can only be a tuple of size 2 integers, or a single "
                             f"integer. Received: salt={salt}.")
        self._check_mode(output_mode, sparse)
        self.num_bins, self.mask_value = num_bins, mask_value
        self.salt = [salt, salt] if isinstance(salt, int) else None if salt is None else list(salt)

    def call(self, inputs):
        """Return the bins."""
        texts = host_texts(inputs)
        bins = self.num_bins - (self.mask_value is not None and self.num_bins > 1)
        key = None if self.salt is None else tuple(s & (1 << 64) - 1 for s in self.salt)
        hashes = [(fingerprint64(t) if key is None else siphash(t, key)) % bins for t in texts.ravel()]
        indices = np.array(hashes, np.int64).reshape(texts.shape)
        if self.mask_value is not None:
            masked = texts == (self.mask_value if isinstance(self.mask_value, bytes) else str(self.mask_value).encode())
            indices = np.where(masked, 0, indices + (bins < self.num_bins))
        return self._finish(indices.astype(np.int64))

    def compute_output_shape(self, input_shape):
        """Return the shape of the bins, or encoded."""
        return encoded_shape(tuple(input_shape), self.output_mode, self.num_bins)


class HashedCrossing(_HostEncoding):
    """Put combinations of features, 'a_X_b', into `num_bins` bins by TensorFlow's hash.

    Args:
        num_bins: number of bins.
        output_mode: 'int' or 'one_hot'.
        sparse: return a SparseTensor (only for 'one_hot').

    Call arguments:
        inputs: list of two or more features, each a vector or a column of texts or whole numbers.
    """

    modes = ("int", "one_hot")

    def __init__(self, num_bins, output_mode="int", sparse=False, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype or ("int64" if output_mode == "int" else None), **kwargs)
        if num_bins is None or num_bins <= 0:
            raise ValueError(f"`num_bins` must be a positive int, but received num_bins={num_bins}.")
        self._check_mode(output_mode, sparse)
        self.num_bins = num_bins

    def call(self, inputs):
        """Return the bins."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError("`HashedCrossing` should be called on a list or tuple of at least two inputs. Received: "
                             f"inputs={inputs}")
        features = [host_texts(x) for x in inputs]
        numbers = [np.asarray(x.numpy() if hasattr(x, "numpy") else x).dtype.kind in "iu" for x in inputs]
        shapes = {f.shape for f in features}
        if len(shapes) > 1 or any(len(s) > 2 or len(s) == 2 and s[1] != 1 for s in shapes):
            raise ValueError("All `HashedCrossing` inputs should have shape `()`, `(batch_size)` or `(batch_size, 1)`, "
                             f"and the same one. Received: {[f.shape for f in features]}")
        keys = [_cross([_key(value, is_number) for value, is_number in zip(row, numbers)])
                for row in zip(*[f.ravel() for f in features])]
        indices = np.array([k % self.num_bins for k in keys], np.int64).reshape(features[0].shape)
        return self._finish(indices)

    def compute_output_shape(self, input_shape):
        """Return the shape of the bins, or encoded."""
        return encoded_shape(tuple(input_shape[0]), self.output_mode, self.num_bins)


def _key(value, is_number):
    """A feature's part of the cross: whole numbers stand for themselves, texts for their fingerprint."""
    return int(value) & (1 << 64) - 1 if is_number else fingerprint64(value)


def _cross(parts):
    """Join the parts as tf.sparse.cross_hashed does: FingerprintCat64, beginning with its fixed key."""
    mask, multiplier, joined = (1 << 64) - 1, 0xC6A4A7935BD1E995, 0xDECAFCAFFE
    mix = lambda x: x ^ (x >> 47)
    for part in parts:
        joined ^= multiplier
        joined ^= (mix((part * multiplier) & mask) * multiplier) & mask
        joined = (joined * multiplier) & mask
        joined = mix((mix(joined) * multiplier) & mask)
    return joined
