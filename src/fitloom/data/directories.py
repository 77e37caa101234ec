# SPDX-License-Identifier: Apache-2.0
"""Datasets from folders: images, texts and sounds, as `tf.keras.utils` offers them."""
import os
import sys
import wave

import numpy as np

from fitloom.base import config
from fitloom.base.errors import InvalidArgumentError, unknown_name
from fitloom.data import images, structure
from fitloom.data.dataset import Dataset
from fitloom.data.function import HostFunction
from fitloom.data.structure import TensorSpec
from fitloom.data.threads import AUTOTUNE
from fitloom.data.transforms import Map

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


class DirectoryDataset(Dataset):
    """A dataset that knows its files: `class_names` and `file_paths`."""

    class_names: list
    file_paths: list

    def __init__(self, dataset, class_names, file_paths):
        super().__init__(dataset._node, dataset._options)
        self.class_names, self.file_paths = class_names, file_paths


def _say(text):
    sys.stdout.write(text + "\n")


def index(directory, labels, formats, class_names, shuffle, seed, follow_links, verbose):
    """Find the files of a folder, and their classes: (paths, labels, class names)."""
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        raise ValueError(f"There is no folder '{directory}'.")
    if labels == "inferred":
        found = sorted(name for name in os.listdir(directory)
                       if os.path.isdir(os.path.join(directory, name)) and not name.startswith("."))
        if class_names is None:
            class_names = found
        elif set(class_names) != set(found):
            raise ValueError(f"class_names are {sorted(class_names)}, but '{directory}' has the folders {found}.")
        folders = list(class_names)
    else:
        if class_names is not None:
            raise ValueError("class_names can be given with labels='inferred' only.")
        folders = [""]
    paths, numbers = [], []
    for number, folder in enumerate(folders):
        for root, inner, names in sorted(os.walk(os.path.join(directory, folder), followlinks=follow_links)):
            inner.sort()
            for name in sorted(names):
                if name.lower().endswith(formats):
                    paths.append(os.path.join(root, name))
                    numbers.append(number)
    if labels == "inferred":
        labels = np.array(numbers, np.int32)
    elif labels is None:
        labels, class_names = None, None
    else:
        if len(labels) != len(paths):
            raise ValueError(f"labels has {len(labels)} entries, but '{directory}' has {len(paths)} files with the "
                             f"endings {', '.join(formats)}.")
        class_names = [str(each) for each in sorted(set(labels))]
        labels = np.asarray(labels, np.int32)
    if not paths:
        raise ValueError(f"'{directory}' has no files with the endings {', '.join(formats)}.")
    if verbose:
        classes = "" if labels is None or class_names is None else f" belonging to {len(class_names)} classes"
        _say(f"Found {len(paths)} files{classes}.")
    if shuffle:
        np.random.RandomState(seed).shuffle(paths)
        if labels is not None:
            np.random.RandomState(seed).shuffle(labels)
    return paths, labels, class_names


def _check(labels, label_mode, class_names, validation_split, subset, shuffle, seed, who):
    if label_mode not in ("int", "categorical", "binary", None):
        raise unknown_name("label_mode", label_mode, ["int", "categorical", "binary", "None"])
    if labels is None or label_mode is None:
        labels = label_mode = None
    elif not isinstance(labels, (list, tuple)) and not (isinstance(labels, str) and labels == "inferred"):
        raise ValueError(f"{who} takes labels='inferred', None, or a list of integers in the order of the sorted file "
                         f"names, but received {labels!r}.")
    if validation_split is None:
        if subset is not None:
            raise ValueError("subset needs validation_split.")
    else:
        if not 0 < validation_split < 1:
            raise ValueError(f"validation_split must be between 0 and 1, but is {validation_split}.")
        if subset not in ("training", "validation", "both"):
            raise ValueError(f"With validation_split, subset must be 'training', 'validation' or 'both', but is "
                             f"{subset!r}.")
        if shuffle and seed is None:
            raise ValueError("With validation_split and shuffle=True, give a seed, so that the training and the "
                             "validation part do not overlap.")
    return labels, label_mode


def _part(paths, labels, split, subset):
    if not split:
        return paths, labels
    held = int(split * len(paths))
    cut = slice(None, len(paths) - held) if subset == "training" else slice(len(paths) - held, None)
    return paths[cut], None if labels is None else labels[cut]


def _encoded(labels, label_mode, count):
    if label_mode == "binary":
        if count != 2:
            raise ValueError(f"label_mode='binary' needs two classes, but there are {count}.")
        return labels.astype(np.float32)[:, None]
    if label_mode == "categorical":
        return np.eye(count, dtype=np.float32)[labels]
    return labels


