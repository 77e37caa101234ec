# SPDX-License-Identifier: Apache-2.0
"""Models as estimators of scikit-learn."""
import importlib.util

import numpy as np
import pytest

import fitloom as tf

HERE = importlib.util.find_spec("sklearn") is not None


@pytest.mark.skipif(HERE, reason="scikit-learn is installed")
def test_without_scikit_learn_the_error_says_what_to_install():
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        tf.keras.wrappers.SKLearnClassifier(lambda X, y: None)


def network(X, y, activation="softmax", loss="categorical_crossentropy"):
    model = tf.keras.Sequential([tf.keras.layers.Input(X.shape[1:]), tf.keras.layers.Dense(y.shape[1], activation)])
    model.compile(tf.keras.optimizers.SGD(0.5), loss)
    return model


@pytest.mark.skipif(not HERE, reason="scikit-learn is not installed")
class TestWithScikitLearn:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")

    def test_a_classifier_learns_labels_and_is_cloned(self):
        from sklearn.base import clone

        labels = np.where(self.x[:, 0] > 0, "up", "down")
        estimator = clone(tf.keras.wrappers.SKLearnClassifier(network, fit_kwargs={"epochs": 20, "verbose": 0}))
        assert estimator.fit(self.x, labels).score(self.x, labels) > 0.9
        assert list(estimator.classes_) == ["down", "up"] and len(estimator.epoch_) == 20
        assert estimator.decision_function(self.x).shape == (64, 2)

    def test_a_regressor_keeps_the_form_of_the_targets(self):
        estimator = tf.keras.wrappers.SKLearnRegressor(network(self.x, self.x[:, :1], None, "mse"))
        for y in (self.x[:, 0], self.x[:, :1]):
            assert estimator.fit(self.x, y, epochs=5, verbose=0).predict(self.x).shape == y.shape
        assert estimator.model_ is not estimator.model

    def test_warm_start_trains_the_same_model(self):
        estimator = tf.keras.wrappers.SKLearnTransformer(network, warm_start=True,
                                                         model_kwargs={"activation": None, "loss": "mse"})
        first = estimator.fit(self.x, self.x, verbose=0).model_
        assert estimator.fit(self.x, self.x, verbose=0).model_ is first
        assert estimator.transform(self.x).shape == (64, 3)

    def test_a_model_that_is_not_compiled_is_an_error(self):
        with pytest.raises(RuntimeError, match="compiled"):
            tf.keras.wrappers.SKLearnRegressor(tf.keras.Sequential([tf.keras.layers.Dense(1)])).fit(self.x, self.x[:, 0])
