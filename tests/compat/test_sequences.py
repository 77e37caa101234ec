# SPDX-License-Identifier: Apache-2.0
"""Encoder, attention, decoder: built by their first call inside a tf.function, under a tape."""
import fitloom as tf


class Encoder(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.gru = tf.keras.layers.GRU(4, return_sequences=True, return_state=True)

    def call(self, x, hidden):
        return self.gru(x, initial_state=hidden)


class Attention(tf.keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = tf.keras.layers.Dense(3)

    def call(self, query, values):
        return tf.reduce_sum(self.inner(tf.expand_dims(query, 1)) + tf.reduce_mean(values), axis=1)


class Decoder(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.out = tf.keras.layers.Dense(2)

    def call(self, hidden, encoded):
        return self.out(self.attention(hidden, encoded))


def test_layers_built_inside_a_compiled_step():
    encoder, decoder, optimizer = Encoder(), Decoder(), tf.keras.optimizers.SGD(0.1)

    @tf.function
    def step(x, hidden):
        with tf.GradientTape() as tape:
            encoded, hidden = encoder(x, hidden)
            loss = tf.reduce_mean(decoder(hidden, encoded) ** 2)
        variables = encoder.trainable_variables + decoder.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss
    x = tf.ones([2, 3, 2])
    losses = [float(step(x, tf.zeros([2, 4]))) for _ in range(5)]
    assert losses[-1] < losses[0]
