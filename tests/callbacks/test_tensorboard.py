# SPDX-License-Identifier: Apache-2.0
"""The TensorBoard callback, read back by TensorBoard's own reader."""
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import fitloom as tf
from fitloom.monitor.event_file import histogram_rows

keras = tf.keras
X = np.random.default_rng(0).random((32, 4), np.float32)
Y = X.sum(1, keepdims=True)


def fit(log_dir, epochs=2, model=None, **settings):
    model = model or keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first"),
                                       keras.layers.Dense(1, name="out")])
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    history = model.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, validation_data=(X, Y),
                        callbacks=[keras.callbacks.TensorBoard(log_dir, **settings)])
    return model, history.history


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder):
    found = read(folder)
    return {tag: [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in found.Tensors(tag)]
            for tag in found.Tags()["tensors"] if tensor_util.make_ndarray(found.Tensors(tag)[0].tensor_proto).ndim == 0}


def test_scalars_of_train_and_validation(tmp_path):
    _, history = fit(tmp_path)
    train, validation = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    assert set(train) == {"epoch_loss", "epoch_mae", "epoch_learning_rate"}
    assert set(validation) == {"epoch_loss", "epoch_mae", "evaluation_loss_vs_iterations",
                               "evaluation_mae_vs_iterations"}
    assert [value for _, value in train["epoch_loss"]] == pytest.approx(history["loss"])
    assert [value for _, value in validation["epoch_loss"]] == pytest.approx(history["val_loss"])
    assert [step for step, _ in validation["evaluation_loss_vs_iterations"]] == [4, 8]


@pytest.mark.parametrize("update_freq, steps", [("batch", list(range(1, 9))), (3, [3, 6])])
def test_batch_scalars(tmp_path, update_freq, steps):
    fit(tmp_path, update_freq=update_freq, write_steps_per_second=True)
    train = scalars(tmp_path / "train")
    assert [step for step, _ in train["batch_loss"]] == steps
    assert len(train["epoch_steps_per_second"]) == 2 and "batch_steps_per_second" in train


def test_histograms_images_and_graph(tmp_path):
    model, _ = fit(tmp_path, histogram_freq=1, write_images=True)
    found = read(tmp_path / "train")
    tags = found.Tags()
    assert f"{model.layers[0].weights[0].path}/histogram" in tags["tensors"]
    rows = tensor_util.make_ndarray(found.Tensors(f"{model.layers[0].weights[0].path}/histogram")[-1].tensor_proto)
    assert rows.shape == (30, 3) and rows[:, 2].sum() == 12
    assert f"{model.layers[0].weights[0].path}/image" in tags["tensors"]
    assert tags["graph"] and [node.name for node in found.Graph().node][-2:] == ["first", "out"]
    assert list(found.Graph().node)[-1].input == ["first"]


def test_profile(tmp_path):
    fit(tmp_path, profile_batch=(2, 3))
    assert list(tmp_path.glob("plugins/profile/*/*"))


def test_embeddings(tmp_path):
    model = keras.Sequential([keras.layers.Embedding(5, 2, name="words"), keras.layers.GlobalAveragePooling1D(),
                              keras.layers.Dense(1)])
    fit(tmp_path, model=model, embeddings_freq=1, embeddings_metadata={"words": "words.tsv"})
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert 'tensor_name: "words"' in config and 'metadata_path: "words.tsv"' in config
    assert np.loadtxt(tmp_path / "words_embedding.tsv").shape == (5, 2)


@pytest.mark.parametrize("settings", [dict(update_freq="often"), dict(update_freq=0), dict(profile_batch=(3, 2)),
                                      dict(profile_batch=-1)])
def test_refuses(settings):
    with pytest.raises(ValueError):
        keras.callbacks.TensorBoard("unused", **settings)


def test_histogram_rows():
    rows = histogram_rows([0.0, 1.0, 1.0, np.nan], 4)
    assert rows[:, 2].tolist() == [1, 0, 0, 2] and rows[0, 0] == 0 and rows[-1, 1] == 1
    assert histogram_rows([2.0, 2.0], 4)[-1].tolist() == [1.5, 2.5, 2.0]
    assert histogram_rows([np.nan], 4).sum() == 0
