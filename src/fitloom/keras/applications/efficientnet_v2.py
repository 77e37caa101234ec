# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.efficientnet_v2`. Names only."""

from fitloom.applications.efficientnet import (
    EfficientNetV2B0 as EfficientNetV2B0,
    EfficientNetV2B1 as EfficientNetV2B1,
    EfficientNetV2B2 as EfficientNetV2B2,
    EfficientNetV2B3 as EfficientNetV2B3,
    EfficientNetV2L as EfficientNetV2L,
    EfficientNetV2M as EfficientNetV2M,
    EfficientNetV2S as EfficientNetV2S,
)
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_none as preprocess_input
