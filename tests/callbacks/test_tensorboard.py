# SPDX-License-Identifier: Apache-2.0
"""The TensorBoard callback, read back by TensorBoard's own reader."""
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import fitloom as tf

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
            for tag in found.Tags()["tensors"] if plugin(found, tag) == "scalars"}


def plugin(found, tag):
    return found.SummaryMetadata(tag).plugin_data.plugin_name


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


def test_unknown_name_in_embeddings_metadata(tmp_path):
    model = keras.Sequential([keras.layers.Embedding(5, 2, name="words"), keras.layers.GlobalAveragePooling1D(),
                              keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Did you mean 'words'"):
        fit(tmp_path, model=model, embeddings_freq=1, embeddings_metadata={"word": "words.tsv"})


# (step, tag, plugin) of the records that tf.keras (TensorFlow 2.21, Keras 3.15) writes for two epochs of four batches
# with histogram_freq=1, write_images=True, write_steps_per_second=True, update_freq=1 and a validation set.
KERAS_TRAIN = [(0, "keras", "graph_keras_model")] + [
    (1 + step, f"batch_{name}", "scalars") for step in range(8) for name in ("steps_per_second", "loss", "mae")] + [
    (epoch, f"epoch_{name}", "scalars") for epoch in range(2)
    for name in ("loss", "mae", "learning_rate", "steps_per_second")] + [
    (epoch, f"sequential/{name}", "histograms" if name.endswith("histogram") else "images")
    for epoch in range(2) for name in ("first/kernel/histogram", "first/kernel/image", "first/bias/histogram",
                                       "first/bias/image", "out/kernel/histogram", "out/kernel/image",
                                       "out/bias/histogram")]
KERAS_VALIDATION = [(step, tag, "scalars") for step, tag in [
    (4, "evaluation_loss_vs_iterations"), (4, "evaluation_mae_vs_iterations"), (0, "epoch_loss"), (0, "epoch_mae"),
    (8, "evaluation_loss_vs_iterations"), (8, "evaluation_mae_vs_iterations"), (1, "epoch_loss"), (1, "epoch_mae")]]


def test_tags_steps_and_plugins_are_those_of_keras(tmp_path):
    keras.utils.clear_session()
    fit(tmp_path, histogram_freq=1, write_images=True, write_steps_per_second=True, update_freq=1)
    for run, expected in (("train", KERAS_TRAIN), ("validation", KERAS_VALIDATION)):
        found = read(tmp_path / run)
        records = [(event.step, tag, plugin(found, tag)) for tag in found.Tags()["tensors"]
                   for event in found.Tensors(tag)]
        assert sorted(records) == sorted(expected)


def test_hparams_callback(tmp_path):
    hp = tf.summary.hparams
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[hp.KerasCallback(str(tmp_path), {"units": 3, hp.HParam("rate"): 0.5})])
    tags = read(tmp_path).Tags()["tensors"]
    assert tags == ["_hparams_/session_start_info", "_hparams_/session_end_info"]


@pytest.mark.parametrize("settings", [dict(update_freq="often"), dict(update_freq=0), dict(profile_batch=(3, 2)),
                                      dict(profile_batch=-1)])
def test_refuses(settings):
    with pytest.raises(ValueError):
        keras.callbacks.TensorBoard("unused", **settings)
