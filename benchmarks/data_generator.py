# SPDX-License-Identifier: Apache-2.0
"""How fast does a Python generator arrive? 5,000 pairs of (784,) float32 and an int, batch(128)."""

import numpy as np

import harness
import pipelines

ROWS = 5_000


def build(tf):
    rng = np.random.default_rng(0)
    x, y = rng.random((ROWS, 784), dtype=np.float32), rng.integers(0, 10, ROWS)

    def pairs():
        yield from zip(x, y)

    signature = tf.TensorSpec((784,), tf.float32), tf.TensorSpec((), tf.int64)
    return tf.data.Dataset.from_generator(pairs, output_signature=signature).batch(128)


WORKLOAD = pipelines.workload("data_generator", __doc__, ROWS, build)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
