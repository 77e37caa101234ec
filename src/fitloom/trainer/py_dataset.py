# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils.PyDataset` (and `Sequence`): batches by number, read ahead by threads or processes."""
import collections
import concurrent.futures
import itertools
import multiprocessing

from fitloom import engine


class PyDataset:
    """A data set that gives batch `i`: write `__getitem__(i)`, and `__len__` or `num_batches`.

    Args:
        workers: batches made at the same time; with 1 (and no processes) they are made in the training thread.
        use_multiprocessing: workers are processes instead of threads; the object must be picklable, and scripts
            need `if __name__ == "__main__":`.
        max_queue_size: batches made ahead at most.

    Example:
        >>> import numpy as np
        >>> class Squares(PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...     def __getitem__(self, index):
        ...         return np.full((4, 1), index), np.full((4, 1), index ** 2)
        >>> len(list(Squares()))
        3

    Source: keras.io/api/utils/python_utils.
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    # A subclass may forget super().__init__(): the defaults hold then.
    workers, use_multiprocessing, max_queue_size = 1, False, 10

    def __getitem__(self, index):
        """Return batch `index`: x, (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, index).")

    @property
    def num_batches(self):
        """Number of batches, or None when there is no end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} must define __len__(self), or a property num_batches.")

    def on_epoch_begin(self):
        """Hear that an epoch begins."""

    def on_epoch_end(self):
        """Hear that an epoch ended."""

    def __iter__(self):
        count = self.num_batches
        return (self[i] for i in (itertools.count() if count is None else range(count)))


def read(data, shuffle=False):
    """Yield the batches of one epoch in order (or in a drawn order), made ahead by the data set's workers."""
    if hasattr(data, "on_epoch_begin"):
        data.on_epoch_begin()
    count = data.num_batches if hasattr(data, "num_batches") else len(data)
    if count is None:
        order = itertools.count()
    else:
        order = range(count)
        if shuffle:
            order = [int(i) for i in engine.host_generator().permutation(count)]
    workers, processes = getattr(data, "workers", 1) or 0, getattr(data, "use_multiprocessing", False)
    if workers <= 1 and not processes:
        for i in order:
            yield data[i]
        return
    if processes:
        pool = concurrent.futures.ProcessPoolExecutor(
            max(workers, 1), multiprocessing.get_context("spawn"), initializer=_receive, initargs=(data,))
        make = _item
    else:
        pool, make = concurrent.futures.ThreadPoolExecutor(workers, "PyDataset"), data.__getitem__
    ahead = collections.deque()
    order = iter(order)
    try:
        for i in itertools.islice(order, max(getattr(data, "max_queue_size", 10) or 1, workers)):
            ahead.append(pool.submit(make, i))
        while ahead:
            batch = ahead.popleft().result()
            following = next(order, None)
            if following is not None:
                ahead.append(pool.submit(make, following))
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_received = None


def _receive(data):
    global _received
    _received = data


def _item(index):
    return _received[index]
