# SPDX-License-Identifier: Apache-2.0
"""How much of an epoch the run waited for its data."""
import time

from fitloom import engine
from fitloom.base import nest
from fitloom.callbacks.progress import write

WORTH_SHARE, WORTH_SECONDS = 0.1, 0.5       # less is not worth a line


class Waiting:
    """A clock beside the batches of one epoch. Time counts while the device has nothing left to do.

    The first batch and the first step, which compiles, are left out.
    """

    def __init__(self):
        self.asked, self.begin, self.seconds = 0, None, 0.0

    def next(self, batches, latest):
        """Return the next batch or None.

        Args:
            latest: the results of the last step, on the device.
        """
        self.asked += 1
        begin = time.perf_counter()
        if self.asked == 2:
            self.begin = begin
        batch = next(batches, None)
        if self.asked > 1 and batch is not None and _done(latest):
            self.seconds += time.perf_counter() - begin
        return batch

    def tell(self, dataset):
        """Print one line if the wait was worth one.

        Args:
            dataset: whether a tf.data.Dataset gave the batches.
        """
        if self.begin is None:
            return
        total = time.perf_counter() - self.begin
        share = self.seconds / max(total, 1e-9)
        if share < WORTH_SHARE or self.seconds < WORTH_SECONDS:
            return
        fix = ("prefetch(tf.data.AUTOTUNE), map(..., num_parallel_calls=tf.data.AUTOTUNE) and cache() make it faster"
               if dataset else "a tf.data.Dataset with prefetch, or PyDataset(workers=...), works ahead")
        write(f"The device waited for data during {share:.0%} of epoch 1 ({self.seconds:.1f} of {total:.1f} s): "
              f"{fix}.\n")


def _done(results):
    """Whether the device has finished: nothing has been started, or its results are there."""
    leaf = next((leaf for leaf in nest.flatten(results) if isinstance(leaf, engine.Tensor)), None) \
        if results is not None else None
    ready = getattr(leaf.array, "is_ready", None) if leaf is not None and not leaf.pending else None
    return ready is None or ready()
