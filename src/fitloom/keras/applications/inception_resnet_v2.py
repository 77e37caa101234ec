# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.inception_resnet_v2`. Names only."""

from fitloom.applications.inception import InceptionResNetV2 as InceptionResNetV2
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
