# SPDX-License-Identifier: Apache-2.0
"""Folders, tables, records, caches: what is read from and written to disk."""
import json
import os
import wave

import numpy as np
import pytest

import fitloom as tf

Dataset = tf.data.Dataset


@pytest.fixture
def photographs(tmp_path):
    for number in range(12):
        image = np.full((20, 30, 3), number * 10, np.uint8)
        folder = tmp_path / "photographs" / ("cat" if number % 3 else "dog")
        tf.io.write_file(str(folder / f"{number:02d}.png"), tf.io.encode_png(image))
    (tmp_path / "photographs" / "cat" / "notes.txt").write_text("no image")
    return tmp_path / "photographs"


def test_images_from_a_folder(photographs, capsys):
    dataset = tf.keras.utils.image_dataset_from_directory(photographs, image_size=(8, 6), batch_size=5, shuffle=False)
    assert "Found 12 files belonging to 2 classes." in capsys.readouterr().out
    assert dataset.class_names == ["cat", "dog"] and len(dataset) == 3 and len(dataset.file_paths) == 12
    assert dataset.element_spec[0].shape.as_list() == [None, 8, 6, 3]
    images, labels = zip(*dataset.unbatch())
    assert [int(label) for label in labels] == [0] * 8 + [1] * 4
    assert [float(i[0, 0, 0]) for i in images] == [float(int(p[-6:-4]) * 10) for p in dataset.file_paths]


def test_image_folders_split_without_overlap(photographs):
    make = tf.keras.utils.image_dataset_from_directory
    train, held = make(photographs, validation_split=0.25, subset="both", seed=3, verbose=False, image_size=(4, 4))
    assert len(train.file_paths) == 9 and len(held.file_paths) == 3
    assert not set(train.file_paths) & set(held.file_paths)
    alone = make(photographs, validation_split=0.25, subset="validation", seed=3, verbose=False)
    assert alone.file_paths == held.file_paths
    with pytest.raises(ValueError, match="give a seed"):
        make(photographs, validation_split=0.25, subset="training")


@pytest.mark.parametrize("mode, shape, dtype", [
    ("int", (), "int32"), ("categorical", (2,), "float32"), ("binary", (1,), "float32")])
def test_label_modes(photographs, mode, shape, dtype):
    dataset = tf.keras.utils.image_dataset_from_directory(photographs, label_mode=mode, verbose=False,
                                                          color_mode="grayscale")
    image, label = next(iter(dataset.unbatch()))
    assert image.shape == (256, 256, 1) and label.shape == shape and label.dtype == dtype


def test_image_folders_without_labels_and_other_options(photographs):
    make = tf.keras.utils.image_dataset_from_directory
    dataset = make(photographs, labels=None, verbose=False, image_size=(10, 10), crop_to_aspect_ratio=True)
    assert next(iter(dataset)).shape == (12, 10, 10, 3)
    padded = next(iter(make(photographs, label_mode=None, verbose=False, image_size=(10, 10), shuffle=False,
                            pad_to_aspect_ratio=True)))
    assert padded.numpy()[1, 0].sum() == 0 and padded.numpy()[1, 5].sum() > 0
    single, = make(photographs, label_mode=None, verbose=False, batch_size=None, data_format="channels_first").take(1)
    assert single.shape == (3, 256, 256)
    (photographs / "empty" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="no files with the endings"):
        make(photographs / "empty", verbose=False)
    with pytest.raises(ValueError, match="Did you mean 'rgb'"):
        make(photographs, color_mode="rbg")


def test_a_broken_image_names_its_file(photographs):
    (photographs / "cat" / "bad.png").write_bytes(b"nothing")
    dataset = tf.keras.utils.image_dataset_from_directory(photographs, verbose=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad.png"):
        list(dataset)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(8, 6), (20, 45), (31, 7)])
def test_resizing_is_that_of_tf_image(method, size):
    from fitloom.data.images import resized
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = tf.cast(tf.image.resize(image, size, method=method), tf.float32).numpy()
    np.testing.assert_allclose(resized(image, size, method), expected, atol=1e-3)


def test_texts_from_a_folder(tmp_path):
    for number in range(4):
        path = tmp_path / "ab"[number % 2] / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"text {number}")
    dataset = tf.keras.utils.text_dataset_from_directory(tmp_path, batch_size=2, shuffle=False, verbose=False)
    assert [[t.numpy().tolist(), y.numpy().tolist()] for t, y in dataset] == [
        [[b"text 0", b"text 2"], [0, 0]], [[b"text 1", b"text 3"], [1, 1]]]
    cut = tf.keras.utils.text_dataset_from_directory(tmp_path, label_mode=None, max_length=4, verbose=False)
    assert set(next(iter(cut)).numpy().tolist()) == {b"text"}


