# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils.FeatureSpace`: columns of a table to one vector, said in one dict."""
from fitloom import layers, ops
from fitloom.base import naming
from fitloom.base.errors import unknown_name
from fitloom.models.model import Model


class Feature:
    """How one column is encoded: dtype of its Input, the layer that prepares it, the form of the result."""

    def __init__(self, dtype, preprocessor, output_mode):
        if output_mode not in ("int", "one_hot", "float"):
            raise ValueError(f"`output_mode` must be 'int', 'one_hot' or 'float'. Received: output_mode={output_mode}")
        self.dtype, self.preprocessor, self.output_mode = dtype, preprocessor, output_mode

    def codes(self):
        """Return how many codes an 'int' feature has."""
        layer = self.preprocessor
        for name in ("num_bins", "vocabulary_size"):
            found = getattr(layer, name, None)
            if found is not None:
                return found() if callable(found) else int(found)
        return len(layer.bin_boundaries) + 1


class Cross:
    """A combination of columns, hashed into `crossing_dim` codes."""

    def __init__(self, feature_names, crossing_dim, output_mode="one_hot"):
        if output_mode not in ("int", "one_hot"):
            raise ValueError(f"`output_mode` must be 'int' or 'one_hot'. Received: output_mode={output_mode}")
        self.feature_names, self.crossing_dim = tuple(feature_names), crossing_dim
        self.output_mode = output_mode

    @property
    def name(self):
        """The names of the columns, joined."""
        return "_X_".join(self.feature_names)


