# SPDX-License-Identifier: Apache-2.0
"""Sample data: `tf.keras.datasets`, and the download that serves it."""

from fitloom.datasets import boston_housing as boston_housing
from fitloom.datasets import california_housing as california_housing
from fitloom.datasets import cifar10 as cifar10
from fitloom.datasets import cifar100 as cifar100
from fitloom.datasets import digits as digits
from fitloom.datasets import fashion_mnist as fashion_mnist
from fitloom.datasets import imdb as imdb
from fitloom.datasets import mnist as mnist
from fitloom.datasets import reuters as reuters
