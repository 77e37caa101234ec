# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.inception_v3`. Names only."""

from fitloom.applications.inception import InceptionV3 as InceptionV3
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
