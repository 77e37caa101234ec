# SPDX-License-Identifier: Apache-2.0
"""How fast does a small data set come round again? 2,000 x 20 float32, shuffle(1000), batch(32), repeat."""

import numpy as np

import harness
import pipelines

ROWS, BATCHES = 2_000, 2_000


def build(tf):
    rng = np.random.default_rng(0)
    arrays = rng.random((ROWS, 20), dtype=np.float32), rng.integers(0, 2, ROWS)
    return tf.data.Dataset.from_tensor_slices(arrays).shuffle(1000).repeat().batch(32).take(BATCHES)


WORKLOAD = pipelines.workload("data_repeat", __doc__, 32 * BATCHES, build)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
