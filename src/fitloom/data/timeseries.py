# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.utils.timeseries_dataset_from_array`: sliding windows over rows."""
import numpy as np

from fitloom.data import structure
from fitloom.data.access import Access
from fitloom.data.dataset import Dataset
from fitloom.data.plan import Node
from fitloom.data.structure import TensorSpec
from fitloom.data.threads import AUTOTUNE


class Windows(Node):
    """Window i is data[first_i + sampling_rate * (0 ... length - 1)]; with targets, the pair with targets[i]."""

    name = "timeseries"

    def __init__(self, data, targets, starts, length, sampling_rate):
        super().__init__()
        self.data, self.targets, self.starts = data, targets, starts
        self.length, self.sampling_rate = length, sampling_rate

    def attributes(self):
        return len(self.starts), self.length, self.sampling_rate

    def element_spec(self, peek=True):
        window = TensorSpec((self.length, *self.data.shape[1:]), self.data.dtype)
        return window if self.targets is None else (window, TensorSpec(self.targets.shape[1:], self.targets.dtype))

    def cardinality(self):
        return len(self.starts)

    def access(self):
        return WindowsAccess(self)


class WindowsAccess(Access):
    """Windows by number, gathered many at once."""

    def __init__(self, node):
        self.node, self.size = node, len(node.starts)
        self.offsets = np.arange(node.length) * node.sampling_rate

    def rows(self, numbers, start):
        node = self.node
        begins = node.starts[numbers]
        windows = node.data[begins[:, None] + self.offsets]
        return (windows,) if node.targets is None else (windows, node.targets[begins])

    def row_bytes(self):
        return self.node.data[:1].nbytes * self.node.length


class _Starts:
    """first, first + stride, ... as an indexable that takes arrays of numbers."""

    def __init__(self, first, stride, count):
        self.first, self.stride, self.count = first, stride, count

    def __len__(self):
        return self.count

    def __getitem__(self, numbers):
        return self.first + numbers * self.stride


def timeseries_dataset_from_array(data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                                  shuffle=False, seed=None, start_index=None, end_index=None, format="tf"):
    """Make a dataset of sliding windows over the rows of `data`, each with its target.

    Args:
        data: (rows, ...) array.
        targets: targets[i] belongs to the window that begins at row i; None: windows alone.
        sequence_length: rows a window.
        sequence_stride: rows between the beginnings of windows.
        sampling_rate: rows between the elements of a window.
        batch_size: windows a batch; None: single windows.
        shuffle: in random order.
        start_index, end_index: use these rows of data only.
        format: 'tf', a tf.data Dataset.

    Raises:
        ValueError: an argument is out of range.
    """
    if format != "tf":
        raise ValueError(f"timeseries_dataset_from_array makes tf.data datasets (format='tf'), but received "
                         f"format={format!r}.")
    data = structure.to_numpy(data)
    targets = None if targets is None else structure.to_numpy(targets)
    rows = len(data)
    for what, value in (("start_index", start_index), ("end_index", end_index)):
        if value is not None and not 0 <= value <= rows:
            raise ValueError(f"timeseries_dataset_from_array needs a {what} from 0 to {rows}, but received {value}.")
    first, last = start_index or 0, rows if end_index is None else end_index
    if first >= last:
        raise ValueError(f"timeseries_dataset_from_array needs start_index below end_index, but received {first} and "
                         f"{last}.")
    for what, value in (("sequence_length", sequence_length), ("sequence_stride", sequence_stride),
                        ("sampling_rate", sampling_rate)):
        if not 0 < value < rows + (what == "sequence_length"):
            raise ValueError(f"timeseries_dataset_from_array needs a {what} from 1 to less than the {rows} rows of "
                             f"data, but received {value}.")
    span = (sequence_length - 1) * sampling_rate
    limit = last - first - span
    if targets is not None:
        limit = min(limit, len(targets) - first)
    count = max(0, -(-limit // sequence_stride))
    dataset = Dataset(Windows(data, targets, _Starts(first, sequence_stride, count), sequence_length, sampling_rate))
    if shuffle:
        dataset = dataset.shuffle(max(1, count), seed=seed)
    if batch_size is not None:
        dataset = dataset.batch(batch_size)
    return dataset.prefetch(AUTOTUNE)
