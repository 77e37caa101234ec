# SPDX-License-Identifier: Apache-2.0
"""Text in, label out: a vocabulary, an embedding, a transformer block. Is a remark about the weather praise?"""

import numpy as np

import fitloom as tf

LENGTH, WIDTH = 16, 32
TARGET_ACCURACY = 0.95


def sentences(count, rng):
    """Return sentences and labels. "not" turns the word after it, so that counting words is not enough."""
    good, bad = ["bright", "lovely", "warm", "splendid"], ["awful", "cold", "dreary", "dismal"]
    filler = ["the", "sky", "was", "today", "and", "over", "our", "town", "again", "morning"]
    texts, labels = [], np.zeros(count, "float32")
    for row in range(count):
        label, negated = rng.integers(2), rng.integers(2)
        word = rng.choice(good if label != negated else bad)
        before, after = rng.choice(filler, rng.integers(2, 6)), rng.choice(filler, rng.integers(1, 6))
        words = [*before, *["not"] * negated, word, *after]
        # The same "not" somewhere else, before a word that it does not turn.
        if rng.integers(2):
            words = ["not", "here", *words]
        texts.append(" ".join(words))
        labels[row] = label
    return np.array(texts), labels


class Block(tf.keras.layers.Layer):
    """Attention over the words, then two dense layers on each; both with a residual connection."""

    def __init__(self, width, heads=2, **kwargs):
        super().__init__(**kwargs)
        layers = tf.keras.layers
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.dense = tf.keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.supports_masking = True

    def call(self, x):
        before = self.norms[0](x)
        x = x + self.attention(before, before)  # padding is masked: the embedding says which words are none
        return x + self.dense(self.norms[1](x))


class Positions(tf.keras.layers.Layer):
    """Add a learned vector for each place in the sentence."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="uniform", name="table")
        self.supports_masking = True

    def call(self, x):
        return x + self.table


def main():
    tf.keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    x_train, y_train = sentences(2000, rng)
    x_test, y_test = sentences(500, rng)
    print(x_train[0], "->", y_train[0])

    vectorize = tf.keras.layers.TextVectorization(output_sequence_length=LENGTH)
    vectorize.adapt(x_train)
    print("vocabulary:", vectorize.get_vocabulary()[:8], "...", vectorize.vocabulary_size(), "words")

    tokens = tf.keras.Input((LENGTH,), dtype="int64")
    x = tf.keras.layers.Embedding(vectorize.vocabulary_size(), WIDTH, mask_zero=True)(tokens)
    x = Block(WIDTH)(Positions()(x))
    x = tf.keras.layers.GlobalAveragePooling1D()(x)
    model = tf.keras.Model(tokens, tf.keras.layers.Dense(1, activation="sigmoid")(x))
    model.summary()
    model.compile(tf.keras.optimizers.AdamW(3e-3), "binary_crossentropy", metrics=["accuracy"])

    train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train)).map(
        lambda text, label: (vectorize(text), label)
    )
    train_dataset = train_dataset.cache().shuffle(2000).batch(64).prefetch(tf.data.AUTOTUNE)
    model.fit(train_dataset, epochs=5, validation_data=(vectorize(x_test), y_test), verbose=2)

    # One model that takes text, to save and to use.
    text = tf.keras.Input((), dtype="string")
    complete = tf.keras.Model(text, model(vectorize(text)))
    mine = ["today was not bright", "the sky was not dismal", "a lovely morning"]
    for sentence, (praise,) in zip(mine, complete.predict(tf.constant(mine), verbose=0)):
        print(f"{praise:4.0%} praise: {sentence}")

    accuracy = model.evaluate(vectorize(x_test), y_test, verbose=0, return_dict=True)["accuracy"]
    assert accuracy >= TARGET_ACCURACY, f"expected at least {TARGET_ACCURACY:.0%}, got {accuracy:.2%}"


if __name__ == "__main__":
    main()
