# SPDX-License-Identifier: Apache-2.0
"""Pipelines without randomness, run once under TensorFlow to record what it gives, and in the tests under Fitloom.

    /work/peers/bin/python tests/data/scenarios.py     # or any Python with TensorFlow 2: rewrites the golden file

writes tests/golden/data_scenarios.json: for each scenario the elements (nested lists with dtypes), the element spec,
and the cardinality.
"""
import json
import os
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


def plain(value):
    """Return an element as JSON values: arrays as [dtype, nested lists]."""
    if isinstance(value, dict):
        return {"dict": {key: plain(item) for key, item in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        items = np.array([item.decode("latin1") for item in array.reshape(-1)], object).reshape(array.shape)
        return ["string", items.tolist()]
    return [array.dtype.name, array.tolist()]


def plain_spec(spec):
    """Return an element spec as JSON values."""
    if isinstance(spec, dict):
        return {"dict": {key: plain_spec(item) for key, item in spec.items()}}
    if isinstance(spec, tuple):
        return {"tuple": [plain_spec(item) for item in spec]}
    return [None if spec.shape.rank is None else spec.shape.as_list(), spec.dtype.name]


def run(name, tf):
    dataset = SCENARIOS[name](tf)
    elements = [plain(element) for element in dataset.as_numpy_iterator()]
    return {"elements": elements, "spec": plain_spec(dataset.element_spec), "cardinality": int(dataset.cardinality())}


if __name__ == "__main__":
    import tensorflow

    golden = {name: run(name, tensorflow) for name in SCENARIOS}
    path = os.path.join(os.path.dirname(__file__), "..", "golden", "data_scenarios.json")
    with open(path, "w") as out:
        out.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(golden.items())) + "\n}\n")