def test_sounds_from_a_folder(tmp_path):
    for number in range(3):
        (tmp_path / "a").mkdir(exist_ok=True)
        with wave.open(str(tmp_path / "a" / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(np.full(10 + number, 16384, "<i2").tobytes())
    make = tf.keras.utils.audio_dataset_from_directory
    sound, label = next(iter(make(tmp_path, batch_size=3, shuffle=False, verbose=False)))
    assert sound.shape == (3, 12, 1) and sound.numpy()[0].sum() == 5.0
    fixed, _ = next(iter(make(tmp_path, output_sequence_length=4, verbose=False)))
    assert fixed.shape == (3, 4, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="8000 samples a second"):
        list(make(tmp_path, sampling_rate=16000, verbose=False))


def test_a_folder_pipeline_resumes(photographs):
    make = tf.keras.utils.image_dataset_from_directory
    dataset = make(photographs, image_size=(4, 4), batch_size=2, seed=1, verbose=False)
    iterator = dataset.as_numpy_iterator()
    for _ in range(2):
        next(iterator)
    state = json.loads(json.dumps(iterator.state()))
    rest = list(iterator)
    again = make(photographs, image_size=(4, 4), batch_size=2, seed=1, verbose=False).as_numpy_iterator()
    again.restore(state)
    for (a, b), (c, d) in zip(again, rest, strict=True):
        assert np.array_equal(a, c) and np.array_equal(b, d)


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_records_round_trip_and_resume(tmp_path, compression):
    paths = [str(tmp_path / f"{i}.tfrecord") for i in range(2)]
    records = [bytes([i]) * size for i, size in enumerate([0, 1, 3, 4, 5, 100, 1023, 1024, 1025, 5000])]
    for path in paths:
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type=compression)) as writer:
            for record in records:
                writer.write(record)
    dataset = tf.data.TFRecordDataset(paths, compression_type=compression)
    iterator = dataset.as_numpy_iterator()
    found = [next(iterator) for _ in range(13)]
    state = iterator.state()
    assert found + list(iterator) == records * 2
    again = dataset.as_numpy_iterator()
    again.restore(state)
    assert list(again) == records[3:]
    in_turn = tf.data.TFRecordDataset(paths, compression_type=compression, num_parallel_reads=2)
    assert list(in_turn.as_numpy_iterator()) == [r for r in records for _ in range(2)]


def test_records_from_a_dataset_of_names(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.txt").write_text(f"{i}a\n{i}b\n")
    names = Dataset.list_files(str(tmp_path / "*.txt"), shuffle=False)
    assert list(tf.data.TextLineDataset(names).as_numpy_iterator()) == [b"0a", b"0b", b"1a", b"1b"]
    assert list(names.interleave(tf.data.TextLineDataset, cycle_length=2).as_numpy_iterator()) == [
        b"0a", b"1a", b"0b", b"1b"]


def write_examples(path, count, wide=False):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(count):
            feature = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[i, i + 0.5])),
                "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[i * 100 - 7, 3])),
                "s": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"s%d" % i]))}
            if wide:
                feature["other"] = tf.train.Feature(int64_list=tf.train.Int64List(value=range(i % 4)))
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


FEATURES = {"x": tf.io.FixedLenFeature([2], tf.float32), "y": tf.io.FixedLenFeature([2], tf.int64),
            "s": tf.io.FixedLenFeature([], tf.string)}


@pytest.mark.parametrize("wide", [False, True])
def test_parsing_many_examples_equals_parsing_each(tmp_path, wide):
    write_examples(tmp_path / "a", 300, wide)

    def parse(record):
        example = tf.io.parse_single_example(record, FEATURES)
        return tf.reduce_sum(example["x"]), example["y"], example["s"]

    dataset = tf.data.TFRecordDataset(str(tmp_path / "a"))
    mapped = dataset.map(parse)
    together = [row for batch in mapped.batch(64).as_numpy_iterator() for row in zip(*batch)]
    assert mapped._node.function.blocked is None and mapped._node.function.signatures   # it ran compiled
    each = list(mapped.as_numpy_iterator())
    for number, ((a, b, c), (d, e, f)) in enumerate(zip(together, each, strict=True)):
        assert a == d == np.float32(2 * number + 0.5) and c == f == b"s%d" % number
        assert b.tolist() == e.tolist() == [number * 100 - 7, 3]


