# SPDX-License-Identifier: Apache-2.0
"""safetensors files: weights in and out, against the `safetensors` package, and damaged ones."""
import ml_dtypes
import numpy as np
import pytest

import fitloom as tf
from fitloom.saving import safetensors_files

keras = tf.keras


def model(units=3):
    inner = keras.Sequential([keras.Input((units,)), keras.layers.Dense(2)])
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units), keras.layers.BatchNormalization(), inner,
                             keras.layers.Dense(1)])


def test_weights_there_and_back(tmp_path):
    first, second, path = model(), model(), tmp_path / "w.safetensors"
    first.save_weights(path)
    second.load_weights(path)
    for left, right in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    names = set(safetensors_files.load_file(path))
    assert {"layers/dense/kernel", "layers/dense_1/bias", "layers/batch_normalization/gamma"} <= names
    with pytest.raises(ValueError, match=r"layers/dense/kernel +\(4, 3\) float32 +\(4, 5\) float32"):
        model(5).load_weights(path)
    with pytest.warns(UserWarning, match="does not fit"):
        model(5).load_weights(path, skip_mismatch=True)


def test_the_format_is_that_of_the_package(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True), "empty": np.zeros((0, 2), np.int8),
              "wide": np.arange(3, dtype=np.uint64), "odd": np.arange(3, dtype=np.uint8)}
    safetensors_files.save_file(arrays, tmp_path / "ours", {"k": "v"})
    package.save_file(arrays, tmp_path / "theirs")
    for found in (package.load_file(tmp_path / "ours"), safetensors_files.load_file(tmp_path / "theirs")):
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].shape == array.shape
    safetensors_files.save_file({"h": np.ones(2, ml_dtypes.bfloat16)}, tmp_path / "half")
    assert safetensors_files.load_file(tmp_path / "half")["h"].dtype == ml_dtypes.bfloat16
    with pytest.raises(TypeError, match="complex128"):
        safetensors_files.save_file({"c": np.ones(2, complex)}, tmp_path / "c")


@pytest.mark.parametrize("table", [
    b"", b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
    b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 4]}}',
    (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
    b'"b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', b"[" * 100_000])
def test_files_that_make_no_sense(tmp_path, table):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(table).to_bytes(8, "little") + table + b"\0" * 4)
    with pytest.raises(tf.errors.DataLossError):
        safetensors_files.load_file(path)
    path.write_bytes((1 << 60).to_bytes(8, "little") + table)
    with pytest.raises(tf.errors.DataLossError, match="longer than the file"):
        safetensors_files.load_file(path)
