# SPDX-License-Identifier: Apache-2.0
"""How long is a step of two processes beside one, on the same global batch? Each process has one core.

Two batch sizes: the gradients that cross are the same 7 MB, so a small batch shows their price and a large one, whose
work is worth dividing, what two processes gain. Processes are bound to cores 0 and 1 (as by taskset): one process to
core 0 against two, one on each; and one process that has both cores.

`speed_up` is the step time of one process on one core / that of two processes on a core each (2 is perfect), and
`shared` the step time of one process on both cores / that of the two: what the exchange and the second process cost.
`cpu_speed_up` compares CPU time in the same way (one process / one of the two): on a shared machine it is what counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

WIDTH, SIZES, ROWS = 768, (256, 4096), 256 * 72           # ROWS: about as many in each timed run


def work(path, batch):
    import fitloom as tf

    steps = max(2, min(12, ROWS // batch))
    epochs = max(1, ROWS // batch // steps)

    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0
    cores = os.environ.get("BENCH_CORES")
    if cores:
        os.sched_setaffinity(0, {int(cores.split(",")[rank])} if "TF_CONFIG" in os.environ
                             else set(map(int, cores.split(","))))
    tf.keras.utils.set_random_seed(0)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = tf.keras.Sequential(
            [tf.keras.Input((WIDTH,)), *[tf.keras.layers.Dense(WIDTH, activation="relu") for _ in range(3)],
             tf.keras.layers.Dense(10)]
        )
        model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(batch * steps, WIDTH)).astype("float32"), rng.integers(0, 10, batch * steps)
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0, shuffle=False)
    times, cpu = [], []
    for _ in range(5):
        begin, used = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, shuffle=False)
        float(model.variables[-1].numpy().sum())
        times.append((time.perf_counter() - begin) / steps / epochs)
        cpu.append((time.process_time() - used) / steps / epochs)
    if tf.distribute.is_chief():
        with open(path, "w") as file:
            json.dump({"step_ms": sorted(times)[len(times) // 2] * 1e3, "cpu_ms": sorted(cpu)[len(cpu) // 2] * 1e3,
                       "gradient_bytes": sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)}, file)


def measure(workers, cores, batch):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "found.json")
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "BENCH_CORES": cores}
        environment.pop("TF_CONFIG", None)
        done = subprocess.run(
            [sys.executable, "-m", "fitloom", "launch", "--workers", str(workers), __file__, "--worker", path,
             "--batch", str(batch)],
            capture_output=True, text=True, timeout=600, env=environment,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        with open(path) as file:
            return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help="this batch size only")
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.batch)
        return
    for batch in [options.batch] if options.batch else SIZES:
        compare(batch)


def compare(batch):
    """Print one line for a batch size."""
    load = os.getloadavg()[0]
    one, both, two = (measure(workers, cores, batch) for workers, cores in ((1, "0"), (1, "0,1"), (2, "0,1")))
    print(json.dumps({
        "workload": "distribute_processes", "batch": batch, "unit": "ms a step",
        "one_core": round(one["step_ms"], 2), "one_process_two_cores": round(both["step_ms"], 2),
        "two_processes": round(two["step_ms"], 2), "speed_up": round(one["step_ms"] / two["step_ms"], 3),
        "cpu_ms": {"one_core": round(one["cpu_ms"], 2), "each_of_two": round(two["cpu_ms"], 2)},
        "cpu_speed_up": round(one["cpu_ms"] / two["cpu_ms"], 3),
        "shared": round(both["step_ms"] / two["step_ms"], 3), "gradient_bytes": two["gradient_bytes"],
        "load_before": load,
    }), flush=True)


if __name__ == "__main__":
    main()
