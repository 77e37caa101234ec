# SPDX-License-Identifier: Apache-2.0
"""Run a workload's twins side by side and print one JSON line.

A twin is the same work written for one library: `fitloom`, `keras_jax`, `tf_keras`, `tf_keras_nojit`, `torch`. Each
lives in a process of its own that waits while the others work; every round runs each twin once, so all of them meet
the same weather on a shared machine. Ratios are taken within a round, and their median is reported.

    python benchmarks/fit_mlp.py [--rounds 5] [--seconds 1] [--twins fitloom,torch]
    python benchmarks/predict.py --workload cnn,lstm

Peers run under the Python that the environment variable FITLOOM_PEERS_PYTHON names (with tensorflow, keras, jax and
torch installed); a twin whose library is not installed is left out, and the line says so.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

OURS = "fitloom"
# Environment of each twin's process. PyTorch and bare JAX need none.
ENVIRONMENT = {
    "keras_jax": {"KERAS_BACKEND": "jax"},
    "tf_keras": {"KERAS_BACKEND": "tensorflow"},
    "tf_keras_nojit": {"KERAS_BACKEND": "tensorflow"},
}


def runs_here(name):
    """Whether a twin runs under this interpreter: ours in all their variants, and JAX without a library."""
    return name == "jitted" or name.startswith(OURS)


@dataclasses.dataclass(frozen=True)
class Workload:
    """One question. `twins` maps a name to a function that prepares the work and returns `measure(seconds) -> value`.

    `unit` is 'examples/s' (more is better) or 'us' (less is better). `baseline`, if given, is the twin that ours is
    compared with; otherwise it is the best of the others.
    """

    name: str
    question: str
    unit: str
    twins: dict[str, Callable[[], Callable[[float], float]]]
    baseline: str | None = None

    def speed_ratio(self, ours, other):
        """How many times as fast as `other` we are."""
        return ours / other if self.unit == "examples/s" else other / ours


def main(workloads, file):
    """Command line of a file with one workload, or with several: a dict from the name that `--workload` takes."""
    if isinstance(workloads, Workload):
        workloads = {workloads.name: workloads}
    parser = argparse.ArgumentParser(description=next(iter(workloads.values())).question)
    parser.add_argument("--workload", help=f"comma-separated, of {', '.join(workloads)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one twin's turn")
    parser.add_argument("--twins", help="comma-separated; default: all")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = options.workload.split(",") if options.workload else list(workloads)
    if options.worker:
        work(workloads[chosen[0]].twins[options.worker])
        return
    for key in chosen:
        workload = workloads[key]
        names = options.twins.split(",") if options.twins else list(workload.twins)
        report = compare(workload, [file, "--workload", key], names, options.rounds, options.seconds)
        print(json.dumps(report), flush=True)


def compare(workload, command, names, rounds, seconds):
    """Run the rounds; return the report. `command` with `--worker NAME` is the process of a twin."""
    workers = {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    try:
        # One after another: two libraries compiling at once would only slow each other.
        for name in names:
            workers[name] = Worker(command, name)
        ready = {name: worker for name, worker in workers.items() if worker.absent is None}
        values = {name: [] for name in ready}
        for _ in range(rounds):
            for name, worker in ready.items():
                values[name].append(worker.measure(seconds))
    finally:
        for worker in workers.values():
            worker.close()
    report = {
        **summary(workload, values),
        "first_seconds": {name: _round(workers[name].first_seconds) for name in values},
        "peak_megabytes": {name: workers[name].peak_megabytes for name in values},
        "absent": {name: worker.absent for name, worker in workers.items() if worker.absent},
        "versions": {k: v for worker in workers.values() for k, v in worker.versions.items()},
    }
    # The load of the machine before we began: above about 0.5, somebody else was at work and the line means little.
    return {**report, "cores": cores(), "load_before": load}


def summary(workload, values):
    """Return what the rounds say: `values` maps a twin to its value in each round."""
    report = {
        "workload": workload.name,
        "unit": workload.unit,
        "median": {name: _round(statistics.median(series)) for name, series in values.items()},
        # (largest - smallest) / median: how much to trust the row.
        "spread": {
            name: round((max(series) - min(series)) / statistics.median(series), 3) for name, series in values.items()
        },
    }
    if OURS in values:
        ratios = {
            name: statistics.median(map(workload.speed_ratio, values[OURS], series))
            for name, series in values.items()
            if not runs_here(name) or name == workload.baseline
        }
        report["times_as_fast_as"] = {name: _round(ratio) for name, ratio in ratios.items()}
        if ratios:
            rival = workload.baseline if workload.baseline in ratios else min(ratios, key=ratios.__getitem__)
            report["compared_with"], report["ratio"] = rival, _round(ratios[rival])
    report["rounds"] = max(map(len, values.values()), default=0)
    return report


def cores():
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _round(value):
    """Three significant digits."""
    if not value or not math.isfinite(value):
        return value
    rounded = float(f"{value:.3g}")
    return int(rounded) if abs(rounded) >= 100 else rounded


def python_of(name):
    """Return the interpreter of a twin."""
    return sys.executable if runs_here(name) else os.environ.get("FITLOOM_PEERS_PYTHON") or sys.executable


def environment_of(name):
    """Return the environment of a twin's process."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **ENVIRONMENT.get(name, {})}


