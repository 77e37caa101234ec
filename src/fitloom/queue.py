# SPDX-License-Identifier: Apache-2.0
"""`tf.queue`: queues between threads. Names only."""

from fitloom.ops.queues import (
    FIFOQueue as FIFOQueue,
    PaddingFIFOQueue as PaddingFIFOQueue,
    PriorityQueue as PriorityQueue,
    QueueBase as QueueBase,
    RandomShuffleQueue as RandomShuffleQueue,
)
