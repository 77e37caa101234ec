# SPDX-License-Identifier: Apache-2.0
"""StringLookup and IntegerLookup: from values to their place in a vocabulary, and back."""
import collections
import os

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.preprocessing_encoding import encode, encoded_shape
from fitloom.layers.preprocessing_numeric import host_batches
from fitloom.ops.fingerprints import fingerprint64


class IndexLookup(BuiltinLayer):
    """Base of both lookups. The table is [mask token], out-of-vocabulary places, then the vocabulary by frequency.

    In output modes other than 'int' the mask token has no place.
    """

    tokens_are_texts = True

    def _prepare(self, max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                 output_mode, sparse, pad_to_max_tokens):
        modes = ("int", "one_hot", "multi_hot", "count", "tf_idf")
        output_mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)   # Keras 2's names
        if output_mode not in modes:
            raise ValueError(f"Invalid value for argument `output_mode`. Expected one of {modes}. "
                             f"Received: output_mode={output_mode}")
        if max_tokens is not None and max_tokens <= 1:
            raise ValueError(f"If set, `max_tokens` must be greater than 1. Received: max_tokens={max_tokens}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError("If pad_to_max_tokens is True, must set `max_tokens`. Received: max_tokens=None")
        if num_oov_indices < 0:
            raise ValueError("`num_oov_indices` must be greater than or equal to 0. Received: num_oov_indices="
                             f"{num_oov_indices}")
        if invert and (output_mode != "int" or num_oov_indices > 1):
            raise ValueError("With `invert=True` the `output_mode` must be 'int' and `num_oov_indices` at most 1. "
                             f"Received: output_mode={output_mode}, num_oov_indices={num_oov_indices}")
        if sparse and output_mode == "int":
            raise ValueError("`sparse` may only be true if `output_mode` is 'one_hot', 'multi_hot', 'count' or "
                             "'tf_idf'.")
        self.max_tokens, self.num_oov_indices, self.mask_token = max_tokens, num_oov_indices, mask_token
        self.oov_token, self.invert, self.output_mode = oov_token, invert, output_mode
        self.sparse, self.pad_to_max_tokens = sparse, pad_to_max_tokens
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self.supports_jit = not self.tokens_are_texts and not invert
        self._tokens, self._index, self.idf_weights = [], {}, None
        self._counts, self._documents, self._document_count = collections.Counter(), collections.Counter(), 0
        self.input_vocabulary, self.input_idf_weights = vocabulary, idf_weights
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ValueError("`vocabulary` must be set if `idf_weights` are.")

    # ---- the table

    def _token(self, value):
        """Return a token in the form in which the table holds it."""
        if self.tokens_are_texts:
            return value.decode(self.encoding, "replace") if isinstance(value, bytes) else str(value)
        return int(value)

    def _special(self):
        mask = [] if self.mask_token is None or self.output_mode != "int" else [self.mask_token]
        return mask + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens=True):
        """Return the table as a list; without special tokens, the vocabulary alone."""
        return (self._special() if include_special_tokens else []) + list(self._tokens)

    def vocabulary_size(self):
        """Return the size of the table, special tokens included."""
        return len(self._special()) + len(self._tokens) if self._tokens else self._stored_size or len(self._special())

    _stored_size = None     # what a file says before its vocabulary is read

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Set the vocabulary: a list, an array, or the path of a file of one token a line.

        Args:
            vocabulary: distinct tokens, with or without the special ones at the beginning.
            idf_weights: for 'tf_idf', one number a token.
        """
        if isinstance(vocabulary, (str, os.PathLike)):
            if not os.path.exists(vocabulary):
                raise ValueError(f"Vocabulary file {vocabulary} does not exist.")
            with open(vocabulary, encoding=getattr(self, "encoding", "utf-8")) as lines:
                vocabulary = [line.rstrip("\n\r") for line in lines]
        if hasattr(vocabulary, "numpy"):
            vocabulary = vocabulary.numpy()
        tokens = [self._token(v) for v in np.asarray(vocabulary, object).ravel().tolist()]
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ValueError("`idf_weights` must be set if output_mode is 'tf_idf', and only then. Received: "
                             f"output_mode={self.output_mode}, idf_weights={idf_weights}")
        special = self._special()
        weights = None if idf_weights is None else np.ravel(np.asarray(idf_weights, np.float32)).tolist()
        if special and tokens[:len(special)] == special:
            tokens = tokens[len(special):]
            if weights is not None and len(weights) > len(tokens):
                weights = weights[len(special):]
        repeated = [t for t, n in collections.Counter(tokens).items() if n > 1]
        if repeated:
            raise ValueError("The passed vocabulary has at least one repeated term. Please uniquify your dataset. The "
                             f"repeated terms are: {repeated}")
        for name, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token)):
            if token in tokens and (name != "oov_token" or self.num_oov_indices):
                raise ValueError(f"Found reserved {name} '{token}' in the vocabulary at an unexpected place; special "
                                 f"tokens come first: {special}.")
        if self.max_tokens is not None and len(tokens) + len(special) > self.max_tokens:
            raise ValueError(f"Attempted to set a vocabulary larger than the maximum vocab size. Received vocabulary "
                             f"size is {len(tokens) + len(special)}; `max_tokens` is {self.max_tokens}.")
        if weights is not None and len(weights) != len(tokens):
            raise ValueError("`idf_weights` must be the same length as vocabulary. len(idf_weights) is "
                             f"{len(weights)}; len(vocabulary) is {len(tokens)}")
        self._set_tokens(tokens, weights)

    def _set_tokens(self, tokens, weights=None):
        first = len(self._special())
        self.__dict__["_tokens"] = tokens
        self.__dict__["_index"] = {token: first + i for i, token in enumerate(tokens)}
        self.__dict__["_sorted"] = None
        if weights is not None:
            unknown = float(np.mean(weights)) if weights else 1.0
            full = np.asarray([unknown] * first + list(weights), np.float32)
            if self.pad_to_max_tokens:
                full = np.pad(full, (0, self.max_tokens - len(full)))
            self.__dict__["idf_weights"] = full

    # ---- learning the table

    def adapt(self, data, steps=None):
        """Take the most frequent values of an array or a dataset of batches as the vocabulary."""
        self.reset_state()
        batches = [data] if isinstance(data, (list, tuple)) else host_batches(data, type(self).__name__)
        for count, batch in enumerate(batches):
            if steps is not None and count >= steps:
                break
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data):
        """Count the values of a batch."""
        array = self._host(data)
        array = array[:, None] if array.ndim == 1 else array.reshape(-1, array.shape[-1]) if array.ndim else \
            array.reshape(1, 1)
        for row in array.tolist():
            tokens = [self._token(v) for v in row]
            self._counts.update(tokens)
            self._documents.update(set(tokens))
            self.__dict__["_document_count"] += 1

    def finalize_state(self):
        """Make the table of what was counted, most frequent first; ties in falling order of the token."""
        if not self._counts:
            return
        counts = {t: n for t, n in self._counts.items() if t not in (self.mask_token, self.oov_token)}
        tokens = sorted(counts, key=lambda t: (counts[t], t.encode() if isinstance(t, str) else t), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[:self.max_tokens - len(self._special())]
        weights = None
        if self.output_mode == "tf_idf":
            weights = [float(np.log(1 + self._document_count / (1 + self._documents[t]))) for t in tokens]
        self._set_tokens(tokens, weights)

    def reset_state(self):
        """Forget what was adapted to."""
        self._counts.clear()
        self._documents.clear()
        self.__dict__["_document_count"] = 0

    # ---- looking up

    def _host(self, inputs):
        array = np.asarray(inputs.numpy() if hasattr(inputs, "numpy") else inputs)
        if self.tokens_are_texts and array.dtype.kind in "iuf" and not self.invert:
            raise TypeError(f"{type(self).__name__} expected strings, but received {array.dtype}. Use IntegerLookup "
                            "for whole numbers.")
        return array

    def call(self, inputs):
        """Return the places of the values, encoded as `output_mode` says; with `invert`, the values of the places."""
        if self.input_vocabulary is None and not self._tokens:
            raise RuntimeError(f"{type(self).__name__} has no vocabulary. Pass `vocabulary`, or call adapt(data).")
        if hasattr(inputs, "with_flat_values") and self.output_mode == "int":
            return inputs.with_flat_values(self.call(inputs.flat_values))
        if self.invert:
            return self._invert(inputs)
        indices = self._lookup(inputs)
        if self.output_mode == "int":
            return indices
        depth = self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size()
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        encoded = encode(ops.cast(indices, "int32"), mode, depth, self._float_dtype)
        if self.output_mode == "tf_idf":
            encoded = encoded * ops.cast(self.idf_weights, self._float_dtype)
        if self.sparse:
            from fitloom.ops import sparse
            return sparse.from_dense(encoded)
        return encoded

    @property
    def _float_dtype(self):
        return self.compute_dtype if dtypes.is_floating(self.compute_dtype) else "float32"

    def _lookup(self, inputs):
        array = self._host(inputs)
        if array.dtype.kind == "f" and not self.tokens_are_texts:
            array = array.astype(np.int64)
        unique, inverse = np.unique(array.astype(object).ravel() if array.dtype.kind in "OSU" else array.ravel(),
                                    return_inverse=True) if array.dtype.kind != "O" else (array.ravel(), None)
        places = np.array([self._place(self._token(v)) for v in unique.tolist()], np.int64)
        places = places if inverse is None else places[inverse]
        return engine.convert_to_tensor(places.reshape(array.shape))

    def _place(self, token):
        if self.mask_token is not None and token == self.mask_token:
            return 0 if self.output_mode == "int" else -1
        found = self._index.get(token)
        if found is not None:
            return found
        first = len(self._special()) - self.num_oov_indices
        if self.num_oov_indices == 0:
            if self.output_mode == "int":
                raise InvalidArgumentError(
                    f"When `num_oov_indices=0` all inputs should be in vocabulary, found OOV value {token!r}. Consider "
                    "setting `num_oov_indices=1`.")
            return -1
        return first if self.num_oov_indices == 1 else first + self._bucket(token)

    def _bucket(self, token):
        return fingerprint64(str(token).encode()) % self.num_oov_indices

    def _invert(self, inputs):
        array = np.asarray(inputs.numpy() if hasattr(inputs, "numpy") else inputs).astype(np.int64)
        table = self.get_vocabulary()
        values = [table[i] if 0 <= i < len(table) else self.oov_token for i in array.ravel().tolist()]
        if self.tokens_are_texts:
            made = np.array([v.encode(self.encoding) for v in values] + [None], object)[:-1].reshape(array.shape)
            return engine.convert_to_tensor(made)
        return engine.convert_to_tensor(np.array(values, np.int64).reshape(array.shape))

    def compute_output_shape(self, input_shape):
        """Return the shape of the places, or encoded."""
        depth = self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size()
        return encoded_shape(tuple(input_shape), self.output_mode, depth)

    def compute_output_spec(self, inputs):
        """Return the outputs as KerasTensors."""
        dtype = "int64" if self.output_mode == "int" else self._float_dtype
        if self.invert and self.tokens_are_texts:
            dtype = "string"
        return engine.KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    # ---- files

    def save_assets(self, dir_path):
        """Write the vocabulary as a text file into a folder."""
        with open(os.path.join(dir_path, "vocabulary.txt"), "w", encoding="utf-8") as file:
            file.write("\n".join(str(t) for t in self.get_vocabulary()))

    def load_assets(self, dir_path):
        """Read the vocabulary that `save_assets` wrote."""
        with open(os.path.join(dir_path, "vocabulary.txt"), encoding="utf-8") as file:
            tokens = [self._token(line) for line in file.read().split("\n")]
        self._set_tokens(tokens[len(self._special()):] if tokens[:len(self._special())] == self._special() else tokens)

    def get_config(self):
        """Return the constructor's arguments as plain data; a vocabulary found by `adapt` among them."""
        config = super(BuiltinLayer, self).get_config()
        first = len(self._special())
        weights = None if self.idf_weights is None else self.idf_weights[first:first + len(self._tokens)].tolist()
        return {**config, "max_tokens": self.max_tokens, "num_oov_indices": self.num_oov_indices,
                "mask_token": self.mask_token, "oov_token": self.oov_token, "vocabulary": list(self._tokens) or None,
                "idf_weights": weights, "invert": self.invert, "output_mode": self.output_mode,
                "sparse": self.sparse, "pad_to_max_tokens": self.pad_to_max_tokens}

    @classmethod
    def from_config(cls, config):
        """Make the layer. A configuration holds its vocabulary; one that names a file is refused."""
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(f"The configuration of {cls.__name__} names a vocabulary file '{config['vocabulary']}', "
                             "but loading opens no file that a configuration names. Read it yourself and pass a list.")
        config = dict(config)
        size = config.pop("vocabulary_size", None)      # Keras writes it, and the vocabulary as an asset of the file
        if config.get("oov_method") == "floormod" and cls.__name__ == "StringLookup":
            del config["oov_method"]
        layer = super().from_config(config)
        layer.__dict__["_stored_size"] = size
        return layer


