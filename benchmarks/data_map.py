# SPDX-License-Identifier: Apache-2.0
"""How fast is a function on each element? 60,000 x 784 uint8, shuffle(all), normalise and one-hot, batch(128)."""

import numpy as np

import harness
import pipelines

ROWS = 60_000


def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (ROWS, 784), dtype=np.uint8), rng.integers(0, 10, ROWS)


def build(tf):
    def prepare(x, y):
        return tf.cast(x, tf.float32) / 255.0, tf.one_hot(y, 10)

    dataset = tf.data.Dataset.from_tensor_slices(arrays()).shuffle(ROWS)
    return dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(128).prefetch(tf.data.AUTOTUNE)


def loader(torch):
    x, y = arrays()

    class Prepared(torch.utils.data.Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, i):
            return torch.from_numpy(x[i]).float() / 255.0, torch.nn.functional.one_hot(torch.tensor(y[i]), 10)

    return torch.utils.data.DataLoader(Prepared(), batch_size=128, shuffle=True, num_workers=2)


WORKLOAD = pipelines.workload("data_map", __doc__, ROWS, build, loader)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
