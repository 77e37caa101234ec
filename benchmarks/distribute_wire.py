# SPDX-License-Identifier: Apache-2.0
"""How many bytes does a step put on the wire? Two workers over loopback, beside the size of the gradients.

A ring all-reduce over n workers sends 2 (n - 1) / n times the gradients from each: once for two. `sent_by_each` is
what the kernel counted on the loopback interface in steps of `fit`, halved; `in_program` is what the compiled
program's all-reduces name.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

STEPS = 40


def loopback_bytes():
    """Bytes sent on the loopback interface so far."""
    with open("/proc/net/dev") as file:
        for line in file:
            if line.strip().startswith("lo:"):
                return int(line.split(":")[1].split()[8])
    raise RuntimeError("no loopback interface in /proc/net/dev")


def build(tf, strategy):
    with strategy.scope():
        model = tf.keras.Sequential(
            [tf.keras.Input((256,)), tf.keras.layers.Dense(1024, activation="relu"), tf.keras.layers.Dense(256)]
        )
        model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    return model


def work(path):
    import fitloom as tf

    tf.keras.utils.set_random_seed(0)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    model = build(tf, strategy)
    x = np.random.default_rng(0).normal(size=(64 * STEPS, 256)).astype("float32")
    model.fit(x, x, batch_size=64, epochs=1, verbose=0)
    begin = loopback_bytes()
    model.fit(x, x, batch_size=64, epochs=1, verbose=0)
    moved = loopback_bytes() - begin
    gradients = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
    if tf.distribute.is_chief():
        with open(path, "w") as file:
            json.dump({"gradient_bytes": gradients, "sent_by_each": round(moved / STEPS / 2)}, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "found.json")
        done = subprocess.run(
            [sys.executable, "-m", "fitloom", "launch", "--workers", "2", __file__, "--worker", path],
            capture_output=True, text=True, timeout=300, env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        with open(path) as file:
            found = json.load(file)
    found["times_the_gradients"] = round(found["sent_by_each"] / found["gradient_bytes"], 3)
    print(json.dumps({"workload": "distribute_wire", "unit": "bytes a step and worker", **found}), flush=True)


if __name__ == "__main__":
    main()
