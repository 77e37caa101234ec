# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.mobilenet`. Names only."""

from fitloom.applications.mobilenet import MobileNet as MobileNet
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
