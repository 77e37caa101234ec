# SPDX-License-Identifier: Apache-2.0
"""The undecorated GradientTape loop beside the hand-written, jitted, donated JAX step; epochs interleaved.

    python benchmarks/tape_loop.py tiny|mlp|many [--rounds 15] [--variants hand,ours]

Each variant keeps a running mean of the loss up to date at each step. Prints one JSON line: microseconds a step (median
of the interleaved epochs) and the median of the per-round ratios to the hand-written step.

Variants: hand (the JAX step), ours (built-in layers, the verbatim loop), ours_reads (float(loss) every 100 steps),
ours_subclassed (a subclassed model), ours_function (the step under tf.function). TensorFlow's own figures come from
`tape_peers.py`, under the Python that FITLOOM_PEERS_PYTHON names.
"""
import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

import fitloom as tf
from tape_work import SIZES, data, initial


class Hand:
    """What a careful JAX user writes."""

    def __init__(self, dims, normalize, batches, dropout):
        parameters = [[jnp.asarray(a) for a in layer] for layer in initial(dims, normalize)]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros((), jnp.float32),
                      jax.random.key(0), jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in batches]

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

        def step(state, x, y):
            parameters, m, v, t, key, total, count = state
            key, own = jax.random.split(key) if dropout else (key, None)

            def loss_of(parameters):
                logits = forward(parameters, x, own)
                return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()
            loss, g = jax.value_and_grad(loss_of)(parameters)
            t = t + 1
            rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
            m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            parameters = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-7), parameters, m, v)
            return (parameters, m, v, t, key, total + loss, count + 1), loss
        self.step = jax.jit(step, donate_argnums=0)

    def epoch(self):
        for x, y in self.batches:
            self.state, _ = self.step(self.state, x, y)
        jax.block_until_ready(self.state)


class Subclassed(tf.keras.Model):
    def __init__(self, stack):
        super().__init__()
        self.stack = list(stack)

    def call(self, x, training=None):
        for layer in self.stack:
            x = layer(x, training=training) if isinstance(layer, tf.keras.layers.Dropout) else layer(x)
        return x


class Ours:
    """The loop of the documentation, word for word."""

    def __init__(self, dims, normalize, batches, dropout, subclassed=False, reads=0, function=False):
        layers = []
        for k, width in enumerate(dims[1:]):
            last = k == len(dims) - 2
            if normalize and not last:
                layers += [tf.keras.layers.Dense(width), tf.keras.layers.LayerNormalization(),
                           tf.keras.layers.Activation("relu")]
            else:
                layers.append(tf.keras.layers.Dense(width, activation=None if last else "relu"))
            if dropout and k == 0:
                layers.append(tf.keras.layers.Dropout(dropout))
        if subclassed:
            self.model = Subclassed(layers)
            self.model(tf.zeros((1, dims[0])))
        else:
            self.model = tf.keras.Sequential([tf.keras.Input((dims[0],)), *layers])
        self.model.set_weights([a for layer in initial(dims, normalize) for a in layer])
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer, self.metric, self.reads = tf.keras.optimizers.Adam(), tf.keras.metrics.Mean(), reads
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in batches]
        self.step = tf.function(self.train) if function else None

    def train(self, x_batch, y_batch):
        with tf.GradientTape() as tape:
            y_pred = self.model(x_batch, training=True)
            loss = self.loss(y_batch, y_pred)
        grads = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        self.metric.update_state(loss)
        return loss

    def epoch(self):
        model, loss_fn, optimizer, metric, reads, step = (
            self.model, self.loss, self.optimizer, self.metric, self.reads, self.step)
        if step is not None:
            for x_batch, y_batch in self.batches:
                step(x_batch, y_batch)
        else:
            for number, (x_batch, y_batch) in enumerate(self.batches):
                with tf.GradientTape() as tape:
                    y_pred = model(x_batch, training=True)
                    loss = loss_fn(y_batch, y_pred)
                grads = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(grads, model.trainable_variables))
                metric.update_state(loss)
                if reads and number % reads == 0:
                    float(loss)
        jax.block_until_ready(model.trainable_variables[0].store.current())


VARIANTS = {
    "hand": Hand, "ours": Ours,
    "ours_reads": lambda *a: Ours(*a, reads=100),
    "ours_subclassed": lambda *a: Ours(*a, subclassed=True),
    "ours_function": lambda *a: Ours(*a, function=True),
}


def main(workload=None):
    parser = argparse.ArgumentParser()
    if workload is None:
        parser.add_argument("workload", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    options = parser.parse_args()
    workload = workload or options.workload
    dims, batch, steps = SIZES[workload]
    dropout = 0.2 if workload == "mlp" else 0
    batches, normalize = data(dims, batch, steps), workload == "many"
    made, first = {}, {}
    for name in options.variants.split(","):
        made[name] = VARIANTS[name](dims, normalize, batches, dropout)
        begin = time.perf_counter()
        made[name].epoch()
        first[name] = time.perf_counter() - begin
        made[name].epoch()
        made[name].epoch()
    times = {name: [] for name in made}
    for _ in range(options.rounds):
        for name, each in made.items():
            begin = time.perf_counter()
            each.epoch()
            times[name].append((time.perf_counter() - begin) / steps * 1e6)
    ratios = {name: statistics.median(a / b for a, b in zip(values, times["hand"]))
              for name, values in times.items()} if "hand" in times else {}
    print(json.dumps({
        "benchmark": f"tape_{workload}", "unit": "us/step",
        "median": {name: round(statistics.median(values), 1) for name, values in times.items()},
        "ratio_to_hand": {name: round(r, 3) for name, r in ratios.items()},
        "first_epoch_s": {name: round(s, 2) for name, s in first.items()}, "rounds": options.rounds,
        "programs": tf.engine.STATISTICS["programs"] if hasattr(tf, "engine") else None}))


if __name__ == "__main__":
    main()
