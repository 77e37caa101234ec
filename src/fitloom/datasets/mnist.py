# SPDX-License-Identifier: Apache-2.0
"""MNIST: handwritten digits, 28 x 28."""

import numpy as np

from fitloom.datasets.download import fetch

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def load_data(path="mnist.npz"):
    """Load MNIST: 70,000 grey images of handwritten digits (Y. LeCun and C. Cortes; CC BY-SA 3.0).

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images, uint8 of shape `(60000, 28, 28)` and `(10000, 28, 28)`, 0 to
        255; digits, uint8 of shape `(60000,)` and `(10000,)`.
    """
    with np.load(fetch(path, ORIGIN, SHA256), allow_pickle=False) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
