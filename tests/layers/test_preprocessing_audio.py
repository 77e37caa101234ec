# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

keras = pytest.importorskip("keras")


@pytest.fixture
def sound(rng):
    return rng.normal(size=(2, 40, 2)).astype("float32")


@pytest.mark.parametrize("arguments", [
    *({"mode": mode} for mode in ("log", "magnitude", "psd", "real", "imag", "stft")),
    {"fft_length": 16, "padding": "same", "expand_dims": True}, {"data_format": "channels_first"},
    {"window": None, "scaling": None}, {"window": "hamming", "scaling": "spectrum", "periodic": True}], ids=str)
def test_stft_equals_keras(arguments, sound):
    x = sound.transpose(0, 2, 1) if "data_format" in arguments else sound
    arguments = {"frame_length": 8, "frame_step": 4, **arguments}
    theirs = keras.layers.STFTSpectrogram(**arguments)
    ours = tf.keras.layers.STFTSpectrogram(**arguments)
    np.testing.assert_allclose(ours(x).numpy(), np.asarray(theirs(x)), rtol=1e-3, atol=1e-4)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]


@pytest.mark.parametrize("arguments", [
    {}, {"power_to_db": False}, {"power_to_db": False, "mag_exp": 1.0}, {"top_db": 10.0},
    {"sequence_length": 12, "window": "hamming"}], ids=str)
def test_mel_equals_keras(arguments, sound):
    arguments = {"num_mel_bins": 4, "sampling_rate": 1000, "sequence_stride": 8, "fft_length": 16, "min_freq": 10,
                 **arguments}
    expected = np.asarray(keras.layers.MelSpectrogram(**arguments)(sound[:, :, 0]))
    layer = tf.keras.layers.MelSpectrogram(**arguments)
    np.testing.assert_allclose(layer(sound[:, :, 0]).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert layer(sound[0, :, 0]).shape == expected.shape[1:]