class StringLookup(IndexLookup):
    """Turn texts into their places in a vocabulary.

    Args:
        max_tokens: largest size of the table, special tokens included.
        num_oov_indices: places for unknown texts: 0 (they are an error), 1, or more (by hash).
        mask_token: text that means "nothing", place 0; None for none.
        oov_token: what unknown places are called when inverted.
        vocabulary: list of texts, or a file; else call `adapt(data)`.
        idf_weights: for 'tf_idf' with a given vocabulary.
        invert: from places to texts.
        output_mode: 'int', 'one_hot', 'multi_hot', 'count' or 'tf_idf'.
        pad_to_max_tokens: vectors have `max_tokens` entries.
        sparse: return a SparseTensor.
        encoding: of the texts.
        salt: must be None.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.StringLookup(vocabulary=["a", "b"])([["b", "z"]]).numpy().tolist()
        [[2, 0]]
    """

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token="[UNK]", vocabulary=None,
                 idf_weights=None, invert=False, output_mode="int", pad_to_max_tokens=False, sparse=False,
                 encoding="utf-8", name=None, salt=None, **kwargs):
        super().__init__(name=name, **{"dtype": "int64" if output_mode == "int" else None, **kwargs})
        if salt is not None:
            raise NotImplementedError("StringLookup(salt=...) is not implemented; leave it None.")
        self.encoding = encoding
        self._prepare(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                      output_mode, sparse, pad_to_max_tokens)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "encoding": self.encoding}


