# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.resnet`. Names only."""

from fitloom.applications.resnet import ResNet50 as ResNet50, ResNet101 as ResNet101, ResNet152 as ResNet152
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_caffe as preprocess_input
