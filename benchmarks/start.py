# SPDX-License-Identifier: Apache-2.0
"""How long until the first epoch is done? Seconds from the start of the process, libraries loaded, one `fit`.

`fitloom_cold` has never run here: its folder of compiled programs is empty. `fitloom` finds what the run before it left
there. The peers keep nothing.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time

import harness
import learning
from problems import PROBLEMS


def one_epoch(problem, twin):
    """Train for one epoch: what the process of a twin does."""
    if twin == "torch":
        torch, model, inputs, targets = learning.torch_model(problem)
        learning.torch_training(torch, model, inputs, targets, problem.batch_size)(1)
        return
    x, y = problem.arrays()
    learning.compiled_model(problem, twin).fit(x, y, batch_size=problem.batch_size, epochs=1, verbose=0)


def seconds_of(key, twin, folder):
    """Return the time that a new process takes; None where the twin's library is missing."""
    environment = harness.environment_of(twin)
    if twin.startswith(harness.OURS):
        environment = {k: v for k, v in environment.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        environment["FITLOOM_CACHE"] = folder
    command = [harness.python_of(twin), __file__, "--workload", key, "--worker", twin]
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    elapsed_seconds = time.perf_counter() - begin
    if done.returncode == 0:
        return elapsed_seconds
    if "ModuleNotFoundError" in done.stderr:
        return None
    raise RuntimeError(f"The twin '{twin}' ended with status {done.returncode}:\n{done.stderr[-3000:]}")


def compare(key, names, rounds):
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    values = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as warm:
        if harness.OURS in names:
            seconds_of(key, harness.OURS, warm)
        for _ in range(rounds):
            for name in names:
                with tempfile.TemporaryDirectory() as cold:
                    values[name].append(seconds_of(key, name, warm if name == harness.OURS else cold))
    measured = {name: series for name, series in values.items() if None not in series}
    workload = harness.Workload(f"start_{key}", __doc__.splitlines()[0], "s", {})
    absent = {name: "not installed" for name in values if name not in measured}
    return {**harness.summary(workload, measured), "absent": absent, "cores": harness.cores(), "load_before": load}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="tiny,cnn", help=f"comma-separated, of {', '.join(PROBLEMS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--twins", default="fitloom_cold,fitloom,torch,tf_keras,keras_jax")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for key in options.workload.split(","):
        if options.worker:
            one_epoch(PROBLEMS[key], options.worker)
        else:
            print(json.dumps(compare(key, options.twins.split(","), options.rounds)), flush=True)


if __name__ == "__main__":
    main()
