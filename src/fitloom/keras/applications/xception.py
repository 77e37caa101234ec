# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.xception`. Names only."""

from fitloom.applications.xception import Xception as Xception
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
