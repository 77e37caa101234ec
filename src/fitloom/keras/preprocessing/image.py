# SPDX-License-Identifier: Apache-2.0
"""`keras.preprocessing.image`. Names only."""

from fitloom.data.pictures import (
    array_to_img as array_to_img,
    img_to_array as img_to_array,
    load_img as load_img,
    save_img as save_img,
)
