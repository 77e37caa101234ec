# SPDX-License-Identifier: Apache-2.0
"""`tf.data.experimental`: older names of transformations as functions for `apply`, and CSV readers."""
import enum

from fitloom.data import structure
from fitloom.data.dataset import Dataset
from fitloom.data.iterators import Optional as Optional
from fitloom.data.options import (
    AutotuneOptions as AutotuneOptions,
)
from fitloom.data.options import (
    DistributeOptions as DistributeOptions,
)
from fitloom.data.options import (
    OptimizationOptions as OptimizationOptions,
)
from fitloom.data.options import (
    ThreadingOptions as ThreadingOptions,
)
from fitloom.data.plan import INFINITE, UNKNOWN, Flow, Node
from fitloom.data.tables import (
    CsvDataset as CsvDataset,
)
from fitloom.data.tables import (
    make_csv_dataset as make_csv_dataset,
)
from fitloom.data.tables import (
    parquet_dataset as parquet_dataset,
)
from fitloom.data.threads import AUTOTUNE as AUTOTUNE
from fitloom.data.transforms import Wrapper
from fitloom.data.vocabularies import (
    DatasetInitializer as DatasetInitializer,
)
from fitloom.data.vocabularies import (
    index_table_from_dataset as index_table_from_dataset,
)
from fitloom.data.vocabularies import (
    table_from_dataset as table_from_dataset,
)
from fitloom.data.windows import Listed

INFINITE_CARDINALITY, UNKNOWN_CARDINALITY = INFINITE, UNKNOWN
SHARD_HINT = -1


class AutoShardPolicy(enum.IntEnum):
    """How `tf.distribute` splits a dataset between workers."""

    OFF = -1
    AUTO = 0
    FILE = 1
    DATA = 2
    HINT = 3


class ExternalStatePolicy(enum.IntEnum):
    """Accepted; a pipeline's state is always stored."""

    WARN = 0
    IGNORE = 1
    FAIL = 2


class AssertCardinality(Node):
    """A dataset whose size the user says."""

    name = "assert_cardinality"

    def __init__(self, source, count):
        super().__init__(source)
        self.count = count

    def cardinality(self):
        return self.count

    def flow(self, run):
        return AssertCardinalityFlow(self, run)


class AssertCardinalityFlow(Wrapper):
    """Counts, and raises where the user was wrong."""

    given = 0

    def pull(self):
        from fitloom.base.errors import FailedPreconditionError
        element = self.source.pull()
        self.given += element is not None
        wrong = self.given > self.node.count >= 0 or (element is None and self.given != self.node.count)
        if wrong:
            raise FailedPreconditionError(f"assert_cardinality was told {self.node.count} elements, but the dataset "
                                          f"has {'only ' if element is None else 'more than '}"
                                          f"{self.given if element is None else self.node.count}.")
        return element

    skip = Flow.skip

    def own_state(self):
        return (self.given,)

    def restore_own(self, given):
        self.given = given


def assert_cardinality(expected_cardinality):
    """Say how many elements a dataset has; wrong numbers raise while iterating."""
    return lambda dataset: dataset._with(AssertCardinality(dataset._node, int(expected_cardinality)))


def cardinality(dataset):
    """Return `dataset.cardinality()`."""
    return dataset.cardinality()


def bucket_by_sequence_length(element_length_func, bucket_boundaries, bucket_batch_sizes, padded_shapes=None,
                              padding_values=None, pad_to_bucket_boundary=False, no_padding=False,
                              drop_remainder=False):
    """Return a function for `apply`: see `Dataset.bucket_by_sequence_length`."""
    return lambda dataset: dataset.bucket_by_sequence_length(
        element_length_func, bucket_boundaries, bucket_batch_sizes, padded_shapes, padding_values,
        pad_to_bucket_boundary, no_padding, drop_remainder)


def group_by_window(key_func, reduce_func, window_size=None, window_size_func=None):
    """Return a function for `apply`: see `Dataset.group_by_window`."""
    return lambda dataset: dataset.group_by_window(key_func, reduce_func, window_size, window_size_func)


def dense_to_ragged_batch(batch_size, drop_remainder=False, row_splits_dtype="int64"):
    """Return a function for `apply`: see `Dataset.ragged_batch`."""
    return lambda dataset: dataset.ragged_batch(batch_size, drop_remainder, row_splits_dtype)


def map_and_batch(map_func, batch_size, num_parallel_batches=None, drop_remainder=False, num_parallel_calls=None):
    """Return a function for `apply`: map, then batch."""
    return lambda dataset: dataset.map(map_func, num_parallel_calls).batch(batch_size, drop_remainder)


def parallel_interleave(map_func, cycle_length, block_length=1, sloppy=False, buffer_output_elements=None,
                        prefetch_input_elements=None):
    """Return a function for `apply`: see `Dataset.interleave`."""
    return lambda dataset: dataset.interleave(map_func, cycle_length, block_length)


def shuffle_and_repeat(buffer_size, count=None, seed=None):
    """Return a function for `apply`: shuffle, then repeat."""
    return lambda dataset: dataset.shuffle(buffer_size, seed).repeat(count)


