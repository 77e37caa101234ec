# SPDX-License-Identifier: Apache-2.0
"""One crafted file for each published way to make Keras run, read or allocate what a model file must not (2024-2026)."""
import base64
import builtins
import io
import marshal
import os
import resource
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import fitloom as tf
from fitloom.base import serialization
from security.crafting import archive, function, functional, layer, legacy, sequential, weights_bytes

load = tf.keras.models.load_model
REFUSED = (ValueError, TypeError)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    """Fails the test if a process is started, the network touched, or a file opened that the test did not make."""
    secret = tmp_path / "secret.txt"
    secret.write_text("top\nsecret\n")
    touched = []
    opened = builtins.open

    def watched(file, mode="r", *args, **kwargs):
        if isinstance(file, (str, os.PathLike)) and ("secret" in str(file) or str(file) == "/etc/passwd"):
            touched.append(str(file))
        return opened(file, mode, *args, **kwargs)

    def forbidden(*args, **kwargs):
        touched.append(repr(args))
        raise AssertionError("the canary was touched")
    monkeypatch.setattr(builtins, "open", watched)
    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen"), (socket, "create_connection")):
        monkeypatch.setattr(module, name, forbidden)
    before = serialization.in_safe_mode(), set(sys.modules)
    yield secret
    assert not touched
    assert serialization.in_safe_mode() == before[0]
    assert not {name for name in set(sys.modules) - before[1] if name.split(".")[0] in ("antigravity", "torch", "this")}
    assert not (tmp_path.parent / "evil.txt").exists() and not Path("/tmp/fitloom_evil").exists()


def byte_code():
    code = compile("open('/tmp/fitloom_evil', 'w')", "x", "eval")
    return base64.b64encode(marshal.dumps(code)).decode()


def lambda_layer():
    return layer("Lambda", function={"class_name": "__lambda__", "config": {
        "code": byte_code(), "value": [byte_code(), None, None], "defaults": None, "closure": None}}, arguments={})


def test_cve_2024_3660_byte_code(tmp_path):
    with pytest.raises(ValueError, match="safe_mode=False"):
        load(archive(tmp_path / "m.keras", sequential(lambda_layer())))
    for mode in (None, True):
        with pytest.raises(ValueError, match="safe_mode=False"):
            load(archive(tmp_path / "m.keras", sequential(lambda_layer())), safe_mode=mode)


def test_cve_2024_3660_byte_code_by_other_doors():
    config = lambda_layer()
    for door in (lambda: tf.keras.layers.deserialize(config), lambda: tf.keras.layers.Lambda.from_config(config["config"]),
                 lambda: tf.keras.Sequential.from_config(sequential(config)["config"]),
                 lambda: tf.keras.models.model_from_json(__import__("json").dumps(sequential(config)))):
        with pytest.raises(REFUSED, match="safe_mode"):
            door()


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_cve_2025_9905_byte_code_in_h5(tmp_path, suffix):
    old = {"class_name": "Lambda", "config": {"name": "l", "function": [byte_code(), None, None],
                                              "function_type": "lambda", "output_shape": None, "arguments": {}}}
    for one in (lambda_layer(), old):
        with pytest.raises(REFUSED, match="lambda|Lambda|safe_mode"):
            load(legacy(tmp_path / f"m.{suffix}", sequential(one)))


