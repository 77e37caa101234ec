# SPDX-License-Identifier: Apache-2.0
"""How fast do arrays in memory arrive? 60,000 x 784 float32, shuffle(all), batch(128), prefetch."""

import numpy as np

import harness
import pipelines

ROWS = 60_000


def arrays():
    rng = np.random.default_rng(0)
    return rng.random((ROWS, 784), dtype=np.float32), rng.integers(0, 10, ROWS)


def build(tf):
    return tf.data.Dataset.from_tensor_slices(arrays()).shuffle(ROWS).batch(128).prefetch(tf.data.AUTOTUNE)


def loader(torch):
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, arrays()))
    return torch.utils.data.DataLoader(data, batch_size=128, shuffle=True)


WORKLOAD = pipelines.workload("data_slices", __doc__, ROWS, build, loader)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
