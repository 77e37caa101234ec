# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.datasets`."""

import sys

from fitloom.datasets import boston_housing as boston_housing
from fitloom.datasets import california_housing as california_housing
from fitloom.datasets import cifar10 as cifar10
from fitloom.datasets import cifar100 as cifar100
from fitloom.datasets import digits as digits
from fitloom.datasets import fashion_mnist as fashion_mnist
from fitloom.datasets import imdb as imdb
from fitloom.datasets import mnist as mnist
from fitloom.datasets import reuters as reuters

__all__ = [
    "boston_housing", "california_housing", "cifar10", "cifar100", "digits", "fashion_mnist", "imdb", "mnist",
    "reuters",
]  # fmt: skip

# `from fitloom.keras.datasets.mnist import load_data` is written often enough to have to work.
sys.modules.update({f"{__name__}.{name}": globals()[name] for name in __all__})
