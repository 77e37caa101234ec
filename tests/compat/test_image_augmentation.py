# SPDX-License-Identifier: Apache-2.0
"""Augmentation as image classifiers' official examples use it: windows, crops while decoding, compression."""
import numpy as np
import pytest

import fitloom as tf

PICTURE = np.kron(np.random.default_rng(0).integers(0, 255, (4, 4, 3)), np.ones((8, 8, 1))).astype("uint8")
BOX = [[[0.1, 0.1, 0.9, 0.9]]]


def test_a_window_keeps_enough_of_a_box():
    for seed in range(20):
        begin, size, box = tf.image.stateless_sample_distorted_bounding_box(
            [32, 48, 3], BOX, seed=(1, seed), min_object_covered=0.4, area_range=[0.3, 1.0])
        (y, x, _), (rows, columns, channels) = begin.numpy(), size.numpy()
        assert channels == -1 and 0 <= y <= 32 - rows and 0 <= x <= 48 - columns
        assert 0.28 <= rows * columns / (32 * 48) <= 1 and 0.7 < columns / rows < 1.4
        both = (min(y + rows, 28) - max(y, 3)) * (min(x + columns, 43) - max(x, 4))
        assert both >= 0.4 * 25 * 39
        np.testing.assert_allclose(box[0, 0], [y / 32, x / 48, (y + rows) / 32, (x + columns) / 48], rtol=1e-6)
    assert begin.dtype == tf.int32


def test_windows_without_boxes_and_without_a_fit():
    empty = np.zeros((1, 0, 4), "float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="use_image_if_no_bounding_boxes"):
        tf.image.sample_distorted_bounding_box([8, 8, 3], empty)
    tf.image.sample_distorted_bounding_box([8, 8, 3], empty, use_image_if_no_bounding_boxes=True)
    whole = tf.image.sample_distorted_bounding_box([8, 80, 3], BOX, min_object_covered=1.0, max_attempts=5)
    assert whole.size.numpy().tolist() == [8, 80, -1]


def test_windows_in_a_pipeline_repeat_themselves():
    def begins():
        tf.random.set_seed(3)

        def begin(_):
            return tf.image.sample_distorted_bounding_box([40, 40, 3], BOX, seed=7).begin
        return [b.tolist() for b in tf.data.Dataset.range(6).map(begin).as_numpy_iterator()]
    first = begins()
    assert first == begins() and len({tuple(b) for b in first}) > 2


def test_crop_while_decoding():
    data = tf.io.encode_jpeg(PICTURE)
    part = tf.io.decode_and_crop_jpeg(data, [2, 3, 10, 12], channels=3)
    np.testing.assert_array_equal(part, tf.io.decode_jpeg(data)[2:12, 3:15])
    with pytest.raises(tf.errors.InvalidArgumentError, match="window"):
        tf.image.decode_and_crop_jpeg(data, [2, 3, 40, 12])


def test_compression_as_augmentation():
    changed = tf.image.adjust_jpeg_quality(PICTURE, 30)
    assert changed.dtype == tf.uint8 and changed.shape == PICTURE.shape and (changed.numpy() != PICTURE).any()
    close = tf.image.adjust_jpeg_quality(PICTURE / np.float32(255), 100).numpy()
    assert close.dtype == np.float32 and np.abs(close - PICTURE / 255).mean() < 0.03
    assert tf.image.stateless_random_jpeg_quality(PICTURE, 75, 95, (1, 2)).shape == PICTURE.shape
    with pytest.raises(ValueError, match="minimum < maximum"):
        tf.image.random_jpeg_quality(PICTURE, 95, 75)


def test_boxes_filled_up_to_a_size():
    boxes = np.float32([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2]])
    kept, count = tf.image.non_max_suppression_padded(boxes, np.float32([0.5, 0.9, 0.3]), 5, pad_to_max_output_size=True)
    assert kept.numpy().tolist() == [1, 2, 0, 0, 0] and int(count) == 2
    kept, count = tf.image.non_max_suppression_padded(boxes[None], np.float32([[0.5, 0.9, 0.3]]), 3)
    assert kept.numpy().tolist() == [[1, 2, 0]] and count.numpy().tolist() == [2]


def test_crops_are_float32():
    image = np.arange(50).reshape(1, 5, 5, 2)
    assert tf.image.crop_and_resize(image, [[0.5, 0.5, 1, 1]], [0], [3, 3]).dtype == tf.float32
    assert tf.image.crop_and_resize(image, np.asarray([[0.5, 0.5, 1, 1]]), [0], [3, 3]).dtype == tf.float32
