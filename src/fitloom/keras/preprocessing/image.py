# SPDX-License-Identifier: Apache-2.0
"""`keras.preprocessing.image`. Names only."""

from fitloom.data.pictures import (
    array_to_img as array_to_img,
    img_to_array as img_to_array,
    load_img as load_img,
    save_img as save_img,
)
from fitloom.ops.image_style import smart_resize as smart_resize
from fitloom.trainer.generators import (
    ImageDataGenerator as ImageDataGenerator,
    ImageIterator as DirectoryIterator,
    ImageIterator as Iterator,
    ImageIterator as NumpyArrayIterator,
    random_rotation as random_rotation,
    random_shift as random_shift,
    random_shear as random_shear,
    random_zoom as random_zoom,
)
