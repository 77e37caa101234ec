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
from tensorboard.plugins.hparams import api as hp
from keras.src.backend import get_keras_mask, numpy
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.ops import *
from keras.src.saving import serialization_lib
from keras.src.saving.saving_lib import load_model
from keras.src.utils.backend_utils import in_tf_graph
from tensorflow.python.client import device_lib
from tensorflow.python.eager import context
from tensorflow.python.framework import config, ops
from tensorflow.python.ops import gen_math_ops, math_ops
from tensorflow.python.util import nest

assert __name__ == "__main__"
assert tf is fitloom and keras is tf_keras is fitloom.keras and layers.Dense is Dense is Private
assert v1 is fitloom.compat.v1 and tf.__version__.startswith("2.")
assert tf.__spec__.name == "fitloom" and keras.__spec__.name == "fitloom.keras"
assert "fitloom" not in repr(of_tensorboard)
assert numpy.mean is keras.ops.mean and issubclass(keras.layers.Conv2D, BaseConv) and not in_tf_graph()
assert load_model is keras.src.saving.load_model is keras.saving.load_model and matmul is keras.ops.matmul
assert serialization_lib.deserialize_keras_object is keras.saving.deserialize_keras_object
assert math_ops.reduce_sum is tf.reduce_sum and gen_math_ops.add is tf.math.add and nest.flatten is tf.nest.flatten
assert ops.convert_to_tensor is tf.convert_to_tensor and device_lib.list_local_devices()[0].device_type
assert context.global_seed() is None and not config.is_op_determinism_enabled()
for line, said in [("import keras.src.nonsense", "public names"), ("import tensorflow.python.nonsense", "public names"),
                   ("from keras.src.layers import Nonsense", "cannot import name 'Nonsense'"),
                   ("from tensorflow.python.ops.math_ops import nonsense", "cannot import name 'nonsense'")]:
    try:
        exec(line)
    except ImportError as error:
        assert said in str(error), error
    else:
        raise AssertionError(line)
with tf.summary.create_file_writer(sys.argv[2]).as_default():
    assert hp.hparams({hp.HParam("units", hp.Discrete([4, 8])): 4})
fitloom.install_as_tensorflow()
sys.exit(int(sys.argv[1]))
"""


def test_a_script_of_tensorflow_runs_as_it_is(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, "-m", "fitloom", "run", str(script), "5", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr


def test_too_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    with pytest.raises(RuntimeError, match="'tensorflow' has been imported already.*before"):
        fitloom.install_as_tensorflow()
