# SPDX-License-Identifier: Apache-2.0
"""Event files: histograms on the host and on the device, images, sounds, errors of the disk."""
import io
import wave

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import fitloom as tf
from fitloom import engine
from fitloom.monitor import EventFile
from fitloom.monitor.event_file import png, scalar_event, wav
from fitloom.monitor.histograms import rows_of, rows_on_device


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]
            for tag in accumulator.Tags()["tensors"]}


def test_rows():
    rows = rows_of([0.0, 1.0, 1.0, np.nan], 4)
    assert rows[:, 2].tolist() == [1, 0, 0, 2] and rows[0, 0] == 0 and rows[-1, 1] == 1
    assert rows_of([2.0, 2.0], 4)[-1].tolist() == [1.5, 2.5, 2.0]
    assert rows_of([np.nan], 4).sum() == 0


ARRAYS = [np.random.default_rng(0).normal(size=(37, 5)).astype("float32"), np.zeros(3, "float32"),
          np.array([1.0, np.inf, np.nan, 2.0], "float32"), np.array([np.nan], "float32"), np.zeros((0, 2), "float32"),
          np.arange(10), np.float32(3.0)]


def test_rows_on_the_device_are_those_of_the_host():
    for array, found in zip(ARRAYS, rows_on_device([engine.to_device(array) for array in ARRAYS])):
        np.testing.assert_allclose(np.asarray(found), rows_of(array), rtol=1e-12, atol=1e-12)


def test_values_are_taken_when_they_are_written(tmp_path):
    file, values = EventFile(tmp_path), np.zeros(4)
    file.histogram("h", values, 0)
    values[:] = 7.0
    file.flush(wait=True)
    assert read(tmp_path)["h"][0][1][-1].tolist() == [-0.5, 0.5, 4.0]
    file.close()


def test_a_picture_and_a_sound_survive():
    from PIL import Image
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), image)
    clip = np.linspace(-1, 1, 50, dtype="float32").reshape(25, 2)
    with wave.open(io.BytesIO(wav(clip, 8000))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (8000, 2, 25)
        found = np.frombuffer(sound.readframes(25), "<i2").reshape(25, 2) / 32767
    np.testing.assert_allclose(found, clip, atol=1e-4)


def test_an_error_of_the_disk_is_raised_by_the_next_call(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    file = EventFile(tmp_path / "taken")
    file.scalar("a", 1.0, 0)
    with pytest.raises(OSError, match="could not be written"):
        file.flush(wait=True)


def test_a_disk_that_is_full_is_told_and_the_thread_lives(tmp_path, monkeypatch):
    from fitloom.data.records import TFRecordWriter

    def full(self):
        raise OSError(28, "No space left on device")

    file = EventFile(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TFRecordWriter, "flush", full)
        file.scalar("a", 1.0, 0)
        with pytest.raises(OSError, match="No space left"):
            file.flush(wait=True)
    file.scalar("a", 2.0, 1)
    file.close()
    assert [float(value) for _, value in read(tmp_path)["a"]] == [1.0, 2.0]


def test_refuses_what_is_no_image(tmp_path):
    with pytest.raises(ValueError, match="received \\(2, 2\\)"):
        EventFile(tmp_path).image("i", np.zeros((2, 2)), 0)
    assert not list(tmp_path.iterdir())


def test_nothing_is_made_before_something_is_written(tmp_path):
    tf.summary.create_file_writer(str(tmp_path / "run")).close()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step, number", [(0, 1.5), (127, -0.0), (128, 3e38), (1 << 40, np.inf), (-1, np.nan)])
def test_the_bytes_of_a_scalar_are_those_of_the_message(step, number):
    from tensorboard.compat.proto.event_pb2 import Event
    found = Event.FromString(scalar_event(12.5, step, "täg", number, "what it is"))
    (value,) = found.summary.value
    assert (found.wall_time, found.step, value.tag) == (12.5, step, "täg")
    assert value.metadata.plugin_data.plugin_name == "scalars" and value.metadata.summary_description == "what it is"
    assert np.array_equal(tensor_util.make_ndarray(value.tensor), np.float32(number), equal_nan=True)


def test_tensors_as_messages():
    message = tf.make_tensor_proto([[1.0, 2.0]], shape=(2, 1))
    assert message.dtype == tf.float32.as_datatype_enum and type(message).FromString(message.SerializeToString()) == message
    np.testing.assert_array_equal(tf.make_ndarray(message), [[1.0], [2.0]])
    assert tf.make_tensor_proto("a").string_val == [b"a"] and tf.make_ndarray(tf.constant(3)) == 3
    assert tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag="a", simple_value=1.0)]).value[0].tag == "a"
