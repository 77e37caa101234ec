# SPDX-License-Identifier: Apache-2.0
"""Pipelines without randomness, run once under TensorFlow to record what it gives, and in the tests under Fitloom.

    python tests/data/scenarios.py     # any Python with TensorFlow 2: rewrites the golden file

writes tests/golden/data_scenarios.json: for each scenario the elements (nested lists with dtypes), the element spec,
and the cardinality; or the value, where a scenario gives no dataset. Every source and transformation that gives the
same elements each time has one here; what stores, reads and lists files is in scenarios_stored.py.
"""
import json
import os
import sys
import tempfile

import numpy as np

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def ragged_rows(tf, lengths=(3, 1, 4, 1, 5), dtype="int32"):
    def generator():
        for n in lengths:
            yield np.arange(n)
    return tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((None,), dtype))


@scenario
def slices_of_a_dict(tf):
    return tf.data.Dataset.from_tensor_slices({"b": [1.0, 2.0, 3.0], "a": [[1, 2], [3, 4], [5, 6]]})


@scenario
def slices_of_a_list(tf):
    return tf.data.Dataset.from_tensor_slices([[1, 2], [3, 4]])


@scenario
def slices_of_a_nest(tf):
    return tf.data.Dataset.from_tensor_slices(((np.arange(4, dtype=np.uint8), {"x": np.ones((4, 2))}), np.arange(4)))


@scenario
def slices_of_strings(tf):
    return tf.data.Dataset.from_tensor_slices((["a", "bc", ""], [True, False, True]))


@scenario
def from_tensors(tf):
    return tf.data.Dataset.from_tensors(([1, 2], 3.0, "x"))


@scenario
def range_forms(tf):
    return tf.data.Dataset.zip((tf.data.Dataset.range(2, 9, 2), tf.data.Dataset.range(5, 0, -1)))


@scenario
def range_of_int32(tf):
    return tf.data.Dataset.range(3, output_type=tf.int32)


@scenario
def map_changes_structure(tf):
    return tf.data.Dataset.range(3).map(lambda x: {"double": x * 2, "pair": (x, tf.cast(x, tf.float32) / 2)})


@scenario
def map_returns_a_list(tf):
    return tf.data.Dataset.range(3).map(lambda x: [x, x + 1])


@scenario
def map_of_a_tuple(tf):
    return tf.data.Dataset.from_tensor_slices((np.arange(3), np.arange(3) * 1.5)).map(lambda a, b: (b, a))


@scenario
def map_of_a_dict(tf):
    return tf.data.Dataset.from_tensor_slices({"a": np.arange(3)}).map(lambda d: {**d, "b": d["a"] + 1})


@scenario
def map_returns_a_constant(tf):
    return tf.data.Dataset.range(3).map(lambda x: (x, 7, "s"))


@scenario
def map_batch_one_hot(tf):
    images = np.arange(60, dtype=np.uint8).reshape(5, 12)
    return tf.data.Dataset.from_tensor_slices((images, np.array([0, 2, 1, 2, 0]))).map(
        lambda x, y: (tf.cast(x, tf.float32) / 255.0, tf.one_hot(y, 3))).batch(2)


@scenario
def filter_even(tf):
    return tf.data.Dataset.range(10).filter(lambda x: x % 2 == 0)


@scenario
def batch_remainder(tf):
    return tf.data.Dataset.range(7).batch(3)


@scenario
def batch_drop_remainder(tf):
    return tf.data.Dataset.range(7).batch(3, drop_remainder=True)


@scenario
def batch_twice(tf):
    return tf.data.Dataset.range(8).batch(2).batch(2)


@scenario
def padded_batch(tf):
    return ragged_rows(tf).padded_batch(2)


@scenario
def padded_batch_to_a_shape(tf):
    return ragged_rows(tf).padded_batch(2, padded_shapes=(6,), padding_values=-1)


@scenario
def padded_batch_of_a_tuple(tf):
    rows = tf.data.Dataset.zip((ragged_rows(tf), tf.data.Dataset.range(5)))
    return rows.padded_batch(2, padded_shapes=([None], []), padding_values=(9, np.int64(0)), drop_remainder=True)


@scenario
def unbatch(tf):
    return tf.data.Dataset.from_tensors((np.arange(6).reshape(3, 2), np.arange(3))).unbatch()


@scenario
def rebatch(tf):
    return tf.data.Dataset.range(10).batch(4).rebatch(3)


