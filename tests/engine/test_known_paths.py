# SPDX-License-Identifier: Apache-2.0
"""Steps that follow a known path give what the same steps give when every call is looked at anew."""
import os

import numpy as np
import pytest

import fitloom as tf
from fitloom.engine.context import CONTEXT, leave_known_paths

X = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, (4, 6)).astype(np.int32)


class Scene:
    """A model with what belongs to a training loop; `look` is called before each action."""

    def __init__(self, look):
        tf.keras.utils.set_random_seed(7)
        self.look = look
        self.model = tf.keras.Sequential([tf.keras.Input((5,)), tf.keras.layers.Dense(4, activation="tanh"),
                                          tf.keras.layers.BatchNormalization(), tf.keras.layers.Dropout(0.25, seed=3),
                                          tf.keras.layers.Dense(3)])
        self.head = tf.keras.layers.Dense(3)
        self.head.build((None, 5))
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer = tf.keras.optimizers.Adam(0.01)
        self.optimizer.build(self.model.trainable_variables)
        self.other = tf.keras.optimizers.SGD(0.1, momentum=0.9)
        self.mean, self.accuracy = tf.keras.metrics.Mean(), tf.keras.metrics.SparseCategoricalAccuracy()
        self.count, self.scale = tf.Variable(0.0, trainable=False), tf.Variable(2.0)
        self.kept, self.seen, self.batches = [], [], [(tf.constant(x), tf.constant(y)) for x, y in zip(X, Y)]

    def batch(self, rng):
        return self.batches[int(rng.integers(len(self.batches)))]

    def train(self, rng):
        x, y = self.batch(rng)
        self.look()
        with tf.GradientTape() as tape:
            predicted = self.model(x, training=True)
            self.look()
            loss = self.loss(y, predicted)
        self.look()
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.look()
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables))
        self.look()
        self.mean.update_state(loss)
        self.accuracy.update_state(y, predicted)
        return loss, gradients

    def train_and_read(self, rng):
        loss, gradients = self.train(rng)
        self.seen.append(float(loss))
        self.seen.append(float(tf.reduce_sum(gradients[0])))

    def train_and_keep(self, rng):
        self.kept.append(self.train(rng))

    def two_losses(self, rng):
        x, y = self.batch(rng)
        with tf.GradientTape(persistent=True) as tape:
            predicted = self.model(x, training=False)
            self.look()
            first, second = self.loss(y, predicted), self.loss(y, self.head(x))
            both = first * self.scale + second
        own = tape.gradient(both, self.head.trainable_variables)
        self.look()
        self.other.apply_gradients(zip(own, self.head.trainable_variables))
        self.scale.assign_sub(0.001 * tape.gradient(both, self.scale))
        del tape
        self.mean.update_state(second)

    def evaluate(self, rng):
        x, y = self.batch(rng)
        self.look()
        self.accuracy.update_state(y, self.model(x, training=False))

    def assign(self, rng):
        self.count.assign_add(1.0)
        self.model.weights[1].assign(self.model.weights[1] * 0.99)

    def change_rate(self, rng):
        self.optimizer.learning_rate = float(rng.choice([0.01, 0.005]))

    def read_weights(self, rng):
        self.seen += [float(np.sum(w)) for w in self.model.get_weights()]

    def view(self, rng):
        view = np.asarray(self.model.trainable_variables[0])
        before = view.copy()
        self.train(rng)
        self.seen.append(float(self.mean.result()))
        assert np.array_equal(view, before)

    def fail(self, rng):
        x, _ = self.batch(rng)
        with pytest.raises(Exception, match="(?i)shape|dimension|incompatible"), tf.GradientTape():
            self.loss(tf.zeros((5,), "int32"), self.model(x, training=True))

    def freeze(self, rng):
        self.model.layers[0].trainable = not self.model.layers[0].trainable
        self.model.layers[0].trainable = True

    def leave(self, rng):
        x, y = self.batch(rng)
        with tf.GradientTape() as tape:
            self.loss(y, self.model(x, training=True))
        del tape

    def watch(self, rng):
        x, y = self.batch(rng)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = self.loss(y, self.model(x, training=False))
        self.seen.append(float(tf.reduce_sum(tape.gradient(loss, x) ** 2)))

    def finish(self):
        for loss, gradients in self.kept:
            self.seen += [float(loss), *(float(tf.reduce_sum(g)) for g in gradients)]
        self.seen += [float(self.mean.result()), float(self.accuracy.result()), float(self.count), float(self.scale)]
        return self.seen, [w.numpy() for w in (*self.model.weights, *self.head.weights, *self.optimizer.variables)]


ACTIONS = ["train"] * 8 + ["train_and_read", "train_and_keep"] * 2 + [
    "two_losses", "evaluate", "assign", "change_rate", "read_weights", "view", "fail", "freeze", "leave", "watch"]


def play(seed, look):
    rng, scene = np.random.default_rng(seed), Scene(look)
    for _ in range(40):
        getattr(scene, ACTIONS[int(rng.integers(len(ACTIONS)))])(rng)
    return scene.finish()


@pytest.mark.parametrize("seed", range(int(os.environ.get("FITLOOM_PATH_SEEDS", "3"))))
def test_a_known_path_changes_nothing(seed):
    seen, weights = play(seed, lambda: None)
    expected, reference = play(seed, leave_known_paths)
    np.testing.assert_allclose(seen, expected, rtol=2e-5, atol=1e-6)
    for mine, its in zip(weights, reference):
        np.testing.assert_allclose(mine, its, rtol=2e-5, atol=1e-6)


def test_the_loop_stays_on_the_path():
    scene, rng = Scene(lambda: None), np.random.default_rng(0)
    for _ in range(4):
        scene.train(rng)
        known = CONTEXT.trace.ledger
    assert known is not None and CONTEXT.trace.ledger is known
