# SPDX-License-Identifier: Apache-2.0
import io
import pickle
import struct

import numpy as np
import pytest

from fitloom.datasets.stored import read_npz, read_pickle


class Payload:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def refused(value, words=""):
    with pytest.raises(ValueError, match=f"'x' is not a data set that can be read.*{words}"):
        read_pickle(io.BytesIO(value if isinstance(value, bytes) else pickle.dumps(value)), "x")


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_and_plain_values(protocol, rng):
    numbers = rng.integers(0, 255, (5, 7)).astype(np.uint8)
    value = {b"data": numbers, b"labels": [1, 2, 3], b"turned": np.asfortranarray(numbers), "n": 7}
    stored = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), "x")
    np.testing.assert_array_equal(stored["data"], numbers)
    np.testing.assert_array_equal(stored["turned"], numbers)
    assert stored["labels"] == [1, 2, 3] and stored["n"] == 7


def test_python_2_pickle():
    # As CIFAR's batches are: protocol 2, byte strings, numpy.core.
    stream = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x06\x01\x02\x03\x04\x05\x06tbU\x06labels]q\x00(K\x07K\x08eu."
    )
    stored = read_pickle(io.BytesIO(stream), "x")
    np.testing.assert_array_equal(stored["data"], [[1, 2, 3], [4, 5, 6]])
    assert stored["labels"] == [7, 8]


def test_ragged_npz_equals_numpys_reading(tmp_path):
    ragged = np.empty(3, dtype=object)
    ragged[:] = [[1, 2], [], [3, 4, 5]]
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=ragged, y=np.arange(3))
    ours = read_npz(path)
    assert ours["x"].dtype == object and ours["x"].shape == (3,)
    assert list(ours["x"]) == [[1, 2], [], [3, 4, 5]]
    np.testing.assert_array_equal(ours["y"], np.arange(3))


def test_nothing_is_called(tmp_path):
    marker = tmp_path / "called"
    refused(Payload(open, str(marker), "w"), "it names 'io.open'")
    refused(Payload(eval, f"open({str(marker)!r}, 'w')"), "it names 'builtins.eval'")
    refused({"data": [Payload(np.fromfile, "x")]}, "it names 'numpy")
    assert not marker.exists()


def test_dtype_cannot_be_talked_into_pointers():
    # An object array whose elements are given as bytes would be an array of raw addresses.
    from fitloom.datasets.stored import _StoredArray, _StoredDtype

    stored = _StoredArray()
    stored.__setstate__((1, (1,), _StoredDtype("O8"), False, struct.pack("P", 0x41414141)))
    with pytest.raises(ValueError, match="for the dtype 'O8'"):
        stored.array()
    stored.__setstate__((1, (2,), _StoredDtype("O8"), False, [[1]]))
    with pytest.raises(ValueError, match="1 elements"):
        stored.array()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_damaged_pickles(cut):
    stream = pickle.dumps({b"data": np.arange(4, dtype=np.uint8), b"labels": [1]}, 3)
    refused(stream[:-cut] if cut < len(stream) else b"")
