# SPDX-License-Identifier: Apache-2.0
"""`tf.data.Dataset`: the public face of a plan."""
import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import files, structure
from fitloom.data.batching import Batch, Buckets, PaddedBatch, RaggedBatch, Rebatch, Unbatch
from fitloom.data.caching import Cache, Saved, Snapshot, save, saved_files
from fitloom.data.combining import Choose, Concatenate, Interleave, Nested, Sample, Zip
from fitloom.data.function import Function, check_arguments
from fitloom.data.iterators import Batches, Iterator, NumpyIterator
from fitloom.data.options import Options
from fitloom.data.ordering import Repeat, Shard, Shuffle, Skip, Take
from fitloom.data.plan import END, INFINITE, UNKNOWN, Run, start
from fitloom.data.prefetching import Prefetch
from fitloom.data.seeds import fresh_seed
from fitloom.data.sources import Generated, Random, Range, Slices, Tensors, signature_of
from fitloom.data.storage import level
from fitloom.data.structure import TensorSpec
from fitloom.data.threads import AUTOTUNE
from fitloom.data.transforms import Filter, Map, TakeWhile
from fitloom.data.windows import GroupByWindow, IgnoreErrors, Scan, Unique, Window


def _integer(value, name, argument):
    """Return an argument as a Python int."""
    if hasattr(value, "__index__") or (hasattr(value, "dtype") and getattr(value, "shape", None) is not None):
        return int(value)
    raise TypeError(f"Dataset.{name} needs an integer {argument}, but received {value!r}.")


