# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST: articles of clothing, 28 x 28."""

import gzip
import zlib

import numpy as np

from fitloom.datasets.download import fetch

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

def load_data():
    """Load Fashion-MNIST: 70,000 grey images of clothing (Zalando SE; MIT licence).

    The classes are T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images, uint8 of shape `(60000, 28, 28)` and `(10000, 28, 28)`, 0 to
        255; classes 0 to 9, uint8 of shape `(60000,)` and `(10000,)`.
    """
    return _part("train"), _part("t10k")


def _part(part):
    labels = _read(f"{part}-labels-idx1-ubyte.gz", offset=8)
    images = _read(f"{part}-images-idx3-ubyte.gz", offset=16)
    return images.reshape(len(labels), 28, 28), labels


def _read(name, offset):
    # The publisher of these copies states no hashes; gzip's own checksum shows a damaged file.
    path = fetch(name, ORIGIN + name, None, cache_subdir="datasets/fashion-mnist")
    try:
        with gzip.open(path, "rb") as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset).copy()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"'{path}' is damaged ({error}). Delete it, and it is downloaded again.") from error