@scenario
def rebatch_drops(tf):
    return tf.data.Dataset.range(10).batch(4).rebatch(3, drop_remainder=True)


@scenario
def repeat(tf):
    return tf.data.Dataset.range(3).repeat(2)


@scenario
def repeat_then_batch(tf):
    return tf.data.Dataset.range(3).repeat(3).batch(2)


@scenario
def repeat_zero(tf):
    return tf.data.Dataset.range(3).repeat(0)


@scenario
def endless(tf):
    return tf.data.Dataset.range(3).repeat().take(7)


@scenario
def take_all(tf):
    return tf.data.Dataset.range(3).take(-1)


@scenario
def take_more(tf):
    return tf.data.Dataset.range(3).take(9)


@scenario
def skip_some(tf):
    return tf.data.Dataset.range(5).skip(2)


@scenario
def skip_all(tf):
    return tf.data.Dataset.range(5).skip(-1)


@scenario
def shard(tf):
    return tf.data.Dataset.range(10).shard(3, 1)


@scenario
def take_while(tf):
    return tf.data.Dataset.range(10).take_while(lambda x: x < 4)


@scenario
def enumerate_from(tf):
    return tf.data.Dataset.from_tensor_slices([8, 9]).enumerate(start=5)


@scenario
def zip_a_dict(tf):
    return tf.data.Dataset.zip({"a": tf.data.Dataset.range(3), "b": tf.data.Dataset.range(4, 9)})


@scenario
def zip_arguments(tf):
    return tf.data.Dataset.zip(tf.data.Dataset.range(3), tf.data.Dataset.range(4, 9).batch(2))


@scenario
def concatenate(tf):
    return tf.data.Dataset.range(3).concatenate(tf.data.Dataset.range(7, 9))


@scenario
def concatenate_shapes(tf):
    return tf.data.Dataset.from_tensors([1, 2]).concatenate(tf.data.Dataset.from_tensors([1, 2, 3]))


@scenario
def interleave(tf):
    return tf.data.Dataset.range(1, 6).interleave(
        lambda x: tf.data.Dataset.from_tensors(x).repeat(6), cycle_length=2, block_length=4)


@scenario
def interleave_uneven(tf):
    return tf.data.Dataset.from_tensor_slices(np.array([2, 0, 3, 1], np.int64)).interleave(
        lambda n: tf.data.Dataset.range(n), cycle_length=3, block_length=1)


@scenario
def interleave_parallel(tf):
    return tf.data.Dataset.range(1, 5).interleave(
        lambda x: tf.data.Dataset.range(x), cycle_length=3, block_length=2, num_parallel_calls=2)


@scenario
def flat_map(tf):
    return tf.data.Dataset.range(4).flat_map(lambda x: tf.data.Dataset.range(x))


@scenario
def flat_map_slices(tf):
    return tf.data.Dataset.from_tensor_slices([[1, 2], [3, 4]]).flat_map(tf.data.Dataset.from_tensor_slices)


@scenario
def window_batches(tf):
    return tf.data.Dataset.range(7).window(3, shift=1, drop_remainder=True).flat_map(lambda w: w.batch(3))


@scenario
def window_stride(tf):
    return tf.data.Dataset.range(10).window(3, shift=2, stride=2).flat_map(lambda w: w.batch(3))


@scenario
def window_of_pairs(tf):
    pairs = tf.data.Dataset.zip((tf.data.Dataset.range(5), tf.data.Dataset.range(5, 10)))
    return pairs.window(2).flat_map(lambda a, b: tf.data.Dataset.zip((a.batch(2), b.batch(2))))


@scenario
def scan(tf):
    return tf.data.Dataset.range(1, 6).scan(np.int64(0), lambda state, x: (state + x, state + x))


@scenario
def unique(tf):
    return tf.data.Dataset.from_tensor_slices([1, 37, 2, 37, 2, 1]).unique()


@scenario
def unique_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["a", "b", "a"]).unique()


@scenario
def choose(tf):
    parts = [tf.data.Dataset.from_tensors(i).repeat(n) for i, n in ((0, 2), (1, 3), (2, 1))]
    return tf.data.Dataset.choose_from_datasets(parts, tf.data.Dataset.from_tensor_slices(
        np.array([0, 1, 2, 0, 1, 1, 0], np.int64)))


@scenario
def choose_on(tf):
    parts = [tf.data.Dataset.from_tensors(i).repeat(n) for i, n in ((0, 1), (1, 3))]
    return tf.data.Dataset.choose_from_datasets(parts, tf.data.Dataset.from_tensor_slices(
        np.array([0, 0, 1, 0, 1], np.int64)), stop_on_empty_dataset=False)


