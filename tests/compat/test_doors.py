# SPDX-License-Identifier: Apache-2.0
"""Names that scripts reach for beside the main ones: they work, or say in a sentence what to use instead."""
import numpy as np
import pytest

import fitloom as tf


@pytest.mark.parametrize("name", ["lite", "feature_column", "estimator", "Session", "placeholder", "contrib", "raw_ops"])
def test_absent_names_say_what_to_use(name):
    with pytest.raises(AttributeError, match=rf"tf\.{name} is not part of Fitloom: .{{20,}}\."):
        getattr(tf, name)


def test_numpy_on_tensors():
    import fitloom.experimental.numpy as tnp

    assert tnp.sum(tnp.ones([5, 3], dtype=tnp.float32)).numpy() == 15
    assert tnp.asarray([1.5]).dtype == tf.float64 and tnp.asarray([1]).dtype == tf.int64
    assert tnp.atleast_2d(1.0).shape == (1, 1) and tnp.atleast_3d([1, 2]).shape == (1, 2, 1)
    assert float(tnp.polyval([1, 2], tnp.asarray(3.0))) == 5
    assert tnp.random.randn(2, 3).shape == (2, 3) and tnp.random.randint(5, size=4).dtype == tf.int64
    assert tnp.promote_types(tnp.float32, tnp.int64) == np.float64
    assert tnp.array_equal([1, 2], [1, 2]) and not tnp.array_equal([1, 2], [1])


def test_wav_files(tmp_path):
    samples = np.sin(np.linspace(0, 20, 800, dtype="float32"))[:, None] / 2
    contents = tf.audio.encode_wav(samples, 8000)
    audio, rate = tf.audio.decode_wav(contents)
    assert int(rate) == 8000 and audio.dtype == tf.float32
    np.testing.assert_allclose(audio, samples, atol=1e-4)
    assert tf.audio.decode_wav(contents, desired_channels=2, desired_samples=900)[0].shape == (900, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="WAV"):
        tf.audio.decode_wav(tf.constant("no sound"))


def test_fake_quantization():
    x = tf.Variable([-10.0, -0.1, 0.33, 5.0])
    with tf.GradientTape() as tape:
        y = tf.quantization.fake_quant_with_min_max_args(x, min=-1, max=1, num_bits=3)
    step = 2 / 7
    np.testing.assert_allclose(y / step, np.round(y / step), atol=1e-5)
    assert tape.gradient(y, x).numpy().tolist() == [0, 1, 1, 0]


def test_boxes():
    boxes = tf.constant([[[[0.0, 0.0, 0.5, 0.5]], [[0.0, 0.0, 0.5, 0.45]], [[0.5, 0.5, 1.0, 1.2]]]])
    scores = tf.constant([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]])
    found = tf.image.combined_non_max_suppression(boxes, scores, 5, 4, iou_threshold=0.5, score_threshold=0.25)
    assert int(found.valid_detections[0]) == 3
    np.testing.assert_allclose(found.nmsed_scores[0], [0.9, 0.7, 0.3, 0])
    assert found.nmsed_classes[0].numpy().tolist() == [0, 1, 0, 0] and float(found.nmsed_boxes[0, 1, 3]) == 1.0
    drawn = tf.image.draw_bounding_boxes(tf.zeros([1, 5, 5, 3]), [[[0.0, 0.0, 1.0, 1.0]]], [[1.0, 0.0, 0.0]])
    assert float(tf.reduce_sum(drawn)) == 16 and float(drawn[0, 0, 0, 0]) == 1
    kept, values = tf.image.non_max_suppression_with_scores(boxes[0, :, 0], scores[0, :, 0], 3, 1.0, soft_nms_sigma=0.5)
    assert kept.numpy().tolist() == [0, 1, 2] and float(values[1]) == pytest.approx(0.8 * np.exp(-0.81), rel=1e-4)


