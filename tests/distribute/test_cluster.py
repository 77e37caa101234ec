# SPDX-License-Identifier: Apache-2.0
"""Several real processes over loopback with Gloo: the same numbers as one, and faults that end with a sentence."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from compiling import CHEAPLY
from distribute.shared import once
from fitloom.distribute.launch import free_ports

SCRIPT = str(Path(__file__).parent / "worker.py")
BOUND = 150           # seconds that any cluster here may take, on a busy machine


class Workers:
    """Processes of one cluster; all are killed at the end of the block."""

    def __init__(self, count, *arguments, addresses=None, ranks=None, environment=None, configs=None):
        self.addresses = addresses or [f"127.0.0.1:{port}" for port in free_ports(count)]
        self.count, self.arguments = count, arguments
        self.configs, self.extra, self.processes, self.outputs = configs or {}, environment or {}, {}, {}
        self.ranks = range(count) if ranks is None else ranks

    def __enter__(self):
        for rank in self.ranks:
            self.start(rank)
        return self

    def start(self, rank):
        config = self.configs.get(rank, {"cluster": {"worker": self.addresses}, "task": {"type": "worker", "index": rank}})
        environment = {"XLA_FLAGS": CHEAPLY, **os.environ, "TF_CONFIG": config if isinstance(config, str) else json.dumps(config),
                       "JAX_PLATFORMS": "cpu", "FITLOOM_CLUSTER_SILENT_SECONDS": "4",
                       "FITLOOM_CLUSTER_START_SECONDS": "60", "FITLOOM_CLUSTER_STUCK_SECONDS": "60", **self.extra}
        self.processes[rank] = subprocess.Popen(
            [sys.executable, "-u", SCRIPT, *self.arguments], env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def wait(self, seconds=BOUND):
        """Wait for all; return {rank: status}."""
        end = time.monotonic() + seconds
        for rank, process in self.processes.items():
            try:
                output, _ = process.communicate(timeout=max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                output += "\n<<still running after the bound: killed by the test>>"
            self.outputs[rank] = self.outputs.get(rank, "") + output
        return {rank: process.returncode for rank, process in self.processes.items()}

    def wait_for(self, rank, text, seconds=BOUND):
        """Read a worker's output until a line contains `text`."""
        end, found = time.monotonic() + seconds, ""
        stream = self.processes[rank].stdout
        while time.monotonic() < end:
            line = stream.readline()
            found += line
            if text in line or not line:
                break
        self.outputs[rank] = self.outputs.get(rank, "") + found
        assert text in found, found

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            process.stdout.close()

    def result(self, rank):
        """Return what a worker reported."""
        lines = [line for line in self.outputs[rank].splitlines() if line.startswith("RESULT ")]
        assert lines, self.outputs[rank]
        return json.loads(lines[-1][7:])


