# SPDX-License-Identifier: Apache-2.0
"""A step of your own inside `fit`: a variational autoencoder that overrides `train_step` and `test_step`."""

import fitloom as tf

CODES = 8
TARGET_LOSS = 24.0  # nats a scan; about 31 for a model that only knows the mean of all scans


class VAE(tf.keras.Model):
    """Encode a scan as a normal distribution of codes, and decode a code drawn from it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        layers = tf.keras.layers
        self.encoder = tf.keras.Sequential(
            [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(2 * CODES)], name="encoder"
        )
        self.decoder = tf.keras.Sequential(
            [layers.Dense(128, activation="relu"), layers.Dense(64), layers.Reshape((8, 8))], name="decoder"
        )
        self.trackers = [tf.keras.metrics.Mean(name) for name in ("loss", "reconstruction", "divergence")]

    @property
    def metrics(self):  # reset at each epoch, shown with their names
        return self.trackers

    def call(self, images, training=False):
        mean, log_variance = tf.split(self.encoder(images), 2, axis=-1)
        codes = mean
        if training:
            codes += tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
        return self.decoder(codes), mean, log_variance

    def measure(self, images, training):
        """Return the negative evidence lower bound of a batch, and update the metrics."""
        logits, mean, log_variance = self(images, training=training)
        errors = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
        reconstruction = tf.reduce_sum(errors, axis=(1, 2))
        divergence = 0.5 * tf.reduce_sum(tf.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1)
        loss = reconstruction + divergence
        for tracker, values in zip(self.trackers, (loss, reconstruction, divergence)):
            tracker.update_state(values)
        return tf.reduce_mean(loss)

    def train_step(self, images):
        with tf.GradientTape() as tape:
            loss = self.measure(images, training=True)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def test_step(self, images):
        self.measure(images, training=False)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def as_text(image, shades=" .:-=+*#"):
    """Return an image of numbers from 0 to 1 as lines of text."""
    return ["".join(shades[round(float(value) * (len(shades) - 1))] * 2 for value in row) for row in image]


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, _), (x_test, _) = tf.keras.datasets.digits.load_data()
    x_train, x_test = x_train.astype("float32") / 16, x_test.astype("float32") / 16

    model = VAE()
    model.compile(optimizer=tf.keras.optimizers.Adam(3e-3))  # the loss is in the step
    model.fit(x_train, epochs=30, batch_size=64, validation_data=x_test, verbose=2)

    drawn = tf.sigmoid(model.decoder(tf.random.normal((5, CODES)))).numpy()
    print("five digits that nobody wrote:")
    for lines in zip(*map(as_text, drawn)):
        print("   ".join(lines))

    loss = model.evaluate(x_test, verbose=0, return_dict=True)["loss"]
    assert loss < TARGET_LOSS, f"expected a test loss below {TARGET_LOSS}, got {loss:.2f}"


if __name__ == "__main__":
    main()
