# SPDX-License-Identifier: Apache-2.0
"""Every downloaded data set, read from small files of the same form in the cache."""

import gzip
import hashlib
import json
import pickle

import numpy as np
import pytest

from fitloom import datasets
from fitloom.base import config


@pytest.fixture
def cache(keras_home, monkeypatch):
    """A function that puts a file into the cache and makes its hash the expected one."""
    folder = keras_home / "datasets"
    folder.mkdir()

    def put(name, write, module=None, hash_name="SHA256"):
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        write(path)
        if module is not None:
            algorithm = "md5" if "MD5" in hash_name else "sha256"
            monkeypatch.setattr(module, hash_name, hashlib.new(algorithm, path.read_bytes()).hexdigest())
        return path

    return put


def ragged(rows):
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def test_mnist(cache, rng):
    images, labels = rng.integers(0, 255, (6, 28, 28)).astype(np.uint8), np.arange(6, dtype=np.uint8)
    path = cache(
        "mnist.npz",
        lambda path: np.savez(path, x_train=images[:4], y_train=labels[:4], x_test=images[4:], y_test=labels[4:]),
        datasets.mnist,
    )
    for given in ("mnist.npz", str(path)):
        (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data(given)
        np.testing.assert_array_equal(np.concatenate([x_train, x_test]), images)
        np.testing.assert_array_equal(np.concatenate([y_train, y_test]), labels)


def test_fashion_mnist(cache, rng):
    images = rng.integers(0, 255, (5, 28, 28)).astype(np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    for part in ("train", "t10k"):
        cache(
            f"fashion-mnist/{part}-images-idx3-ubyte.gz",
            lambda path: path.write_bytes(gzip.compress(bytes(16) + images.tobytes())),
        )
        cache(
            f"fashion-mnist/{part}-labels-idx1-ubyte.gz",
            lambda path: path.write_bytes(gzip.compress(bytes(8) + labels.tobytes())),
        )
    for x, y in datasets.fashion_mnist.load_data():
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)
    cache("fashion-mnist/train-labels-idx1-ubyte.gz", lambda path: path.write_bytes(path.read_bytes()[:-6]))
    with pytest.raises(ValueError, match="is damaged .* Delete it"):
        datasets.fashion_mnist.load_data()


def write_tar(entries):
    import io
    import tarfile

    def write(path):
        with tarfile.open(path, "w:gz") as archive:
            for name, value in entries.items():
                content = pickle.dumps(value, 3)
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    return write


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cifar10(cache, rng, monkeypatch, data_format):
    monkeypatch.setattr(config, "_image_data_format", data_format)
    pixels = rng.integers(0, 255, (12, 3 * 32 * 32)).astype(np.uint8)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    entries = {
        f"cifar-10-batches-py/{name}": {b"data": pixels[2 * n : 2 * n + 2], b"labels": [n, 9 - n]}
        for n, name in enumerate(names)
    }
    cache("cifar-10-batches-py-target_archive", write_tar(entries), datasets.cifar10)
    (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    images = pixels.reshape(12, 3, 32, 32)
    if data_format == "channels_last":
        images = images.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), images)
    np.testing.assert_array_equal(y_train.ravel(), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert y_test.tolist() == [[5], [4]] and y_train.dtype == np.uint8 and x_train.flags.c_contiguous


def test_cifar100(cache, rng):
    pixels = rng.integers(0, 255, (4, 3 * 32 * 32)).astype(np.uint8)
    batch = {b"data": pixels, b"fine_labels": [90, 91, 92, 93], b"coarse_labels": [1, 2, 3, 4]}
    entries = {"cifar-100-python/train": batch, "cifar-100-python/test": batch}
    cache("cifar-100-python-target_archive", write_tar(entries), datasets.cifar100)
    (x_train, y_train), (_, y_test) = datasets.cifar100.load_data()
    assert x_train.shape == (4, 32, 32, 3) and y_train.ravel().tolist() == [90, 91, 92, 93]
    assert datasets.cifar100.load_data("coarse")[1][1].ravel().tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="'fine' or 'coarse'"):
        datasets.cifar100.load_data("middle")


@pytest.mark.parametrize("name", ["boston_housing", "california_housing"])
def test_housing(cache, rng, name):
    module = getattr(datasets, name)
    x, y = rng.normal(size=(1000, 8)), rng.normal(size=1000)
    cache(f"{name}.npz", lambda path: np.savez(path, x=x, y=y), module)
    (x_train, y_train), (x_test, y_test) = module.load_data(test_split=0.3, seed=5)
    order = np.random.RandomState(5).permutation(1000)
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), x[order])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y[order])
    assert len(x_train) == 700
    for wrong in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match="at least 0 and less than 1"):
            module.load_data(test_split=wrong)