def alone(*arguments):
    """Run the script in one process; return its report."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    done = subprocess.run([sys.executable, SCRIPT, *arguments], env={"XLA_FLAGS": CHEAPLY, **environment, "JAX_PLATFORMS": "cpu"},
                          capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("RESULT ")][-1][7:])


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return once("alone", lambda: alone("everything"), tmp_path_factory)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=3e-5, atol=3e-5, err_msg=name)


@pytest.mark.parametrize("count, much", [(2, "all"), (4, "fit")])
def test_processes_compute_what_one_computes(one, count, much):
    with Workers(count, "everything", much) as workers:
        statuses = workers.wait()
        assert set(statuses.values()) == {0}, workers.outputs
        for rank in range(count):
            found = workers.result(rank)
            same(found, {name: one[name] for name in found})
            assert len(found) == (len(one) if much == "all" else 2)
        assert f"Cluster of {count} workers with {count} devices (CPU, Gloo)" in workers.outputs[0]
        assert "Epoch 1/" in workers.outputs[0] and "Epoch 1/" not in workers.outputs[1]


def test_data_in_parts(tmp_path):
    with Workers(2, "parts", str(tmp_path)) as workers:
        assert set(workers.wait().values()) == {0}, workers.outputs
        assert workers.result(0) == workers.result(1)
        found = workers.result(0)
    assert found["files"] == sorted(range(24)) and found["own"] == sorted(range(20))
    assert np.isfinite(found["losses"]).all() and found["losses"][1] < found["losses"][0]
    assert found["predicted"] == [37, 3]
    assert found["each"] == [0.0, 1.0, 100.0, 101.0]


def test_launch_gives_each_worker_its_gpus(monkeypatch):
    from fitloom.distribute.launch import _share_of_gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert _share_of_gpus(1, 2) == {"CUDA_VISIBLE_DEVICES": "2,3"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert _share_of_gpus(1, 2) == {}


def test_a_late_worker_is_waited_for_and_a_restart_after_a_kill_resumes_bit_for_bit(tmp_path):
    with Workers(2, "resume", str(tmp_path / "whole"), "0", ranks=[0]) as workers:
        workers.wait_for(0, "waits for its cluster")
        time.sleep(0.5)
        workers.start(1)
        assert set(workers.wait().values()) == {0}, workers.outputs
        whole = workers.result(0)
        assert workers.result(1) == whole
    with Workers(2, "resume", str(tmp_path / "cut"), "8") as workers:
        ends(workers, ["Worker 1 (", "died"], statuses=(75,), but=[1])
    with Workers(2, "resume", str(tmp_path / "cut"), "0") as workers:
        assert set(workers.wait().values()) == {0}, workers.outputs
        assert workers.result(0) == workers.result(1) == whole


def ends(workers, words, statuses=(75, 1), but=()):
    """All workers outside `but` end within the bound, and say why."""
    codes = workers.wait()
    for rank, code in codes.items():
        if rank in but:
            continue
        assert code in statuses, (rank, code, workers.outputs)
        for word in words:
            assert word in workers.outputs[rank], (rank, word, workers.outputs)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_others(victim):
    with Workers(2, "endless") as workers:
        workers.wait_for(victim, f"STEP {random.randint(2, 9)}")
        begin = time.monotonic()
        workers.processes[victim].kill()
        ends(workers, [f"Worker {victim} (", "died"], statuses=(75,), but=[victim])
        assert time.monotonic() - begin < 30


@pytest.mark.parametrize("victim", [0, 1])
def test_a_stopped_worker_ends_the_others(victim):
    with Workers(2, "endless") as workers:
        workers.wait_for(victim, f"STEP {random.randint(2, 9)}")
        workers.processes[victim].send_signal(signal.SIGSTOP)
        survivor = workers.processes[1 - victim]
        output, _ = survivor.communicate(timeout=BOUND)
        assert survivor.returncode == 75 and f"Worker {victim} (" in output and "silent for 4 s" in output, output


def test_a_stuck_worker_ends_the_others():
    with Workers(2, "stuck", environment={"FITLOOM_CLUSTER_STUCK_SECONDS": "5"}) as workers:
        ends(workers, ["Worker 1 (", "stuck for 5 s after"], statuses=(75,))


def test_an_exception_in_one_worker_ends_the_others():
    with Workers(2, "raises") as workers:
        codes = workers.wait()
        assert codes[1] == 1 and codes[0] == 75, workers.outputs
        assert "Worker 1 (" in workers.outputs[0] and "failed: ValueError: this worker's own trouble" in workers.outputs[0]


def test_a_worker_that_never_arrives():
    start = {"FITLOOM_CLUSTER_START_SECONDS": "2"}
    with (Workers(2, "short", ranks=[0], environment=start) as chief, Workers(2, "short", ranks=[1], environment=start)
          as other):
        ends(chief, ["Worker 1 (", "did not arrive within 2 s; 1 of 2 workers are here"], statuses=(1,))
        ends(other, ["worker 0 (", "could not be reached within 2 s"], statuses=(1,))


def test_wrong_configurations_say_what_is_wrong():
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    other = {"cluster": {"worker": [addresses[0], addresses[2]]}, "task": {"type": "worker", "index": 1}}
    with Workers(2, "short", addresses=addresses[:2], configs={1: other}) as workers:
        ends(workers, ["Worker 1 describes another cluster"], statuses=(1,))


def test_a_port_in_use():
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        addresses = [f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1"]
        with Workers(2, "short", addresses=addresses, ranks=[0]) as workers:
            ends(workers, ["cannot listen on port", "Another process uses it"], statuses=(1,))


def test_workers_that_disagree():
    with Workers(2, "disagree") as workers:
        ends(workers, ["do not agree on the batch's shape", "do not agree on the data (checksum)",
                       "do not agree on the model's variables"])
    with Workers(2, "other_seeds") as workers:
        ends(workers, ["do not agree on the seed"])


def test_launch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import os, sys, json\nconfig = json.loads(os.environ['TF_CONFIG'])\n"
                      "print('index', config['task']['index'], 'of', len(config['cluster']['worker']), sys.argv[1])\n"
                      "sys.exit(7 if sys.argv[1] == 'bad' and config['task']['index'] == 1 else 0)\n")
    good = subprocess.run([sys.executable, "-m", "fitloom", "launch", "--workers", "2", str(script), "fine"],
                          capture_output=True, text=True, timeout=BOUND)
    assert good.returncode == 0 and sorted(good.stdout.splitlines()) == ["[0] index 0 of 2 fine", "[1] index 1 of 2 fine"]
    bad = subprocess.run([sys.executable, "-m", "fitloom", "launch", "--workers", "2", str(script), "bad"],
                         capture_output=True, text=True, timeout=BOUND)
    assert bad.returncode == 7 and "worker 1 ended with status 7" in bad.stderr
    absent = subprocess.run([sys.executable, "-m", "fitloom", "launch", "absent.py"], capture_output=True, text=True,
                            timeout=BOUND)
    assert absent.returncode == 2 and "there is no script 'absent.py'" in absent.stderr
