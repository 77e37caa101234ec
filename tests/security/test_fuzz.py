# SPDX-License-Identifier: Apache-2.0
"""Mutated model files: an error that a user can read, or a model with the right weights; nothing in between.

FITLOOM_FUZZ_CASES sets how many cases each test tries (small by default; 10,000 were run by hand).
"""
import builtins
import copy
import io
import json
import os
import resource
import warnings
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fitloom as tf
from security import crafting

CASES = int(os.environ.get("FITLOOM_FUZZ_CASES", "60"))
fuzzed = settings(max_examples=CASES, deadline=None, database=None, derandomize=CASES < 1000,
                  suppress_health_check=list(HealthCheck))
ERRORS = (ValueError, TypeError)
pytestmark = pytest.mark.filterwarnings("ignore")
LIMIT = 300 * 2**20


def _make():
    i = tf.keras.Input((4,), name="i")
    x = tf.keras.layers.Dense(3, activation="relu", kernel_regularizer="l2")(i)
    x = tf.keras.layers.BatchNormalization()(x)
    inner = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(3), tf.keras.layers.Dropout(0.1)])
    x = tf.keras.layers.Concatenate()([inner(x), x])
    model = tf.keras.Model(i, tf.keras.layers.Dense(2, name="out")(x))
    model.compile(tf.keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    return model


MODEL = _make()
WEIGHTS = MODEL.get_weights()
LAYERS = ["Dense", "Lambda", "StringLookup", "TimeDistributed", "RNN", "Reshape", "Embedding", "Model", "Functional",
          "Sequential", "InputLayer", "__lambda__", "__numpy__", "__tensor__", "__keras_tensor__", "function", "TFSMLayer",
          "os.system", "get_file", "Conv2D", "Bidirectional", "__tuple__", "Adam", "MeanSquaredError", "Pipeline"]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.sampled_from([10**9, -1, 2**63, 10**30, 1e308, float("nan")]),
    st.sampled_from(LAYERS), st.text(max_size=5), st.lists(st.integers(-1, 10**6), max_size=3),
    st.sampled_from(["os", "builtins", "keras.layers", "keras.utils", "/etc/passwd", "../x", "fitloom.base"]),
    st.dictionaries(st.sampled_from(["class_name", "config", "module", "registered_name", "shape", "dtype", "name"]),
                    st.one_of(st.none(), st.sampled_from(LAYERS), st.dictionaries(st.text(max_size=3), st.integers(0, 3),
                                                                              max_size=2)), max_size=4))


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    """No file is opened by a path that the test did not give, and memory stays bounded."""
    opened, touched = builtins.open, []

    def watching(file, *args, **kwargs):
        if isinstance(file, str) and (file.startswith("/etc/passwd") or file in LAYERS):
            touched.append(file)
        return opened(file, *args, **kwargs)
    monkeypatch.setattr(builtins, "open", watching)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    yield
    assert not touched
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < LIMIT


def saved(name):
    stream = io.BytesIO()
    if name == "keras":
        MODEL.save(stream)
        return stream.getvalue()
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        MODEL.save(f"{folder}/m.h5") if name == "h5" else MODEL.save_weights(f"{folder}/m.weights.h5")
        with open(f"{folder}/m.h5" if name == "h5" else f"{folder}/m.weights.h5", "rb") as file:
            return file.read()


FILES = {name: saved(name) for name in ("keras", "h5", "weights.h5")}


def load_or_refuse(path):
    """Load a whole model; return it or None; anything but the two kinds of errors fails."""
    try:
        model = tf.keras.models.load_model(path)
    except ERRORS as error:
        assert str(error)
        return None
    except NotImplementedError:
        return None
    return model


def same_weights(model):
    found = model.get_weights()
    return len(found) == len(WEIGHTS) and all(np.array_equal(a, b) for a, b in zip(found, WEIGHTS))


