# SPDX-License-Identifier: Apache-2.0
"""Run a workload's twins side by side and print one JSON line.

A twin is the same work written for one library: `fitloom`, `keras_jax`, `tf_keras`, `tf_keras_nojit`, `torch`. Each
lives in a process of its own that waits while the others work; every round runs each twin once, so all of them meet
the same weather on a shared machine. Ratios are taken within a round, and their median is reported.

    python benchmarks/fit_mlp.py [--rounds 5] [--seconds 1] [--twins fitloom,torch]

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
OWN_PYTHON = ("fitloom", "fitloom_hooks", "jitted")  # twins that run under this interpreter


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


def main(workload, file):
    """Command line of a workload's file."""
    parser = argparse.ArgumentParser(description=workload.question)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one twin's turn")
    parser.add_argument("--twins", help="comma-separated; default: all")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(workload.twins[options.worker])
        return
    names = options.twins.split(",") if options.twins else list(workload.twins)
    print(json.dumps(compare(workload, file, names, options.rounds, options.seconds)), flush=True)


def compare(workload, file, names, rounds, seconds):
    """Run the rounds; return the report."""
    workers = {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    try:
        # One after another: two libraries compiling at once would only slow each other.
        for name in names:
            workers[name] = Worker(file, name)
        ready = {name: worker for name, worker in workers.items() if worker.absent is None}
        values = {name: [] for name in ready}
        for _ in range(rounds):
            for name, worker in ready.items():
                values[name].append(worker.measure(seconds))
    finally:
        for worker in workers.values():
            worker.close()
    # The load of the machine before we began: above about 0.5, somebody else was at work and the line means little.
    return {**_report(workload, values, workers), "load_before": load}


def _report(workload, values, workers):
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
            if name not in OWN_PYTHON or name == workload.baseline
        }
        report["times_as_fast_as"] = {name: _round(ratio) for name, ratio in ratios.items()}
        if ratios:
            rival = workload.baseline if workload.baseline in ratios else min(ratios, key=ratios.__getitem__)
            report["compared_with"], report["ratio"] = rival, _round(ratios[rival])
    report["rounds"] = max(map(len, values.values()), default=0)
    report["first_seconds"] = {name: _round(workers[name].first_seconds) for name in values}
    report["absent"] = {name: worker.absent for name, worker in workers.items() if worker.absent}
    report["versions"] = {k: v for worker in workers.values() for k, v in worker.versions.items()}
    report["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return report


def _round(value):
    """Three significant digits."""
    if not value or not math.isfinite(value):
        return value
    rounded = float(f"{value:.3g}")
    return int(rounded) if abs(rounded) >= 100 else rounded


class Worker:
    """The process of one twin."""

    def __init__(self, file, name):
        peers = os.environ.get("FITLOOM_PEERS_PYTHON") or sys.executable
        self.stderr = tempfile.TemporaryFile("w+")  # TensorFlow talks a lot; it is shown if the process fails
        self.process = subprocess.Popen(
            [sys.executable if name in OWN_PYTHON else peers, file, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **ENVIRONMENT.get(name, {})},
        )
        self.name = name
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
        return self._receive()["value"]

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
        answers.write(json.dumps({"value": measure(float(line))}) + "\n")


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


def fit_workload(name, question, arrays, batch_size, build_keras, build_torch):
    """A workload that trains one model by every library's usual means: Adam, cross-entropy, accuracy, shuffled.

    `arrays()` gives (x, y), `build_keras(keras)` a model with logits, `build_torch(torch)` a module with logits.
    """

    def keras_twin(twin):
        def prepare():
            keras = load_keras(twin)
            keras.utils.set_random_seed(0)
            x, y = arrays()
            model = build_keras(keras)
            model.compile(
                optimizer="adam",
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                jit_compile=False if twin == "tf_keras_nojit" else "auto",
            )
            return examples_per_second(
                lambda epochs: model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0), len(x)
            )

        return prepare

    def torch_twin():
        import torch

        torch.manual_seed(0)
        # Adam's averages fade into denormal numbers, a hundred times slower; XLA and TensorFlow flush them too.
        torch.set_flush_denormal(True)
        x, y = (torch.from_numpy(array) for array in arrays())
        return examples_per_second(torch_loop(torch, build_torch(torch), x, y, batch_size), len(x))

    twins = {twin: keras_twin(twin) for twin in (OURS, "keras_jax", "tf_keras", "tf_keras_nojit")}
    return Workload(name, question, "examples/s", {**twins, "torch": torch_twin})


def torch_loop(torch, model, x, y, batch_size):
    """The loop a PyTorch user writes: shuffle, step, running loss and accuracy."""
    if x.ndim == 4:  # images come as NHWC; oneDNN likes PyTorch's name for the same layout
        x = x.permute(0, 3, 1, 2)
        model = model.to(memory_format=torch.channels_last)
    y = y.long()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    complain = torch.nn.CrossEntropyLoss()

    def run_epochs(epochs):
        model.train()
        for _ in range(epochs):
            order = torch.randperm(len(x))
            loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
            for start in range(0, len(x), batch_size):
                batch = order[start : start + batch_size]
                inputs, labels = x[batch], y[batch]
                optimizer.zero_grad(set_to_none=True)
                logits = model(inputs)
                loss = complain(logits, labels)
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach() * len(batch)
                correct += (logits.detach().argmax(dim=-1) == labels).sum()
            loss_sum.item(), correct.item()

    return run_epochs
