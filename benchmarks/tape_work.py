# SPDX-License-Identifier: Apache-2.0
"""What the tape loops train: sizes, batches and first weights, the same for every library."""
import numpy as np

SIZES = {
    "tiny": ([20, 64, 3], 32, 256),
    "mlp": ([784, 512, 512, 10], 128, 24),
    "many": ([32] * 61 + [10], 32, 32),
}


def data(dims, batch, steps):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(batch, dims[0])).astype("float32"), rng.integers(0, dims[-1], batch).astype("int32"))
            for _ in range(steps)]


def initial(dims, normalize):
    rng, weights = np.random.default_rng(1), []
    for k, (rows, columns) in enumerate(zip(dims[:-1], dims[1:])):
        limit = np.sqrt(6 / (rows + columns))
        weights.append([rng.uniform(-limit, limit, (rows, columns)).astype("float32"), np.zeros(columns, "float32")])
        if normalize and k < len(dims) - 2:
            weights[-1] += [np.ones(columns, "float32"), np.zeros(columns, "float32")]
    return weights