def test_lower_case_initializers_and_iterators():
    assert tf.initializers.glorot_uniform(seed=1)((2, 3)).shape == (2, 3)
    assert int(tf.data.Dataset.range(3).as_numpy_iterator().next()) == 0
    assert float(tf.math.special.expint(1.0)) == pytest.approx(1.8951178, rel=1e-5)
    assert not tf.sysconfig.get_build_info()["is_rocm_build"]


def test_seeds_from_a_generator():
    generator = tf.random.Generator.from_seed(1)
    assert generator.make_seeds(2).shape == (2, 2) and generator.make_seeds(1).dtype == tf.int64
    made = list(tf.data.Dataset.range(3).map(lambda x: tf.random.stateless_uniform([], generator.make_seeds(1)[:, 0])))
    assert len({float(x) for x in made}) == 3


def test_moving_average():
    average, variable = tf.train.ExponentialMovingAverage(0.9), tf.Variable(1.0)
    average.apply([variable])
    variable.assign(11.0)
    average.apply([variable])
    assert float(average.average(variable)) == pytest.approx(0.9 * 1 + 0.1 * 11)


def test_settings_that_scripts_set():
    tf.config.optimizer.set_jit(True)
    tf.config.optimizer.set_experimental_options({"layout_optimizer": True})
    assert tf.config.optimizer.get_experimental_options() == {"layout_optimizer": True}


def test_older_functions():
    """`tf.compat.v1` gives what `tf` has, and `ctc_loss` with the arguments of TensorFlow 1."""
    v1 = tf.compat.v1
    assert v1.boolean_mask([1, 2], [True, False]).numpy().tolist() == [1] and v1.nn.relu(-1.0) == 0
    labels = tf.SparseTensor([[0, 0], [0, 1], [1, 0]], [0, 1, 2], [2, 2])
    logits = np.random.default_rng(0).normal(size=(5, 2, 4)).astype("float32")
    loss = v1.nn.ctc_loss(labels=labels, inputs=logits, sequence_length=[5, 4])
    dense = tf.nn.ctc_loss([[0, 1], [2, 0]], logits, [2, 1], [5, 4], blank_index=-1)
    np.testing.assert_allclose(loss, dense, rtol=1e-5)
    paths, _ = v1.nn.ctc_beam_search_decoder(np.log(np.eye(3)[[0, 2, 0]] + 1e-9)[:, None], [3])
    assert paths[0].values.numpy().tolist() == [0]
    assert tf.keras.ops.cast(labels, "float32").values.dtype == tf.float32
    with pytest.raises(AttributeError, match="get_variable.*TF 2 interface"):
        v1.get_variable


def test_modules_of_compat_can_be_imported():
    import fitloom.compat.v1 as old
    import fitloom.compat.v2 as new
    from fitloom.compat.v2 import keras

    assert new is tf and keras is tf.keras and tf.compat.v2.nn is tf.nn and old is tf.compat.v1


def test_images_resized_as_before_tensorflow_2():
    """From the corners of the pixels; values of TensorFlow."""
    row = tf.reshape(tf.constant([0.0, 10.0, 20.0, 30.0]), [1, 4, 1])
    older = tf.compat.v1.image

    def resized(**how):
        return older.resize(row, [1, 6], **how).numpy().ravel().tolist()
    assert resized() == pytest.approx([0, 20 / 3, 40 / 3, 20, 80 / 3, 30], rel=1e-5)
    assert resized(align_corners=True) == pytest.approx([0, 6, 12, 18, 24, 30], rel=1e-5)
    assert resized(method=tf.image.ResizeMethod.NEAREST_NEIGHBOR) == [0, 0, 10, 20, 20, 30]
    assert older.resize_bilinear(row[None], [1, 8]).numpy().ravel().tolist() == [0, 5, 10, 15, 20, 25, 30, 30]
    assert older.flip_left_right(row).numpy().ravel().tolist() == [30, 20, 10, 0]
    with pytest.raises(NotImplementedError, match=r"tf\.image\.resize"):
        older.resize(row, [1, 6], method=older.ResizeMethod.BICUBIC)
