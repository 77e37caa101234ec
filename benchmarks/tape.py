# SPDX-License-Identifier: Apache-2.0
"""How close is the undecorated GradientTape loop to the hand-written, jitted, donated JAX step, and to its peers?

Each step also keeps a running mean of the loss; batches lie ready as tensors. Twins:

- fitloom, tf_eager: the loop of TensorFlow's documentation, the same source (`Loop`);
- fitloom_reads: it reads `float(loss)` every 100 steps; fitloom_subclassed: the model is a subclass;
- fitloom_function, tf_function: the step under `tf.function`;
- torch: the usual loop; jitted: what a careful JAX user writes.
"""

import dataclasses
import functools
import time

import numpy as np

import harness


@dataclasses.dataclass(frozen=True)
class Size:
    """Dense layers of these widths, batches of so many rows, steps of an epoch."""

    widths: tuple
    rows: int
    steps: int
    dropout: float = 0.0  # after the first layer
    normalize: bool = False  # LayerNormalization before each ReLU

    def batches(self):
        rng = np.random.default_rng(0)
        return [
            (
                rng.normal(size=(self.rows, self.widths[0])).astype("float32"),
                rng.integers(0, self.widths[-1], self.rows).astype("int32"),
            )
            for _ in range(self.steps)
        ]

    def initial(self):
        """Return each layer's first weights, the same for every library."""
        rng, weights = np.random.default_rng(1), []
        for k, (before, width) in enumerate(zip(self.widths, self.widths[1:])):
            limit = np.sqrt(6 / (before + width))
            kernel = rng.uniform(-limit, limit, (before, width)).astype("float32")
            weights.append([kernel, np.zeros(width, "float32")])
            if self.normalize and k < len(self.widths) - 2:
                weights[-1] += [np.ones(width, "float32"), np.zeros(width, "float32")]
        return weights


SIZES = {
    "tiny": Size((20, 64, 3), 32, 256),
    "mlp": Size((784, 512, 512, 10), 128, 24, dropout=0.2),
    "many": Size((*[32] * 61, 10), 32, 32, normalize=True),
}


class Loop:
    """The documentation's training loop for `tf`, TensorFlow or Fitloom."""

    def __init__(self, tf, size, subclassed=False, reads=0, function=False):
        layers = []
        for k, width in enumerate(size.widths[1:]):
            last = k == len(size.widths) - 2
            if size.normalize and not last:
                layers += [
                    tf.keras.layers.Dense(width), tf.keras.layers.LayerNormalization(),
                    tf.keras.layers.Activation("relu"),
                ]  # fmt: skip
            else:
                layers.append(tf.keras.layers.Dense(width, activation=None if last else "relu"))
            if size.dropout and k == 0:
                layers.append(tf.keras.layers.Dropout(size.dropout))
        if subclassed:
            self.model = subclass(tf)(layers)
            self.model(tf.zeros((1, size.widths[0])))
        else:
            self.model = tf.keras.Sequential([tf.keras.Input((size.widths[0],)), *layers])
        self.model.set_weights([array for layer in size.initial() for array in layer])
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer, self.metric = tf.keras.optimizers.Adam(), tf.keras.metrics.Mean()
        self.tf, self.reads = tf, reads
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in size.batches()]
        self.step = tf.function(self.train) if function else None

    def train(self, x_batch, y_batch):
        with self.tf.GradientTape() as tape:
            y_pred = self.model(x_batch, training=True)
            loss = self.loss(y_batch, y_pred)
        grads = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        self.metric.update_state(loss)

    def epoch(self):
        tf, model, loss_fn, optimizer, metric = self.tf, self.model, self.loss, self.optimizer, self.metric
        if self.step is not None:
            for x_batch, y_batch in self.batches:
                self.step(x_batch, y_batch)
        else:
            for number, (x_batch, y_batch) in enumerate(self.batches):
                with tf.GradientTape() as tape:
                    y_pred = model(x_batch, training=True)
                    loss = loss_fn(y_batch, y_pred)
                grads = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(grads, model.trainable_variables))
                metric.update_state(loss)
                if self.reads and number % self.reads == 0:
                    float(loss)
        float(metric.result())  # waits for the last step