@pytest.mark.parametrize("module, name", [("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
                                          ("antigravity", "fly_id"), ("keras.src.utils.file_utils", "os.system")])
def test_cve_2025_1550_any_module(tmp_path, module, name):
    for config in (sequential({"module": module, "class_name": name, "config": {"args": "id"}, "registered_name": name}),
                   sequential(layer("Lambda", function=function(module, name), arguments={})),
                   sequential(layer("Dense", units=2, activation=function(module, name))),
                   functional(layer("Lambda", function=function(module, name), name="x"), {"command": "id"})):
        with pytest.raises(REFUSED):
            load(archive(tmp_path / "m.keras", config))
        with pytest.raises(REFUSED):
            load(legacy(tmp_path / "m.h5", config))


@pytest.mark.parametrize("module, name, arguments", [
    ("keras.utils", "get_file", {"origin": "http://127.0.0.1:9/x", "extract": True}),                 # CVE-2025-8747
    ("keras.config", "enable_unsafe_deserialization", {}),                                            # CVE-2025-9906
    ("keras.src.backend.common.global_state", "set_global_attribute", {"value": False}),              # CVE-2025-9906
    ("keras.models", "load_model", {"safe_mode": False}),                                             # CVE-2025-9906
    ("keras.saving", "deserialize_keras_object", {"safe_mode": False}),
    ("keras.utils", "load_img", {}), ("keras.datasets.mnist", "load_data", {}), ("keras.saving", "save_model", {}),
    ("fitloom.io", "read_file", {}), ("fitloom.base.serialization", "load_function", {}),
    ("keras.config", "set_floatx", {}), ("keras.utils", "set_random_seed", {})])
def test_functions_that_no_model_needs(tmp_path, module, name, arguments):
    floatx = tf.keras.config.floatx()
    for where in (module, module.replace("keras", "keras.src"), "builtins", None, "keras.activations", "fitloom"):
        target = function(where, name)
        for config in (sequential(layer("Lambda", function=target, arguments=arguments)),
                       sequential(layer("Dense", units=2, activation=target)),
                       sequential({"module": where, "class_name": name, "config": arguments, "registered_name": name}),
                       functional(layer("Lambda", function=target, arguments=arguments, name="x"), {"inputs": "x"}, [])):
            with pytest.raises(REFUSED):
                load(archive(tmp_path / "m.keras", config))
        with pytest.raises(REFUSED):
            load(archive(tmp_path / "m.keras", {**sequential(layer("Dense", units=2)), "compile_config": {
                "optimizer": "sgd", "loss": target, "metrics": [target]}}))
    assert tf.keras.config.floatx() == floatx


@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_cve_2025_12058_vocabulary_files(tmp_path, canary, name):
    for path in (str(canary), "/etc/passwd", "http://127.0.0.1:9/x", "gs://bucket/x", f"file://{canary}"):
        for config in (layer(name, vocabulary=path), layer(name, vocabulary=path, invert=False)):
            with pytest.raises(REFUSED):
                load(archive(tmp_path / "m.keras", sequential(config)))
            with pytest.raises(REFUSED):
                load(legacy(tmp_path / "m.h5", sequential(config)))


def test_cve_2025_49655_torch_pickles(tmp_path):
    with pytest.raises(REFUSED, match="TorchModuleWrapper"):
        load(archive(tmp_path / "m.keras", sequential(layer("TorchModuleWrapper", module={
            "class_name": "__bytes__", "config": {"value": "x"}}))))


def test_cve_2026_1462_saved_models(tmp_path, canary):
    with pytest.raises(REFUSED, match="TFSMLayer"):
        load(archive(tmp_path / "m.keras", sequential(layer("TFSMLayer", filepath=str(canary.parent),
                                                            call_endpoint="serve"))))


DENSE = sequential(layer("Dense", units=4))
ARRAYS = {"layers/dense/vars/0": np.zeros((3, 4), "float32"), "layers/dense/vars/1": np.zeros(4, "float32")}


def both(tmp_path, edit, arrays=ARRAYS):
    """Load weights with an edit, as a `.keras` file and into a model; both must be refused."""
    content = weights_bytes(arrays, edit)
    with pytest.raises(ValueError) as one:
        load(archive(tmp_path / "m.keras", DENSE, content))
    (tmp_path / "m.weights.h5").write_bytes(content)
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4)])
    before = model.get_weights()
    with pytest.raises(ValueError) as two:
        model.load_weights(tmp_path / "m.weights.h5")
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    return str(one.value) + str(two.value)


def test_the_file_without_harm_loads(tmp_path):
    assert load(archive(tmp_path / "m.keras", DENSE, weights_bytes(ARRAYS))).get_weights()[0].sum() == 0


