# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10: colour images in 10 classes, 32 x 32; and the reading that CIFAR-100 shares."""

import os

import numpy as np

from fitloom.base import config
from fitloom.datasets.download import get_file
from fitloom.datasets.stored import read_pickle

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def load_data():
    """Load CIFAR-10: 60,000 colour images (A. Krizhevsky, V. Nair and G. Hinton).

    The classes are airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images, uint8 of shape `(50000, 32, 32, 3)` and `(10000, 32, 32, 3)`,
        0 to 255 (channels first if `image_data_format()` says so); classes 0 to 9, uint8 of shape `(50000, 1)` and
        `(10000, 1)`.
    """
    folder = get_file("cifar-10-batches-py-target", origin=ORIGIN, extract=True, file_hash=SHA256)
    folder = os.path.join(folder, "cifar-10-batches-py")
    train = [read_batch(os.path.join(folder, f"data_batch_{number}"), "labels") for number in range(1, 6)]
    images, labels = (np.concatenate(part) for part in zip(*train))
    return (images, labels), read_batch(os.path.join(folder, "test_batch"), "labels")


def read_batch(path, label_key):
    """Read (images, labels) from one file of CIFAR; in the file an image is 3 x 32 x 32."""
    with open(path, "rb") as file:
        stored = read_pickle(file, path)
    images = stored["data"].reshape(-1, 3, 32, 32)
    if config.image_data_format() == "channels_last":
        images = images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(stored[label_key], np.uint8).reshape(-1, 1)