def _build(parts, read, spec, label_mode, class_names, batch_size, shuffle, seed):
    """Make one dataset for each (paths, labels): files are shuffled by name, read by threads, then batched."""
    made = []
    for paths, labels in parts:
        names = structure.strings(np.array(paths, dtype=object))
        if label_mode is None or labels is None:
            dataset, like, element = Dataset.from_tensor_slices(names), 0, spec
        else:
            encoded = _encoded(labels, label_mode, len(class_names))
            dataset, like = Dataset.from_tensor_slices((names, encoded)), (0, 0)
            element = (spec, TensorSpec(encoded.shape[1:], encoded.dtype))
        if shuffle:
            dataset = dataset.shuffle(max(1, len(paths)), seed=seed)
        function = HostFunction(lambda name, *rest: (read(name[()].decode()), *rest), "map", like, element)
        dataset = dataset._with(Map(dataset._node, function, AUTOTUNE))
        if batch_size is not None:
            dataset = dataset.batch(batch_size)
        made.append(DirectoryDataset(dataset.prefetch(AUTOTUNE), class_names, list(paths)))
    return made


def _parts(paths, labels, validation_split, subset, verbose):
    """Return the (paths, labels) parts that were asked for, and say how large they are."""
    wanted = [subset] if subset in ("training", "validation", None) else ["training", "validation"]
    parts = [_part(paths, labels, validation_split, each) for each in wanted]
    for each, (names, _) in zip(wanted, parts):
        if each is not None:
            if not names:
                raise ValueError(f"The {each} part is empty: {len(paths)} files and validation_split="
                                 f"{validation_split}.")
            if verbose:
                _say(f"Using {len(names)} files for {each}.")
    return parts


def image_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, color_mode="rgb",
                                 batch_size=32, image_size=(256, 256), shuffle=True, seed=None, validation_split=None,
                                 subset=None, follow_links=False, interpolation="bilinear",
                                 crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, data_format=None, format="tf",
                                 verbose=True):
    """Make a dataset of image batches (and labels) from a folder with a subfolder a class.

    Args:
        directory: the folder; formats: JPEG, PNG, BMP, GIF (first frame), WebP.
        labels: 'inferred' from the subfolders, None, or a list in the order of the sorted file names.
        label_mode: 'int', 'categorical' (one-hot), 'binary' (float column), or None for images alone.
        class_names: the subfolders in the order of their numbers; sorted if None.
        color_mode: 'rgb', 'rgba' or 'grayscale'.
        batch_size: rows a batch; None: single images.
        image_size: (height, width) after resizing.
        shuffle: order the files at random, anew each epoch.
        seed: of the order and of the split.
        validation_split: the part held out; `subset` says which part is wanted: 'training', 'validation' or 'both'.
        interpolation: how `tf.image.resize` does it; 'nearest' keeps the pixels' uint8, all others give float32.
        crop_to_aspect_ratio, pad_to_aspect_ratio: instead of distorting.
        data_format: 'channels_last' or 'channels_first'; the Keras setting if None.

    Returns:
        A dataset with `class_names` and `file_paths`; two of them for subset='both'.
    """
    labels, label_mode = _check(labels, label_mode, class_names, validation_split, subset, shuffle, seed,
                                "image_dataset_from_directory")
    channels = {"rgb": 3, "rgba": 4, "grayscale": 1}.get(color_mode)
    if channels is None:
        raise unknown_name("color_mode", color_mode, ["rgb", "rgba", "grayscale"])
    if format not in ("tf",):
        raise NotImplementedError(f"image_dataset_from_directory makes tf.data datasets; format={format!r} is not "
                                  "supported.")
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"image_size must be (height, width), but is {image_size}.")
    first = (data_format or config.image_data_format()) == "channels_first"
    seed = int(np.random.randint(1e6)) if seed is None and shuffle else seed
    paths, numbers, names = index(directory, labels, IMAGES, class_names, shuffle, seed, follow_links, verbose)
    size = tuple(int(d) for d in image_size)

    def read(path):
        with open(path, "rb") as file:
            try:
                array = images.fitted_picture(images.opened(file.read()), channels, size, interpolation,
                                              crop_to_aspect_ratio, pad_to_aspect_ratio)
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"Could not read '{path}': {error}") from None
        return np.ascontiguousarray(array.transpose(2, 0, 1)) if first else array

    shape = (channels, *size) if first else (*size, channels)
    dtype = "uint8" if interpolation == "nearest" else "float32"
    made = _build(_parts(paths, numbers, validation_split, subset, verbose), read, TensorSpec(shape, dtype),
                  label_mode, names, batch_size, shuffle, seed)
    return made if subset == "both" else made[0]


