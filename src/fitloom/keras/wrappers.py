# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.wrappers`."""
from fitloom.models.estimators import SKLearnClassifier as SKLearnClassifier
from fitloom.models.estimators import SKLearnRegressor as SKLearnRegressor
from fitloom.models.estimators import SKLearnTransformer as SKLearnTransformer
