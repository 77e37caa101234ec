# SPDX-License-Identifier: Apache-2.0
"""What the workers of test_cluster.py run; without TF_CONFIG the same in one process."""

import json
import os
import sys
import time

import numpy as np

import fitloom as tf

layers = tf.keras.layers
CONFIG = json.loads(os.environ.get("TF_CONFIG") or "null")
RANK = CONFIG["task"]["index"] if CONFIG else 0
RNG = np.random.default_rng(0)
X = RNG.normal(size=(37, 20)).astype("float32")
Y = RNG.integers(0, 3, 37)
CROSS_ENTROPY = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def report(**found):
    print("RESULT " + json.dumps(found), flush=True)


def strategy_here():
    return tf.distribute.MultiWorkerMirroredStrategy()


def model_of(units=16):
    return tf.keras.Sequential([tf.keras.Input((20,)), layers.Dense(units), layers.BatchNormalization(), layers.ReLU(),
                                layers.Dropout(0.2), layers.Dense(3)])


def compiled(strategy, **options):
    with strategy.scope():
        model = model_of(**options)
        model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), CROSS_ENTROPY, metrics=["accuracy"])
    return model


def weights(model):
    return [float(x) for v in model.variables if v.dtype == "float32" for x in v.numpy().ravel()]


def everything(much="all"):
    tf.keras.utils.set_random_seed(1)
    strategy = strategy_here()
    model = compiled(strategy)
    found = {"arrays": model.fit(X, Y, batch_size=16, epochs=2, verbose=2).history["loss"]}
    found["weights"] = weights(model)
    if much != "all":
        report(**found)
        return
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(37, seed=1).batch(12)
    found["dataset"] = model.fit(dataset, epochs=2, verbose=0, class_weight={0: 1.0, 1: 2.0, 2: 0.5}).history["loss"]
    found["evaluate"] = model.evaluate(X, Y, verbose=0)
    found["predict"] = model.predict(X, verbose=0).ravel().tolist()
    found["weights of both"] = weights(model)
    with strategy.scope():
        linear = tf.keras.Sequential([tf.keras.Input((20,)), layers.Dense(3)])
        optimizer = tf.keras.optimizers.Adam(0.01)

    def step(batch):
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.nn.compute_average_loss(
                tf.keras.losses.sparse_categorical_crossentropy(y, linear(x), from_logits=True), global_batch_size=12)
        optimizer.apply_gradients(zip(tape.gradient(loss, linear.trainable_variables), linear.trainable_variables))
        return loss

    @tf.function
    def distributed(batch):
        return strategy.reduce("sum", strategy.run(step, args=(batch,)), axis=None)

    found["run"] = [float(distributed(batch)) for batch in strategy.experimental_distribute_dataset(dataset)]
    found["tape"] = []
    for x, y in dataset.take(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(y, linear(x), from_logits=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, linear.trainable_variables), linear.trainable_variables))
        found["tape"].append(float(loss))
    found["linear"] = weights(linear)
    report(**found)


def parts(folder):
    """FILE and OFF: every worker brings its own rows."""
    strategy = strategy_here()
    names = [os.path.join(folder, f"{i}.txt") for i in range(4)]
    if RANK == 0:
        for i, name in enumerate(names):
            with open(name + ".part", "w") as file:
                file.write("\n".join(str(6 * i + j) for j in range(6)) + "\n")
            os.rename(name + ".part", name)
    while not all(map(os.path.exists, names)):
        time.sleep(0.05)

    def rows(dataset):
        found = []
        for batch in strategy.experimental_distribute_dataset(dataset):
            summed = strategy.gather(batch, axis=0) if hasattr(batch, "values") else batch
            found += [int(x) for x in summed.numpy()]
        return found

    def read(policy, dataset):
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = policy
        return rows(dataset.with_options(options))

    def number(line):
        return tf.strings.to_number(line, tf.int32)

    lines = tf.data.Dataset.list_files(names, shuffle=False).interleave(tf.data.TextLineDataset, cycle_length=2)
    files = read(tf.data.experimental.AutoShardPolicy.FILE, lines.map(number).batch(8))
    own = tf.data.Dataset.range(10 * RANK, 10 * RANK + 10).batch(8)
    mine = read(tf.data.experimental.AutoShardPolicy.OFF, own)
    each = strategy.distribute_datasets_from_function(
        lambda context: tf.data.Dataset.from_tensor_slices(
            np.float32([0, 1]) + 100 * context.input_pipeline_id).batch(context.get_per_replica_batch_size(4)))
    seen = [float(x) for batch in each for x in strategy.gather(batch, axis=1 if False else 0).numpy().ravel()]
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    rows_here = slice(0, 20) if RANK == 0 else slice(20, 37)
    tf.keras.utils.set_random_seed(1)
    model = compiled(strategy)
    losses = []
    for weights_of_classes in (None, {0: 1.0, 1: 2.0, 2: 0.5}):
        dataset = tf.data.Dataset.from_tensor_slices((X[rows_here], Y[rows_here])).batch(8).with_options(options)
        losses += model.fit(dataset, epochs=2, verbose=0, class_weight=weights_of_classes).history["loss"]
    losses += model.evaluate(dataset, verbose=0)
    predictions = model.predict(dataset.map(lambda x, y: x), verbose=0)
    report(losses=losses, predicted=list(predictions.shape), files=sorted(files), own=sorted(mine), each=seen)


class Say(tf.keras.callbacks.Callback):
    def __init__(self, act=None):
        super().__init__()
        self.count, self.act = 0, act

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.count += 1
        print("STEP", self.count, flush=True)
        if self.act is not None and self.count == 5 and RANK == 1:
            self.act()


def endless(act=None):
    tf.keras.utils.set_random_seed(1)
    model = compiled(strategy_here())
    model.fit(X, Y, batch_size=16, epochs=100_000, verbose=0, callbacks=[Say(act)])


def stuck():
    endless(lambda: time.sleep(1000))


def raises():
    def trouble():
        raise ValueError("this worker's own trouble")
    endless(trouble)


def short():
    tf.keras.utils.set_random_seed(1)
    model = compiled(strategy_here())
    model.fit(X, Y, batch_size=16, verbose=0)


def disagree():
    """Disagree on one thing after the other; the last one ends the process."""
    tf.keras.utils.set_random_seed(1)
    strategy = strategy_here()
    model = compiled(strategy)
    for x, size in (X, 16 - RANK), (X + RANK, 16):
        try:
            model.fit(x, Y, batch_size=size, verbose=0)
        except ValueError as error:
            print(error, flush=True)
    compiled(strategy, units=16 + RANK).fit(X, Y, batch_size=16, verbose=0)


def other_seeds():
    tf.keras.utils.set_random_seed(1 + RANK)
    strategy_here()


def resume(folder, kill_at):
    """Train with a backup every 2 steps; worker 1 kills itself at a step, if that is above 0."""
    import signal

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class Die(tf.keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])
            Die.seen += 1
            if RANK == 1 and Die.seen == int(kill_at):
                die()

    tf.keras.utils.set_random_seed(1)
    print("Worker", RANK, "waits for its cluster", flush=True)
    model = compiled(strategy_here())
    history = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[
        tf.keras.callbacks.BackupAndRestore(folder, save_freq=2, delete_checkpoint=False), Die()])
    report(weights=weights(model), loss=history.history["loss"])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
