# SPDX-License-Identifier: Apache-2.0
"""CIFAR-100: colour images in 100 classes, 32 x 32."""

import os

from fitloom.datasets.cifar10 import read_batch
from fitloom.datasets.download import get_file

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def load_data(label_mode="fine"):
    """Load CIFAR-100: 60,000 colour images (A. Krizhevsky, V. Nair and G. Hinton).

    Args:
        label_mode: 'fine' for the 100 classes, 'coarse' for the 20 groups they fall into.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images, uint8 of shape `(50000, 32, 32, 3)` and `(10000, 32, 32, 3)`,
        0 to 255 (channels first if `image_data_format()` says so); classes, of shape `(50000, 1)` and `(10000, 1)`.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"`label_mode` must be 'fine' or 'coarse', but received '{label_mode}'.")
    folder = get_file("cifar-100-python-target", origin=ORIGIN, extract=True, file_hash=SHA256)
    folder = os.path.join(folder, "cifar-100-python")
    train, test = (read_batch(os.path.join(folder, part), f"{label_mode}_labels") for part in ("train", "test"))
    return train, test
