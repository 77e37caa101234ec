# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.imagenet_utils`. Names only."""

from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_input as preprocess_input
