# SPDX-License-Identifier: Apache-2.0
"""Files made by Keras on TensorFlow (`files/make_files.py`): layers of texts, which Keras on JAX cannot compute."""
from pathlib import Path

import numpy as np
import pytest

import fitloom as tf

FILES = Path(__file__).parent / "files"
EXPECTED = {"text": (["c b zz", "e"], [[2, 3, 1, 0], [4, 0, 0, 0]]), "look": ([["x"], ["q"]], [[2], [0]]),
            "ints": ([[7], [4]], [[0, 0, 1], [1, 0, 0]]), "hash": ([["x"], ["q"]], None)}


@pytest.mark.filterwarnings("ignore:.*text:UserWarning", "ignore:Layer 'text'")
@pytest.mark.parametrize("name", EXPECTED)
def test_texts(name, tmp_path):
    data, expected = EXPECTED[name]
    data = tf.constant(data, dtype="int64" if name == "ints" else None)
    model = tf.keras.models.load_model(FILES / f"{name}.keras")
    found = np.asarray(model(data))
    if expected is None:
        expected = np.asarray(tf.keras.layers.Hashing(7)(data))
    np.testing.assert_array_equal(found, expected)
    model.save(tmp_path / "again.keras")
    np.testing.assert_array_equal(np.asarray(tf.keras.models.load_model(tmp_path / "again.keras")(data)), expected)