@scenario
def group_by_window(tf):
    return tf.data.Dataset.range(10).group_by_window(lambda x: x % 2, lambda key, w: w.batch(3), window_size=3)


@scenario
def bucket(tf):
    return ragged_rows(tf, (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)).bucket_by_sequence_length(
        lambda x: tf.shape(x)[0], [3, 5], [2, 2, 2])


@scenario
def bucket_to_boundary(tf):
    return ragged_rows(tf, (3, 1, 4, 1, 2, 2, 3)).bucket_by_sequence_length(
        lambda x: tf.shape(x)[0], [3, 6], [2, 2, 2], pad_to_bucket_boundary=True)


@scenario
def generator_of_tuples(tf):
    def generator():
        for i in range(3):
            yield (i, [i] * i)
    return tf.data.Dataset.from_generator(generator, output_types=(tf.int64, tf.float32), output_shapes=((), (None,)))


@scenario
def generator_with_arguments(tf):
    return tf.data.Dataset.from_generator(lambda n, m: iter(range(n, m)), args=(2, 5), output_types=tf.int32)


@scenario
def generator_of_dicts(tf):
    def generator():
        yield {"a": 1, "b": "x"}
        yield {"a": 2, "b": "y"}
    return tf.data.Dataset.from_generator(generator, output_signature={
        "a": tf.TensorSpec((), tf.int32), "b": tf.TensorSpec((), tf.string)})


@scenario
def cache_and_prefetch(tf):
    return tf.data.Dataset.range(4).cache().map(lambda x: x * x).prefetch(2)


@scenario
def text_lines(tf):
    path = os.path.join(tempfile.mkdtemp(), "a.txt")
    with open(path, "wb") as file:
        file.write(b"one\r\ntwo\n\nlast")
    return tf.data.TextLineDataset([path, path])


@scenario
def csv_rows(tf):
    path = os.path.join(tempfile.mkdtemp(), "a.csv")
    with open(path, "w") as file:
        file.write('i,f,s\n1,2.5,"a, b"\n,3.5,c\n7,NA,"say ""x"""\n')
    return tf.data.experimental.CsvDataset(path, [0, 1.25, tf.string], header=True, na_value="NA")


@scenario
def csv_batches(tf):
    path = os.path.join(tempfile.mkdtemp(), "a.csv")
    with open(path, "w") as file:
        file.write("i,f,s\n1,2.5,a\n2,3.5,b\n3,4.5,c\n")
    return tf.data.experimental.make_csv_dataset(path, 2, label_name="f", num_epochs=1, shuffle=False)


@scenario
def fixed_length_records(tf):
    path = os.path.join(tempfile.mkdtemp(), "a.bin")
    with open(path, "wb") as file:
        file.write(b"HHabcdefghiF")
    return tf.data.FixedLengthRecordDataset(path, 3, header_bytes=2, footer_bytes=1)


def example_file(tf, compression=""):
    path = os.path.join(tempfile.mkdtemp(), "a.tfrecord")
    feature, train = tf.train.Feature, tf.train
    with tf.io.TFRecordWriter(path, compression) as writer:
        for i in range(3):
            example = train.Example(features=train.Features(feature={
                "f": feature(float_list=train.FloatList(value=[i, i + 0.5])),
                "i": feature(int64_list=train.Int64List(value=[-i, 300 * i])),
                "s": feature(bytes_list=train.BytesList(value=[b"x" * i])),
                "v": feature(int64_list=train.Int64List(value=list(range(i)))),
            }))
            writer.write(example.SerializeToString())
    return path


FIXED = {"f": ([2], "float32"), "i": ([2], "int64"), "s": ([], "string")}


@scenario
def tfrecord_parse(tf):
    features = {key: tf.io.FixedLenFeature(shape, tf.as_dtype(dtype)) for key, (shape, dtype) in FIXED.items()}
    features["missing"] = tf.io.FixedLenFeature([], tf.float32, default_value=4.0)
    return tf.data.TFRecordDataset(example_file(tf)).map(lambda r: tf.io.parse_single_example(r, features))


@scenario
def tfrecord_parse_then_compute(tf):
    features = {key: tf.io.FixedLenFeature(shape, tf.as_dtype(dtype)) for key, (shape, dtype) in FIXED.items()}

    def parse(record):
        example = tf.io.parse_single_example(record, features)
        return tf.reduce_sum(example["f"]) * 2.0, tf.cast(example["i"][1], tf.int32), example["s"]
    return tf.data.TFRecordDataset(example_file(tf, "GZIP"), compression_type="GZIP").map(parse).batch(2)


