# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.densenet`. Names only."""

from fitloom.applications.densenet import (
    DenseNet121 as DenseNet121,
    DenseNet169 as DenseNet169,
    DenseNet201 as DenseNet201,
)
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_torch as preprocess_input
