# SPDX-License-Identifier: Apache-2.0
"""tf.train.Checkpoint and its manager, as TensorFlow's guide uses them."""
import os
import warnings

import numpy as np
import pytest

import fitloom as tf
from fitloom.saving import checkpoint_file

keras = tf.keras


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.l1 = keras.layers.Dense(5)

    def call(self, x):
        return self.l1(x)


def dataset():
    inputs = np.arange(10.0, dtype="float32")[:, None]
    labels = inputs * 5.0 + np.arange(5.0, dtype="float32")[None, :]
    return tf.data.Dataset.from_tensor_slices({"x": inputs, "y": labels}).repeat().shuffle(10, seed=1).batch(2)


def train_step(net, example, optimizer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(net(example["x"]) - example["y"]))
    optimizer.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables))
    return loss


def session(folder):
    net, optimizer, iterator = Net(), keras.optimizers.Adam(0.1), iter(dataset())
    checkpoint = tf.train.Checkpoint(step=tf.Variable(1), optimizer=optimizer, net=net, iterator=iterator)
    return checkpoint, tf.train.CheckpointManager(checkpoint, folder, max_to_keep=3)


def train(checkpoint, steps):
    for _ in range(steps):
        train_step(checkpoint.net, next(checkpoint.iterator), checkpoint.optimizer)
        checkpoint.step.assign_add(1)


def bits(checkpoint):
    values = [*checkpoint.net.variables, *checkpoint.optimizer.variables, checkpoint.step]
    return [v.numpy().tobytes() for v in values]


def test_the_guide(tmp_path):
    folder = str(tmp_path / "tf_ckpts")
    checkpoint, manager = session(folder)
    assert manager.latest_checkpoint is None and manager.restore_or_initialize() is None
    checkpoint.restore(manager.latest_checkpoint).expect_partial()
    for _ in range(5):
        train(checkpoint, 2)
        path = manager.save()
    assert manager.checkpoints == [f"{folder}/ckpt-{n}" for n in (3, 4, 5)] and path == manager.latest_checkpoint
    assert sorted(os.listdir(folder)) == ["checkpoint", "ckpt-3.index", "ckpt-4.index", "ckpt-5.index"]
    assert tf.train.latest_checkpoint(folder) == path
    train(checkpoint, 3)
    expected = bits(checkpoint)

    again, manager = session(folder)          # nothing is built yet: values wait for the weights and slots
    status = again.restore(manager.latest_checkpoint)
    assert int(again.step) == 11 and int(again.save_counter) == 5
    train(again, 3)
    status.assert_consumed()
    assert bits(again) == expected

    # deferred restoration, by hand
    wanted = tf.train.load_variable(folder, "net/l1/bias/.ATTRIBUTES/VARIABLE_VALUE")
    to_restore = tf.Variable(tf.zeros([5]))
    layer = tf.train.Checkpoint(bias=to_restore)
    status = tf.train.Checkpoint(net=tf.train.Checkpoint(l1=layer)).restore(tf.train.latest_checkpoint(folder))
    np.testing.assert_array_equal(to_restore.numpy(), wanted)
    status.assert_existing_objects_matched().assert_nontrivial_match()
    with pytest.raises(AssertionError, match="9 values .* found no object"):
        status.assert_consumed()
    late = tf.Variable(tf.zeros([1, 5]))
    layer.kernel = late
    assert np.any(late.numpy() != 0)

    reader = tf.train.load_checkpoint(folder)
    key = "net/l1/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    assert reader.get_variable_to_shape_map()[key] == [1, 5] and reader.get_variable_to_dtype_map()[key] == tf.float32
    np.testing.assert_array_equal(reader.get_tensor(key), late.numpy())
    assert (key, [1, 5]) in tf.train.list_variables(path) and reader.has_tensor(key)
    with pytest.raises(tf.errors.NotFoundError, match="net/l1/kernel"):
        reader.get_tensor("net/l1/kernal/.ATTRIBUTES/VARIABLE_VALUE")