@scenario
def tfrecord_parse_batches(tf):
    features = {"f": tf.io.FixedLenFeature([2], tf.float32), "v": tf.io.VarLenFeature(tf.int64)}
    return tf.data.TFRecordDataset(example_file(tf)).batch(3).map(
        lambda r: (tf.io.parse_example(r, features)["f"], tf.sparse.to_dense(tf.io.parse_example(r, features)["v"])))


@scenario
def decode_raw(tf):
    return tf.data.Dataset.from_tensor_slices([b"\x01\x02", b"\xff\x00"]).map(lambda s: (
        tf.io.decode_raw(s, tf.uint8), tf.io.decode_raw(s, tf.int16), tf.io.decode_raw(s, tf.int16, little_endian=False)))


@scenario
def decode_csv(tf):
    return tf.data.Dataset.from_tensor_slices(["1,2.5,x", "3,,y"]).map(
        lambda line: tuple(tf.io.decode_csv(line, [0, -1.0, ""])))


@scenario
def png_round_trip(tf):
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    return tf.data.Dataset.from_tensors(image).map(lambda x: tf.io.decode_png(tf.io.encode_png(x)))


@scenario
def serialized_tensor(tf):
    return tf.data.Dataset.from_tensors([[1.5, 2.5]]).map(
        lambda x: tf.io.parse_tensor(tf.io.serialize_tensor(x), tf.float32))


@scenario
def assert_cardinality(tf):
    return tf.data.Dataset.range(9).filter(lambda x: x < 3).apply(tf.data.experimental.assert_cardinality(3))


@scenario
def timeseries(tf):
    return tf.keras.utils.timeseries_dataset_from_array(
        np.arange(20.0), np.arange(100.0, 120.0), 3, sequence_stride=2, sampling_rate=2, batch_size=3, start_index=2)


@scenario
def timeseries_end(tf):
    return tf.keras.utils.timeseries_dataset_from_array(np.arange(10), None, 4, batch_size=2, end_index=8)


@scenario
def range_of_floats(tf):
    return tf.data.Dataset.range(0, 5, 2, output_type=tf.float32)


@scenario
def range_that_is_empty(tf):
    return tf.data.Dataset.range(5, 5).map(lambda x: (x, x + 1)).batch(2)


@scenario
def slices_of_nothing(tf):
    return tf.data.Dataset.from_tensor_slices((np.zeros((0, 3), np.float16), np.zeros(0, bool))).batch(2)


@scenario
def slices_of_ragged(tf):
    return tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1, 2], [], [3]]))


@scenario
def slices_of_sparse(tf):
    return tf.data.Dataset.from_tensor_slices(tf.SparseTensor([[0, 1], [2, 0]], [5, 6], [3, 2]))


@scenario
def tensors_of_ragged_and_sparse(tf):
    return tf.data.Dataset.from_tensors({"r": tf.ragged.constant([["a"], ["b", "c"]]),
                                         "s": tf.SparseTensor([[0, 1]], [1.5], [2, 2])})


@scenario
def list_of_elements(tf):
    return tf.data.experimental.from_list([(1, "a"), (2, "b")])


@scenario
def counter(tf):
    return tf.data.Dataset.counter(start=3, step=-2).take(3)


@scenario
def counter_of_int32(tf):
    return tf.data.Dataset.counter(dtype=tf.int32).take(2)


@scenario
def random_is_seeded(tf):
    return tf.data.Dataset.random(seed=1).take(3).map(lambda x: (x >= 0, x < 2 ** 32))


@scenario
def map_to_none_and_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["1,2", "3,4"]).map(lambda s: tf.strings.split(s, ",")[1])


@scenario
def map_to_ragged(tf):
    return tf.data.Dataset.from_tensor_slices(["a b", "c"]).map(lambda s: tf.strings.split([s]))


@scenario
def filter_out_all(tf):
    return tf.data.Dataset.range(4).filter(lambda x: x > 9).batch(2)


@scenario
def filter_on_a_tuple(tf):
    pairs = tf.data.Dataset.from_tensor_slices((np.arange(4), ["a", "b", "a", "c"]))
    return pairs.filter(lambda i, s: tf.math.logical_or(s == "a", i > 2))