class Dataset:
    """A sequence of elements: `tf.data.Dataset`. Immutable; a plan that is run by iterating.

    An element is a nest of tuples and dicts over components; strings are bytes. The order is a function of (seed,
    iteration, position), whatever the number of threads; an iterator tells its position with `state()` and takes it
    back with `restore(state)`, in the middle of an epoch and in another process too.

    Example:
        >>> import fitloom as tf
        >>> dataset = tf.data.Dataset.range(6).map(lambda x: x * 10).batch(4)
        >>> [b.tolist() for b in dataset.as_numpy_iterator()]
        [[0, 10, 20, 30], [40, 50]]
    """

    def __init__(self, node=None, options=None):
        self._node, self._options = node, options if options is not None else Options()

    def _with(self, node):
        return Dataset(node, self._options)

    # ------------------------------------------------------------ sources

    @staticmethod
    def from_tensor_slices(tensors, name=None) -> "Dataset":
        """Make a dataset of the rows of tensors (their first axis); the data is copied, unless memory-mapped."""
        return Dataset(Slices(tensors))

    @staticmethod
    def from_tensors(tensors, name=None) -> "Dataset":
        """Make a dataset of one element: `tensors`."""
        return Dataset(Tensors(tensors))

    @staticmethod
    def from_generator(generator, output_types=None, output_shapes=None, args=None, output_signature=None,
                       name=None) -> "Dataset":
        """Make a dataset of what `generator(*args)` yields; it is called anew for each iteration.

        Args:
            generator: a callable that returns an iterable.
            output_types: a nest of dtypes (the older way), with `output_shapes`.
            output_shapes: a nest of shapes; None for unknown.
            args: passed to the generator as NumPy arrays.
            output_signature: a nest of TensorSpec: one component of an element each.

        Raises:
            TypeError: `generator` is no callable, or no signature is given.
        """
        if not callable(generator):
            raise TypeError("Dataset.from_generator needs a callable that returns an iterable, such as a generator "
                            f"function, but received {type(generator).__name__}. Pass the function, not its result.")
        if output_signature is not None:
            if output_types is not None or output_shapes is not None:
                raise TypeError("Dataset.from_generator takes either output_signature or output_types and "
                                "output_shapes, not both.")
            spec = structure.map_structure(lambda s: s, output_signature) if not isinstance(output_signature, list) \
                else tuple(output_signature)
        elif output_types is None:
            raise TypeError("Dataset.from_generator needs output_signature, such as tf.TensorSpec(shape=(None,), "
                            "dtype=tf.float32), or a tuple or dict of them.")
        else:
            spec = signature_of(output_types, output_shapes)
        arguments = tuple([_scalar(structure.to_numpy(a)) for a in (args or ())])
        return Dataset(Generated(generator, spec, arguments))

    @staticmethod
    def range(*args, output_type="int64", name=None) -> "Dataset":
        """Make a dataset of the integers that Python's range gives: `range(stop)`, `range(start, stop[, step])`."""
        if not 1 <= len(args) <= 3:
            raise ValueError(f"Dataset.range takes one to three integers, but received {len(args)}.")
        numbers = [_integer(a, "range", "argument") for a in args]
        first, stop, step = (0, numbers[0], 1) if len(numbers) == 1 else (*numbers, 1)[:3]
        return Dataset(Range(first, stop, step, output_type))

    @staticmethod
    def counter(start=0, step=1, dtype="int64", name=None) -> "Dataset":
        """Make an endless dataset of start, start + step, ..."""
        first, by = _integer(start, "counter", "start"), _integer(step, "counter", "step")
        return Dataset.range(first, (1 << 62) * (1 if by > 0 else -1), by, output_type=dtype)

    @staticmethod
    def random(seed=None, rerandomize_each_iteration=None, name=None) -> "Dataset":
        """Make an endless dataset of random int64 numbers in [0, 2**32)."""
        return Dataset(Random(fresh_seed(seed), bool(rerandomize_each_iteration)))

    @staticmethod
    def list_files(file_pattern, shuffle=None, seed=None, name=None) -> "Dataset":
        """Make a dataset of the names of the files that match one pattern or several, shuffled unless told not to.

        Raises:
            tf.errors.InvalidArgumentError: nothing matches.
        """
        names = files.matching(file_pattern)
        if not len(names):
            raise files.nothing_matches(file_pattern)
        dataset = Dataset.from_tensor_slices(names)
        if shuffle is None or shuffle:
            dataset = dataset.shuffle(len(names), seed=seed)
        return dataset

    @staticmethod
    def zip(*args, datasets=None, name=None) -> "Dataset":
        """Make a dataset of elements side by side: `zip(a, b)`, `zip((a, b))` or a dict; as long as the shortest."""
        nest = datasets if datasets is not None else (args[0] if len(args) == 1 else tuple(args))
        if isinstance(nest, list):
            raise TypeError("Dataset.zip takes datasets in a tuple or dict, or as arguments; a list is not a nest "
                            "in tf.data.")
        leaves = structure.flatten(nest)
        for leaf in leaves:
            if not isinstance(leaf, Dataset):
                raise TypeError(f"Dataset.zip needs datasets, but received {type(leaf).__name__}.")
        return Dataset(Zip(nest, [d._node for d in leaves]), _merged(leaves))

    @staticmethod
    def sample_from_datasets(datasets, weights=None, seed=None, stop_on_empty_dataset=False,
                             rerandomize_each_iteration=None) -> "Dataset":
        """Draw each element from one of `datasets`, chosen at random with `weights` (equal if None)."""
        if not datasets:
            raise ValueError("Dataset.sample_from_datasets needs at least one dataset.")
        if isinstance(weights, Dataset):
            raise TypeError("Dataset.sample_from_datasets takes fixed weights here; a dataset of weights is not "
                            "supported. Use choose_from_datasets with a choice dataset that you draw yourself.")
        weights = [1.0] * len(datasets) if weights is None else structure.to_numpy(weights).astype(float).tolist()
        if len(weights) != len(datasets):
            raise ValueError(f"Dataset.sample_from_datasets received {len(datasets)} datasets and {len(weights)} "
                             "weights; their numbers must agree.")
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"Dataset.sample_from_datasets needs weights that are not negative and not all zero, "
                             f"but received {weights}.")
        _check_alike(datasets, "sample_from_datasets")
        datasets = [dataset for dataset, weight in zip(datasets, weights) if weight]
        weights = [weight for weight in weights if weight]
        if len(datasets) == 1:
            return datasets[0]
        return Dataset(Sample([d._node for d in datasets], weights, fresh_seed(seed), stop_on_empty_dataset,
                              rerandomize_each_iteration is not False), _merged(datasets))

    @staticmethod
    def choose_from_datasets(datasets, choice_dataset, stop_on_empty_dataset=True) -> "Dataset":
        """Take each element from the dataset whose number `choice_dataset` (int64 scalars) gives."""
        if not datasets:
            raise ValueError("Dataset.choose_from_datasets needs at least one dataset.")
        choice = choice_dataset.element_spec
        if not isinstance(choice, TensorSpec) or choice.dtype != "int64" or choice.shape.rank:
            raise TypeError(f"Dataset.choose_from_datasets needs a choice_dataset of int64 scalars, not of {choice!r}.")
        _check_alike(datasets, "choose_from_datasets")
        return Dataset(Choose(choice_dataset._node, [d._node for d in datasets], stop_on_empty_dataset),
                       _merged(datasets))

    @staticmethod
    def load(path, element_spec=None, compression=None, reader_func=None, wait=False) -> "Dataset":
        """Read a dataset that `save` wrote; whether it is compressed stands in its files."""
        level(compression)
        if wait:
            raise NotImplementedError("Dataset.load reads what a finished save has written; wait=True is not "
                                      "supported.")
        paths = saved_files(path)
        if reader_func is None:
            return Dataset(Saved(paths, element_spec))
        shards = [Dataset(Saved([p], element_spec)) for p in paths]
        numbered = Dataset(Interleave(Dataset.range(len(shards))._node, Function(
            lambda i: Dataset(Nest([shards[int(i)]._node])), "load"), 1, 1, _to_node, "load"))
        return reader_func(numbered)

    # ------------------------------------------------------------ element by element

    def map(self, map_func, num_parallel_calls=None, deterministic=None, synchronous=None,
            use_unbounded_threadpool=False, name=None) -> "Dataset":
        """Apply a function to each element; a tuple arrives as several arguments.

        A function that traces runs compiled, for a whole batch at once where a batch follows; any other runs element
        by element, in `num_parallel_calls` threads. The order stays that of the input either way.
        """
        return self._with(Map(self._node, self._function(map_func, "map"), num_parallel_calls, deterministic))

    def filter(self, predicate, name=None) -> "Dataset":
        """Keep the elements for which `predicate` gives a true scalar."""
        return self._with(Filter(self._node, self._function(predicate, "filter")))

    def take_while(self, predicate, name=None) -> "Dataset":
        """Keep the elements before the first for which `predicate` gives false."""
        return self._with(TakeWhile(self._node, self._function(predicate, "take_while")))

    def _function(self, call, name):
        spec = self._node.element_spec(peek=False)
        if spec is not None and callable(call):
            check_arguments(call, spec, name)
        return Function(call, name, spec, fresh_seed())

    def enumerate(self, start=0, name=None) -> "Dataset":
        """Pair each element with its int64 number, counted from `start`."""
        first, size = _integer(start, "enumerate", "start"), self._node.cardinality()
        numbers = Range(first, first + (size if size >= 0 else 1 << 62), 1, "int64")
        return self._with(Zip((0, 0), [numbers, self._node]))

    def scan(self, initial_state, scan_func, name=None) -> "Dataset":
        """Carry a state along: `scan_func(state, element) -> (state, output)`; the outputs are the elements."""
        return self._with(Scan(self._node, initial_state, Function(scan_func, "scan", None, fresh_seed())))

    def unique(self, name=None) -> "Dataset":
        """Keep the first of equal elements."""
        return self._with(Unique(self._node))

    def ignore_errors(self, log_warning=False, name=None) -> "Dataset":
        """Leave out elements whose computation raises; the number left out is logged."""
        return self._with(IgnoreErrors(self._node, log_warning))

    # ------------------------------------------------------------ which, and in what order

    def take(self, count, name=None) -> "Dataset":
        """Keep the first `count` elements (-1: all)."""
        return self._with(Take(self._node, _integer(count, "take", "count")))

    def skip(self, count, name=None) -> "Dataset":
        """Leave out the first `count` elements (-1: all)."""
        return self._with(Skip(self._node, _integer(count, "skip", "count")))

    def shard(self, num_shards, index, name=None) -> "Dataset":
        """Keep the elements whose number modulo `num_shards` is `index`."""
        return self._with(Shard(self._node, _integer(num_shards, "shard", "num_shards"),
                                _integer(index, "shard", "index")))

    def repeat(self, count=None, name=None) -> "Dataset":
        """Go through the dataset `count` times (None or -1: for ever)."""
        return self._with(Repeat(self._node, None if count is None else _integer(count, "repeat", "count")))

    def shuffle(self, buffer_size, seed=None, reshuffle_each_iteration=None, name=None) -> "Dataset":
        """Put the elements in random order through a buffer of `buffer_size`; None or -1 covers the whole dataset.

        A buffer that covers a source whose rows can be fetched by number costs an index, not the memory of the rows.
        """
        size = None if buffer_size is None else _integer(buffer_size, "shuffle", "buffer_size")
        if size == -1:
            size = None
        if size is not None and size < 1:
            raise InvalidArgumentError(f"Dataset.shuffle needs a buffer_size of at least 1, but received {size}.")
        own = None if seed is None else _integer(seed, "shuffle", "seed")
        return self._with(Shuffle(self._node, size, fresh_seed(own), reshuffle_each_iteration is not False))

    def concatenate(self, dataset, name=None) -> "Dataset":
        """Append another dataset."""
        return self._with(Concatenate(self._node, dataset._node))

    # ------------------------------------------------------------ batches

    def batch(self, batch_size, drop_remainder=False, num_parallel_calls=None, deterministic=None,
              name=None) -> "Dataset":
        """Stack `batch_size` consecutive elements; the last batch may be smaller unless `drop_remainder`."""
        return self._with(Batch(self._node, _integer(batch_size, "batch", "batch_size"), bool(drop_remainder)))

    def padded_batch(self, batch_size, padded_shapes=None, padding_values=None, drop_remainder=False,
                     name=None) -> "Dataset":
        """Stack elements after filling each component up: to `padded_shapes` (None or -1: the longest in the batch)."""
        return self._with(PaddedBatch(self._node, _integer(batch_size, "padded_batch", "batch_size"), padded_shapes,
                                      padding_values, bool(drop_remainder)))

    def ragged_batch(self, batch_size, drop_remainder=False, row_splits_dtype="int64", name=None) -> "Dataset":
        """Stack elements of different lengths into ragged tensors."""
        return self._with(RaggedBatch(self._node, _integer(batch_size, "ragged_batch", "batch_size"),
                                      bool(drop_remainder), dtypes.as_dtype(row_splits_dtype)))

    def sparse_batch(self, batch_size, row_shape, name=None) -> "Dataset":
        """Combine tensors of different shapes into SparseTensors of shape (batch, *row_shape); None: the longest."""
        from fitloom.base.shapes import TensorShape
        from fitloom.data.sparse_batches import SparseBatch
        lengths = TensorShape(row_shape).as_list() if not isinstance(row_shape, (list, tuple)) else list(row_shape)
        return self._with(SparseBatch(self._node, _integer(batch_size, "sparse_batch", "batch_size"),
                                      tuple([None if n in (None, -1) else int(n) for n in lengths])))

    def unbatch(self, name=None) -> "Dataset":
        """Take batches apart into their rows."""
        return self._with(Unbatch(self._node))

    def rebatch(self, batch_size, drop_remainder=False, name=None) -> "Dataset":
        """Batch the rows of batches anew; a list of sizes is taken in turn."""
        sizes = np.atleast_1d(structure.to_numpy(batch_size)).tolist()
        if min(sizes) < 1:
            raise InvalidArgumentError(f"Dataset.rebatch needs batch sizes of at least 1, but received {sizes}.")
        return self._with(Rebatch(Unbatch(self._node), sizes, bool(drop_remainder)))

    def window(self, size, shift=None, stride=1, drop_remainder=False, name=None) -> "Dataset":
        """Make nested datasets of `size` elements, `shift` apart (None: size), every `stride`-th element."""
        size = _integer(size, "window", "size")
        shift = size if shift is None else _integer(shift, "window", "shift")
        return self._with(Window(self._node, size, shift, _integer(stride, "window", "stride"), bool(drop_remainder)))

    def bucket_by_sequence_length(self, element_length_func, bucket_boundaries, bucket_batch_sizes,
                                  padded_shapes=None, padding_values=None, pad_to_bucket_boundary=False,
                                  no_padding=False, drop_remainder=False, name=None) -> "Dataset":
        """Batch elements of similar length: bucket i holds lengths from boundary i-1 up to, not including, boundary i.

        Raises:
            ValueError: there is not one batch size more than boundaries.
        """
        if len(bucket_batch_sizes) != len(bucket_boundaries) + 1:
            raise ValueError(f"Dataset.bucket_by_sequence_length needs one batch size more than boundaries, but "
                             f"received {len(bucket_batch_sizes)} sizes and {len(bucket_boundaries)} boundaries.")
        pad = None
        if not no_padding:
            pad = PaddedBatch(self._node, 1, padded_shapes, padding_values, False)
            pad.to_boundary = pad_to_bucket_boundary
        return self._with(Buckets(self._node, self._function(element_length_func, "bucket_by_sequence_length"),
                                  [int(b) for b in bucket_boundaries], [int(s) for s in bucket_batch_sizes], pad,
                                  drop_remainder))

    # ------------------------------------------------------------ datasets of datasets

    def flat_map(self, map_func, name=None) -> "Dataset":
        """Apply a function that returns a dataset, and put those datasets one after the other."""
        return self._with(Interleave(self._node, self._function(map_func, "flat_map"), 1, 1, _to_node, "flat_map"))

    def interleave(self, map_func, cycle_length=None, block_length=None, num_parallel_calls=None, deterministic=None,
                   name=None) -> "Dataset":
        """Apply a function that returns a dataset; keep `cycle_length` open, take `block_length` from each in turn.

        A cycle_length of None or AUTOTUNE is 8 on every machine, so that the order does not depend on it. With
        `num_parallel_calls` so many of them are read by a thread each; the order stays.
        """
        cycle = 8 if cycle_length in (None, AUTOTUNE) else _integer(cycle_length, "interleave", "cycle_length")
        block = 1 if block_length is None else _integer(block_length, "interleave", "block_length")
        if cycle < 1 or block < 1:
            raise InvalidArgumentError("Dataset.interleave needs cycle_length and block_length of at least 1, but "
                                       f"received {cycle} and {block}.")
        parallel = num_parallel_calls if num_parallel_calls in (None, AUTOTUNE) else _integer(
            num_parallel_calls, "interleave", "num_parallel_calls")
        if parallel is not None and parallel != AUTOTUNE and parallel < 1:
            raise InvalidArgumentError("num_parallel_calls must be at least 1 or tf.data.AUTOTUNE, but received "
                                       f"{parallel}.")
        return self._with(Interleave(self._node, self._function(map_func, "interleave"), cycle, block, _to_node,
                                     parallel=parallel))

    def group_by_window(self, key_func, reduce_func, window_size=None, window_size_func=None, name=None) -> "Dataset":
        """Collect elements by `key_func`; `reduce_func(key, window)` makes a dataset of each full window."""
        if (window_size is None) == (window_size_func is None):
            raise ValueError("Dataset.group_by_window needs either window_size or window_size_func.")
        size = None if window_size is None else _integer(window_size, "group_by_window", "window_size")
        if size is not None and size < 1:
            raise InvalidArgumentError("Dataset.group_by_window needs a window_size of at least 1, but received "
                                       f"{size}.")
        by_key = None if window_size_func is None else Function(window_size_func, "group_by_window", 0, fresh_seed())
        return self._with(GroupByWindow(
            self._node, self._function(key_func, "group_by_window"),
            Function(reduce_func, "group_by_window", (0, 0), fresh_seed()), size, by_key, _to_node))

    def rejection_resample(self, class_func, target_dist, initial_dist=None, seed=None, name=None) -> "Dataset":
        """Leave out elements at random so that the classes come with `target_dist`; elements become (class, element).

        Args:
            class_func: element -> int class.
            target_dist: the wanted probability of each class.
            initial_dist: that of the input; counted while running if None.
            seed: of the draws.
        """
        from fitloom.data.resampling import Resample
        return self._with(Resample(self._node, self._function(class_func, "rejection_resample"), target_dist,
                                   initial_dist, fresh_seed(seed)))

    def apply(self, transformation_func) -> "Dataset":
        """Return `transformation_func(self)`, which must be a dataset."""
        made = transformation_func(self)
        if not isinstance(made, Dataset):
            raise TypeError(f"The function of Dataset.apply must return a Dataset, but returned {type(made).__name__}.")
        return made

    # ------------------------------------------------------------ keeping and running

    def cache(self, filename="", name=None) -> "Dataset":
        """Keep the elements of the first complete pass: in memory, or in a file that is whole or absent."""
        name = structure.to_numpy(filename).item().decode() if filename else ""
        return self._with(Cache(self._node, name))

    def snapshot(self, path, compression="AUTO", reader_func=None, shard_func=None, name=None) -> "Dataset":
        """Keep the elements of the first complete pass in a folder, named by the plan, for later runs too."""
        if reader_func is not None or shard_func is not None:
            raise NotImplementedError("Dataset.snapshot keeps one file: reader_func and shard_func are not supported. "
                                      "Use save and load.")
        return self._with(Snapshot(self._node, path, compression))

    def save(self, path, compression=None, shard_func=None, checkpoint_args=None):
        """Write the elements into a folder, from which `Dataset.load` reads them; whole, or not at all.

        `compression`: None, 'GZIP', or 'SNAPPY' for a quicker and weaker one (zlib both).
        """
        if checkpoint_args is not None:
            raise NotImplementedError("Dataset.save writes in one go: checkpoint_args is not supported.")
        save(self._node, path, None if shard_func is None else self._function(shard_func, "save"), compression)

    def prefetch(self, buffer_size, name=None) -> "Dataset":
        """Compute up to `buffer_size` elements ahead (AUTOTUNE: as many as help), in a thread where that pays."""
        size = AUTOTUNE if buffer_size is None else _integer(buffer_size, "prefetch", "buffer_size")
        if size < -1:
            raise InvalidArgumentError("Dataset.prefetch needs a buffer_size of at least 0 or tf.data.AUTOTUNE, but "
                                       f"received {size}.")
        return self._with(Prefetch(self._node, size))

    def with_options(self, options, name=None) -> "Dataset":
        """Return the dataset with options; where both say something, the new ones win."""
        return Dataset(self._node, self._options.merge(options))

    def options(self) -> Options:
        """Return the options in effect."""
        return self._options

    def reduce(self, initial_state, reduce_func, name=None):
        """Return the last state of `state = reduce_func(state, element)` over all elements."""
        like, carried = structure.split(structure.listed(initial_state))
        function = Function(reduce_func, "reduce", None, fresh_seed())
        flow, number = start(self._node, Run.of(self._node, self._options)), 0
        try:
            while (element := flow.pull()) is not END:
                if not number:
                    function.nests((like, self._node.like()))
                carried = function.element((*carried, *element), number)
                like = function.structure
                number += 1
        finally:
            flow.close()
        return structure.pack(like, [structure.to_tensor(c) for c in carried])

    def get_single_element(self, name=None):
        """Return the only element; `tf.errors.InvalidArgumentError` if there is none or a second one."""
        found = list(self.take(2))
        if len(found) != 1:
            raise InvalidArgumentError("Dataset.get_single_element needs a dataset of one element, but this one "
                                       f"{'is empty' if not found else 'has more'}.")
        return found[0]

    # ------------------------------------------------------------ looking at it

    def __iter__(self) -> Iterator:
        return Iterator(self)

    def as_numpy_iterator(self) -> NumpyIterator:
        """Return an iterator over the elements as NumPy arrays."""
        return NumpyIterator(self)

    def _batches_numpy(self) -> Batches:
        return Batches(self)

    def _in_memory_plan(self):
        from fitloom.data.in_memory import plan
        return plan(self._node)

    @property
    def element_spec(self):
        """The nest of `tf.TensorSpec` that describes the elements."""
        spec = self._node.element_spec()
        return self._node.like() if spec is None else spec

    def cardinality(self):
        """Return the number of elements as an int64 tensor, INFINITE_CARDINALITY (-1) or UNKNOWN_CARDINALITY (-2)."""
        return engine.Tensor(np.asarray(self._node.cardinality(), np.int64))

    def __len__(self):
        size = self._node.cardinality()
        if size == INFINITE:
            raise TypeError("The dataset is infinite: it has no len().")
        if size == UNKNOWN:
            raise TypeError("The dataset's length is unknown: count it, or say it with "
                            "dataset.apply(tf.data.experimental.assert_cardinality(n)).")
        return size

    def __bool__(self):
        return True

    @property
    def _type_spec(self):
        return Nested(self._node)._type_spec

    def __repr__(self):
        return f"<Dataset {self._node.name} element_spec={self._node.element_spec(peek=False)!r}>"

    __str__ = __repr__


