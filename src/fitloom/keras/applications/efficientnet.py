# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.efficientnet`. Names only."""

from fitloom.applications.efficientnet import (
    EfficientNetB0 as EfficientNetB0,
    EfficientNetB1 as EfficientNetB1,
    EfficientNetB2 as EfficientNetB2,
    EfficientNetB3 as EfficientNetB3,
    EfficientNetB4 as EfficientNetB4,
    EfficientNetB5 as EfficientNetB5,
    EfficientNetB6 as EfficientNetB6,
    EfficientNetB7 as EfficientNetB7,
)
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_none as preprocess_input
