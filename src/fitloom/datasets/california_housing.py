# SPDX-License-Identifier: Apache-2.0
"""California housing: prices of 1990."""

import numpy as np

from fitloom.datasets.boston_housing import check_test_split, shuffled_split
from fitloom.datasets.download import fetch

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/california_housing.npz"
SHA256 = "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"


def load_data(version="large", path="california_housing.npz", test_split=0.2, seed=113):
    """Load California housing: census block groups with 8 attributes (StatLib; 1990 census of the United States).

    The attributes: longitude, latitude, median age of the houses, rooms, bedrooms, population, households, median
    income, in the order of the file.

    Args:
        version: 'large' for 20,640 block groups, 'small' for the first 600 of them.
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
        test_split: share of the block groups in the test part, at least 0 and less than 1.
        seed: of the shuffle before the split.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: float arrays of shape `(n, 8)`; median values of the houses in dollars,
        of shape `(n,)`.
    """
    check_test_split(test_split)
    if version not in ("large", "small"):
        raise ValueError(f"`version` must be 'large' or 'small', but received '{version}'.")
    with np.load(fetch(path, ORIGIN, SHA256), allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
    most = 600 if version == "small" else None
    return shuffled_split(x[:most], y[:most], test_split, seed)