def test_small_california(cache):
    x = np.arange(1000.0)
    module = datasets.california_housing
    cache("california_housing.npz", lambda path: np.savez(path, x=x[:, None], y=x), module)
    (_, y_train), (_, y_test) = module.load_data("small")
    assert len(y_train) == 480 and len(y_test) == 120 and max(*y_train, *y_test) == 599
    with pytest.raises(ValueError, match="'large' or 'small'"):
        module.load_data("tiny")


def imdb_file(path):
    rows = ragged([[5, 1], [2], [3, 9, 4], [1, 1, 1, 1]])
    np.savez(path, x_train=rows, y_train=np.arange(4), x_test=rows[:2], y_test=np.arange(2))


def in_file_order(part, seed=113):
    x, y = part
    rows = dict(zip(y.tolist(), x.tolist()))
    return [rows[key] for key in sorted(rows)]


def test_imdb(cache):
    cache("imdb.npz", imdb_file, datasets.imdb)
    train, test = datasets.imdb.load_data()
    assert in_file_order(train) == [[1, 8, 4], [1, 5], [1, 6, 12, 7], [1, 4, 4, 4, 4]]
    assert in_file_order(test) == [[1, 8, 4], [1, 5]]
    assert train[0].dtype == object and train[0].shape == (4,) and train[1].dtype == np.int64
    order = np.arange(4)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(train[1], order)


def test_imdb_limits(cache):
    cache("imdb.npz", imdb_file, datasets.imdb)
    plain = {"start_char": None, "index_from": 0}
    load = datasets.imdb.load_data
    assert in_file_order(load(**plain)[0]) == [[5, 1], [2], [3, 9, 4], [1, 1, 1, 1]]
    assert in_file_order(load(num_words=5, **plain)[0]) == [[2, 1], [2], [3, 2, 4], [1, 1, 1, 1]]
    assert in_file_order(load(num_words=5, oov_char=None, **plain)[0]) == [[1], [2], [3, 4], [1, 1, 1, 1]]
    assert in_file_order(load(skip_top=2, oov_char=0, **plain)[0]) == [[5, 0], [2], [3, 9, 4], [0, 0, 0, 0]]
    assert in_file_order(load(maxlen=3, **plain)[0]) == [[5, 1], [2]]
    with pytest.raises(ValueError, match="No sequence is shorter than maxlen=1; the shortest has 1"):
        load(maxlen=1, **plain)


def test_reuters(cache):
    rows = ragged([[n + 1] * (n + 1) for n in range(10)])
    cache("reuters.npz", lambda path: np.savez(path, x=rows, y=np.arange(10)), datasets.reuters)
    (x_train, y_train), (x_test, y_test) = datasets.reuters.load_data(start_char=None, index_from=0)
    assert len(x_train) == 8 and len(x_test) == 2
    for x, y in zip([*x_train, *x_test], [*y_train, *y_test]):
        assert x == [y + 1] * (y + 1)
    assert len(datasets.reuters.get_label_names()) == 46


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_word_index(cache, name):
    words = {"the": 1, "café": 2}
    path = cache(
        f"{name}_word_index.json", lambda path: path.write_text(json.dumps(words)), getattr(datasets, name),
        "WORD_INDEX_MD5",
    )  # fmt: skip
    assert getattr(datasets, name).get_word_index() == words
    assert getattr(datasets, name).get_word_index(str(path)) == words


@pytest.mark.parametrize("name", ["mnist", "imdb", "reuters", "boston_housing", "california_housing", "cifar10"])
def test_offline_and_absent(keras_home, monkeypatch, name):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(datasets.download.urllib.request, "urlopen", refuse)
    with pytest.raises(ConnectionError, match=f"Could not download .* put the file at '{keras_home}"):
        getattr(datasets, name).load_data()


def test_door():
    from fitloom.keras.datasets import mnist
    from fitloom.keras.datasets.digits import load_data

    assert mnist is datasets.mnist and load_data is datasets.digits.load_data


def test_signatures_are_those_of_keras():
    import inspect

    keras = pytest.importorskip("keras")
    for name in datasets.__dict__.keys() & vars(keras.datasets).keys() - {"digits"}:
        if not hasattr(getattr(keras.datasets, name), "load_data"):
            continue
        theirs = inspect.signature(getattr(keras.datasets, name).load_data)
        ours = inspect.signature(getattr(datasets, name).load_data)
        plain = [p for p in theirs.parameters.values() if p.kind is not p.VAR_KEYWORD]
        assert list(ours.parameters.values()) == plain, name
    theirs = inspect.signature(keras.utils.get_file)
    assert inspect.signature(datasets.download.get_file) == theirs