@scenario
def comparison_of_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["a", "b"]).map(lambda s: (s == "a", s != "a", s == s, tf.equal(s, "b")))


@scenario
def take_while_never(tf):
    return tf.data.Dataset.range(4).take_while(lambda x: x > 0)


@scenario
def batch_of_a_dict(tf):
    return tf.data.Dataset.from_tensor_slices({"s": ["a", "b", "c"], "i": np.arange(3, dtype=np.int8)}).batch(2)


@scenario
def batch_of_ragged(tf):
    return tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1, 2], [], [3]])).batch(2)


@scenario
def batch_of_sparse(tf):
    return tf.data.Dataset.from_tensor_slices(tf.SparseTensor([[0, 1], [2, 0]], [5, 6], [3, 2])).batch(2)


@scenario
def batch_drops_all(tf):
    return tf.data.Dataset.range(2).batch(3, drop_remainder=True)


@scenario
def ragged_batch(tf):
    return ragged_rows(tf).ragged_batch(2)


@scenario
def ragged_batch_drop_remainder(tf):
    return ragged_rows(tf).ragged_batch(2, drop_remainder=True)


@scenario
def ragged_batch_with_empty_rows(tf):
    return ragged_rows(tf, (0, 2, 0)).ragged_batch(3)


@scenario
def ragged_batch_of_nothing(tf):
    return ragged_rows(tf, ()).ragged_batch(2)


@scenario
def ragged_batch_of_int32_splits(tf):
    return ragged_rows(tf).ragged_batch(3, row_splits_dtype=tf.int32)


@scenario
def ragged_batch_of_scalars(tf):
    return tf.data.Dataset.range(5).ragged_batch(2)


@scenario
def ragged_batch_of_one_shape(tf):
    return tf.data.Dataset.from_tensor_slices(np.arange(6.0).reshape(3, 2)).ragged_batch(2)


@scenario
def ragged_batch_of_a_dict(tf):
    rows = tf.data.Dataset.zip({"ids": ragged_rows(tf), "label": tf.data.Dataset.range(5)})
    return rows.ragged_batch(2)


@scenario
def ragged_batch_of_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["a b", "", "c d e"]).map(tf.strings.split).ragged_batch(2)


@scenario
def ragged_batch_of_matrices(tf):
    def generator():
        for rows, columns in ((1, 2), (2, 2), (0, 2)):
            yield np.ones((rows, columns))
    matrices = tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((None, 2), tf.float32))
    return matrices.ragged_batch(2)


@scenario
def ragged_batch_of_two_ragged_axes(tf):
    def generator():
        for rows, columns in ((1, 2), (2, 3), (2, 0)):
            yield np.arange(rows * columns).reshape(rows, columns)
    matrices = tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((None, None), tf.int32))
    return matrices.ragged_batch(2)


@scenario
def ragged_batch_to_dense(tf):
    return ragged_rows(tf).ragged_batch(2).map(lambda r: r.to_tensor(default_value=-1))


@scenario
def ragged_batch_unbatched(tf):
    return ragged_rows(tf).ragged_batch(2).unbatch()


@scenario
def ragged_batch_as_numpy(tf):
    return [batch for lengths in ((1, 2, 3), (2, 2)) for batch in ragged_rows(tf, lengths).ragged_batch(
        2).as_numpy_iterator()]


@scenario
def sparse_batch(tf):
    return tf.data.Dataset.range(3).map(lambda x: tf.fill([x], x)).sparse_batch(2, [4])


@scenario
def sparse_batch_of_open_rows(tf):
    return ragged_rows(tf, (1, 3, 2)).sparse_batch(2, [None])


@scenario
def sparse_batch_of_zeros(tf):
    return tf.data.Dataset.from_tensors([0.0, 1.5, 0.0]).sparse_batch(1, [3])


@scenario
def sparse_batch_of_matrices(tf):
    return tf.data.Dataset.from_tensors(np.arange(4, dtype=np.int16).reshape(2, 2)).repeat(2).sparse_batch(2, [2, 3])


@scenario
def sparse_batch_of_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["a b", "c"]).map(tf.strings.split).sparse_batch(2, [3])


@scenario
def sparse_batch_of_nothing(tf):
    return ragged_rows(tf, ()).sparse_batch(2, [3])


@scenario
def sparse_batch_as_numpy(tf):
    return list(ragged_rows(tf).sparse_batch(2, [6]).as_numpy_iterator())