def text_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, batch_size=32,
                                max_length=None, shuffle=True, seed=None, validation_split=None, subset=None,
                                follow_links=False, format="tf", verbose=True):
    """Make a dataset of string batches (and labels) from the `.txt` files of a folder with a subfolder a class.

    Args:
        max_length: keep the first so many bytes of a file.
        (others): as for `image_dataset_from_directory`.
    """
    labels, label_mode = _check(labels, label_mode, class_names, validation_split, subset, shuffle, seed,
                                "text_dataset_from_directory")
    if format not in ("tf",):
        raise NotImplementedError(f"text_dataset_from_directory makes tf.data datasets; format={format!r} is not "
                                  "supported.")
    seed = int(np.random.randint(1e6)) if seed is None and shuffle else seed
    paths, numbers, names = index(directory, labels, (".txt",), class_names, shuffle, seed, follow_links, verbose)

    def read(path):
        with open(path, "rb") as file:
            content = np.empty((), object)
            content[()] = file.read() if max_length is None else file.read(max_length)
            return content

    made = _build(_parts(paths, numbers, validation_split, subset, verbose), read, TensorSpec((), "string"),
                  label_mode, names, batch_size, shuffle, seed)
    return made if subset == "both" else made[0]


def read_wave(path, length=None):
    """Return ((samples, channels) float32 in [-1, 1), sampling rate) of a 16-bit PCM WAV file."""
    with wave.open(path, "rb") as file:
        if file.getsampwidth() != 2:
            raise InvalidArgumentError(f"'{path}' has samples of {8 * file.getsampwidth()} bits; WAV files are read "
                                       "with 16 bits only.")
        count = file.getnframes() if length is None else min(length, file.getnframes())
        samples = np.frombuffer(file.readframes(count), "<i2").reshape(-1, file.getnchannels())
        rate = file.getframerate()
    samples = samples.astype(np.float32) / np.float32(32768)
    if length is not None and len(samples) < length:
        samples = np.concatenate([samples, np.zeros((length - len(samples), samples.shape[1]), np.float32)])
    return samples, rate


def audio_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, batch_size=32,
                                 sampling_rate=None, output_sequence_length=None, ragged=False, shuffle=True,
                                 seed=None, validation_split=None, subset=None, follow_links=False, verbose=True):
    """Make a dataset of float32 audio batches (samples, channels) from the 16-bit `.wav` files of a folder.

    Args:
        sampling_rate: refuse files of another rate (resampling is not provided).
        output_sequence_length: cut or fill with zeros to so many samples; otherwise batches are padded.
        ragged: give batches as ragged tensors instead.
        (others): as for `image_dataset_from_directory`.
    """
    labels, label_mode = _check(labels, label_mode, class_names, validation_split, subset, shuffle, seed,
                                "audio_dataset_from_directory")
    if ragged and output_sequence_length is not None:
        raise ValueError("Cannot set both `ragged` and `output_sequence_length`: ragged batches keep every length.")
    if sampling_rate is not None:
        if not isinstance(sampling_rate, int):
            raise ValueError("`sampling_rate` should have an integer value. Received: "
                             f"sampling_rate={sampling_rate}")
        if sampling_rate <= 0:
            raise ValueError(f"`sampling_rate` should be higher than 0. Received: sampling_rate={sampling_rate}")
    seed = int(np.random.randint(1e6)) if seed is None and shuffle else seed
    paths, numbers, names = index(directory, labels, (".wav",), class_names, shuffle, seed, follow_links, verbose)

    def read(path):
        samples, rate = read_wave(path, output_sequence_length)
        if sampling_rate is not None and rate != sampling_rate:
            raise InvalidArgumentError(f"'{path}' has {rate} samples a second, but sampling_rate={sampling_rate} was "
                                       "asked for. Resample the files first.")
        return samples

    spec = TensorSpec((output_sequence_length, None), "float32")
    made = _build(_parts(paths, numbers, validation_split, subset, verbose), read, spec, label_mode, names, None,
                  shuffle, seed)
    if batch_size is not None:
        batched = (lambda d: d.ragged_batch(batch_size)) if ragged else (lambda d: d.padded_batch(batch_size))
        made = [DirectoryDataset(batched(d).prefetch(AUTOTUNE), d.class_names, d.file_paths) for d in made]
    return made if subset == "both" else made[0]
