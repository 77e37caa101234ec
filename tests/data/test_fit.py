# SPDX-License-Identifier: Apache-2.0
"""Datasets in fit: every form, and a run that is broken off and continues to the same bits."""
import numpy as np
import pytest

import fitloom as tf

Dataset = tf.data.Dataset


def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    return x, (x.sum(1) > 0).astype(np.int32)


def compiled():
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential([tf.keras.layers.Dense(4, activation="relu"), tf.keras.layers.Dense(2)])
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


FORMS = {
    "finite": (lambda d: d.shuffle(50).batch(8), {}),
    "mapped": (lambda d: d.map(lambda x, y: (x * 2, y)).shuffle(9, seed=2).batch(8).prefetch(2), {}),
    "noisy": (lambda d: d.shuffle(50).map(lambda x, y: (x + tf.random.normal((3,)), y)).batch(8), {}),
    "endless": (lambda d: d.shuffle(50).repeat().batch(8), {"steps_per_epoch": 5}),
    "cached": (lambda d: d.cache().shuffle(20).batch(8), {}),
    "elements": (lambda d: d.filter(lambda x, y: x[0] < 1).shuffle(20).batch(8), {}),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_broken_run_continues_to_the_same_bits(form, tmp_path):
    build, options = FORMS[form]

    class Break(Exception):
        pass

    class BreakAt(tf.keras.callbacks.Callback):
        count = 0

        def on_train_batch_end(self, batch, logs=None):
            self.count += 1
            if self.count == 9:
                raise Break

    def run(extra, folder):
        model, dataset = compiled(), build(Dataset.from_tensor_slices(arrays()))
        backup = tf.keras.callbacks.BackupAndRestore(str(tmp_path / folder), save_freq=2, delete_checkpoint=False)
        history = model.fit(dataset, epochs=3, verbose=0, callbacks=[backup, *extra], **options)
        return history.history, model.get_weights()

    whole, weights = run([], "whole")
    with pytest.raises(Break):
        run([BreakAt()], "broken")
    again, resumed = run([], "broken")
    assert again == whole
    assert all(np.array_equal(a, b) for a, b in zip(weights, resumed, strict=True))


def test_a_dataset_that_ends_early_starts_again():
    seen = []

    class Count(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.count)

        def on_epoch_begin(self, epoch, logs=None):
            self.count = 0

        def on_train_batch_end(self, batch, logs=None):
            self.count += 1
    compiled().fit(Dataset.from_tensor_slices(arrays()).batch(16), epochs=3, steps_per_epoch=6, verbose=0,
                   callbacks=[Count()])
    assert seen == [6, 6, 6]
    empty = Dataset.from_tensor_slices(arrays()).filter(lambda x, y: x[0] > 99).batch(4)
    with pytest.raises(ValueError, match="no batch"):
        compiled().fit(empty, steps_per_epoch=2, verbose=0)


def test_evaluate_and_predict_take_datasets():
    model = compiled()
    x, y = arrays()
    dataset = Dataset.from_tensor_slices((x, y)).batch(8)
    model.fit(dataset, validation_data=dataset, epochs=1, verbose=0)
    by_data, by_arrays = model.evaluate(dataset, verbose=0), model.evaluate(x, y, batch_size=8, verbose=0)
    np.testing.assert_allclose(by_data, by_arrays, rtol=1e-5)
    np.testing.assert_allclose(model.predict(dataset, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


PLANNED = {
    "in order": lambda d: d.batch(8),
    "shuffled": lambda d: d.shuffle(50, seed=3).batch(8),
    "small buffer": lambda d: d.shuffle(7, seed=3).batch(8).prefetch(2),
    "remainder dropped": lambda d: d.shuffle(50, seed=3).batch(8, drop_remainder=True),
    "the same order again": lambda d: d.shuffle(50, seed=3, reshuffle_each_iteration=False).batch(8),
    "cached": lambda d: d.cache().shuffle(20, seed=3).batch(8),
}


@pytest.mark.parametrize("form", sorted(PLANNED))
def test_many_steps_a_dispatch_give_what_single_steps_give(form, monkeypatch):
    from fitloom.trainer import batches

    def run(single):
        with monkeypatch.context() as patch:
            if single:
                patch.setattr(batches, "planned", lambda *_: None)
            model, dataset = compiled(), PLANNED[form](Dataset.from_tensor_slices(arrays()))
            assert (batches.open_source(dataset).in_memory) is not single
            history = model.fit(dataset, epochs=3, verbose=0, validation_data=dataset)
            return history.history, model.get_weights(), [b[1].tolist() for b in dataset.as_numpy_iterator()]

    (many, many_weights, many_after), (one, one_weights, one_after) = run(False), run(True)
    assert many_after == one_after                     # both used up as many iterations
    assert sorted(many) == sorted(one)
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-6)
    for a, b in zip(many_weights, one_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("build", [
    lambda d: d.map(lambda x, y: (x, y)).batch(8), lambda d: d.batch(8).repeat(2), lambda d: d.batch(8).take(2)])
def test_what_is_more_than_slices_is_streamed(build):
    from fitloom.trainer import batches
    assert not batches.open_source(build(Dataset.from_tensor_slices(arrays()))).in_memory


def test_a_line_says_that_the_run_waited_for_its_data(capsys, monkeypatch):
    import time

    from fitloom.trainer import waiting
    monkeypatch.setattr(waiting, "WORTH_SECONDS", 0.05)

    def slowly(x, y):
        time.sleep(0.01)
        return x, y

    slow = Dataset.from_tensor_slices(arrays()).map(
        lambda x, y: tf.numpy_function(slowly, [x, y], [tf.float32, tf.int32])).batch(8)
    compiled().fit(slow, epochs=2, verbose=2)
    assert capsys.readouterr().out.count("The device waited for data during") == 1
    compiled().fit(slow, epochs=2, verbose=0)
    compiled().fit(Dataset.from_tensor_slices(arrays()).batch(8), epochs=2, verbose=2)
    assert "waited" not in capsys.readouterr().out


def test_prefetch_puts_batches_on_an_accelerator(monkeypatch):
    from fitloom.data import iterators, prefetching

    placed = []
    monkeypatch.setattr(iterators, "accelerated", lambda: True)
    monkeypatch.setattr(iterators, "on_device", lambda c, put=iterators.on_device: (placed.append(c.shape), put(c))[1])
    monkeypatch.setattr(prefetching, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(prefetching, "TRIALS", 1)

    def run(build):
        model = compiled()
        return model.fit(build(Dataset.from_tensor_slices(arrays()).filter(lambda x, y: x[0] < 1)), epochs=2,
                         verbose=0).history

    ahead, direct = run(lambda d: d.batch(8).prefetch(2)), run(lambda d: d.batch(8))
    assert ahead == direct and (8, 3) in placed
