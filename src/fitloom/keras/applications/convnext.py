# SPDX-License-Identifier: Apache-2.0
"""`keras.applications.convnext`. Names only."""

from fitloom.applications.convnext import (
    ConvNeXtBase as ConvNeXtBase,
    ConvNeXtLarge as ConvNeXtLarge,
    ConvNeXtSmall as ConvNeXtSmall,
    ConvNeXtTiny as ConvNeXtTiny,
    ConvNeXtXLarge as ConvNeXtXLarge,
)
from fitloom.applications.imagenet import decode_predictions as decode_predictions, preprocess_none as preprocess_input