def places(tree, path=()):
    """Every place in a configuration."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


def put(tree, path, value, remove):
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    if remove:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return tree


CONFIG = json.loads(zipfile.ZipFile(io.BytesIO(FILES["keras"])).read("config.json"))
PLACES = [path for path in places(CONFIG) if path]


@fuzzed
@given(st.lists(st.tuples(st.integers(0, len(PLACES) - 1), VALUES, st.booleans()), min_size=1, max_size=2))
def test_configurations(tmp_path_factory, edits):
    config = CONFIG
    for index, value, remove in edits:
        try:
            config = put(config, PLACES[index], value, remove)
        except (KeyError, IndexError, TypeError):
            continue
    folder = tmp_path_factory.getbasetemp()
    with zipfile.ZipFile(io.BytesIO(FILES["keras"])) as file:
        path = crafting.archive(folder / "c.keras", config, file.read("model.weights.h5"))
    load_or_refuse(path)
    with h5py.File(folder / "c.h5", "w") as file, h5py.File(io.BytesIO(FILES["h5"])) as source:
        source.copy("model_weights", file)
        file.attrs["model_config"] = json.dumps(config)
    load_or_refuse(folder / "c.h5")


@fuzzed
@given(st.data())
def test_bytes(tmp_path_factory, data):
    """Flip, cut and splice bytes: an error, or the weights that were saved."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[name])
    kind = data.draw(st.sampled_from(["bit", "byte", "cut", "splice", "zeros"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "bit":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "byte":
        content[at] = data.draw(st.integers(0, 255))
    elif kind == "cut":
        del content[at:]
    elif kind == "splice":
        start = data.draw(st.integers(0, len(content) - 1))
        content[at:at + 16] = content[start:start + 16]
    else:
        content[at:at + 64] = bytes(len(content[at:at + 64]))
    if bytes(content) == FILES[name]:
        return
    path = tmp_path_factory.getbasetemp() / f"b.{name}"
    path.write_bytes(content)
    model = MODEL
    if name == "weights.h5":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.load_weights(path)
        except ERRORS:
            pass
    else:
        model = load_or_refuse(path)
    assert model is None or same_weights(model)


ARRAYS = st.sampled_from([np.zeros((4, 3), "float32"), np.zeros((3,), "float32"), np.zeros((10**4,), "uint8"),
                          np.zeros((2, 2), "int64"), np.float64(1), np.zeros((0,), "float32"), np.array(["x"], "S1"),
                          np.zeros((4, 3), [("a", "f4")]), np.zeros((4, 3), bool), np.zeros((4, 3), "complex64")])


@fuzzed
@given(st.data())
def test_hdf5_structures(tmp_path_factory, data):
    """Groups, arrays, links and attributes that are not what they should be; no seal, as in files of Keras."""
    name = data.draw(st.sampled_from(["h5", "weights.h5"]))
    path = tmp_path_factory.getbasetemp() / f"s.{name}"
    path.write_bytes(FILES[name])
    with h5py.File(path, "a") as file:
        found = []
        file.visit(found.append)
        for _ in range(data.draw(st.integers(1, 3))):
            target = data.draw(st.sampled_from(found))
            edit = data.draw(st.integers(0, 9))
            try:
                if edit == 0:
                    del file[target]
                elif edit == 1:
                    value = data.draw(ARRAYS)
                    del file[target]
                    file[target] = value
                elif edit == 2:
                    del file[target]
                    file[target] = data.draw(st.sampled_from([h5py.SoftLink("/"), h5py.ExternalLink("/etc/passwd", "/")]))
                elif edit == 3:
                    del file[target]
                    file[target] = file[data.draw(st.sampled_from(found))]
                elif edit == 4:
                    file[f"{target}/extra"] = data.draw(ARRAYS)
                elif edit == 5:
                    file[target].attrs[data.draw(st.sampled_from(["layer_names", "weight_names", "name", "dtype",
                                                                  "fitloom_sha256"]))] = data.draw(
                        st.sampled_from([b"x", "y", 3, np.zeros(5), ["a", "b"], [b"../x"]]))
                elif edit == 6:
                    file.attrs[data.draw(st.sampled_from(["model_config", "training_config", "layer_names"]))] = data.draw(
                        st.sampled_from(["{}", "[", b"\xff", 3, np.zeros(3), "{\"class_name\": \"Dense\"}"]))
                elif edit == 7:
                    del file[target]
                    file.create_dataset(target, (10**data.draw(st.integers(1, 12)),), "float32", chunks=(1000,))
                elif edit == 8:
                    del file[target]
                    file.create_dataset(target, (4, 3), "float32", external=[("/etc/passwd", 0, 48)])
                else:
                    file.move(target, f"{target}_moved")
            except (KeyError, ValueError, RuntimeError, TypeError, OSError):
                continue
    before = MODEL.get_weights()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name == "h5":
                load_or_refuse(path)
            else:
                MODEL.load_weights(path)
    except ERRORS as error:
        assert str(error)
        assert all(np.array_equal(a, b) for a, b in zip(before, MODEL.get_weights()))
    MODEL.set_weights(WEIGHTS)