@scenario
def padded_batch_of_strings(tf):
    return tf.data.Dataset.from_tensor_slices(["a b", "", "c"]).map(tf.strings.split).padded_batch(2)


@scenario
def padded_batch_of_a_dict(tf):
    rows = tf.data.Dataset.zip({"x": ragged_rows(tf, dtype="float32"), "n": tf.data.Dataset.range(5)})
    return rows.padded_batch(3, padded_shapes={"x": [None], "n": []}, padding_values={"x": -1.0, "n": None})


@scenario
def padded_batch_of_matrices(tf):
    def generator():
        for rows, columns in ((1, 2), (2, 1)):
            yield np.ones((rows, columns))
    matrices = tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((None, None), tf.float32))
    return matrices.padded_batch(2, padded_shapes=[None, 3])


@scenario
def unbatch_of_a_dict(tf):
    return tf.data.Dataset.from_tensor_slices({"a": ["x", "y", "z"], "b": np.arange(3.0)}).batch(2).unbatch()


@scenario
def unbatch_of_empty_batches(tf):
    return tf.data.Dataset.from_tensor_slices(np.zeros((3, 0, 2), np.float32)).unbatch()


@scenario
def rebatch_larger(tf):
    return tf.data.Dataset.range(7).batch(2).rebatch(5)


@scenario
def rebatch_by_turns(tf):
    return tf.data.Dataset.range(8).batch(4).rebatch([2, 1, 1])


@scenario
def shuffle_of_one(tf):
    return tf.data.Dataset.range(4).shuffle(1)


@scenario
def repeat_of_nothing(tf):
    return tf.data.Dataset.range(0).repeat(3)


@scenario
def shard_of_little(tf):
    return tf.data.Dataset.range(2).shard(4, 3)


@scenario
def enumerate_a_tuple(tf):
    return tf.data.Dataset.from_tensor_slices(([1, 2], ["a", "b"])).enumerate()


@scenario
def zip_a_nest(tf):
    a, b = tf.data.Dataset.range(2), tf.data.Dataset.range(4, 9)
    return tf.data.Dataset.zip((a, {"b": b, "both": (a, b)}))


@scenario
def concatenate_with_nothing(tf):
    return tf.data.Dataset.range(0).concatenate(tf.data.Dataset.range(2)).concatenate(tf.data.Dataset.range(0))


@scenario
def interleave_of_tuples(tf):
    return tf.data.Dataset.from_tensor_slices((np.array([1, 2, 2]), ["a", "b", "c"])).interleave(
        lambda n, s: tf.data.Dataset.from_tensors(s).repeat(n).enumerate(), cycle_length=2, block_length=1)


@scenario
def flat_map_to_nothing(tf):
    return tf.data.Dataset.range(3).flat_map(lambda x: tf.data.Dataset.range(0))


@scenario
def flat_map_of_a_dict(tf):
    return tf.data.Dataset.from_tensor_slices({"a": [[1, 2], [3, 4]]}).flat_map(
        lambda d: tf.data.Dataset.from_tensor_slices({"a": d["a"], "b": d["a"] * 2}))


@scenario
def window_remainders(tf):
    return tf.data.Dataset.range(7).window(3).flat_map(lambda w: w.batch(3))


@scenario
def window_that_drops(tf):
    return tf.data.Dataset.range(7).window(3, drop_remainder=True).flat_map(lambda w: w.batch(3))


@scenario
def window_with_gaps(tf):
    return tf.data.Dataset.range(10).window(2, shift=4, stride=2).flat_map(lambda w: w.batch(2))


@scenario
def window_sums(tf):
    return tf.data.Dataset.range(6).window(2).map(lambda w: w.reduce(np.int64(0), lambda a, b: a + b))


@scenario
def window_of_dicts(tf):
    rows = tf.data.Dataset.from_tensor_slices({"a": np.arange(4), "s": ["a", "b", "c", "d"]})
    return rows.window(3).flat_map(lambda w: tf.data.Dataset.zip((w["a"].batch(3), w["s"].batch(3))))


@scenario
def reduce_to_a_sum(tf):
    return tf.data.Dataset.range(5).reduce(np.int64(0), lambda state, x: state + x)


@scenario
def reduce_of_nothing(tf):
    return tf.data.Dataset.range(0).reduce((7, "s"), lambda state, _: state)


@scenario
def reduce_a_nest(tf):
    pairs = tf.data.Dataset.from_tensor_slices((np.arange(3.0), ["a", "b", "c"]))
    return pairs.reduce({"n": 0, "s": ""}, lambda state, pair: {"n": state["n"] + 1, "s": state["s"] + pair[1]})


