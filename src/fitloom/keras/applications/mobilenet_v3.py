# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.mobilenet_v3`. Names only."""

from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_none as preprocess_input