class FeatureSpace:
    """Turn dicts of columns into vectors that a model takes.

    Args:
        features: name -> 'float', 'float_normalized', 'float_rescaled', 'float_discretized', 'integer_categorical',
            'string_categorical', 'integer_hashed', 'string_hashed', or the result of the methods of these names.
        output_mode: 'concat' joins all in one vector; 'dict' keeps them apart.
        crosses: tuples of names, or `FeatureSpace.cross(...)`.
        crossing_dim, hashing_dim, num_discretization_bins: sizes where a feature does not say.

    Example:
        >>> import numpy as np, fitloom as tf
        >>> space = tf.keras.utils.FeatureSpace({"age": "float", "sex": "integer_categorical"})
        >>> table = {"age": np.array([1.5, 2.0, 3.0]), "sex": np.array([0, 1, 1])}
        >>> space.adapt(tf.data.Dataset.from_tensor_slices(table))
        >>> space(table).shape
        TensorShape([3, 4])
    """

    def __init__(self, features, output_mode="concat", crosses=None, crossing_dim=32, hashing_dim=32,
                 num_discretization_bins=32, name=None):
        if not features:
            raise ValueError("The `features` argument cannot be None or empty.")
        if output_mode not in ("concat", "dict"):
            raise ValueError(f"`output_mode` must be 'concat' or 'dict'. Received: output_mode={output_mode}")
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins, self.output_mode = num_discretization_bins, output_mode
        self.name = name or naming.unique_name("feature_space")
        self.features = {key: self._standard(value) for key, value in features.items()}
        self.crosses = [cross if isinstance(cross, Cross) else Cross(cross, crossing_dim) for cross in crosses or ()]
        for cross in self.crosses:
            for key in cross.feature_names:
                if key not in self.features:
                    raise ValueError(f"The crosses name '{key}', which is not among the features {list(features)}.")
        self.preprocessors = {key: feature.preprocessor for key, feature in self.features.items()}
        self.inputs = {key: layers.Input(shape=(1,), dtype=feature.dtype, name=key)
                       for key, feature in self.features.items()}
        self.encoded_features = self._model = None
        self._adapted = not self._to_adapt()

    def _standard(self, feature):
        if isinstance(feature, Feature):
            return feature
        if isinstance(feature, dict):
            return Feature(**feature)
        sizes = {"float_discretized": {"num_bins": self.num_discretization_bins},
                 "string_hashed": {"num_bins": self.hashing_dim}, "integer_hashed": {"num_bins": self.hashing_dim}}
        known = ("float", "float_rescaled", "float_normalized", "float_discretized", "integer_categorical",
                 "string_categorical", "string_hashed", "integer_hashed")
        if feature not in known:
            raise ValueError(unknown_name("feature type", feature, known))
        return getattr(self, feature)(**sizes.get(feature, {}))

    # -- kinds of features

    @classmethod
    def cross(cls, feature_names, crossing_dim, output_mode="one_hot"):
        """Return a combination of columns."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype, preprocessor, output_mode):
        """Return a column with a layer of your own."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name=None):
        """Return a column that stays as it is."""
        return Feature("float32", layers.Identity(name=name), "float")

    @classmethod
    def float_rescaled(cls, scale=1.0, offset=0.0, name=None):
        """Return a column times `scale` plus `offset`."""
        return Feature("float32", layers.Rescaling(scale, offset, name=name), "float")

    @classmethod
    def float_normalized(cls, name=None):
        """Return a column with mean 0 and variance 1."""
        return Feature("float32", layers.Normalization(axis=-1, name=name), "float")

    @classmethod
    def float_discretized(cls, num_bins, bin_boundaries=None, output_mode="one_hot", name=None):
        """Return a column cut into bins."""
        layer = layers.Discretization(num_bins=None if bin_boundaries is not None else num_bins,
                                      bin_boundaries=bin_boundaries, name=name)
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None):
        """Return a column of class numbers."""
        return Feature("int64", layers.IntegerLookup(max_tokens=max_tokens, num_oov_indices=num_oov_indices, name=name),
                       output_mode)

    @classmethod
    def string_categorical(cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None):
        """Return a column of class names."""
        return Feature("string", layers.StringLookup(max_tokens=max_tokens, num_oov_indices=num_oov_indices, name=name),
                       output_mode)

    @classmethod
    def string_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Return a column of texts, hashed."""
        return Feature("string", layers.Hashing(num_bins=num_bins, name=name), output_mode)

    @classmethod
    def integer_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Return a column of whole numbers, hashed."""
        return Feature("int64", layers.Hashing(num_bins=num_bins, name=name), output_mode)

    # -- use

    def _to_adapt(self):
        return [key for key, layer in self.preprocessors.items() if isinstance(layer, (
            layers.Normalization, layers.StringLookup, layers.IntegerLookup)) and layer.get_config().get(
                "vocabulary") is None and layer.get_config().get("mean") is None
            or isinstance(layer, layers.Discretization) and layer.bin_boundaries is None]

    def adapt(self, dataset):
        """Measure means, vocabularies and bins on a Dataset that yields dicts of columns (without targets)."""
        if not hasattr(dataset, "map"):
            raise ValueError(f"`adapt()` can only be called on a tf.data.Dataset. Received instead: {dataset} (of type "
                             f"{type(dataset)})")
        for key in self._to_adapt():
            column = dataset.map(lambda x, key=key: x[key])
            for example in column.take(1):
                if len(example.shape) == 0:
                    column = column.batch(32)
                if len(example.shape) < 2:
                    column = column.map(lambda x: ops.expand_dims(x, -1))
            self.preprocessors[key].adapt(column)
        self._adapted, self._model, self.encoded_features = True, None, None

    def get_inputs(self):
        """Return the Inputs of a model that takes raw columns: name -> symbolic tensor."""
        self._check()
        return self.inputs

    def get_encoded_features(self):
        """Return the encoded features as symbolic tensors of `get_inputs()`."""
        self._check()
        if self.encoded_features is None:
            self.encoded_features = self._encode(self.inputs)
        return self.encoded_features

    def _check(self):
        if not self._adapted:
            raise ValueError("You need to call `.adapt(dataset)` on the FeatureSpace before you can start using it.")

    def _encode(self, columns):
        prepared = {key: self.preprocessors[key](columns[key]) for key in self.features}
        encoded = {}
        for key, feature in self.features.items():
            encoded[key] = self._one_hot(prepared[key], feature.codes()) if feature.output_mode == "one_hot" else \
                prepared[key]
        for cross in self.crosses:
            layer = self.preprocessors.setdefault(
                cross.name, layers.HashedCrossing(cross.crossing_dim, name=cross.name))
            made = layer(tuple(prepared[key] for key in cross.feature_names))
            encoded[cross.name] = self._one_hot(made, cross.crossing_dim) if cross.output_mode == "one_hot" else made
        if self.output_mode == "dict":
            return encoded
        for key in encoded:
            if (self.features.get(key) or next(c for c in self.crosses if c.name == key)).output_mode == "int":
                raise ValueError(f"Feature '{key}' has output_mode 'int', which cannot be joined with others. Use "
                                 "output_mode='one_hot' for it, or 'dict' for the FeatureSpace.")
        return ops.concat([ops.cast(x, "float32") for x in encoded.values()], -1)

    @staticmethod
    def _one_hot(codes, count):
        return layers.CategoryEncoding(num_tokens=count, output_mode="multi_hot")(codes)

    def __call__(self, data):
        """Return the encoded columns of a dict: one row, or a batch of (batch,) or (batch, 1) columns."""
        self._check()
        if not isinstance(data, dict):
            raise ValueError(f"A FeatureSpace can only be called with a dict. Received: data={data} (of type "
                             f"{type(data)})")
        columns, single = {}, False
        for key, x in data.items():
            if key in self.features:
                x = ops.convert_to_tensor(x) if not hasattr(x, "dtype") or not hasattr(x, "numpy") else x
                single = single or len(x.shape) == 0
                for _ in range(2 - len(x.shape)):
                    x = ops.expand_dims(x, -1)
                columns[key] = x if self.features[key].dtype == "string" else ops.cast(x, self.features[key].dtype)
        encoded = self._encode(columns)
        if not single:
            return encoded
        if isinstance(encoded, dict):
            return {key: ops.squeeze(x, 0) for key, x in encoded.items()}
        return ops.squeeze(encoded, 0)

    def model(self):
        """Return a Model from the raw columns to the encoded features."""
        if self._model is None:
            self._model = Model(self.get_inputs(), self.get_encoded_features(), name=self.name)
        return self._model

    def get_config(self):
        """Return the arguments as plain data; features by their layers' configurations."""
        return {"features": {key: {"dtype": f.dtype, "preprocessor": f.preprocessor.get_config(),
                                   "output_mode": f.output_mode} for key, f in self.features.items()},
                "output_mode": self.output_mode, "crosses": [list(c.feature_names) for c in self.crosses],
                "crossing_dim": self.crossing_dim, "hashing_dim": self.hashing_dim,
                "num_discretization_bins": self.num_discretization_bins}

    def save(self, filepath):
        """Not here: raise with the alternative."""
        raise NotImplementedError("A FeatureSpace is not saved by itself: save `feature_space.model()`, or the model "
                                  "that takes its `get_inputs()`.")
