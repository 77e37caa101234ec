# SPDX-License-Identifier: Apache-2.0
"""How fast is a GRU that reads and one that writes? 24 tokens of 1,000, 128 units, batch 64."""

import numpy as np

import harness
import learning

TOKENS, STEPS, UNITS, ROWS = 1000, 24, 128, 2048


def arrays():
    rng = np.random.default_rng(0)
    return [learning.class_numbers(rng, (ROWS, STEPS), TOKENS) for _ in range(2)], learning.class_numbers(
        rng, (ROWS, STEPS), TOKENS
    )


def build_keras(keras):
    layers = keras.layers
    source, target = keras.Input((STEPS,), dtype="int32"), keras.Input((STEPS,), dtype="int32")
    _, state = layers.GRU(UNITS, return_state=True)(layers.Embedding(TOKENS, 64)(source))
    x = layers.GRU(UNITS, return_sequences=True)(layers.Embedding(TOKENS, 64)(target), initial_state=state)
    return keras.Model([source, target], layers.Dense(TOKENS)(x))


def build_torch(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(TOKENS, 64), nn.Embedding(TOKENS, 64)
            self.reader = nn.GRU(64, UNITS, batch_first=True)
            self.writer = nn.GRU(64, UNITS, batch_first=True)
            self.head = nn.Linear(UNITS, TOKENS)

        def forward(self, source, target):
            _, state = self.reader(self.source(source))
            outputs, _ = self.writer(self.target(target), state)
            return self.head(outputs)

    return Model()


PROBLEM = learning.Problem("seq2seq", __doc__, arrays, 64, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
