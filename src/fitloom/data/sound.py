# SPDX-License-Identifier: Apache-2.0
"""WAV files to tensors and back: `tf.audio.decode_wav`, `tf.audio.encode_wav` (16-bit PCM)."""
import collections
import io
import wave

import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError
from fitloom.data import structure
from fitloom.data.images import bytes_of

DecodedWav = collections.namedtuple("DecodedWav", ["audio", "sample_rate"])


def decode_wav(contents, desired_channels=-1, desired_samples=-1, name=None):
    """Return (samples of shape (samples, channels), float32 in [-1, 1); sampling rate, int32) of a WAV file's bytes.

    Args:
        contents: a string scalar: the bytes of a 16-bit PCM file.
        desired_channels: keep so many channels, the first repeated if there are fewer; -1 keeps all.
        desired_samples: cut or fill with zeros to so many samples; -1 keeps all.

    Raises:
        InvalidArgumentError: no WAV file, or samples of other than 16 bits.
    """
    try:
        with wave.open(io.BytesIO(bytes_of(contents)), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InvalidArgumentError(f"decode_wav expected the bytes of a WAV file: {error}.") from error
    if width != 2:
        raise InvalidArgumentError(f"decode_wav reads samples of 16 bits, but the file's have {8 * width}.")
    samples = np.frombuffer(frames, "<i2").reshape(-1, channels).astype(np.float32) / np.float32(32768)
    if desired_channels > channels:
        samples = np.concatenate([samples, np.repeat(samples[:, :1], desired_channels - channels, 1)], 1)
    elif desired_channels > 0:
        samples = samples[:, :desired_channels]
    if desired_samples >= 0:
        missing = max(0, desired_samples - len(samples))
        samples = np.concatenate([samples[:desired_samples], np.zeros((missing, samples.shape[1]), np.float32)])
    return DecodedWav(engine.Tensor(np.ascontiguousarray(samples)), engine.Tensor(np.asarray(rate, np.int32)))


def encode_wav(audio, sample_rate, name=None):
    """Return the bytes of a 16-bit PCM WAV file of samples (samples, channels) in [-1, 1]."""
    samples = structure.to_numpy(audio)
    if samples.ndim != 2:
        raise InvalidArgumentError(f"encode_wav expected shape (samples, channels), but received {samples.shape}.")
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(structure.to_numpy(sample_rate)))
        file.writeframes(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return engine.convert_to_tensor(made.getvalue())