def test_lists_and_dicts(tmp_path):
    save = tf.train.Checkpoint()
    save.listed = [tf.Variable(1.0)]
    save.listed.append(tf.Variable(2.0))
    save.mapped = {"one": save.listed[0]}
    save.mapped["two"] = save.listed[1]
    path = save.save(str(tmp_path / "list"))
    restore = tf.train.Checkpoint()
    v2 = tf.Variable(0.0)
    restore.mapped = {"two": v2}
    restore.restore(path)
    assert float(v2) == 2.0
    restore.listed = []
    assert repr(restore.listed) == "ListWrapper([])"
    v1 = tf.Variable(0.0)
    restore.listed.append(v1)
    assert float(v1) == 1.0


def test_modules_are_restored_as_they_grow(tmp_path):
    class Linear(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = None

        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable(tf.random.normal([x.shape[-1], 3]), name="w")
            return x @ self.w

    first, second = Linear(), Linear()
    expected = first(tf.ones([1, 2]))
    path = tf.train.Checkpoint(model=first).write(str(tmp_path / "m"))
    status = tf.train.Checkpoint(model=second).read(path)
    np.testing.assert_array_equal(second(tf.ones([1, 2])).numpy(), expected.numpy())
    status.assert_consumed()
    assert [name for name, _ in tf.train.list_variables(path)] == ["model/w/.ATTRIBUTES/VARIABLE_VALUE"]


@pytest.mark.parametrize("make", [
    lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(),
                              keras.layers.Dropout(0.5), keras.layers.Dense(1)]),
    lambda: keras.Sequential([keras.Input((3, 2)), keras.layers.Bidirectional(keras.layers.LSTM(2))])])
def test_every_variable_of_a_model(tmp_path, make):
    first, second = make(), make()
    path = tf.train.Checkpoint(first).write(tmp_path / "m")
    tf.train.Checkpoint(second).read(path).assert_consumed()
    for left, right in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())
    values = checkpoint_file.read(f"{path}.index")["values"]
    assert len(values) == len(first.variables)


def test_other_things_with_state(tmp_path):
    def make(seed, fill):
        metric = keras.metrics.Mean()
        metric.update_state(fill)
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        table.insert(tf.constant(["a"]), tf.constant([fill], tf.int64))
        return tf.train.Checkpoint(generator=tf.random.Generator.from_seed(seed), metric=metric, table=table,
                                   complex=tf.Variable([1j * fill]),
                                   half=tf.Variable([fill], dtype=tf.bfloat16))
    first, second = make(1, 3), make(2, 5)
    second.restore(first.save(tmp_path / "c")).assert_consumed()
    assert float(second.metric.result()) == 3.0 and int(second.table.lookup(tf.constant("a"))) == 3
    np.testing.assert_array_equal(first.generator.normal([3]), second.generator.normal([3]))
    assert second.complex.numpy()[0] == 3j and float(second.half[0]) == 3.0


def test_errors_change_nothing(tmp_path):
    path = tf.train.Checkpoint(a=tf.Variable(1.0), b=tf.Variable([1, 2])).save(tmp_path / "c")
    a, b = tf.Variable(5.0), tf.Variable([0, 0, 0])
    with pytest.raises(ValueError, match=r"incompatible tensor with shape \(2,\).*shape \(3,\)"):
        tf.train.Checkpoint(a=a, b=b).restore(path)
    assert float(a) == 5.0
    with pytest.raises(ValueError, match="dtype float32"):
        tf.train.Checkpoint(a=tf.Variable(1)).restore(path)
    with pytest.raises(tf.errors.NotFoundError, match="latest_checkpoint"):
        tf.train.Checkpoint(a=a).restore(str(tmp_path / "c"))
    with pytest.raises(ValueError, match="trackable"):
        tf.train.Checkpoint(a=3)
    with pytest.raises(AssertionError, match="not bound"):
        tf.train.Checkpoint(a=a, other=tf.Variable(1)).restore(path).assert_existing_objects_matched()
    with pytest.raises(AssertionError, match="save_path=None"):
        tf.train.Checkpoint(a=a).restore(None).assert_consumed()
    with pytest.raises(AssertionError, match="Nothing to load"):
        tf.train.Checkpoint(z=tf.Variable(1)).restore(path).assert_nontrivial_match()


