# SPDX-License-Identifier: Apache-2.0
"""Scripts that import TensorFlow and Keras run as they are: `python -m fitloom run`, `install_as_tensorflow`."""
import subprocess
import sys

import pytest

import fitloom

SCRIPT = """
import sys
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K, layers
from tensorflow.keras.applications.resnet50 import preprocess_input
from tensorflow.keras.layers import Dense
from tensorflow.python.keras.layers import Dense as Private
import tensorflow.compat.v1 as v1
import keras.ops
import tf_keras
import numpy as np
import fitloom
from tensorboard.compat import tf as of_tensorboard

assert __name__ == "__main__"
assert tf is fitloom and keras is tf_keras is fitloom.keras and layers.Dense is Dense is Private
assert v1 is fitloom.compat.v1 and tf.__version__.startswith("2.")
assert tf.__spec__.name == "fitloom" and keras.__spec__.name == "fitloom.keras"
assert "fitloom" not in repr(of_tensorboard)
try:
    import keras.src.layers
except ModuleNotFoundError as error:
    assert "public names" in str(error) and error.name == "keras.src", error
else:
    raise AssertionError("keras.src")
fitloom.install_as_tensorflow()
sys.exit(int(sys.argv[1]))
"""


def test_a_script_of_tensorflow_runs_as_it_is(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, "-m", "fitloom", "run", str(script), "5"], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr


def test_too_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    with pytest.raises(RuntimeError, match="'tensorflow' has been imported already.*before"):
        fitloom.install_as_tensorflow()