def test_cve_2026_1669_external_storage(tmp_path, canary):
    def edit(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_dataset("1", (4,), "float32", external=[(str(canary), 0, 16)])
    assert "stored in another file" in both(tmp_path, edit)


def test_hdf5_external_links(tmp_path, canary):
    other = tmp_path / "secret.h5"
    other.write_bytes(weights_bytes({"x": np.ones(4, "float32")}))

    def edit(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = h5py.ExternalLink(str(other), "/x")
    assert "link" in both(tmp_path, edit)

    def group(file):
        del file["layers/dense"]
        file["layers/dense"] = h5py.ExternalLink(str(other), "/")
    assert "link" in both(tmp_path, group)


def test_hdf5_soft_links(tmp_path):
    def edit(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = h5py.SoftLink("/layers/dense/vars/0")
    assert "link" in both(tmp_path, edit)


def test_hdf5_virtual_datasets(tmp_path, canary):
    other = tmp_path / "secret.h5"
    other.write_bytes(weights_bytes({"x": np.ones(4, "float32")}))

    def edit(file):
        layout = h5py.VirtualLayout((4,), "float32")
        layout[:] = h5py.VirtualSource(str(other), "x", (4,))
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_virtual_dataset("1", layout)
    assert "virtual" in both(tmp_path, edit)


def test_hdf5_references_strings_and_loops(tmp_path):
    def reference(file):
        file["layers/dense/vars/2"] = np.array([file["layers"].ref], h5py.ref_dtype)
    assert "refused" in both(tmp_path, reference)

    def strings(file):
        file["layers/dense/vars/2"] = np.array(["x"], h5py.string_dtype())
    assert "refused" in both(tmp_path, strings)

    def loop(file):
        file["layers/dense/again"] = file["layers"]
    assert "linked twice" in both(tmp_path, loop)

    def deep(file):
        file.create_group("/".join("a" * 300))
    assert "levels deep" in both(tmp_path, deep)


def test_cve_2026_0897_shape_bombs(tmp_path):
    def empty_chunks(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_dataset("1", (10**12,), "float32", chunks=(1024,))
    assert "declares" in both(tmp_path, empty_chunks)

    def large_chunk(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_dataset("1", (4,), "float32", chunks=(10**8,), maxshape=(None,))
    both(tmp_path, large_chunk)

    def never_written(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars"].create_dataset("1", (10**9,), "float32")
    assert "of which 0 are in the file" in both(tmp_path, never_written)


def test_configuration_larger_than_the_file(tmp_path):
    limit_memory_growth = memory()
    for config in (layer("Dense", units=10**9), layer("Embedding", input_dim=10**9, output_dim=10**3),
                   layer("LSTM", units=10**6), layer("Conv1D", filters=10**6, kernel_size=10**6),
                   layer("Dense", units=10**9, kernel_initializer="zeros")):
        shape = [None, 3, 3] if config["class_name"] in ("LSTM", "Conv1D") else [None, 3]
        model = sequential(config)
        model["config"]["layers"][0]["config"]["batch_shape"] = shape
        with pytest.raises(ValueError):
            load(archive(tmp_path / "m.keras", model))
        with pytest.raises(ValueError):
            load(legacy(tmp_path / "m.h5", model))
    assert memory() - limit_memory_growth < 100 * 2**20


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_zip_bombs(tmp_path):
    before = memory()
    zeros = b" " * 200_000_000
    with pytest.raises(ValueError, match="decompresses to more"):
        load(archive(tmp_path / "m.keras", zeros, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="decompresses to more"):
        load(archive(tmp_path / "m.keras", DENSE, zeros, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="decompresses to more"):
        load(archive(tmp_path / "m.keras", DENSE, weights_bytes(ARRAYS), [("assets/x/vocabulary.txt", zeros)],
                     compression=zipfile.ZIP_DEFLATED))
    assert memory() - before < 700 * 2**20      # the test's own zeros among them


def test_deeply_nested_json(tmp_path):
    with pytest.raises(ValueError):
        load(archive(tmp_path / "m.keras", "[" * 200_000 + "]" * 200_000))
    config = layer("Dense", units=2)
    for _ in range(400):
        config = layer("TimeDistributed", layer=config)
    with pytest.raises(REFUSED):
        load(archive(tmp_path / "m.keras", sequential(config)))


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/fitloom_evil", "assets/../../evil.txt", "assets/x/../../../evil.txt",
                                  "evil.py", "assets/..\\evil.txt", "config.json/x", "model.weights.npz"])
def test_members_that_leave_the_archive(tmp_path, name):
    with pytest.raises(ValueError, match="not part of the"):
        load(archive(tmp_path / "m.keras", DENSE, weights_bytes(ARRAYS), [(name, b"x")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        load(archive(tmp_path / "m.keras", DENSE, weights_bytes(ARRAYS), [("config.json", b"{}")]))


def test_texts_that_ask_for_gigabytes(tmp_path):
    """Many references to one long text of the global heap."""
    path, count = tmp_path / "m.h5", 3000
    legacy(path, sequential(layer("Dense", units=2)))
    with h5py.File(path, "a") as file:
        names = file["model_weights"]
        del names.attrs["layer_names"]
        names.attrs.create("layer_names", np.array(["x" * 1_000_000] + ["y"] * (count - 1), object),
                           dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    reference = (1_000_000).to_bytes(4, "little")
    at = next(k for k in range(len(content)) if content[k:k + 4] == reference and content[k + 16:k + 20] == b"\1\0\0\0")
    for k in range(1, count):           # all point to the long one
        content[at + 16 * k:at + 16 * k + 16] = content[at:at + 16]
    path.write_bytes(content)
    before = memory()
    with pytest.raises(ValueError, match="longer than the file"):
        load(path)
    assert memory() - before < 100 * 2**20


@pytest.mark.parametrize("kind", ["traversal", "link", "hardlink", "absolute"])
def test_cve_2024_55459_and_2025_12060_extraction(tmp_path, kind):
    """get_file(extract=True) writes nothing outside its folder and follows no links."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        entry = tarfile.TarInfo({"traversal": "../../evil.txt", "absolute": "/tmp/fitloom_evil"}.get(kind, "inside"))
        if kind == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, str(tmp_path.parent)
            file.addfile(entry)
            entry = tarfile.TarInfo("inside/evil.txt")
        elif kind == "hardlink":
            entry.type, entry.linkname = tarfile.LNKTYPE, "../../secret.txt"
        entry.size = 4 if entry.isreg() else 0
        file.addfile(entry, io.BytesIO(b"evil"))
    try:
        tf.keras.utils.get_file("a.tar", f"file://{path}", cache_dir=tmp_path / "cache", extract=True)
    except (ValueError, OSError):
        pass        # links may be left out without a word
    assert not [name for _, _, names in os.walk(tmp_path / "cache") for name in names if name == "secret.txt"]
    assert not (tmp_path.parent / "evil.txt").exists()


def test_custom_objects_of_the_caller_load(tmp_path):
    class Mine(tf.keras.layers.Layer):
        def call(self, x):
            return x * 2.0
    path = archive(tmp_path / "m.keras", sequential(layer("Mine", module="builtins")))
    with pytest.raises(TypeError, match="Mine"):
        load(path)
    assert load(path, custom_objects={"Mine": Mine}).predict(np.ones((1, 3)), verbose=0)[0, 0] == 2


def test_byte_code_of_the_caller_loads_when_said(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Lambda(lambda x: x * 2.0)])
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        with pytest.raises(ValueError, match="safe_mode=False"):
            load(tmp_path / name)
        assert load(tmp_path / name, safe_mode=False).predict(np.ones((1, 3)), verbose=0)[0, 0] == 2


def test_byte_code_of_the_caller_loads_when_enabled(tmp_path):
    tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Lambda(lambda x: x * 2.0)]).save(tmp_path / "m.keras")
    with serialization.SafeModeScope(None):
        tf.keras.config.enable_unsafe_deserialization()
        assert load(tmp_path / "m.keras").predict(np.ones((1, 3)), verbose=0)[0, 0] == 2
    with pytest.raises(ValueError, match="safe_mode=False"):
        load(tmp_path / "m.keras")