def test_an_example_without_a_feature_says_which(tmp_path):
    write_examples(tmp_path / "a", 3)
    wanted = {**FEATURES, "z": tf.io.FixedLenFeature([], tf.int64)}
    dataset = tf.data.TFRecordDataset(str(tmp_path / "a")).map(lambda r: tf.io.parse_single_example(r, wanted))
    with pytest.raises(tf.errors.InvalidArgumentError, match="'z' is required"):
        list(dataset.batch(2))
    for features, text in [({"x": tf.io.FixedLenFeature([3], tf.float32)}, "3 values, but the example holds 2"),
                           ({"x": tf.io.FixedLenFeature([2], tf.int64)}, "declared as int64, but the example holds float")]:
        record = next(iter(tf.data.TFRecordDataset(str(tmp_path / "a"))))
        with pytest.raises(tf.errors.InvalidArgumentError, match=text):
            tf.io.parse_single_example(record, features)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Could not parse"):
        tf.io.parse_single_example(b"\x0a\xff\xff", FEATURES)


def test_sequence_examples():
    train, feature = tf.train, tf.train.Feature
    steps = [feature(int64_list=train.Int64List(value=[i, i])) for i in range(3)]
    example = train.SequenceExample(
        context=train.Features(feature={"n": feature(int64_list=train.Int64List(value=[3]))}),
        feature_lists=train.FeatureLists(feature_list={"t": train.FeatureList(feature=steps)}))
    context, sequence = tf.io.parse_single_sequence_example(
        example.SerializeToString(), {"n": tf.io.FixedLenFeature([], tf.int64)},
        {"t": tf.io.FixedLenSequenceFeature([2], tf.int64)})
    assert int(context["n"]) == 3 and sequence["t"].numpy().tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool", "float16"])
def test_tensors_as_bytes(dtype):
    array = np.array([[0, 1], [1, 0], [3, 4]]).astype(dtype)
    assert np.array_equal(tf.io.parse_tensor(tf.io.serialize_tensor(array), dtype).numpy(), array)


def test_jpeg_and_gif():
    image = np.repeat(np.repeat(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20, 8, 0), 8, 1)
    data = tf.io.encode_jpeg(image, quality=100)
    assert bool(tf.io.is_jpeg(data)) and tf.io.extract_jpeg_shape(data).numpy().tolist() == [16, 16, 3]
    assert np.abs(tf.io.decode_jpeg(data).numpy().astype(int) - image).max() < 40
    assert tf.io.decode_jpeg(data, channels=1).shape == (16, 16, 1)
    scaled = tf.io.decode_image(data, dtype=tf.float32)
    assert scaled.dtype == tf.float32 and float(tf.reduce_max(scaled)) <= 1.0


