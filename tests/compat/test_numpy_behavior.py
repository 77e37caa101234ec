# SPDX-License-Identifier: Apache-2.0
"""tf.experimental.numpy.experimental_enable_numpy_behavior, in a process of its own: it changes all tensors."""
import subprocess
import sys

SCRIPT = """
import numpy as np
import fitloom as tf
import fitloom.experimental.numpy as tnp
tnp.experimental_enable_numpy_behavior()
assert (tf.constant([1]) + tf.constant([0.5])).dtype == tf.float64
assert (tf.constant([1], tf.int64) * tf.constant([1], tf.int32)).dtype == tf.int64
assert (tf.constant([1]) + 0.5).dtype == tf.float64
x = tnp.arange(24).reshape(2, 3, 4)
want = np.arange(24).reshape(2, 3, 4)
assert x[:, (True, False, True)].numpy().tolist() == want[:, (True, False, True)].tolist()
assert x[1, (0, 0, 1), tnp.asarray([0, 1, 1])].numpy().tolist() == want[1, (0, 0, 1), [0, 1, 1]].tolist()
assert float(np.sum(tf.ones([2, 3]))) == 6
tnp.experimental_enable_numpy_behavior(prefer_float32=True)
assert (tf.constant([1]) + tf.constant([0.5])).dtype == tf.float32
"""


def test_promotion_indexing_and_reductions():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
