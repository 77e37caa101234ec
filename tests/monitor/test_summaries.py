# SPDX-License-Identifier: Apache-2.0
"""tf.summary and tf.profiler, read back by TensorBoard's own reader."""
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.monitor.test_event_file import read

import fitloom as tf


def records(folder):
    return {tag: [step for step, _ in found] for tag, found in read(folder).items()}


def plugins(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {tag: accumulator.SummaryMetadata(tag).plugin_data.plugin_name for tag in accumulator.Tags()["tensors"]}


def test_all_kinds(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default(step=3):
        assert bool(tf.summary.scalar("a/b", 1.5))
        tf.summary.histogram("h", np.arange(10.0))
        tf.summary.histogram("h1", np.arange(10.0), buckets=1)
        tf.summary.image("im", np.random.rand(5, 4, 4, 3))
        tf.summary.text("t", ["x", "y"])
        tf.summary.audio("au", np.zeros((2, 100, 1), "float32"), 8000)
        tf.summary.write("raw", tf.constant([1.0, 2.0]), metadata=b"")
        with tf.name_scope("scope"):
            tf.summary.scalar("inner", tf.constant(2), step=7)
    writer.close()
    found = read(tmp_path)
    shapes = {tag: (step, value.dtype.kind, value.shape) for tag, [(step, value)] in found.items()}
    # shapes and dtypes as TensorFlow 2.21 writes them
    assert shapes == {"a/b": (3, "f", ()), "h": (3, "f", (30, 3)), "h1": (3, "f", (1, 3)), "im": (3, "O", (5,)),
                      "t": (3, "O", (2,)), "au": (3, "O", (2, 2)), "raw": (3, "f", (2,)), "scope/inner": (7, "f", ())}
    assert plugins(tmp_path) == {"a/b": "scalars", "h": "histograms", "h1": "histograms", "im": "images", "t": "text",
                                 "au": "audio", "scope/inner": "scalars", "raw": ""}
    assert found["im"][0][1][:2].tolist() == [b"4", b"4"] and found["t"][0][1].tolist() == [b"x", b"y"]


def test_in_a_custom_loop_and_in_a_function(tmp_path):
    writer, step = tf.summary.create_file_writer(str(tmp_path)), tf.Variable(0, dtype=tf.int64)
    tf.summary.experimental.set_step(step)

    @tf.function
    def train(x):
        tf.summary.scalar("inside", x * 2)
        step.assign_add(1)
        return x

    with writer.as_default():
        for i in range(4):
            loss = train(tf.constant(float(i))) * 3
            tf.summary.scalar("outside", loss)
        assert tf.summary.experimental.get_step() is step
    tf.summary.experimental.set_step(None)
    writer.flush()
    found = read(tmp_path)
    assert [(step, float(value)) for step, value in found["inside"]] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert [(step, float(value)) for step, value in found["outside"]] == [(1, 0), (2, 3), (3, 6), (4, 9)]
    writer.close()


def test_a_pending_value_is_not_forced(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    weight = tf.Variable(2.0)
    with writer.as_default():
        with tf.GradientTape() as tape:
            loss = weight * weight
            tf.summary.scalar("loss", loss, step=0)
            assert loss.pending
        weight.assign_sub(tape.gradient(loss, weight))
        tf.summary.scalar("loss", weight * 0.5, step=1)
    writer.close()
    assert [float(value) for _, value in read(tmp_path)["loss"]] == [4.0, -1.0]


def test_record_if(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    allowed = tf.Variable(False)
    assert not bool(tf.summary.scalar("no writer", 1.0))

    @tf.function
    def f(x):
        with tf.summary.record_if(allowed):
            tf.summary.scalar("in function", x, step=1)

    with writer.as_default():
        assert bool(tf.summary.should_record_summaries())
        with tf.summary.record_if(False):
            assert not bool(tf.summary.scalar("no", 1.0, step=0))
            assert not bool(tf.summary.should_record_summaries())
        for step in range(4):
            with tf.summary.record_if(lambda step=step: step % 2 == 0):
                tf.summary.scalar("even", 1.0, step=step)
        f(tf.constant(1.0))
        allowed.assign(True)
        f(tf.constant(2.0))
    writer.close()
    assert records(tmp_path) == {"even": [0, 2], "in function": [1]}
    assert float(read(tmp_path)["in function"][0][1]) == 2.0


def test_in_fit(tmp_path):
    class Model(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = tf.keras.layers.Dense(1)

        def call(self, x):
            y = self.dense(x)
            tf.summary.scalar("mean of y", tf.reduce_mean(y), step=self.optimizer.iterations)
            return y

    model = Model()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((16, 3), np.float32)
    with tf.summary.create_file_writer(str(tmp_path)).as_default() as writer:
        model.fit(x, x[:, :1], batch_size=4, epochs=1, verbose=0, shuffle=False)
    writer.close()
    assert sorted(records(tmp_path)[f"{model.name}/mean of y"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("update_freq, steps", [("epoch", None), (1, [1, 2, 3, 4, 5, 6, 7, 8]), (3, [3, 6])])
def test_in_a_custom_step_under_the_callback(tmp_path, update_freq, steps):
    class Model(tf.keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            tf.summary.scalar("own/loss", loss)
            tf.summary.scalar("own/iterations", loss, step=self.optimizer.iterations)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

        def test_step(self, data):
            loss = self.compute_loss(data[0], data[1], self(data[0]))
            tf.summary.scalar("own/held back", loss)
            return {"loss": loss}

    model = Model([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((16, 3), np.float32)
    for folder in ("first", "second"):               # the second run's step must not write into the first one's file
        model.optimizer.iterations.assign(0)
        model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, validation_data=(x, x[:, :1]), callbacks=[
            tf.keras.callbacks.TensorBoard(tmp_path / folder, update_freq=update_freq)])
        assert tf.summary.should_record_summaries().numpy() == np.False_
        found, held_back = records(tmp_path / folder / "train"), records(tmp_path / folder / "validation")
        assert found.get("own/loss") == found.get("batch_loss") == held_back.get("own/held back") == steps
        if steps:
            assert found["own/iterations"] == [step - 1 for step in steps]


def test_a_failed_fit_leaves_the_default_writer_alone(tmp_path):
    def stop(batch, logs):
        raise RuntimeError("stop")
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="stop"):
        model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0, callbacks=[
            tf.keras.callbacks.TensorBoard(tmp_path, update_freq=1), tf.keras.callbacks.LambdaCallback(
                on_train_batch_end=stop)])
    assert not tf.summary.should_record_summaries()


def test_errors(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default():
        with pytest.raises(ValueError, match="No step set"):
            tf.summary.scalar("x", 1.0)
        with pytest.raises(ValueError, match="takes one number, but received shape \\(2,\\)"):
            tf.summary.scalar("x", [1.0, 2.0], step=0)
        with pytest.raises(ValueError, match="height"):
            tf.summary.image("x", np.zeros((2, 2)), step=0)
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.as_default().__enter__()
    with tf.summary.create_noop_writer().as_default():
        tf.summary.scalar("x", 1.0, step=0)


def test_trace_of_a_function(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))

    @tf.function
    def double(x):
        return x * 2

    tf.summary.trace_on(graph=True)
    double(tf.constant(3.0))
    with pytest.raises(ValueError, match="default writer"):
        tf.summary.trace_export("t", step=0)
    with writer.as_default():
        tf.summary.trace_export("t", step=0)
    with pytest.raises(ValueError, match="no trace"):
        tf.summary.trace_export("t", step=0)
    writer.close()
    from tensorboard.compat.proto.config_pb2 import RunMetadata
    content = RunMetadata.FromString(read(tmp_path)["t"][0][1].item())
    names = [node.name for node in content.function_graphs[0].pre_optimization_graph.node]
    assert names[0] == "double/input_0" and names[-1] == "double/output_0" and any("mul" in name for name in names)


def test_hparams(tmp_path):
    hp = tf.summary.hparams
    with tf.summary.create_file_writer(str(tmp_path)).as_default() as writer:
        units = hp.HParam("units", hp.Discrete([16, 32]))
        hp.hparams_config([units], [hp.Metric("accuracy", display_name="Accuracy")])
        assert bool(hp.hparams({units: 16, "rate": 0.1}))
    writer.close()
    assert plugins(tmp_path) == {"_hparams_/experiment": "hparams", "_hparams_/session_start_info": "hparams"}


def test_profile(tmp_path):
    profiler = tf.profiler.experimental
    with profiler.Profile(str(tmp_path)):
        with profiler.Trace("train", step_num=1):
            float(tf.reduce_sum(tf.ones((10,))))
        with pytest.raises(tf.errors.AlreadyExistsError):
            profiler.start(str(tmp_path))
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))
    with pytest.raises(tf.errors.UnavailableError):
        profiler.stop()


def test_profile_of_fit(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 3), "float32")
    history = model.fit(x, x[:, :1], epochs=3, verbose=0, profile=tmp_path / "profile")
    assert len(history.epoch) == 3 and len(list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))) == 1
