# SPDX-License-Identifier: Apache-2.0
"""Keras 2's generators of batches: `ImageDataGenerator` and `TimeseriesGenerator`. New code uses `tf.data`."""
import os
import sys

import numpy as np
from scipy import ndimage

from fitloom.base import config
from fitloom.data.pictures import array_to_img, img_to_array, load_img
from fitloom.trainer.py_dataset import PyDataset

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
_FILL = {"nearest": "nearest", "constant": "constant", "reflect": "reflect", "wrap": "grid-wrap"}


def apply_affine(x, theta=0.0, tx=0.0, ty=0.0, shear=0.0, zx=1.0, zy=1.0, fill_mode="nearest", cval=0.0, order=1):
    """Return an image (rows, columns, channels) turned, shifted, sheared and zoomed about its middle.

    Args:
        theta, shear: degrees. tx, ty: pixels along rows and columns. zx, zy: factors along rows and columns.
        fill_mode: what lies outside: 'nearest', 'constant' (`cval`), 'reflect' or 'wrap'.
    """
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    turn = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    move = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    matrix = turn @ move @ slant @ np.diag([zx, zy, 1])
    middle = np.array([x.shape[0] / 2 - 0.5, x.shape[1] / 2 - 0.5])
    offset = matrix[:2, 2] + middle - matrix[:2, :2] @ middle
    return np.stack([ndimage.affine_transform(x[..., c], matrix[:2, :2], offset, order=order, mode=_FILL[fill_mode],
                                              cval=cval) for c in range(x.shape[-1])], axis=-1)


def _channels_last(function):
    def call(x, *amount, row_axis=1, col_axis=2, channel_axis=0, fill_mode="nearest", cval=0.0, interpolation_order=1):
        moved = function(np.moveaxis(x, channel_axis, -1), *amount, fill_mode=fill_mode, cval=cval,
                         order=interpolation_order)
        return np.moveaxis(moved, -1, channel_axis)
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


@_channels_last
def random_rotation(x, rg, **options):
    """Return an image turned by up to `rg` degrees."""
    return apply_affine(x, theta=np.random.uniform(-rg, rg), **options)


@_channels_last
def random_shift(x, wrg, hrg, **options):
    """Return an image shifted by up to the fractions `wrg` of its width and `hrg` of its height."""
    return apply_affine(x, tx=np.random.uniform(-hrg, hrg) * x.shape[0], ty=np.random.uniform(-wrg, wrg) * x.shape[1],
                        **options)


@_channels_last
def random_shear(x, intensity, **options):
    """Return an image sheared by up to `intensity` degrees."""
    return apply_affine(x, shear=np.random.uniform(-intensity, intensity), **options)


@_channels_last
def random_zoom(x, zoom_range, **options):
    """Return an image zoomed by factors of the range (low, high)."""
    zx, zy = np.random.uniform(*zoom_range, 2)
    return apply_affine(x, zx=zx, zy=zy, **options)