def test_csv_of_every_kind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b,label\n1,x,0\n2,"y, z",1\n3,,0\n')
    dataset = tf.data.experimental.make_csv_dataset(str(path), 2, label_name="label", num_epochs=2, shuffle=False)
    batches = list(dataset)
    assert [b[0]["a"].numpy().tolist() for b in batches] == [[1, 2], [3, 1], [2, 3]]
    assert batches[0][0]["b"].numpy().tolist() == [b"x", b"y, z"] and batches[0][1].dtype == tf.int32
    chosen = tf.data.experimental.CsvDataset(str(path), [tf.int32], header=True, select_cols=[2])
    assert [int(row[0]) for row in chosen] == [0, 1, 0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Row 3 of .*column 1"):
        list(tf.data.experimental.CsvDataset(str(path), [tf.int32, tf.string, tf.int32], header=True))


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    table = arrow.table({"x": np.arange(5, dtype=np.float32), "name": ["a", "b", "c", "d", "e"]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    rows = list(tf.data.experimental.parquet_dataset(str(tmp_path / "a.parquet")).as_numpy_iterator())
    assert [(float(r["x"]), r["name"]) for r in rows] == [(i, b"abcde"[i:i + 1]) for i in range(5)]


def test_cache_runs_its_input_once(tmp_path):
    for filename in ("", str(tmp_path / "c")):
        runs = []

        def generator():
            runs.append(1)
            yield from range(4)
        dataset = Dataset.from_generator(generator, output_signature=tf.TensorSpec((), tf.int32)).cache(filename)
        assert len(list(dataset.take(2))) == 2               # an unfinished pass keeps nothing
        for _ in range(3):
            assert [int(x) for x in dataset.repeat(2)] == [0, 1, 2, 3] * 2
        assert len(runs) == 2


def test_save_load_snapshot(tmp_path):
    dataset = Dataset.from_tensor_slices({"a": np.arange(5), "b": ["v", "w", "x", "y", "z"]})
    dataset.save(str(tmp_path / "saved"), shard_func=lambda e: e["a"] % 2)
    loaded = Dataset.load(str(tmp_path / "saved"))
    assert sorted((int(e["a"]), e["b"].numpy()) for e in loaded) == [(i, b"vwxyz"[i:i + 1]) for i in range(5)]
    assert loaded.element_spec == dataset.element_spec and len(loaded) == 5
    mixed = Dataset.load(str(tmp_path / "saved"), reader_func=lambda shards: shards.flat_map(lambda d: d))
    assert len(list(mixed)) == 5
    dataset.take(2).save(str(tmp_path / "saved"))
    assert len(list(Dataset.load(str(tmp_path / "saved")))) == 2
    kept = dataset.snapshot(str(tmp_path / "snapshot"))
    assert len(list(kept)) == 5 and len(os.listdir(tmp_path / "snapshot")) == 1
    assert len(list(dataset.snapshot(str(tmp_path / "snapshot")))) == 5


def test_images_of_many_sizes_compile_nothing_each(tmp_path):
    from fitloom import engine
    rng = np.random.default_rng(0)
    for number in range(20):
        image = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        tf.io.write_file(str(tmp_path / f"{number:02d}.png"), tf.io.encode_png(image))

    def load(path):
        image = tf.cast(tf.io.decode_png(tf.io.read_file(path)), tf.float32) / 255.0
        return tf.image.resize(image, [8, 8])

    dataset = Dataset.list_files(str(tmp_path / "*.png"), shuffle=False).map(load)
    first = next(iter(dataset))
    before = engine.STATISTICS["programs"]
    assert len(list(dataset)) == 20
    assert engine.STATISTICS["programs"] == before
    whole = tf.cast(tf.io.decode_png(tf.io.read_file(str(tmp_path / "00.png"))), tf.float32) / 255.0
    np.testing.assert_allclose(first.numpy(), tf.image.resize(whole, [8, 8]).numpy(), atol=1e-5)


def test_a_tape_inside_a_function_of_a_dataset():
    def slope(x):
        if int(x) < 0:                                       # runs element by element
            return tf.constant(0.0)
        value = tf.cast(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(value)
            y = value * value
        return tape.gradient(y, value)
    assert [float(g) for g in Dataset.range(3).map(slope)] == [0, 2, 4]


@pytest.mark.parametrize("shape, size", [((24, 32, 3), (16, 16)), ((7, 5, 1), (20, 3)), ((1, 1, 4), (3, 3)),
                                         ((33, 44, 2), (10, 100))])
def test_the_native_resizing_gives_the_bits_of_the_numpy_form(shape, size, monkeypatch):
    from fitloom.ops import host_resizing
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    native = host_resizing.bilinear(picture, size)
    monkeypatch.setattr(host_resizing, "host_function", lambda *_: None)
    assert np.array_equal(native, host_resizing.bilinear(picture, size))


@pytest.mark.parametrize("size", [(11, 13), (37, 53)])
def test_a_picture_read_in_place_is_the_copied_one(size, monkeypatch):
    from fitloom.data import images
    picture = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    data = tf.io.encode_png(picture).numpy()
    in_place = images.fitted_picture(images.opened(data), 3, size)
    assert images.pixels_of(images.opened(data)) is not None
    monkeypatch.setattr(images, "pixels_of", lambda image: None)
    copied = images.fitted_picture(images.opened(data), 3, size)
    assert in_place.dtype == copied.dtype and np.array_equal(in_place, copied)


def test_a_damaged_picture_in_a_folder_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    picture = tf.io.encode_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).numpy()
    (tmp_path / "a" / "cut.jpg").write_bytes(picture[:len(picture) // 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="cut.jpg.*damaged"):
        list(tf.keras.utils.image_dataset_from_directory(str(tmp_path), image_size=(8, 8), verbose=False))


def test_tensors_stay_tensors_and_other_formats_are_refused(tmp_path):
    utils = tf.keras.utils
    assert isinstance(utils.to_categorical(tf.constant([0, 2])), tf.Tensor)
    unit = utils.normalize(tf.constant([[3.0, 4.0]]))
    assert isinstance(unit, tf.Tensor) and unit.dtype == tf.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)
    utils.save_img(tmp_path / "a.bin", np.zeros((4, 4, 3)), file_format="jpg")
    windows = utils.timeseries_dataset_from_array(np.arange(4.0), None, 2, format="tf")
    assert [len(batch) for batch in windows] == [3]
    with pytest.raises(ValueError, match="format='grain'"):
        utils.timeseries_dataset_from_array(np.arange(4.0), None, 2, format="grain")


@pytest.mark.parametrize("rate, words", [(-1, "higher than 0"), (1.5, "integer value")])
def test_audio_sampling_rates_are_checked(tmp_path, rate, words):
    with pytest.raises(ValueError, match=words):
        tf.keras.utils.audio_dataset_from_directory(tmp_path, sampling_rate=rate)
