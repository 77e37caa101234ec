# SPDX-License-Identifier: Apache-2.0
"""How fast are wide embeddings? 20,000 users, 5,000 items of width 32, 16 numbers, a small MLP, batch 256."""

import numpy as np

import harness
import learning

USERS, ITEMS, ROWS = 20_000, 5_000, 16_384


def arrays():
    rng = np.random.default_rng(0)
    x = [learning.class_numbers(rng, ROWS, USERS), learning.class_numbers(rng, ROWS, ITEMS)]
    return [*x, learning.normal(rng, ROWS, 16)], learning.class_numbers(rng, ROWS, 2)


def build_keras(keras):
    layers = keras.layers
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    numbers = keras.Input((16,))
    x = layers.Concatenate()([layers.Embedding(USERS, 32)(user), layers.Embedding(ITEMS, 32)(item), numbers])
    x = layers.Dense(64, activation="relu")(layers.Dense(128, activation="relu")(x))
    return keras.Model([user, item, numbers], layers.Dense(2)(x))


def build_torch(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = nn.Embedding(USERS, 32), nn.Embedding(ITEMS, 32)
            self.mlp = nn.Sequential(
                nn.Linear(80, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2)
            )

        def forward(self, user, item, numbers):
            return self.mlp(torch.cat([self.users(user), self.items(item), numbers], dim=-1))

    return Model()


PROBLEM = learning.Problem("recommender", __doc__, arrays, 256, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