class ImageDataGenerator:
    """Batches of images, changed at random while training. Arguments as in Keras 2.

    Args:
        featurewise_center, featurewise_std_normalization, zca_whitening: use what `fit` measured.
        samplewise_center, samplewise_std_normalization: each image by itself.
        rotation_range: degrees. width_shift_range, height_shift_range: fractions, pixels, or lists to choose from.
        brightness_range: factors (low, high). shear_range: degrees. zoom_range: 0.2 for (0.8, 1.2), or a pair.
        channel_shift_range: added to each image. horizontal_flip, vertical_flip: half of the images.
        rescale: factor applied after all. preprocessing_function: applied to each image before that.
        validation_split: fraction for `subset='validation'`.
    """

    def __init__(self, featurewise_center=False, samplewise_center=False, featurewise_std_normalization=False,
                 samplewise_std_normalization=False, zca_whitening=False, zca_epsilon=1e-6, rotation_range=0,
                 width_shift_range=0.0, height_shift_range=0.0, brightness_range=None, shear_range=0.0, zoom_range=0.0,
                 channel_shift_range=0.0, fill_mode="nearest", cval=0.0, horizontal_flip=False, vertical_flip=False,
                 rescale=None, preprocessing_function=None, data_format=None, validation_split=0.0,
                 interpolation_order=1, dtype=None):
        given = dict(locals())
        del given["self"]
        self.__dict__.update(given)
        self.data_format, self.dtype = data_format or config.image_data_format(), dtype or config.floatx()
        if fill_mode not in _FILL:
            raise ValueError(f"fill_mode must be one of {sorted(_FILL)}, but received '{fill_mode}'.")
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f"`validation_split` must be strictly between 0 and 1.  Received: {validation_split}")
        if np.isscalar(zoom_range):
            self.zoom_range = (1 - zoom_range, 1 + zoom_range)
        elif len(zoom_range) != 2:
            raise ValueError(f"`zoom_range` should be a float or a tuple of two floats. Received: {zoom_range}")
        self.mean = self.std = self.zca_whitening_matrix = None

    # -- where images come from

    def flow(self, x, y=None, batch_size=32, shuffle=True, sample_weight=None, seed=None, save_to_dir=None,
             save_prefix="", save_format="png", ignore_class_split=False, subset=None):
        """Return batches of images of an array."""
        images = np.asarray(x[0] if isinstance(x, tuple) else x, self.dtype)
        if images.ndim != 4:
            raise ValueError(f"Input data in `NumpyArrayIterator` should have rank 4. You passed an array with shape "
                             f"{images.shape}")
        columns = [None if column is None else np.asarray(column) for column in (y, sample_weight)]
        for column in columns:
            if column is not None and len(column) != len(images):
                raise ValueError("`x` (images tensor) and `y` (labels) should have the same length. "
                                 f"Found: x.shape = {images.shape}, y.shape = {column.shape}")
        rows = self._subset(np.arange(len(images)), subset)
        return ImageIterator(self, rows, lambda i: images[i], lambda rows: [c[rows] for c in columns if c is not None],
                             batch_size, shuffle, seed, (save_to_dir, save_prefix, save_format))

    def flow_from_directory(self, directory, target_size=(256, 256), color_mode="rgb", classes=None,
                            class_mode="categorical", batch_size=32, shuffle=True, seed=None, save_to_dir=None,
                            save_prefix="", save_format="png", follow_links=False, subset=None,
                            interpolation="nearest", keep_aspect_ratio=False):
        """Return batches of the image files in a folder with one folder a class."""
        names = sorted(e.name for e in os.scandir(directory) if e.is_dir()) if classes is None else list(classes)
        paths, labels = [], []
        for label, name in enumerate(names):
            found = sorted(os.path.join(top, file) for top, _, files in os.walk(
                os.path.join(directory, name), followlinks=follow_links) for file in files
                if file.lower().endswith(EXTENSIONS))
            kept = self._subset(found, subset)
            paths += list(kept)
            labels += [label] * len(kept)
        sys.stdout.write(f"Found {len(paths)} images belonging to {len(names)} classes.\n")
        made = self._flow_files(paths, np.array(labels), len(names), target_size, color_mode, class_mode, batch_size,
                                shuffle, seed, (save_to_dir, save_prefix, save_format), interpolation,
                                keep_aspect_ratio)
        made.class_indices, made.num_classes = {name: i for i, name in enumerate(names)}, len(names)
        made.filenames = [os.path.relpath(path, directory) for path in paths]
        return made

    def flow_from_dataframe(self, dataframe, directory=None, x_col="filename", y_col="class", weight_col=None,
                            target_size=(256, 256), color_mode="rgb", classes=None, class_mode="categorical",
                            batch_size=32, shuffle=True, seed=None, save_to_dir=None, save_prefix="", save_format="png",
                            subset=None, interpolation="nearest", validate_filenames=True, **kwargs):
        """Return batches of the image files that a table names."""
        paths = [os.path.join(directory or "", str(name)) for name in dataframe[x_col]]
        rows = [i for i, path in enumerate(paths) if not validate_filenames or os.path.exists(path)]
        rows = self._subset(rows, subset)
        values, names = None, []
        if class_mode in ("categorical", "binary", "sparse"):
            column = dataframe[y_col].astype(str)
            names = sorted(set(column)) if classes is None else list(classes)
            values = np.array([names.index(v) for v in column])[rows]
        elif class_mode in ("raw", "multi_output") or isinstance(y_col, list):
            values = dataframe[y_col].to_numpy()[rows]
        end = f" belonging to {len(names)} classes.\n" if names else ".\n"
        sys.stdout.write(f"Found {len(rows)} validated image filenames{end}")
        made = self._flow_files([paths[i] for i in rows], values, len(names), target_size, color_mode, class_mode,
                                batch_size, shuffle, seed, (save_to_dir, save_prefix, save_format), interpolation)
        made.class_indices = {name: i for i, name in enumerate(names)}
        made.filenames = [str(dataframe[x_col].iloc[i]) for i in rows]
        return made

    def _flow_files(self, paths, labels, classes, target_size, color_mode, class_mode, batch_size, shuffle, seed, save,
                    interpolation, keep_aspect_ratio=False):
        if class_mode not in ("categorical", "binary", "sparse", "input", "raw", "multi_output", None):
            raise ValueError(f"Invalid class_mode: {class_mode}; expected one of: 'categorical', 'binary', 'sparse', "
                             "'input', 'raw', 'multi_output' or None")

        def load(i):
            with load_img(paths[i], color_mode=color_mode, target_size=tuple(target_size), interpolation=interpolation,
                          keep_aspect_ratio=keep_aspect_ratio) as image:
                return img_to_array(image, data_format=self.data_format, dtype=self.dtype)

        def targets(rows):
            if class_mode in (None, "input"):
                return []
            chosen = labels[rows]
            if class_mode == "categorical":
                chosen = np.eye(classes, dtype=self.dtype)[chosen]
            return [chosen.astype(self.dtype) if class_mode == "binary" else chosen]
        made = ImageIterator(self, np.arange(len(paths)), load, targets, batch_size, shuffle, seed, save,
                             repeats_input=class_mode == "input")
        made.classes = made.labels = labels
        made.filepaths, made.image_shape = paths, None
        made.target_size, made.color_mode, made.class_mode = tuple(target_size), color_mode, class_mode
        return made

    def _subset(self, rows, subset):
        if subset is None:
            return rows
        if subset not in ("training", "validation"):
            raise ValueError(f"Invalid subset name: {subset}; expected 'training' or 'validation'.")
        cut = int(len(rows) * self.validation_split)
        return rows[:cut] if subset == "validation" else rows[cut:]

    # -- what happens to an image

    def fit(self, x, augment=False, rounds=1, seed=None):
        """Measure the mean, the deviation and the whitening matrix of images."""
        x = np.asarray(x, self.dtype)
        if x.ndim != 4:
            raise ValueError(f"Input to `.fit()` should have rank 4. Got array with shape: {x.shape}")
        random = np.random.default_rng(seed)
        if augment:
            x = np.concatenate([[self.random_transform(image, random) for image in x] for _ in range(rounds)])
        axes = (0, 1, 2) if self.data_format == "channels_last" else (0, 2, 3)
        self.mean = x.mean(axes, keepdims=True)[0]
        self.std = (x - self.mean).std(axes, keepdims=True)[0]
        if self.zca_whitening:
            flat = ((x - self.mean) / (self.std + 1e-6)).reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T @ flat / len(flat))
            self.zca_whitening_matrix = (u / np.sqrt(s + self.zca_epsilon)) @ u.T

    def standardize(self, x):
        """Return an image as the model gets it; `x` is changed."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * np.asarray(self.rescale, self.dtype)
        if self.samplewise_center:
            x = x - x.mean()
        if self.samplewise_std_normalization:
            x = x / (x.std() + 1e-6)
        for wanted, found, name in ((self.featurewise_center, self.mean, "featurewise_center"),
                                    (self.featurewise_std_normalization, self.std, "featurewise_std_normalization"),
                                    (self.zca_whitening, self.zca_whitening_matrix, "zca_whitening")):
            if wanted and found is None:
                raise ValueError(f"ImageDataGenerator(..., {name}=True) needs `.fit(numpy_data)` first.")
        if self.featurewise_center:
            x = x - self.mean
        if self.featurewise_std_normalization:
            x = x / (self.std + 1e-6)
        if self.zca_whitening:
            x = (x.reshape(1, -1) @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def get_random_transform(self, img_shape, seed=None):
        """Return random parameters for `apply_transform`."""
        random = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
        rows, columns = img_shape[:2] if self.data_format == "channels_last" else img_shape[1:]

        def shift(amount, size):
            if not np.isscalar(amount):
                return float(random.choice(amount)) * random.choice([-1, 1])
            return random.uniform(-amount, amount) * (size if np.max(amount) < 1 else 1)

        zx, zy = (1, 1) if tuple(self.zoom_range) == (1, 1) else random.uniform(*self.zoom_range, 2)
        return {"theta": random.uniform(-self.rotation_range, self.rotation_range),
                "tx": shift(self.height_shift_range, rows), "ty": shift(self.width_shift_range, columns),
                "shear": random.uniform(-self.shear_range, self.shear_range), "zx": zx, "zy": zy,
                "flip_horizontal": bool(self.horizontal_flip and random.random() < 0.5),
                "flip_vertical": bool(self.vertical_flip and random.random() < 0.5),
                "channel_shift_intensity": random.uniform(-self.channel_shift_range, self.channel_shift_range)
                if self.channel_shift_range else None,
                "brightness": random.uniform(*self.brightness_range) if self.brightness_range else None}

    def apply_transform(self, x, transform_parameters):
        """Return an image changed by parameters of `get_random_transform`."""
        first = self.data_format == "channels_first"
        p, x = transform_parameters, np.moveaxis(x, 0, -1) if first else x
        affine = {name: p[name] for name in ("theta", "tx", "ty", "shear", "zx", "zy") if name in p}
        if any(value != (1 if name[0] == "z" else 0) for name, value in affine.items()):
            x = apply_affine(x, **affine, fill_mode=self.fill_mode, cval=self.cval, order=self.interpolation_order)
        if p.get("channel_shift_intensity") is not None:
            x = np.clip(x + p["channel_shift_intensity"], x.min(), x.max())
        if p.get("flip_horizontal"):
            x = x[:, ::-1]
        if p.get("flip_vertical"):
            x = x[::-1]
        if p.get("brightness") is not None:
            low, high = x.min(), x.max()
            x = np.clip(x * p["brightness"], min(0, low), 255 if high > 1 else max(1, high))
        return np.moveaxis(x, -1, 0) if first else x

    def random_transform(self, x, seed=None):
        """Return an image changed at random."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))