@scenario
def reduce_of_batches(tf):
    return tf.data.Dataset.range(5).batch(2).reduce(np.int64(1), lambda state, x: state + tf.reduce_sum(x))


@scenario
def scan_of_a_nest(tf):
    def step(state, x):
        return {"n": state["n"] + 1, "last": x}, (x - state["last"], state["n"])
    return tf.data.Dataset.from_tensor_slices([3.0, 5.0, 4.0]).scan({"n": 0, "last": 0.0}, step)


@scenario
def scan_of_nothing(tf):
    return tf.data.Dataset.range(0).scan(np.int64(0), lambda state, x: (state + x, state))


@scenario
def unique_of_batches_apart(tf):
    return tf.data.Dataset.range(6).map(lambda x: x % 3).unique().batch(2)


@scenario
def group_by_window_of_keys(tf):
    return tf.data.Dataset.range(9).group_by_window(
        lambda x: x % 3, lambda key, w: tf.data.Dataset.zip((tf.data.Dataset.from_tensors(key), w.batch(9))),
        window_size_func=lambda key: key + 1)


@scenario
def bucket_without_padding(tf):
    rows = tf.data.Dataset.from_tensor_slices(np.array([[1, 1], [4, 4], [2, 2]]))
    return rows.bucket_by_sequence_length(lambda x: tf.cast(x[0], tf.int32), [3], [2, 2], no_padding=True)


@scenario
def bucket_that_drops(tf):
    return ragged_rows(tf, (3, 1, 4, 1, 5)).bucket_by_sequence_length(
        lambda x: tf.shape(x)[0], [3], [2, 2], padding_values=-1, drop_remainder=True)


@scenario
def bucket_of_tuples(tf):
    rows = tf.data.Dataset.zip((ragged_rows(tf, (3, 1, 4, 1, 5)), tf.data.Dataset.range(5)))
    return rows.bucket_by_sequence_length(lambda x, y: tf.shape(x)[0], [3], [2, 2], padded_shapes=([None], []))


@scenario
def choose_to_the_shortest(tf):
    parts = [tf.data.Dataset.from_tensor_slices(["a", "b"]), tf.data.Dataset.from_tensor_slices(["x"])]
    return tf.data.Dataset.choose_from_datasets(parts, tf.data.Dataset.range(2).repeat(3))


@scenario
def sample_with_certainty(tf):
    return tf.data.Dataset.sample_from_datasets(
        [tf.data.Dataset.range(3), tf.data.Dataset.range(10, 12)], weights=[0.0, 1.0], stop_on_empty_dataset=True)


@scenario
def sample_goes_on(tf):
    return tf.data.Dataset.sample_from_datasets(
        [tf.data.Dataset.range(2), tf.data.Dataset.range(10, 12)], weights=[1.0, 0.0])


@scenario
def resample_what_is_right(tf):
    data = tf.data.Dataset.from_tensor_slices(np.array([0, 1, 0, 1]))
    return data.rejection_resample(lambda x: x, target_dist=[0.5, 0.5], initial_dist=[0.5, 0.5]).filter(
        lambda label, x: label == x)


@scenario
def apply_a_function(tf):
    return tf.data.Dataset.range(6).apply(lambda d: d.skip(1).batch(2))


@scenario
def apply_older_names(tf):
    data = tf.data.Dataset.range(4)
    for transformation in (tf.data.experimental.enumerate_dataset(2), tf.data.experimental.take_while(lambda i, x: i < 5),
                           tf.data.experimental.map_and_batch(lambda i, x: i * x, 2), tf.data.experimental.unbatch()):
        data = data.apply(transformation)
    return data


@scenario
def group_by_reducer(tf):
    mean = tf.data.experimental.Reducer(lambda key: (0.0, 0.0), lambda state, x: (state[0] + x, state[1] + 1.0),
                                        lambda total, count: total / count)
    return tf.data.Dataset.from_tensor_slices([1.0, 2.0, 3.0, 5.0]).apply(
        tf.data.experimental.group_by_reducer(lambda x: tf.cast(x, tf.int64) % 2, mean))


@scenario
def errors_are_left_out(tf):
    return tf.data.Dataset.from_tensor_slices([1.0, 2.0, 0.0, 4.0]).map(
        lambda x: tf.debugging.check_numerics(1.0 / x, "division by zero")).ignore_errors()


