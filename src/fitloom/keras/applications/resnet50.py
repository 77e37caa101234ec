# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.resnet50`. Names only."""

from fitloom.applications.resnet import ResNet50 as ResNet50
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_caffe as preprocess_input
