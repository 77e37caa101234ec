# SPDX-License-Identifier: Apache-2.0
"""TextVectorization: from sentences to whole numbers, or to vectors of counts."""
import re

import numpy as np

from fitloom import engine, ops
from fitloom.base import serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.preprocessing_lookup import StringLookup
from fitloom.layers.preprocessing_numeric import host_batches
from fitloom.ops.ragged import RaggedTensor, constant

_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
_STANDARDIZE = {
    "lower_and_strip_punctuation": lambda text: _PUNCTUATION.sub("", text.lower()),
    "lower": str.lower,
    "strip_punctuation": lambda text: _PUNCTUATION.sub("", text),
}
_SPLIT = {"whitespace": str.split, "character": list}


class TextVectorization(BuiltinLayer):
    """Standardize texts, split them into tokens, join n-grams, and look the tokens up.

    Args:
        max_tokens: largest size of the vocabulary, special tokens included.
        standardize: 'lower_and_strip_punctuation', 'lower', 'strip_punctuation', a function of a string tensor,
            or None.
        split: 'whitespace', 'character', a function of a string tensor, or None.
        ngrams: n: all n-grams up to n tokens; or a tuple of lengths.
        output_mode: 'int', 'multi_hot', 'count' or 'tf_idf'.
        output_sequence_length: for 'int', cut or pad to this many tokens.
        pad_to_max_tokens: vectors have `max_tokens` entries.
        vocabulary: list of tokens, or a file; else call `adapt(data)`.
        idf_weights: for 'tf_idf' with a given vocabulary.
        sparse: return a SparseTensor; ragged: for 'int', return a RaggedTensor.
        encoding: of the texts.

    Example:
        >>> import fitloom as tf
        >>> layer = tf.keras.layers.TextVectorization(vocabulary=["the", "cat"])
        >>> layer(["The cat sat!", "the"]).numpy().tolist()
        [[2, 3, 1], [2, 0, 0]]
    """

    def __init__(self, max_tokens=None, standardize="lower_and_strip_punctuation", split="whitespace", ngrams=None,
                 output_mode="int", output_sequence_length=None, pad_to_max_tokens=False, vocabulary=None,
                 idf_weights=None, sparse=False, ragged=False, encoding="utf-8", name=None, **kwargs):
        super().__init__(name=name, **{"dtype": None, **kwargs})
        for argument, value, known in (("standardize", standardize, _STANDARDIZE), ("split", split, _SPLIT)):
            if value is not None and value not in known and not callable(value):
                raise ValueError(f"`{argument}` must be one of {sorted(known)}, a callable or None, but received "
                                 f"{argument}={value!r}.")
        if output_mode not in ("int", "multi_hot", "count", "tf_idf"):
            raise ValueError("`output_mode` must be 'int', 'multi_hot', 'count' or 'tf_idf', but received "
                             f"output_mode={output_mode!r}.")
        if isinstance(ngrams, int):
            ngrams = tuple(range(1, ngrams + 1))
        elif ngrams is not None:
            if not isinstance(ngrams, (list, tuple)) or not all(isinstance(n, int) for n in ngrams):
                raise ValueError("`ngrams` must be None, an integer or a tuple of integers. Received: "
                                 f"ngrams={ngrams!r}")
            ngrams = tuple(ngrams)
        if output_mode != "int" and (output_sequence_length is not None or ragged):
            raise ValueError("`output_sequence_length` and `ragged` are for output_mode='int' only, but received "
                             f"output_mode='{output_mode}'.")
        if ragged and output_sequence_length is not None:
            raise ValueError("`output_sequence_length` must not be set if `ragged` is True.")
        self.standardize, self.split, self.ngrams, self.ragged = standardize, split, ngrams, ragged
        self.max_tokens, self.output_mode, self.output_sequence_length = max_tokens, output_mode, output_sequence_length
        self.encoding, self.supports_jit = encoding, False
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens, mask_token="", vocabulary=vocabulary, idf_weights=idf_weights,
            output_mode=output_mode, sparse=sparse, pad_to_max_tokens=pad_to_max_tokens, encoding=encoding)

    def _tokens(self, inputs):
        """Return the tokens of each text as a list of lists of str."""
        if isinstance(inputs, RaggedTensor):
            return [[self._text(t) for t in row] for row in inputs.to_list()]
        array = np.asarray(inputs.numpy() if hasattr(inputs, "numpy") else inputs)
        if self.split is not None and array.ndim > 1:
            if array.shape[-1] != 1:
                raise ValueError("When using `TextVectorization` to tokenize strings, the input rank must be 1 or the "
                                 f"last shape dimension must be 1. Received: inputs.shape={array.shape}")
            array = array.reshape(array.shape[:-1])
        if callable(self.standardize):
            array = np.asarray(self.standardize(engine.convert_to_tensor(array)))
        texts = [self._text(t) for t in array.ravel().tolist()]
        if isinstance(self.standardize, str):
            texts = [_STANDARDIZE[self.standardize](t) for t in texts]
        if self.split is None:
            width = array.shape[-1] if array.ndim > 1 else 1
            return [texts[i:i + width] for i in range(0, len(texts), width)]
        if callable(self.split):
            rows = self.split(engine.convert_to_tensor(texts))
            rows = rows.to_list() if hasattr(rows, "to_list") else np.asarray(rows).tolist()
            return [self._grams([self._text(t) for t in row]) for row in rows]
        return [self._grams(_SPLIT[self.split](t)) for t in texts]

    def _text(self, value):
        return value.decode(self.encoding, "replace") if isinstance(value, bytes) else str(value)

    def _grams(self, tokens):
        if self.ngrams is None:
            return tokens
        return [" ".join(tokens[i:i + n]) for n in self.ngrams for i in range(len(tokens) - n + 1)]

    def adapt(self, data, batch_size=None, steps=None):
        """Take the most frequent tokens of texts (a list, an array, or a dataset of batches) as the vocabulary."""
        self.reset_state()
        batches = [np.asarray(data, object)] if isinstance(data, (list, tuple)) else \
            host_batches(data, "TextVectorization")
        for count, batch in enumerate(batches):
            if steps is not None and count >= steps:
                break
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data):
        """Count the tokens of a batch."""
        for row in self._tokens(np.atleast_1d(data)):
            self._lookup_layer.update_state(np.array([row], object).reshape(1, -1))

    def finalize_state(self):
        """Make the vocabulary of what was counted."""
        self._lookup_layer.finalize_state()

    def reset_state(self):
        """Forget what was adapted to."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens=True):
        """Return the vocabulary as a list."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self):
        """Return the size of the vocabulary, special tokens included."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Set the vocabulary."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights=idf_weights)

    def build(self, input_shape=None):
        """Nothing depends on the input's shape."""
        self._lookup_layer.built = self.built = True

    def call(self, inputs):
        """Return the tokens' places, padded with 0, or vectors."""
        scalar = np.ndim(inputs.numpy() if hasattr(inputs, "numpy") else inputs) == 0
        rows = self._tokens(np.atleast_1d(inputs.numpy() if hasattr(inputs, "numpy") else inputs)
                            if not isinstance(inputs, RaggedTensor) else inputs)
        if self.ragged:
            return constant([np.asarray(self._lookup_layer(np.array(row, object))).tolist() if row else []
                             for row in rows], dtype="int64")
        longest = max((len(row) for row in rows), default=0)
        width = self.output_sequence_length if self.output_sequence_length is not None else longest
        table = np.full((len(rows), width), "", object)
        for i, row in enumerate(rows):
            table[i, :min(len(row), width)] = row[:width]
        if self.output_mode != "int" and width == 0:
            table = np.full((len(rows), 1), "", object)
        found = self._lookup_layer(table)
        return ops.squeeze(found, 0) if scalar else found

    def compute_output_shape(self, input_shape):
        """Return the shape of the places, or of the vectors."""
        if self.output_mode == "int":
            return (input_shape[0], self.output_sequence_length)
        lookup = self._lookup_layer
        return (input_shape[0], self.max_tokens if lookup.pad_to_max_tokens else lookup.vocabulary_size())

    def compute_output_spec(self, inputs):
        """Return the outputs as KerasTensors."""
        dtype = "int64" if self.output_mode == "int" else self._lookup_layer._float_dtype
        return engine.KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    def save_assets(self, dir_path):
        """Write the vocabulary into a folder."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path):
        """Read the vocabulary that `save_assets` wrote."""
        self._lookup_layer.load_assets(dir_path)

    def get_config(self):
        """Return the constructor's arguments as plain data; a vocabulary found by `adapt` among them."""
        lookup = self._lookup_layer.get_config()
        named = lambda v: serialization.serialize_keras_object(v) if callable(v) else v
        return {**super(BuiltinLayer, self).get_config(), "max_tokens": self.max_tokens,
                "standardize": named(self.standardize), "split": named(self.split), "ngrams": self.ngrams,
                "output_mode": self.output_mode, "output_sequence_length": self.output_sequence_length,
                "pad_to_max_tokens": lookup["pad_to_max_tokens"], "vocabulary": lookup["vocabulary"],
                "idf_weights": lookup["idf_weights"], "sparse": lookup["sparse"], "ragged": self.ragged,
                "encoding": self.encoding}

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """Make the layer; functions of the user's need registration. A named vocabulary file is refused."""
        config = dict(config)
        size = config.pop("vocabulary_size", None)
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(f"The configuration names a vocabulary file '{config['vocabulary']}', but loading opens "
                             "no file that a configuration names. Read it yourself and pass a list.")
        for name in ("standardize", "split"):
            if isinstance(config.get(name), dict):
                config[name] = serialization.deserialize_keras_object(
                    config[name], custom_objects=custom_objects, safe_mode=safe_mode)
        layer = super().from_config(config)
        layer._lookup_layer.__dict__["_stored_size"] = size
        return layer