@scenario
def with_options(tf):
    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = 2
    return tf.data.Dataset.range(4).map(lambda x: x + 1, num_parallel_calls=2).with_options(options)


@scenario
def map_in_parallel(tf):
    return tf.data.Dataset.range(9).map(lambda x: x * x, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@scenario
def single_element(tf):
    return tf.data.Dataset.from_tensors({"a": [1, 2], "b": "x"}).get_single_element()


@scenario
def numpy_elements(tf):
    data = tf.data.Dataset.from_tensor_slices({"i": [1, 2], "s": ["a", "b"], "p": ([True, False], [[1.5], [2.5]])})
    return [element["i"].dtype.name + str(type(element["s"]).__name__) for element in data.as_numpy_iterator()]


@scenario
def cardinalities(tf):
    data, odd = tf.data.Dataset.range(7), tf.data.Dataset.range(7).filter(lambda x: x % 2 == 1)
    return [int(each.cardinality()) for each in (
        data, data.repeat(), data.repeat(0), data.repeat(3), data.batch(2), data.batch(2, drop_remainder=True), odd,
        odd.repeat(), odd.take(0), data.skip(9), data.take(3), data.take(-1), data.shard(3, 0), data.shard(3, 1),
        data.window(3), data.window(3, 1, drop_remainder=True), data.concatenate(data), data.concatenate(odd),
        data.concatenate(data.repeat()), tf.data.Dataset.zip((data, data.repeat())), tf.data.Dataset.zip((data, odd)),
        data.batch(3).unbatch(), data.flat_map(tf.data.Dataset.from_tensors), data.interleave(tf.data.Dataset.range),
        data.shuffle(3).prefetch(1), data.cache(), data.enumerate(), data.scan(0, lambda s, x: (s, x)),
        data.take_while(lambda x: x < 3), data.unique(), data.ignore_errors(), data.padded_batch(2),
        data.batch(3).rebatch(2))]


def plain(value):
    """Return an element as JSON values: arrays as [dtype, nested lists]."""
    if isinstance(value, dict):
        return {"dict": {key: plain(item) for key, item in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if hasattr(value, "row_splits"):
        return {"ragged": [plain(value.flat_values), *(plain(splits) for splits in value.nested_row_splits)]}
    if hasattr(value, "dense_shape"):
        return {"sparse": [plain(value.indices), plain(value.values), plain(value.dense_shape)]}
    if hasattr(value, "numpy"):
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], np.ndarray):
        return {"rows": [plain(row) for row in array]}
    if array.dtype.kind in "OSU":
        items = [item.decode("latin1") if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]
        return ["string", np.array(items, object).reshape(array.shape).tolist()]
    return [array.dtype.name, array.tolist()]


def plain_spec(spec):
    """Return an element spec as JSON values."""
    if isinstance(spec, dict):
        return {"dict": {key: plain_spec(item) for key, item in spec.items()}}
    if isinstance(spec, tuple):
        return {"tuple": [plain_spec(item) for item in spec]}
    plainly = [None if spec.shape.rank is None else spec.shape.as_list(), spec.dtype.name]
    if hasattr(spec, "row_splits_dtype"):
        return {"ragged": [plainly, [spec.ragged_rank, spec.row_splits_dtype.name]]}
    return {"sparse": [plainly]} if type(spec).__name__ == "SparseTensorSpec" else plainly


def composite(spec):
    """Whether elements have ragged or sparse components, which an iterator of arrays would not show."""
    return "ragged" in json.dumps(plain_spec(spec)) or "sparse" in json.dumps(plain_spec(spec))


def run(name, tf):
    dataset = SCENARIOS[name](tf)
    if not hasattr(dataset, "as_numpy_iterator"):
        return {"value": [plain(item) for item in dataset] if isinstance(dataset, list) else plain(dataset)}
    elements = dataset if composite(dataset.element_spec) else dataset.as_numpy_iterator()
    return {"elements": [plain(element) for element in elements], "spec": plain_spec(dataset.element_spec),
            "cardinality": int(dataset.cardinality())}


def record(tf):
    """Write what `tf` gives into the golden file."""
    path = os.path.join(os.path.dirname(__file__), "..", "golden", "data_scenarios.json")
    golden = {name: run(name, tf) for name in SCENARIOS}
    with open(path, "w") as out:
        out.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(golden.items())) + "\n}\n")


if __name__ == "__main__":
    import tensorflow

    sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
    from data import scenarios, scenarios_stored  # noqa: F401  the second adds to the first's table

    scenarios.record(tensorflow)
