# SPDX-License-Identifier: Apache-2.0
"""The optical digits of UCI: a small, real data set that is part of the package."""

import io
from importlib import resources

import numpy as np


def load_data():
    """Load 1,797 scans of handwritten digits, 8 x 8 pixels each.

    They are the test set of UCI's *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, 1998;
    CC BY 4.0), as scikit-learn distributes it. Nothing is downloaded. The split is fixed and needs no random numbers:
    of each digit, every fifth scan is a test scan, so both parts hold all ten digits in equal shares.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: the scans, uint8 of shape `(1442, 8, 8)` and `(355, 8, 8)` with values
        0 (paper) to 16 (ink); the digits 0 to 9, uint8 of shape `(1442,)` and `(355,)`.

    Example:

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, y_train.shape, x_test.shape, y_test.shape
    ((1442, 8, 8), (1442,), (355, 8, 8), (355,))
    """
    stored = resources.files("fitloom.datasets").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
    is_test = np.zeros(len(y), bool)
    for digit in range(10):
        is_test[np.flatnonzero(y == digit)[4::5]] = True
    return (x[~is_test], y[~is_test]), (x[is_test], y[is_test])