class ImageIterator(PyDataset):
    """Batches of an ImageDataGenerator: by number, or for ever by `next`."""

    def __init__(self, generator, rows, load, targets, batch_size, shuffle, seed, save, repeats_input=False):
        super().__init__()
        self.image_data_generator, self.rows, self.load, self.targets = generator, np.asarray(rows), load, targets
        self.n = self.samples = len(self.rows)
        if not self.n:
            raise ValueError("There are no images: the folder, the table or the subset is empty.")
        self.batch_size, self.shuffle, self.seed, self.save = int(batch_size), shuffle, seed, save
        self.repeats_input, self.batch_index, self.total_batches_seen = repeats_input, 0, 0
        self._random = np.random.default_rng(seed)
        self._shuffle()

    def _shuffle(self):
        self.index_array = self._random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def __len__(self):
        return -(-self.n // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise ValueError(f"Asked to retrieve element {index}, but the Sequence has length {len(self)}")
        places = self.index_array[index * self.batch_size:(index + 1) * self.batch_size]
        maker, images = self.image_data_generator, []
        for place in places:
            image = maker.random_transform(np.array(self.load(self.rows[place]), maker.dtype), self._random)
            images.append(maker.standardize(image))
        images = np.stack(images).astype(maker.dtype)
        folder, prefix, kind = self.save
        if folder:
            for place, image in zip(places, images, strict=True):
                name = f"{prefix}_{place}_{self._random.integers(1e7)}.{kind}"
                array_to_img(image, maker.data_format, scale=True).save(os.path.join(folder, name))
        columns = self.targets(self.rows[places]) + ([images] if self.repeats_input else [])
        return (images, *columns) if columns else images

    def on_epoch_end(self):
        """Draw a new order."""
        self._shuffle()

    def reset(self):
        """Begin with the first batch again."""
        self.batch_index = 0

    def __iter__(self):
        while True:
            yield next(self)

    def __next__(self):
        batch = self[self.batch_index]
        self.batch_index += 1
        self.total_batches_seen += 1
        if self.batch_index == len(self):
            self.batch_index = 0
            self._shuffle()
        return batch

    next = __next__


class TimeseriesGenerator(PyDataset):
    """Batches of windows of a series and the value that follows each. Arguments as in Keras 2.

    Args:
        data, targets: arrays of the same length, time first.
        length: of a window. sampling_rate: every which value of it. stride: between windows.
        start_index, end_index: part of the series. reverse: windows backwards.
    """

    def __init__(self, data, targets, length, sampling_rate=1, stride=1, start_index=0, end_index=None, shuffle=False,
                 reverse=False, batch_size=128):
        super().__init__()
        if len(data) != len(targets):
            raise ValueError(f"Data and targets have to be of same length. Data length is {len(data)} while target "
                             f"length is {len(targets)}")
        self.data, self.targets, self.length = data, targets, length
        self.sampling_rate, self.stride, self.shuffle, self.reverse = sampling_rate, stride, shuffle, reverse
        self.start_index, self.batch_size = start_index + length, batch_size
        self.end_index = len(data) - 1 if end_index is None else end_index
        if self.start_index > self.end_index:
            raise ValueError(f"`start_index+length={self.start_index} > end_index={self.end_index}` is disallowed, as "
                             "no part of the sequence would be left to be used as current step.")

    def __len__(self):
        return -(-(self.end_index - self.start_index + 1) // (self.batch_size * self.stride))

    def __getitem__(self, index):
        if self.shuffle:
            ends = np.random.randint(self.start_index, self.end_index + 1, self.batch_size)
        else:
            first = self.start_index + self.batch_size * self.stride * index
            ends = np.arange(first, min(first + self.batch_size * self.stride, self.end_index + 1), self.stride)
        samples = np.array([self.data[end - self.length:end:self.sampling_rate] for end in ends])
        return samples[:, ::-1, ...] if self.reverse else samples, np.array([self.targets[end] for end in ends])
