# SPDX-License-Identifier: Apache-2.0
"""What does a strategy with one device cost a step? `fit`, a step under tf.function, and the undecorated tape loop.

Each pair (with and without MirroredStrategy of one device) runs in one process, turn by turn; the figure is the median
over rounds of CPU time with / CPU time without (all threads: on a shared machine the clock on the wall says little).
Below 1.03 is the promise.
"""

import argparse
import gc
import json
import os
import statistics
import time

import numpy as np

BATCH, EXAMPLES = 128, 8192


def prepare(tf, strategy):
    """Return {name: function that runs some steps}, for a small model under a strategy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, 64)).astype("float32")
    y = rng.integers(0, 10, EXAMPLES).astype("int32")

    def build():
        with strategy.scope():
            model = tf.keras.Sequential(
                [tf.keras.Input((64,)), tf.keras.layers.Dense(256, activation="relu"), tf.keras.layers.Dense(10)]
            )
            loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("adam", loss)
        return model, loss

    fitted, _ = build()
    looped, loss_of = build()
    traced, _ = build()
    batches = [(tf.constant(x[n : n + BATCH]), tf.constant(y[n : n + BATCH])) for n in range(0, EXAMPLES, BATCH)]

    def step(model, images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    def replica(images, labels):
        return step(traced, images, labels)

    @tf.function
    def distributed(images, labels):
        return strategy.reduce("sum", strategy.run(replica, args=(images, labels)), axis=None)

    def fit():
        fitted.fit(x, y, batch_size=BATCH, epochs=4, verbose=0, shuffle=False)
        float(fitted.variables[-1].numpy().sum())

    def tape():
        for images, labels in batches:
            loss = step(looped, images, labels)
        float(loss)

    def run():
        for images, labels in batches:
            loss = distributed(images, labels)
        float(loss)

    return {"fit": fit, "tape": tape, "run": run}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    import fitloom as tf

    load = os.getloadavg()[0]
    twins = {
        "without": prepare(tf, tf.distribute.get_strategy()),
        "with": prepare(tf, tf.distribute.MirroredStrategy(["/cpu:0"])),
    }
    ratios, steps = {}, EXAMPLES // BATCH
    micros = {}
    for name in ("fit", "tape", "run"):
        for twin in twins.values():
            for _ in range(4):
                twin[name]()
        found, times = [], {"without": [], "with": []}
        gc.disable()
        for turn in range(options.rounds):
            order = ("without", "with") if turn % 2 else ("with", "without")
            for kind in order:
                begin = time.process_time()
                twins[kind][name]()
                times[kind].append(time.process_time() - begin)
            found.append(times["with"][-1] / times["without"][-1])
        gc.enable()
        ratios[name] = round(statistics.median(found), 4)
        count = steps * 4 if name == "fit" else steps
        micros[name] = {kind: round(statistics.median(series) / count * 1e6, 1) for kind, series in times.items()}
    print(json.dumps({"workload": "distribute_overhead", "unit": "CPU time with / without", "ratio": ratios,
                      "us_per_step": micros, "rounds": options.rounds, "load_before": load}), flush=True)


if __name__ == "__main__":
    main()
