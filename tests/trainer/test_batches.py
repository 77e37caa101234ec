# SPDX-License-Identifier: Apache-2.0
"""Every kind of data that fit accepts."""
import warnings

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((20, 4), np.float32)
Y = X.sum(1, keepdims=True)


class Count(keras.callbacks.Callback):
    """Batches seen in each epoch."""

    def __init__(self):
        super().__init__()
        self.batches, self.epochs = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.batches)
        self.batches = 0


def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile(optimizer="sgd", loss="mse")
    return made


def counted(data, *arguments, **settings):
    count = Count()
    model().fit(data, *arguments, verbose=0, callbacks=[count], **settings)
    return count.epochs


def stream(n):
    for _ in range(n):
        yield X[:4], Y[:4]


class Loader:
    """What a torch DataLoader looks like."""

    dataset = None

    def __len__(self):
        return 3

    def __iter__(self):
        return ([X[:4], Y[:4]] for _ in range(3))


class ByNumber(keras.utils.PyDataset):
    ended = 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index * 4:index * 4 + 4], Y[index * 4:index * 4 + 4]

    def on_epoch_end(self):
        self.ended += 1


def test_arrays_lists_tensors_and_numbers():
    assert counted(X, Y, batch_size=4) == [5]
    assert counted(X.tolist(), Y.tolist(), batch_size=6) == [4]
    assert counted(tf.constant(X), tf.constant(Y), batch_size=20) == [1]
    assert counted(X.astype("float64"), Y[:, 0], epochs=2) == [1, 1]


def test_steps_per_epoch_goes_on_and_runs_out():
    assert counted(X, Y, batch_size=4, steps_per_epoch=2, epochs=2) == [2, 2]
    with pytest.warns(UserWarning, match="ran out of data"):
        assert counted(X, Y, batch_size=4, steps_per_epoch=2, epochs=3) == [2, 2, 1]
    with pytest.warns(UserWarning, match="ran out of data"):
        assert counted(X, Y, batch_size=4, steps_per_epoch=7) == [5]


def test_generators():
    assert counted(stream(5)) == [5]
    assert counted(stream(6), steps_per_epoch=3, epochs=2) == [3, 3]
    with pytest.warns(UserWarning, match="ran out of data"):
        assert counted(stream(5), steps_per_epoch=3, epochs=2) == [3, 2]
    with pytest.warns(UserWarning, match="last batch in epoch 1 of 3"):
        assert counted(stream(5), epochs=3) == [5]          # what was trained stays
    with pytest.warns(UserWarning, match="ran out of data"):
        assert counted(stream(5), steps_per_epoch=3, epochs=4) == [3, 2]
    gone = stream(2)
    assert counted(gone) == [2]
    with pytest.raises(ValueError, match="used up"):
        counted(gone)


def test_a_generator_may_reuse_its_buffer():
    def reuse():
        x, y = np.empty((4, 4), np.float32), np.empty((4, 1), np.float32)
        for start in range(0, 20, 4):
            x[:], y[:] = X[start:start + 4], Y[start:start + 4]
            yield x, y
            x[:], y[:] = np.nan, np.nan

    made = model()
    assert np.isfinite(made.fit(reuse(), verbose=0).history["loss"][0])
    assert np.all(np.isfinite(made.get_weights()[0]))


@pytest.mark.parametrize("settings", [{}, {"workers": 3}])
def test_py_dataset(settings):
    data = ByNumber(**settings)
    assert counted(data, epochs=2, shuffle=False) == [5, 5] and data.ended == 2
    made = model()
    assert made.evaluate(ByNumber(**settings), verbose=0) == pytest.approx(made.evaluate(X, Y, verbose=0), rel=1e-5)
    np.testing.assert_allclose(made.predict(ByNumber(**settings), verbose=0), made.predict(X, verbose=0), rtol=1e-5)


def test_sequence_is_the_old_name():
    assert keras.utils.Sequence is keras.utils.PyDataset


def test_loaders_and_iterables():
    assert counted(Loader(), epochs=2) == [3, 3]
    assert counted(iter([(X, Y), (X[:7], Y[:7])])) == [2]


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    assert counted(frame, pandas.Series(Y[:, 0]), batch_size=10) == [2]
    assert model().predict(frame, verbose=0).shape == (20, 1)
    frame["d"] = "text"
    with pytest.raises(ValueError, match="columns d"):
        counted(frame, Y)


def test_tf_data():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    assert counted(dataset, epochs=2) == [3, 3]
    made = model()
    assert made.evaluate(dataset, verbose=0) == pytest.approx(made.evaluate(X, Y, verbose=0), rel=1e-6)
    assert made.predict(dataset, verbose=0).shape == (20, 1)
    assert counted(dataset.repeat(), steps_per_epoch=4, epochs=2) == [4, 4]
    with pytest.raises(ValueError, match="endless.*steps_per_epoch"):
        counted(dataset.repeat())
    with pytest.warns(UserWarning, match="batch_size=3 means nothing"):
        counted(dataset, batch_size=3)
    history = made.fit(dataset, validation_data=dataset, validation_steps=1, verbose=0).history
    assert list(history) == ["loss", "val_loss"]


def test_dict_and_several_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    made = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Add()([a, b])))
    made.compile(optimizer="sgd", loss="mse")
    first = made.evaluate([X, X], Y, verbose=0)
    assert made.evaluate({"a": X, "b": X}, Y, verbose=0) == pytest.approx(first)
    assert made.evaluate((x for x in [((X, X), Y)]), verbose=0) == pytest.approx(first)
    made.fit([X, X], Y, verbose=0, validation_split=0.25)


def test_validation_split_takes_the_last_rows():
    made = model()
    made.fit(X, Y, validation_split=0.25, verbose=0, shuffle=True)
    history = made.fit(X, Y, validation_split=0.25, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(made.evaluate(X[15:], Y[15:], verbose=0), rel=1e-5)


def test_shuffle_orders():
    seen = []

    class Spy(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            seen.append(data[0].numpy()[:, 0].astype(int).tolist())
            return {"loss": tf.constant(0.0)}

    x = np.arange(12, dtype=np.float32)[:, np.newaxis]
    for shuffle in (False, True, "batch"):
        seen.clear()
        made = Spy()
        made.compile(run_eagerly=True)
        made.fit(x, x, batch_size=5, shuffle=shuffle, verbose=0)
        flat = [i for batch in seen for i in batch]
        assert sorted(flat) == list(range(12)) and [len(batch) for batch in seen] == [5, 5, 2]
        if shuffle is False:
            assert flat == list(range(12))
        if shuffle == "batch":
            assert all(batch == sorted(batch) for batch in seen)


def test_no_warning_in_an_ordinary_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = model()
        made.fit(X, Y, epochs=2, verbose=0, validation_split=0.2)
        made.evaluate(X, Y, verbose=0)
        made.predict(X, verbose=0)


def test_sparse_tensors_are_dense_in_the_step():
    sparse, made = tf.sparse.from_dense(X), model()
    expected = made.predict(X, verbose=0)
    np.testing.assert_allclose(made.predict(sparse, batch_size=4, verbose=0), expected, rtol=1e-6)
    pairs = tf.data.Dataset.from_tensor_slices((sparse, Y)).batch(4)
    np.testing.assert_allclose(made.predict(pairs.map(lambda x, y: x), verbose=0), expected, rtol=1e-6)
    assert counted(pairs) == [-(-len(X) // 4)]
    assert counted((tf.sparse.from_dense(X[:4]), Y[:4]) for _ in range(3)) == [3]
