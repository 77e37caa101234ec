# SPDX-License-Identifier: Apache-2.0
"""`keras.preprocessing`: older places of functions of `keras.utils`. Names only."""

from fitloom.data.directories import (
    image_dataset_from_directory as image_dataset_from_directory,
    text_dataset_from_directory as text_dataset_from_directory,
)
from fitloom.data.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
from fitloom.keras.preprocessing import image as image, sequence as sequence, text as text
