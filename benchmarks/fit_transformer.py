# SPDX-License-Identifier: Apache-2.0
"""How fast is attention? Two encoder blocks of width 128 with 4 heads, 64 tokens, batch 32."""

import numpy as np

import harness
import learning


def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 1000, (1024, 64)).astype("int32"), rng.integers(0, 10, 1024).astype("int32")


def build_keras(keras):
    layers = keras.layers
    inputs = keras.Input((64,), dtype="int32")
    x = layers.Embedding(1000, 128)(inputs)
    for _ in range(2):
        x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(4, 32)(x, x)]))
        y = layers.Dense(128)(layers.Dense(512, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def build_torch(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(1000, 128), nn.Linear(128, 10)
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, activation="gelu", batch_first=True)
                for _ in range(2)
            )

        def forward(self, tokens):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(dim=1))

    return Model()


PROBLEM = learning.Problem("transformer", __doc__, arrays, 32, build_keras, build_torch)

if __name__ == "__main__":
    harness.main(learning.fit(PROBLEM), __file__)