def test_a_folder_of_tensorflow_is_told_apart(tmp_path):
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(tf.errors.DataLossError, match="TensorFlow's own format"):
        tf.train.Checkpoint(a=tf.Variable(1)).restore(tmp_path / "ckpt-1")


def test_the_manager_falls_back(tmp_path):
    step = tf.Variable(0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path, max_to_keep=None)
    for n in range(3):
        step.assign(n)
        manager.save()
    newest = tmp_path / "ckpt-3.index"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    with pytest.raises(tf.errors.DataLossError, match="step"):
        manager.checkpoint.restore(manager.latest_checkpoint)
    with pytest.warns(UserWarning, match="before it is used"):
        assert manager.restore_or_initialize() == str(tmp_path / "ckpt-2")
    assert int(step) == 1


def test_manager_settings(tmp_path):
    step = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(step=step)
    called = []
    manager = tf.train.CheckpointManager(checkpoint, tmp_path / "a", max_to_keep=1, step_counter=step,
                                         checkpoint_interval=3, init_fn=lambda: called.append(1))
    assert manager.restore_or_initialize() is None and called
    saved = [manager.save() is not None for _ in range(5) if step.assign_add(1) is not None]
    assert saved == [True, False, False, True, False] and len(manager.checkpoints) == 1
    assert manager.save(checkpoint_number=9, check_interval=False) == str(tmp_path / "a" / "ckpt-9")
    kept = tf.train.CheckpointManager(checkpoint, tmp_path / "b", max_to_keep=1, keep_checkpoint_every_n_hours=1e-9)
    for _ in range(3):
        kept.save()
    assert len([n for n in os.listdir(tmp_path / "b") if n.endswith(".index")]) > 1
    with pytest.raises(ValueError, match="max_to_keep"):
        tf.train.CheckpointManager(checkpoint, tmp_path, max_to_keep=0)
    assert [os.path.basename(p) for p in tf.train.checkpoints_iterator(tmp_path / "a", timeout=0)] == ["ckpt-9"]


def test_asynchronous_writes(tmp_path):
    step, called = tf.Variable(1), []
    checkpoint = tf.train.Checkpoint(step=step)
    options = tf.train.CheckpointOptions(enable_async=True, experimental_write_callbacks=[called.append])
    path = checkpoint.save(tmp_path / "c", options)
    step.assign(2)
    checkpoint.sync()
    checkpoint.restore(path)
    assert int(step) == 1 and called == [path]
    (tmp_path / "file").write_text("x")
    checkpoint.write(tmp_path / "file" / "c", options)
    with pytest.raises(OSError):
        checkpoint.sync()


def test_any_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "x"
    checkpoint_file.write(path, {"a": np.arange(3, dtype="float32"), "s": np.array(["é", "xy"]), "n": (1, [2.5, None], {3: b"x"}), "t": "é"})
    read = checkpoint_file.read(path)
    assert read["n"] == (1, [2.5, None], {3: b"x"}) and read["t"] == "é" and read["s"].tolist() == ["é", "xy"] and read["a"].tolist() == [0, 1, 2]
    content = path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(tf.errors.DataLossError):
            checkpoint_file.read(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(tf.errors.DataLossError):
            checkpoint_file.read(path)


def test_a_checkpoint_is_a_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tf.train.Checkpoint(a=tf.Variable([1.0, 2.0])).write(tmp_path / "c")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = safetensors.load_file(f"{path}.index")
    assert found["values/a/.ATTRIBUTES/VARIABLE_VALUE"].tolist() == [1.0, 2.0]
