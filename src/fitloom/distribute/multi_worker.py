# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute.MultiWorkerMirroredStrategy`: several processes or machines."""
from fitloom.distribute.strategy import Strategy


class MultiWorkerMirroredStrategy(Strategy):
    """One copy of each variable on every device of every worker, each batch split over all of them."""
