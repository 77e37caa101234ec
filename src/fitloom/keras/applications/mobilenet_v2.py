# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.mobilenet_v2`. Names only."""

from fitloom.applications.mobilenet import MobileNetV2 as MobileNetV2
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
