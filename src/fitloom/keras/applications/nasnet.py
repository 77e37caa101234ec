# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.nasnet`. Names only."""

from fitloom.applications.nasnet import NASNetLarge as NASNetLarge, NASNetMobile as NASNetMobile
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