def subclass(tf):
    class Subclassed(tf.keras.Model):
        def __init__(self, stack):
            super().__init__()
            self.stack = list(stack)

        def call(self, x, training=None):
            for layer in self.stack:
                x = layer(x, training=training) if isinstance(layer, tf.keras.layers.Dropout) else layer(x)
            return x

    return Subclassed


class Hand:
    """The JAX step written by hand."""

    def __init__(self, size):
        import jax
        import jax.numpy as jnp

        dropout = size.dropout
        parameters = [[jnp.asarray(array) for array in layer] for layer in size.initial()]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        again = jax.tree.map(jnp.zeros_like, parameters)
        key, nothing = jax.random.key(0), jnp.zeros((), jnp.float32)
        self.state = (parameters, zeros, again, nothing, key, jnp.copy(nothing), jnp.copy(nothing))
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in size.batches()]

        def forward(parameters, x, key):
            for k, layer in enumerate(parameters):
                x = x @ layer[0] + layer[1]
                if len(layer) == 4:
                    mean = x.mean(-1, keepdims=True)
                    x = (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3) * layer[2] + layer[3]
                if k < len(parameters) - 1:
                    x = jax.nn.relu(x)
                if dropout and k == 0:
                    x = jnp.where(jax.random.bernoulli(key, 1 - dropout, x.shape), x / (1 - dropout), 0)
            return x

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state, x, y):
            parameters, m, v, t, key, total, count = state
            key, own = jax.random.split(key) if dropout else (key, None)

            def loss_of(parameters):
                logits = forward(parameters, x, own)
                return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

            loss, g = jax.value_and_grad(loss_of)(parameters)
            t = t + 1
            rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            parameters = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-7), parameters, m, v)
            return parameters, m, v, t, key, total + loss, count + 1

        self.step = step

    def epoch(self):
        for x, y in self.batches:
            self.state = self.step(self.state, x, y)
        float(self.state[-2])


class TorchLoop:
    """The usual loop."""

    def __init__(self, size):
        import torch

        torch.set_flush_denormal(True)
        layers = []
        for k, (kernel, bias, *normal) in enumerate(size.initial()):
            layer = torch.nn.Linear(*kernel.shape)
            layer.weight.data, layer.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)
            layers.append(layer)
            if normal:
                layers.append(torch.nn.LayerNorm(kernel.shape[1], eps=1e-3))
            if k < len(size.widths) - 2:
                layers.append(torch.nn.ReLU())
            if size.dropout and k == 0:
                layers.append(torch.nn.Dropout(size.dropout))
        self.model = torch.nn.Sequential(*layers).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.loss, self.total = torch.nn.CrossEntropyLoss(), torch.zeros(())
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in size.batches()]

    def epoch(self):
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.total += loss.detach()
        float(self.total)


def microseconds_a_step(twin, size):
    """Return `measure(seconds)`: whole epochs until the time is over."""
    twin.epoch()
    twin.epoch()

    def measure(seconds):
        begin, epochs = time.perf_counter(), 0
        while epochs == 0 or time.perf_counter() - begin < seconds:
            twin.epoch()
            epochs += 1
        return (time.perf_counter() - begin) / (epochs * size.steps) * 1e6

    return measure


def workload(name, size):
    def ours(**how):
        import fitloom as tf

        return Loop(tf, size, **how)

    def theirs(**how):
        import tensorflow as tf

        return Loop(tf, size, **how)

    twins = {
        "jitted": lambda: Hand(size),
        "fitloom": ours,
        "fitloom_reads": lambda: ours(reads=100),
        "fitloom_subclassed": lambda: ours(subclassed=True),
        "fitloom_function": lambda: ours(function=True),
        "tf_eager": theirs,
        "tf_function": lambda: theirs(function=True),
        "torch": lambda: TorchLoop(size),
    }
    measured = {twin: lambda make=make: microseconds_a_step(make(), size) for twin, make in twins.items()}
    return harness.Workload(f"tape_{name}", __doc__.splitlines()[0], "us", measured, baseline="jitted")


if __name__ == "__main__":
    harness.main({name: workload(name, size) for name, size in SIZES.items()}, __file__)