Dataset.__module__ = "tf.data"


class Nest(Tensors):
    """One element that is a dataset."""

    def __init__(self, nodes):
        super().__init__(tuple(Nested(n) for n in nodes) if len(nodes) > 1 else Nested(nodes[0]))


def _scalar(array):
    return array[()] if getattr(array, "ndim", 1) == 0 else array


def _to_node(value):
    if isinstance(value, Dataset):
        return value._node
    return value.node if isinstance(value, Nested) else None


def _check_alike(datasets, who):
    """Raise unless the elements of all datasets nest alike and have the same dtypes."""
    specs = [dataset._node.element_spec(peek=False) for dataset in datasets]
    if None in specs:
        return
    first = specs[0]
    for spec in specs[1:]:
        flats = [[leaf.dtype for leaf in structure.flatten(s)] for s in (first, spec)]
        if flats[0] != flats[1] or structure.skeleton(first) != structure.skeleton(spec):
            raise TypeError(f"Dataset.{who} needs datasets whose elements nest alike and have the same dtypes, but "
                            f"received {structure.outline(first)} and {structure.outline(spec)}.")


def _merged(datasets):
    options = Options()
    for dataset in datasets:
        options = options.merge(dataset._options)
    return options


Nested.make_dataset = staticmethod(Dataset)
