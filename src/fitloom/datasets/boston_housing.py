# SPDX-License-Identifier: Apache-2.0
"""Boston housing: prices of 1978; and the shuffled split that California housing shares."""

import numpy as np

from fitloom.datasets.download import fetch

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/boston_housing.npz"
SHA256 = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"


def load_data(path="boston_housing.npz", test_split=0.2, seed=113):
    """Load Boston housing: 506 districts with 13 attributes (StatLib, Carnegie Mellon University).

    One attribute, "B", assumes that racial segregation moves prices. Use the set to speak about that, not to learn
    regression: `california_housing` serves better.

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
        test_split: share of the districts in the test part, at least 0 and less than 1.
        seed: of the shuffle before the split.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: float64 of shape `(n, 13)`; median values of the homes in thousands of
        dollars, float64 of shape `(n,)`.
    """
    check_test_split(test_split)
    with np.load(fetch(path, ORIGIN, SHA256), allow_pickle=False) as arrays:
        return shuffled_split(arrays["x"], arrays["y"], test_split, seed)


def check_test_split(test_split):
    """Raise ValueError unless 0 <= test_split < 1."""
    if not 0 <= test_split < 1:
        raise ValueError(f"`test_split` must be at least 0 and less than 1, but received {test_split}.")


def shuffled_split(x, y, test_split, seed):
    """Shuffle rows with `seed` and cut off the last `test_split` of them, as tf.keras does."""
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    cut = int(len(x) * (1 - test_split))
    return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])
