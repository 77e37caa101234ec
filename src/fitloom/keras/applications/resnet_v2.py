# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.resnet_v2`. Names only."""

from fitloom.applications.resnet import (
    ResNet50V2 as ResNet50V2,
    ResNet101V2 as ResNet101V2,
    ResNet152V2 as ResNet152V2,
)
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_tf as preprocess_input