class IntegerLookup(IndexLookup):
    """Turn whole numbers into their places in a vocabulary; arguments as StringLookup.

    Args:
        vocabulary_dtype: 'int64' or 'int32'.
        oov_method: how unknown numbers share several places: 'floormod' (the number modulo their count) or 'hash'.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.IntegerLookup(vocabulary=[12, 36])([[36, 7]]).numpy().tolist()
        [[2, 0]]
    """

    tokens_are_texts = False

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token=-1, vocabulary=None,
                 vocabulary_dtype="int64", idf_weights=None, invert=False, output_mode="int", sparse=False,
                 pad_to_max_tokens=False, oov_method="floormod", salt=None, name=None, **kwargs):
        super().__init__(name=name, **{"dtype": "int64" if output_mode == "int" else None, **kwargs})
        if vocabulary_dtype not in ("int64", "int32"):
            raise ValueError(f"`vocabulary_dtype` must be 'int64' or 'int32', but received '{vocabulary_dtype}'.")
        if oov_method not in ("floormod", "hash") or salt is not None:
            raise ValueError(f"`oov_method` must be 'floormod' or 'hash', and `salt` None. Received: oov_method="
                             f"'{oov_method}', salt={salt}.")
        self.vocabulary_dtype, self.oov_method = vocabulary_dtype, oov_method
        self._prepare(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                      output_mode, sparse, pad_to_max_tokens)

    def _bucket(self, token):
        return token % self.num_oov_indices if self.oov_method == "floormod" else super()._bucket(token)

    def _lookup(self, inputs):
        if not isinstance(inputs, engine.Tensor) or inputs.dtype.name == "string" or self.num_oov_indices == 0 or \
                self.oov_method == "hash":
            return super()._lookup(inputs)
        # On the device, so that it also works in compiled functions.
        if not self._tokens:
            return super()._lookup(inputs)
        keys = np.asarray(self._tokens, np.int64)
        order = np.argsort(keys)
        first = len(self._special())
        values = ops.cast(inputs, "int64")
        position = ops.minimum(ops.searchsorted(keys[order], ops.reshape(values, (-1,)), out_type="int64"),
                               len(keys) - 1)
        position = ops.reshape(position, tuple(inputs.shape))
        known = ops.equal(ops.gather(keys[order], position), values)
        unknown = ops.floormod(values, self.num_oov_indices) + (first - self.num_oov_indices)
        places = ops.where(known, ops.gather(order.astype(np.int64) + first, position), unknown)
        if self.mask_token is not None:
            masked = 0 if self.output_mode == "int" else -1
            places = ops.where(ops.equal(values, int(self.mask_token)), ops.zeros_like(places) + masked, places)
        return places

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "vocabulary_dtype": self.vocabulary_dtype, "oov_method": self.oov_method}
