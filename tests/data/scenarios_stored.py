# SPDX-License-Identifier: Apache-2.0
"""Scenarios of datasets that are stored, read back, or made of files (see scenarios.py)."""
import gzip
import os
import tempfile
import wave

import numpy as np

from data.scenarios import example_file, ragged_rows, scenario


def written(name, content):
    """The path of a new file."""
    path = os.path.join(tempfile.mkdtemp(), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def stored_and_loaded(tf, dataset, **settings):
    """A dataset that went through a folder."""
    path = os.path.join(tempfile.mkdtemp(), "stored")
    dataset.save(path, **settings)
    return tf.data.Dataset.load(path, **{k: v for k, v in settings.items() if k == "compression"})


@scenario
def save_and_load(tf):
    return stored_and_loaded(tf, tf.data.Dataset.range(5).map(lambda x: (x, tf.cast(x, tf.float32) / 2)).batch(2))


@scenario
def save_and_load_a_nest(tf):
    return stored_and_loaded(tf, tf.data.Dataset.from_tensor_slices(
        {"s": ["a", "", "\u00e9"], "p": (np.arange(3, dtype=np.uint8), [True, False, True])}))


@scenario
def save_and_load_nothing(tf):
    return stored_and_loaded(tf, tf.data.Dataset.range(0).map(lambda x: {"a": x, "b": "s"}))


@scenario
def save_and_load_rows_of_any_length(tf):
    return stored_and_loaded(tf, ragged_rows(tf, (3, 0, 1)))


@scenario
def save_and_load_ragged(tf):
    return stored_and_loaded(tf, ragged_rows(tf).ragged_batch(2))


@scenario
def save_and_load_sparse(tf):
    return stored_and_loaded(tf, ragged_rows(tf).sparse_batch(2, [6]))


@scenario
def save_and_load_compressed(tf):
    return stored_and_loaded(tf, tf.data.Dataset.from_tensor_slices((["a", "b"], np.ones((2, 3)))), compression="GZIP")


@scenario
def save_twice(tf):
    path = os.path.join(tempfile.mkdtemp(), "stored")
    tf.data.Dataset.range(9).save(path)
    tf.data.Dataset.from_tensor_slices(["later"]).save(path)
    return tf.data.Dataset.load(path)


@scenario
def save_in_shards(tf):
    path = os.path.join(tempfile.mkdtemp(), "stored")
    tf.data.Dataset.range(6).save(path, shard_func=lambda x: x % 2)
    loaded = tf.data.Dataset.load(path, reader_func=lambda shards: shards.interleave(lambda shard: shard, cycle_length=1))
    return loaded.apply(tf.data.experimental.assert_cardinality(6))


@scenario
def load_then_transform(tf):
    return stored_and_loaded(tf, tf.data.Dataset.range(6)).skip(1).map(lambda x: x * 2).batch(2).repeat(2)


@scenario
def snapshot(tf):
    return tf.data.Dataset.range(5).map(lambda x: x * x).snapshot(tempfile.mkdtemp()).batch(2)


@scenario
def snapshot_read_again(tf):
    dataset = tf.data.Dataset.from_tensor_slices({"s": ["a", "b"], "x": [[1.0], [2.0]]}).snapshot(tempfile.mkdtemp())
    list(dataset)
    return dataset


@scenario
def snapshot_repeated(tf):
    return tf.data.Dataset.range(3).snapshot(tempfile.mkdtemp(), compression=None).repeat(2)


@scenario
def snapshot_of_nothing(tf):
    return tf.data.Dataset.range(0).snapshot(tempfile.mkdtemp(), compression="GZIP")


@scenario
def cache_in_a_file(tf):
    path = os.path.join(tempfile.mkdtemp(), "cached")
    dataset = tf.data.Dataset.from_tensor_slices((["a", "b", "c"], np.arange(3.0))).batch(2).cache(path)
    list(dataset)
    return dataset


@scenario
def files_of_a_pattern(tf):
    folder = tempfile.mkdtemp()
    for name in ("b.txt", "a.txt", "c.csv"):
        open(os.path.join(folder, name), "w").close()
    found = tf.data.Dataset.list_files([os.path.join(folder, "*.txt"), os.path.join(folder, "*.csv")], shuffle=False)
    return found.map(lambda name: tf.strings.split(name, os.sep)[-1])


@scenario
def files_that_are_read(tf):
    return tf.data.Dataset.from_tensors(written("a.bin", b"\x00\xff text")).map(tf.io.read_file)


@scenario
def files_interleaved(tf):
    names = [written("a.txt", b"1\n2\n3"), written("b.txt", b"4\n5")]
    return tf.data.Dataset.from_tensor_slices(names).interleave(tf.data.TextLineDataset, cycle_length=2)


@scenario
def text_lines_compressed(tf):
    return tf.data.TextLineDataset(written("a.gz", gzip.compress(b"one\ntwo\n")), compression_type="GZIP").skip(1)


@scenario
def text_lines_of_nothing(tf):
    return tf.data.TextLineDataset([written("a.txt", b""), written("b.txt", b"\n")])


@scenario
def text_lines_of_a_dataset(tf):
    names = tf.data.Dataset.from_tensor_slices([written("a.txt", b"x"), written("b.txt", b"y\nz")])
    return tf.data.TextLineDataset(names)


@scenario
def fixed_length_records_of_two_files(tf):
    names = [written("a.bin", b"abcd"), written("b.bin", b"ef")]
    return tf.data.FixedLengthRecordDataset(names, 2).map(lambda r: tf.io.decode_raw(r, tf.uint8))


@scenario
def tfrecords(tf):
    path = os.path.join(tempfile.mkdtemp(), "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for record in (b"first", b"", b"\x00third"):
            writer.write(record)
    return tf.data.TFRecordDataset([path, path])


@scenario
def tfrecord_ragged_and_sequences(tf):
    features = {"v": tf.io.RaggedFeature(tf.int64),
                "f": tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
                "s": tf.io.VarLenFeature(tf.string)}
    return tf.data.TFRecordDataset(example_file(tf)).batch(2).map(lambda r: tf.io.parse_example(r, features))


@scenario
def tfrecord_single_of_any_length(tf):
    features = {"v": tf.io.RaggedFeature(tf.int64), "i": tf.io.VarLenFeature(tf.int64)}
    return tf.data.TFRecordDataset(example_file(tf)).map(lambda r: tf.io.parse_single_example(r, features))


CSV = b'i,f,s\n1,2.5,"a, b"\n2,,c\n3,4.5,\n'


@scenario
def csv_of_some_columns(tf):
    return tf.data.experimental.CsvDataset(written("a.csv", CSV), [tf.int64, "none"], header=True, select_cols=[0, 2])


@scenario
def csv_with_another_delimiter(tf):
    return tf.data.experimental.CsvDataset(written("a.tsv", b"1\t'x'\n2\t\"y\"\n"), [tf.int32, tf.string],
                                           field_delim="\t", use_quote_delim=False)


@scenario
def csv_batches_of_some_columns(tf):
    return tf.data.experimental.make_csv_dataset(
        written("a.csv", CSV), 2, select_columns=["i", "s"], column_defaults=[np.int64(0), "none"], num_epochs=1,
        shuffle=False)


@scenario
def csv_batches_without_a_header(tf):
    return tf.data.experimental.make_csv_dataset(
        written("a.csv", b"1,x\n2,y\n3,z\n"), 2, column_names=["n", "s"], header=False, num_epochs=2, shuffle=False,
        num_rows_for_inference=2)


@scenario
def csv_lines_decoded(tf):
    return tf.data.TextLineDataset(written("a.csv", CSV)).skip(1).map(
        lambda line: tf.io.decode_csv(line, [tf.constant([0]), [-1.0], ["none"]]))


def pictures():
    """A folder of two classes of small PNG pictures."""
    from PIL import Image
    folder = tempfile.mkdtemp()
    for number, name in enumerate(("cats/b.png", "cats/a.png", "dogs/c.png")):
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        Image.fromarray(np.full((2, 2, 3), 10 * number, np.uint8) + np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).save(
            os.path.join(folder, name))
    return folder


@scenario
def pictures_of_a_folder(tf):
    return tf.keras.utils.image_dataset_from_directory(pictures(), image_size=(2, 2), batch_size=2, shuffle=False,
                                                       verbose=False)


@scenario
def pictures_with_classes_in_another_order(tf):
    return tf.keras.utils.image_dataset_from_directory(
        pictures(), image_size=(1, 2), batch_size=None, shuffle=False, label_mode="categorical", color_mode="grayscale",
        class_names=["dogs", "cats"], interpolation="nearest", verbose=False)


@scenario
def pictures_held_out(tf):
    return tf.keras.utils.image_dataset_from_directory(
        pictures(), labels=None, image_size=(2, 2), shuffle=False, validation_split=0.4, subset="validation",
        verbose=False)


@scenario
def pictures_decoded(tf):
    name = os.path.join(pictures(), "cats", "a.png")
    return tf.data.Dataset.from_tensors(name).map(lambda n: tf.io.decode_image(tf.io.read_file(n), expand_animations=False))


@scenario
def texts_of_a_folder(tf):
    folder = tempfile.mkdtemp()
    for name, text in (("neg/b.txt", "bad"), ("neg/a.txt", "awful"), ("pos/c.txt", "good")):
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return tf.keras.utils.text_dataset_from_directory(folder, label_mode="binary", batch_size=2, shuffle=False,
                                                      max_length=4, verbose=False)


def sounds():
    """A folder of two classes of short WAV files."""
    folder = tempfile.mkdtemp()
    for name, count in (("low/a.wav", 3), ("high/b.wav", 2)):
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        with wave.open(os.path.join(folder, name), "wb") as file:
            file.setparams((1, 2, 8000, count, "NONE", ""))
            file.writeframes((np.arange(1, count + 1) * 1000).astype("<i2").tobytes())
    return folder


@scenario
def sounds_of_a_folder(tf):
    return tf.keras.utils.audio_dataset_from_directory(sounds(), batch_size=2, shuffle=False, verbose=False)


@scenario
def sounds_of_one_length(tf):
    return tf.keras.utils.audio_dataset_from_directory(sounds(), batch_size=1, output_sequence_length=2, shuffle=False,
                                                       verbose=False)


@scenario
def sounds_ragged(tf):
    return tf.keras.utils.audio_dataset_from_directory(sounds(), batch_size=2, ragged=True, shuffle=False,
                                                       verbose=False)
