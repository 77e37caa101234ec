# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.wrappers`: models as estimators of scikit-learn (pipelines, searches, cross-validation)."""
from typing import Any

import numpy as np

from fitloom.models.cloning import clone_model
from fitloom.models.model import Model

try:
    from sklearn import base as sklearn_base
    from sklearn.utils import metadata_routing, multiclass, validation
except ImportError:  # the classes then exist, and say what to install when they are made
    sklearn_base = None


def _ancestor(name):
    return getattr(sklearn_base, name) if sklearn_base else type(name, (), {})


_Base: Any = _ancestor("BaseEstimator")
_Classifier: Any = _ancestor("ClassifierMixin")
_Regressor: Any = _ancestor("RegressorMixin")
_Transformer: Any = _ancestor("TransformerMixin")


class _Estimator(_Base):
    """What the three kinds share: a model is made for the data, trained, and asked.

    Args:
        model: a compiled model, which is copied before each `fit`; or a function that is called with `X=` and `y=`
            (as the model will see them) and `**model_kwargs` and returns a compiled model.
        warm_start: True trains the given model itself, or the model of the last `fit`, further.
        model_kwargs: keyword arguments of that function.
        fit_kwargs: keyword arguments of `model.fit`; those given to `fit` itself win.

    Attributes:
        model_: the trained model.
        history_: the History of its last `fit`.
        epoch_: the numbers of its epochs.

    Raises:
        ImportError: scikit-learn is not installed.
        RuntimeError: the model is not compiled.
    """

    def __init__(self, model, warm_start=False, model_kwargs=None, fit_kwargs=None):
        if sklearn_base is None:
            raise ImportError(f"{type(self).__name__} requires `scikit-learn` to be installed. "
                              "Run `pip install scikit-learn` to install it.")
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    def __sklearn_clone__(self):
        return type(self)(model=self.model, warm_start=self.warm_start, model_kwargs=self.model_kwargs,
                          fit_kwargs=self.fit_kwargs)

    @property
    def epoch_(self):
        """The numbers of the epochs of the last `fit`; 0 before it."""
        return self.history_.epoch if hasattr(self, "history_") else 0

    def set_fit_request(self, **aliases):
        """Say which keyword arguments of `fit` a meta-estimator passes on (scikit-learn's metadata routing).

        Args:
            **aliases: name=True, False, None or the name it has outside.

        Raises:
            RuntimeError: metadata routing is switched off.
        """
        from sklearn import get_config

        if not get_config().get("enable_metadata_routing", False):
            raise RuntimeError("set_fit_request() is only available when metadata routing is enabled: "
                               "sklearn.set_config(enable_metadata_routing=True).")
        self._metadata_request = metadata_routing.MetadataRequest(owner=type(self).__name__)
        for name, alias in aliases.items():
            self._metadata_request.fit.add_request(param=name, alias=alias)
        return self

    def fit(self, X, y, **kwargs):
        """Make or copy the model and train it.

        Args:
            X: (n_samples, n_features).
            y: (n_samples,) or (n_samples, n_outputs).
            **kwargs: of `model.fit`.

        Returns:
            self
        """
        X, y = validation.validate_data(self, X, y, multi_output=True)
        multiclass.type_of_target(y, raise_unknown=True)
        targets = self._targets(y)
        model = self._made_model(X, targets)
        if not getattr(model, "compiled", False) or not model.loss or not model.optimizer:
            raise RuntimeError("Given model needs to be compiled, and have a loss and an optimizer: call "
                               "model.compile(loss=..., optimizer=...) before handing it over.")
        self.history_ = model.fit(X, targets, **{**(self.fit_kwargs or {}), **kwargs})
        self.model_ = model
        return self

    def predict(self, X):
        """Return what the trained model says about each row of `X`, in the form of the targets."""
        return self._answers(self._outputs(X))

    def _outputs(self, X):
        validation.check_is_fitted(self)
        return self.model_.predict(validation.validate_data(self, X, reset=False))

    def _made_model(self, X, targets):
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Model):
            return self.model if self.warm_start else _copy(self.model)
        return self.model(X=X, y=targets, **(self.model_kwargs or {}))

    def _targets(self, y):
        self._target_ndim = y.ndim
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _answers(self, outputs):
        return np.squeeze(outputs, axis=1) if self._target_ndim == 1 and outputs.ndim == 2 else outputs


def _copy(model):
    """Return a new model of the same kind with weights of its own, compiled in the same way."""
    copy = clone_model(model)
    if not getattr(copy, "compiled", False) and getattr(model, "compiled", False):
        copy.compile_from_config(model.get_compile_config())
    return copy


_SHARED = (_Estimator.__doc__ or "").partition("\n")[2].strip()


class SKLearnClassifier(_Classifier, _Estimator):
    __doc__ = f"""A model as a classifier. It is trained on one-hot targets (n_samples, n_classes).

    {_SHARED}

    Further attribute: `classes_`, the labels in the order of the model's outputs.

    Example:
        >>> import fitloom as tf                                                            # doctest: +SKIP
        >>> def network(X, y, width=10):                                                    # doctest: +SKIP
        ...     model = tf.keras.Sequential([tf.keras.layers.Dense(width, "relu"),
        ...                                  tf.keras.layers.Dense(y.shape[1], "softmax")])
        ...     model.compile("adam", "categorical_crossentropy")
        ...     return model
        >>> estimator = tf.keras.wrappers.SKLearnClassifier(network, model_kwargs=dict(width=20))  # doctest: +SKIP
        >>> estimator.fit(X, y, epochs=5).predict(X)                                         # doctest: +SKIP
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def decision_function(self, X):
        """Return the outputs of the model, one column a class."""
        return self._outputs(X)

    def _targets(self, y):
        kind = multiclass.type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"Only binary and multiclass target types are supported. Target type: {kind}. "
                             "For numbers use SKLearnRegressor.")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError("Classifier can't train when only one class is present.")
        self._target_ndim = y.ndim
        return np.eye(len(self.classes_))[codes.reshape(-1)]

    def _answers(self, outputs):
        labels = self.classes_[np.argmax(outputs, axis=-1)]
        return labels if self._target_ndim == 1 else labels.reshape(-1, 1)


class SKLearnRegressor(_Regressor, _Estimator):
    __doc__ = f"""A model as a regressor. It is trained on targets (n_samples, n_outputs).

    {_SHARED}
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(_Transformer, _Estimator):
    __doc__ = f"""A model as a step of a pipeline: `transform` returns its outputs (n_samples, n_features).

    {_SHARED}
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def transform(self, X):
        """Return the outputs of the trained model for `X`."""
        return self._outputs(X)
