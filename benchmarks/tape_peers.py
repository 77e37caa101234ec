# SPDX-License-Identifier: Apache-2.0
"""The undecorated GradientTape loop beside what it replaces: TensorFlow's, tf.function, PyTorch, hand-written JAX.

    python benchmarks/tape_peers.py [--sizes tiny,mlp] [--rounds 9] [--seconds 1] [--twins fitloom,torch]

Twins, all with built-in layers, Adam and a running mean of the loss, on batches that lie ready as tensors:

- fitloom, tf_eager: the loop of TensorFlow's documentation, the same source (`Loop`);
- tf_function: its step under `tf.function`;
- torch: the usual loop;
- jitted: a jitted, donated JAX step written by hand.

Prints one JSON line a size, in microseconds a step; how processes take turns is said in `harness.py`.
"""
import argparse
import json
import os
import time

import harness
from tape_work import SIZES, data, initial

SIZE = "FITLOOM_TAPE_SIZE"       # tells a twin's process which size it is


def problem():
    """Return (widths, batches, dropout rate)."""
    size = os.environ[SIZE]
    dims, batch, steps = SIZES[size]
    return dims, data(dims, batch, steps), 0.2 if size == "mlp" else 0.0


class Loop:
    """The documentation's training loop for `tf`, TensorFlow or Fitloom."""

    def __init__(self, tf, function=False):
        dims, batches, dropout = problem()
        layers = []
        for k, width in enumerate(dims[1:]):
            layers.append(tf.keras.layers.Dense(width, activation=None if k == len(dims) - 2 else "relu"))
            if dropout and k == 0:
                layers.append(tf.keras.layers.Dropout(dropout))
        self.tf, self.model = tf, tf.keras.Sequential([tf.keras.Input((dims[0],)), *layers])
        self.model.set_weights([a for layer in initial(dims, False) for a in layer])
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer, self.metric = tf.keras.optimizers.Adam(), tf.keras.metrics.Mean()
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in batches]
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
            for x_batch, y_batch in self.batches:
                with tf.GradientTape() as tape:
                    y_pred = model(x_batch, training=True)
                    loss = loss_fn(y_batch, y_pred)
                grads = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(grads, model.trainable_variables))
                metric.update_state(loss)
        float(metric.result())                           # waits for the last step


def fitloom():
    import fitloom as tf

    return microseconds(Loop(tf))


def tf_eager():
    import tensorflow as tf

    return microseconds(Loop(tf))


def tf_function():
    import tensorflow as tf

    return microseconds(Loop(tf, function=True))


def jitted():
    from tape_loop import Hand

    dims, batches, dropout = problem()
    return microseconds(Hand(dims, False, batches, dropout))


def torch():
    import torch

    dims, batches, dropout = problem()
    layers = []
    for k, (weight, bias) in enumerate(initial(dims, False)):
        layer = torch.nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(weight.T.copy()), torch.from_numpy(bias)
        layers.append(layer)
        if k < len(dims) - 2:
            layers.append(torch.nn.ReLU())
        if dropout and k == 0:
            layers.append(torch.nn.Dropout(dropout))
    model = torch.nn.Sequential(*layers).train()
    optimizer, loss_fn = torch.optim.Adam(model.parameters()), torch.nn.CrossEntropyLoss()
    batches = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in batches]

    class Twin:
        total = torch.zeros(())

        def epoch(self):
            for x, y in batches:
                optimizer.zero_grad()
                loss = loss_fn(model(x), y)
                loss.backward()
                optimizer.step()
                self.total += loss.detach()
            float(self.total)

    return microseconds(Twin())


def microseconds(twin):
    """Return `measure(seconds)`: whole epochs until the time is over; microseconds a step."""
    twin.epoch()
    twin.epoch()
    steps = SIZES[os.environ[SIZE]][2]

    def measure(seconds):
        begin, epochs = time.perf_counter(), 0
        while epochs == 0 or time.perf_counter() - begin < seconds:
            twin.epoch()
            epochs += 1
        return (time.perf_counter() - begin) / (epochs * steps) * 1e6

    return measure


TWINS = {each.__name__: each for each in (fitloom, tf_eager, tf_function, torch, jitted)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="tiny,mlp")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--twins", default=",".join(TWINS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        harness.work(TWINS[options.worker])
        return
    for size in options.sizes.split(","):
        os.environ[SIZE] = size
        workload = harness.Workload(f"tape_peers_{size}", __doc__, "us", TWINS, baseline="jitted")
        report = harness.compare(workload, __file__, options.twins.split(","), options.rounds, options.seconds)
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