class Worker:
    """The process of one twin."""

    def __init__(self, command, name):
        self.stderr = tempfile.TemporaryFile("w+")  # TensorFlow talks a lot; it is shown if the process fails
        self.process = subprocess.Popen(
            [python_of(name), *command, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
            env=environment_of(name),
        )
        self.name, self.peak_megabytes = name, None
        answer = self._receive()
        self.absent = answer.get("absent")
        self.versions = answer.get("versions", {})
        self.first_seconds = answer.get("first_seconds")

    def _receive(self):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.stderr.seek(0)
            raise RuntimeError(f"The twin '{self.name}' ended with status {status}:\n{self.stderr.read()[-3000:]}")
        return json.loads(line)

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        answer = self._receive()
        self.peak_megabytes = answer["peak_megabytes"]
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.stderr.close()


def work(prepare):
    """Be a worker: prepare, say so, then one measurement for every line that arrives."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    start = time.perf_counter()
    try:
        measure = prepare()
    except ModuleNotFoundError as error:
        answers.write(json.dumps({"absent": f"no module {error.name}"}) + "\n")
        return
    first_seconds = time.perf_counter() - start
    answers.write(json.dumps({"versions": _versions(), "first_seconds": first_seconds}) + "\n")
    for line in sys.stdin:
        value = measure(float(line))
        answers.write(json.dumps({"value": value, "peak_megabytes": peak_megabytes()}) + "\n")


def peak_megabytes():
    """Return the most memory that this process has had resident so far, its libraries included; None if unknown."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next((int(line.split()[1]) * 1024 // 10**6 for line in lines if line.startswith("VmHWM")), None)
    except OSError:
        return None


def _versions():
    found = {}
    for name in ("fitloom", "jax", "keras", "tensorflow", "torch"):
        if name in sys.modules:
            found[name] = importlib.metadata.version(name)
    return found


def examples_per_second(run_epochs, examples):
    """Return `measure(seconds)` for a function that trains for a number of epochs.

    Two warm-up epochs come first; a turn is one call with as many epochs as fit into its seconds.
    """
    run_epochs(1)
    start = time.perf_counter()
    run_epochs(2)
    epoch_seconds = (time.perf_counter() - start) / 2

    def measure(seconds):
        epochs = max(1, round(seconds / epoch_seconds))
        start = time.perf_counter()
        run_epochs(epochs)
        return epochs * examples / (time.perf_counter() - start)

    return measure


def microseconds_per_call(call, calls_at_once=10):
    """Return `measure(seconds)`: the median time of `call()`, in microseconds."""
    for _ in range(20):
        call()

    def measure(seconds):
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(calls_at_once):
                call()
            times.append((time.perf_counter() - start) / calls_at_once)
        return statistics.median(times) * 1e6

    return measure


def load_keras(twin):
    """Return the `keras` namespace of a twin."""
    if twin.startswith("fitloom"):
        import fitloom as tf

        return tf.keras
    if twin == "keras_jax":
        import keras

        return keras
    import tensorflow as tf

    return tf.keras
