# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.vgg16`. Names only."""

from fitloom.applications.vgg import VGG16 as VGG16
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_caffe as preprocess_input
