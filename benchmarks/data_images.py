# SPDX-License-Identifier: Apache-2.0
"""How fast is a folder of JPEG files read? 200 photographs of noise, 320x240, resized to 160x160, batch(32)."""

import os
import tempfile

import numpy as np

import harness
import pipelines

FILES = 200


def folder():
    path = os.path.join(tempfile.gettempdir(), "fitloom-benchmark-images")
    for i in range(FILES):
        name = os.path.join(path, str(i % 4), f"{i}.jpg")
        if not os.path.exists(name):
            import fitloom as tf

            rng = np.random.default_rng(i)
            coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
            large = np.repeat(np.repeat(coarse, 16, 0), 16, 1) // 2
            image = large + rng.integers(0, 100, large.shape, dtype=np.uint8)
            tf.io.write_file(name, tf.io.encode_jpeg(image))
    return path


def build(tf):
    return tf.keras.utils.image_dataset_from_directory(folder(), image_size=(160, 160), batch_size=32, verbose=False)


WORKLOAD = pipelines.workload("data_images", __doc__, FILES, build)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