def prefetch_to_device(device, buffer_size=None):
    """Return a function for `apply`: prefetch."""
    return lambda dataset: dataset.prefetch(AUTOTUNE if buffer_size is None else buffer_size)


def copy_to_device(target_device, source_device="/cpu:0"):
    """Return a function for `apply` that leaves the dataset as it is: values move where they are used."""
    return lambda dataset: dataset


def ignore_errors(log_warning=False):
    """Return a function for `apply`: see `Dataset.ignore_errors`."""
    return lambda dataset: dataset.ignore_errors(log_warning)


def unbatch():
    """Return a function for `apply`: see `Dataset.unbatch`."""
    return lambda dataset: dataset.unbatch()


def unique():
    """Return a function for `apply`: see `Dataset.unique`."""
    return lambda dataset: dataset.unique()


def scan(initial_state, scan_func):
    """Return a function for `apply`: see `Dataset.scan`."""
    return lambda dataset: dataset.scan(initial_state, scan_func)


def take_while(predicate):
    """Return a function for `apply`: see `Dataset.take_while`."""
    return lambda dataset: dataset.take_while(predicate)


def enumerate_dataset(start=0):
    """Return a function for `apply`: see `Dataset.enumerate`."""
    return lambda dataset: dataset.enumerate(start)


def snapshot(path, compression="AUTO", reader_func=None, shard_func=None):
    """Return a function for `apply`: see `Dataset.snapshot`."""
    return lambda dataset: dataset.snapshot(path, compression, reader_func, shard_func)


def rejection_resample(class_func, target_dist, initial_dist=None, seed=None):
    """Return a function for `apply`: see `Dataset.rejection_resample`."""
    return lambda dataset: dataset.rejection_resample(class_func, target_dist, initial_dist, seed)


def get_single_element(dataset):
    """Return `dataset.get_single_element()`."""
    return dataset.get_single_element()


def save(dataset, path, compression=None, shard_func=None):
    """Write a dataset: see `Dataset.save`."""
    dataset.save(path, compression, shard_func)


def load(path, element_spec=None, compression=None, reader_func=None):
    """Read a dataset: see `Dataset.load`."""
    return Dataset.load(path, element_spec, compression, reader_func)


def get_structure(dataset_or_iterator):
    """Return the element spec."""
    return dataset_or_iterator.element_spec


def get_next_as_optional(iterator):
    """Return `iterator.get_next_as_optional()`."""
    return iterator.get_next_as_optional()


def at(dataset, index):
    """Return element `index` of a dataset."""
    for element in dataset.skip(int(index)).take(1):
        return element
    from fitloom.base.errors import OutOfRangeError
    raise OutOfRangeError(f"The dataset has no element {int(index)}.")


def choose_from_datasets(datasets, choice_dataset, stop_on_empty_dataset=False):
    """Return `Dataset.choose_from_datasets`, which here goes on without the datasets that have ended."""
    return Dataset.choose_from_datasets(datasets, choice_dataset, stop_on_empty_dataset)


sample_from_datasets = Dataset.sample_from_datasets
Counter, RandomDataset = Dataset.counter, Dataset.random


def from_list(elements, name=None):
    """Make a dataset of the elements of a list: nests of one structure."""
    if not elements:
        raise ValueError("from_list needs a list of at least one element.")
    flat = [structure.split(structure.listed(element))[1] for element in elements]
    spec = [structure.spec_of(component) for component in flat[0]]
    for other in flat[1:]:
        spec = [structure.unify(s, structure.spec_of(c)) for s, c in zip(spec, other)]
    return Dataset(Listed(flat, structure.pack(structure.listed(elements[0]), spec)))


class Reducer:
    """Three functions that reduce the elements of a group: for `group_by_reducer`.

    Args:
        init_func: key -> state.
        reduce_func: (state, element) -> state.
        finalize_func: state -> result; a tuple arrives as several arguments.
    """

    def __init__(self, init_func, reduce_func, finalize_func):
        self.init_func, self.reduce_func, self.finalize_func = init_func, reduce_func, finalize_func


def group_by_reducer(key_func, reducer):
    """Return a function for `apply`: one result for each key, in the order of the keys."""
    def reduced(key, window):
        state = window.reduce(reducer.init_func(key), reducer.reduce_func)
        finalize = reducer.finalize_func
        return Dataset.from_tensors(finalize(*state) if type(state) is tuple else finalize(state))
    return lambda dataset: dataset.group_by_window(key_func, reduced, window_size=1 << 62)


def dense_to_sparse_batch(batch_size, row_shape):
    """Return a function for `apply`: `sparse_batch`."""
    return lambda dataset: dataset.sparse_batch(batch_size, row_shape)


def __getattr__(name):
    if name == "service":
        raise AttributeError(
            "tf.data.experimental.service, the servers that prepare data, is not provided. Prepare the data where it "
            "is used: map(..., num_parallel_calls=tf.data.AUTOTUNE), interleave and prefetch use all processors, "
            "Dataset.shard or a tf.distribute strategy gives each worker its part, and snapshot or save keeps what is "
            "costly.")
    raise AttributeError(f"module 'tf.data.experimental' has no attribute {name!r}.")
