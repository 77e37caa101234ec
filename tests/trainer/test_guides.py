# SPDX-License-Identifier: Apache-2.0
"""The ways to change what fit does that the Keras guides teach, written as they are written there."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.random((64, 8), np.float32), RNG.random((64, 1), np.float32)
IMAGES = RNG.random((32, 28, 28, 1), np.float32)


def functional(cls):
    inputs = keras.Input(shape=(8,))
    return cls(inputs, layers.Dense(1)(inputs))


def test_a_first_simple_example():
    class CustomModel(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            trainable_vars = self.trainable_variables
            gradients = tape.gradient(loss, trainable_vars)
            self.optimizer.apply(gradients, trainable_vars)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    model = functional(CustomModel)
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    history = model.fit(X, Y, epochs=3, verbose=0).history
    assert list(history) == ["loss", "mae"] or list(history) == ["mae", "loss"]
    assert history["loss"][-1] < history["loss"][0]


def test_going_lower_level():
    class CustomModel(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = keras.metrics.Mean(name="loss")
            self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
            self.loss_fn = keras.losses.MeanSquaredError()

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.loss_fn(y, y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            self.loss_tracker.update_state(loss)
            self.mae_metric.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae_metric]

    model = functional(CustomModel)
    model.compile(optimizer="adam")
    history = model.fit(X, Y, epochs=5, verbose=0).history
    assert list(history) == ["loss", "mae"] and history["loss"][-1] < history["loss"][0]


def test_sample_weight_and_class_weight():
    class CustomModel(keras.Model):
        def train_step(self, data):
            if len(data) == 3:
                x, y, sample_weight = data
            else:
                sample_weight = None
                x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred, sample_weight=sample_weight)
            return {m.name: m.result() for m in self.metrics}

    model = functional(CustomModel)
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    assert set(model.fit(X, Y, sample_weight=RNG.random((64, 1)), verbose=0).history) == {"loss", "mae"}


def test_own_evaluation_step():
    class CustomModel(keras.Model):
        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    model = functional(CustomModel)
    model.compile(loss="mse", metrics=["mae"])
    assert len(model.evaluate(X, Y, verbose=0)) == 2


def test_variational_autoencoder():
    class Sampling(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = keras.random.SeedGenerator(1337)

        def call(self, inputs):
            z_mean, z_log_var = inputs
            batch = tf.shape(z_mean)[0]
            dim = tf.shape(z_mean)[1]
            epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
            return z_mean + tf.exp(0.5 * z_log_var) * epsilon

    encoder_inputs = keras.Input(shape=(28, 28, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(encoder_inputs)
    x = layers.Flatten()(x)
    z_mean = layers.Dense(2, name="z_mean")(x)
    z_log_var = layers.Dense(2, name="z_log_var")(x)
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, z], name="encoder")
    latent = keras.Input(shape=(2,))
    x = layers.Dense(14 * 14 * 4, activation="relu")(latent)
    x = layers.Reshape((14, 14, 4))(x)
    decoder = keras.Model(latent, layers.Conv2DTranspose(1, 3, activation="sigmoid", strides=2, padding="same")(x))

    class VAE(keras.Model):
        def __init__(self, encoder, decoder, **kwargs):
            super().__init__(**kwargs)
            self.encoder, self.decoder = encoder, decoder
            self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
            self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

        @property
        def metrics(self):
            return [self.total_loss_tracker, self.kl_loss_tracker]

        def train_step(self, data):
            with tf.GradientTape() as tape:
                z_mean, z_log_var, z = self.encoder(data)
                reconstruction = self.decoder(z)
                reconstruction_loss = tf.reduce_mean(
                    tf.reduce_sum(keras.losses.binary_crossentropy(data, reconstruction), axis=(1, 2)))
                kl_loss = -0.5 * (1 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))
                kl_loss = tf.reduce_mean(tf.reduce_sum(kl_loss, axis=1))
                total_loss = reconstruction_loss + kl_loss
            grads = tape.gradient(total_loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
            self.total_loss_tracker.update_state(total_loss)
            self.kl_loss_tracker.update_state(kl_loss)
            return {"total_loss": self.total_loss_tracker.result(), "kl_loss": self.kl_loss_tracker.result()}

    vae = VAE(encoder, decoder)
    vae.compile(optimizer=keras.optimizers.Adam())
    history = vae.fit(IMAGES, epochs=3, batch_size=16, verbose=0).history
    assert list(history) == ["kl_loss", "total_loss"] and history["total_loss"][-1] < history["total_loss"][0]


def test_wasserstein_gan_with_gradient_penalty():
    class WGAN(keras.Model):
        def __init__(self, discriminator, generator, latent_dim, discriminator_extra_steps=2, gp_weight=10.0):
            super().__init__()
            self.discriminator, self.generator, self.latent_dim = discriminator, generator, latent_dim
            self.d_steps, self.gp_weight = discriminator_extra_steps, gp_weight

        def compile(self, d_optimizer, g_optimizer, d_loss_fn, g_loss_fn):
            super().compile()
            self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
            self.d_loss_fn, self.g_loss_fn = d_loss_fn, g_loss_fn

        def gradient_penalty(self, batch_size, real, fake):
            alpha = tf.random.uniform([batch_size, 1], 0.0, 1.0)
            interpolated = real + alpha * (fake - real)
            with tf.GradientTape() as gp_tape:
                gp_tape.watch(interpolated)
                pred = self.discriminator(interpolated, training=True)
            grads = gp_tape.gradient(pred, [interpolated])[0]
            norm = tf.sqrt(tf.reduce_sum(tf.square(grads), axis=[1]))
            return tf.reduce_mean((norm - 1.0) ** 2)

        def train_step(self, real):
            batch_size = tf.shape(real)[0]
            for _ in range(self.d_steps):
                noise = tf.random.normal(shape=(batch_size, self.latent_dim))
                with tf.GradientTape() as tape:
                    fake = self.generator(noise, training=True)
                    d_cost = self.d_loss_fn(self.discriminator(real, training=True),
                                            self.discriminator(fake, training=True))
                    d_loss = d_cost + self.gradient_penalty(batch_size, real, fake) * self.gp_weight
                d_gradient = tape.gradient(d_loss, self.discriminator.trainable_variables)
                self.d_optimizer.apply_gradients(zip(d_gradient, self.discriminator.trainable_variables))
            noise = tf.random.normal(shape=(batch_size, self.latent_dim))
            with tf.GradientTape() as tape:
                g_loss = self.g_loss_fn(self.discriminator(self.generator(noise, training=True), training=True))
            gen_gradient = tape.gradient(g_loss, self.generator.trainable_variables)
            self.g_optimizer.apply_gradients(zip(gen_gradient, self.generator.trainable_variables))
            return {"d_loss": d_loss, "g_loss": g_loss}

    generator = keras.Sequential([keras.Input((3,)), layers.Dense(8, activation="tanh"), layers.Dense(8)])
    discriminator = keras.Sequential([keras.Input((8,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
    wgan = WGAN(discriminator, generator, 3)
    wgan.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01),
                 lambda real, fake: tf.reduce_mean(fake) - tf.reduce_mean(real), lambda fake: -tf.reduce_mean(fake))
    before = discriminator.get_weights()[0]
    history = wgan.fit(X, batch_size=16, epochs=2, verbose=0).history
    assert list(history) == ["d_loss", "g_loss"] and np.all(np.isfinite(history["d_loss"]))
    assert not np.allclose(before, discriminator.get_weights()[0])
    assert int(wgan.d_optimizer.iterations.numpy()) == 16


def test_transfer_learning_freezes_and_unfreezes():
    base = keras.Sequential([keras.Input((8,)), layers.Dense(6), layers.BatchNormalization()])
    base.trainable = False
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs, training=False)))
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    frozen = [weight.copy() for weight in base.get_weights()]
    model.fit(X, Y, epochs=2, verbose=0)
    for left, right in zip(frozen, base.get_weights()):
        np.testing.assert_array_equal(left, right)
    base.trainable = True
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
    model.fit(X, Y, epochs=2, verbose=0)
    assert not np.allclose(frozen[0], base.get_weights()[0])


def test_endpoint_layer_with_its_own_loss_and_metric():
    class LogisticEndpoint(layers.Layer):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
            self.accuracy_metric = keras.metrics.BinaryAccuracy(name="accuracy")

        def call(self, targets, logits, sample_weight=None):
            self.add_loss(self.loss_fn(targets, logits, sample_weight))
            self.accuracy_metric.update_state(targets, logits, sample_weight)
            return tf.nn.softmax(logits)

    inputs, targets = keras.Input((8,), name="inputs"), keras.Input((1,), name="targets")
    predictions = LogisticEndpoint(name="predictions")(targets, layers.Dense(1)(inputs))
    model = keras.Model([inputs, targets], predictions)
    model.compile(optimizer="adam")
    history = model.fit({"inputs": X, "targets": (Y > 0.5).astype("float32")}, epochs=2, verbose=0).history
    assert set(history) == {"accuracy", "loss"} and history["loss"][-1] > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = keras.Sequential([keras.Input((8,)), layers.Dense(16, activation="relu"),
                                  layers.Dense(1, dtype="float32")])
        model.compile(optimizer="adam", loss="mse")
        history = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert history[-1] < history[0] and model.layers[0].kernel.dtype == "float32"
    assert ("LossScale" in type(model.optimizer).__name__) == (policy == "mixed_float16")


def test_a_compiled_train_step_builds_what_it_needs_inside_fit():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.gru = layers.GRU(3, return_sequences=True, return_state=True)
            self.dense = layers.Dense(3)

        def call(self, x, training=False):
            x, _ = self.gru(x, initial_state=self.gru.get_initial_state(tf.shape(x)[0]))
            return self.dense(x)

        @tf.function
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.loss(y, self(x, training=True))
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
            return {"loss": loss}

    x, y = np.ones((8, 4, 2), np.float32), np.ones((8, 4, 3), np.float32)
    for built in (False, True):
        model = Model()
        model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
        if built:
            model(x)
        losses = model.fit(x, y, batch_size=4, epochs=3, verbose=0).history["loss"]
        assert losses[2] < losses[0]


def test_steps_whose_shapes_depend_on_values_run_uncompiled():
    """A mask that picks elements: TensorFlow's fit takes it, a compiled program of fixed shapes cannot."""
    class Picked(keras.layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_sum(tf.boolean_mask(x, x > 0)))
            return x

    def masked(y_true, y_pred):
        return tf.reduce_mean(tf.boolean_mask(y_pred - y_true, y_true > 0) ** 2)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Picked()(keras.layers.Dense(3)(inputs)))
    assert model.output_shape == (None, 3)
    model.compile("sgd", masked)
    x, y = np.ones((8, 2), "float32"), np.ones((8, 3), "float32")
    with pytest.warns(UserWarning, match="train_step of model .* runs uncompiled"):
        losses = model.fit(x, y, batch_size=3, epochs=3, verbose=0).history["loss"]
    assert len(losses) == 3 and np.isfinite(losses).all() and len(set(losses)) == 3
    with pytest.warns(UserWarning, match="test_step"):
        assert np.isfinite(model.evaluate(x, y, verbose=0))
    model.compile("sgd", masked, jit_compile=True)
    with pytest.raises(ValueError, match="boolean_mask's mask must be known"):
        model.fit(x, y, verbose=0)


def test_an_own_step_may_call_the_model_with_something_else():
    """The graph attention example: fit's x are node numbers, the model itself is called with the graph."""
    class Nodes(keras.Model):
        def __init__(self):
            super().__init__()
            self.features, self.last = np.ones((4, 3), "float32"), layers.Dense(2)

        def call(self, inputs):
            features, edges = inputs
            return self.last(features) + edges

        def train_step(self, data):
            rows, labels = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=labels, y_pred=tf.gather(self((self.features, self.features[:, :1])), rows))
            self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights))
            return {"loss": loss}

    model = Nodes()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(np.arange(4), np.array([0, 1, 1, 1]), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
