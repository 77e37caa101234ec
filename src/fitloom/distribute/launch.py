# SPDX-License-Identifier: Apache-2.0
"""`python -m fitloom launch --workers 2 train.py`: a cluster on this machine, one process a worker."""
import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time


def main(arguments):
    """Start the workers; return the exit status: 0, or that of the first worker that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m fitloom launch",
        description="Start local workers of a MultiWorkerMirroredStrategy and show their output, line by line.")
    parser.add_argument("--workers", type=int, default=2, help="number of processes (default 2)")
    parser.add_argument("--grace", type=float, default=10.0,
                        help="seconds that workers have to end after one has failed (default 10)")
    parser.add_argument("--restarts", type=int, default=0,
                        help="start all workers again up to so many times after a failure (BackupAndRestore resumes)")
    parser.add_argument("script", help="the training script, or -m for a module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, but is {options.workers}.")
    if options.script != "-m" and not os.path.exists(options.script):
        parser.error(f"there is no script '{options.script}'.")
    for attempt in range(options.restarts + 1):
        status = run(options.workers, [options.script, *options.arguments], options.grace)
        if status == 0 or status == 130:
            break
        if attempt < options.restarts:
            sys.stderr.write(f"fitloom launch: restart {attempt + 1} of {options.restarts}\n")
    return status


def run(workers, command, grace=10.0):
    """Run one process for each worker until all have ended; return the status."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes, readers = [], []
    try:
        for rank in range(workers):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            if workers > 1:
                environment["TF_CONFIG"] = json.dumps(config)
                environment.update(_share_of_gpus(rank, workers))
            process = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True, errors="replace")
            processes.append(process)
            reader = threading.Thread(target=_show, args=(rank, process.stdout), daemon=True)
            reader.start()
            readers.append(reader)
        return _wait(processes, grace)
    except KeyboardInterrupt:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        _wait(processes, grace, stopping=True)
        return 130
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for reader in readers:
            reader.join(5)


def _share_of_gpus(rank, workers):
    """Return the environment that gives a worker its own GPUs, if this machine has enough for all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named is not None else [
        name.removeprefix("nvidia") for name in sorted(os.listdir("/dev")) if re.fullmatch(r"nvidia\d+", name)]
    each = len(gpus) // workers
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[rank * each:(rank + 1) * each])} if each else {}


def _wait(processes, grace, stopping=False):
    """Wait for all to end; after a failure the others have `grace` seconds."""
    status, deadline = 0, time.monotonic() + grace if stopping else None
    while True:
        states = [process.poll() for process in processes]
        bad = [(rank, code) for rank, code in enumerate(states) if code]
        if bad and deadline is None:
            rank, code = bad[0]
            how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            sys.stderr.write(f"fitloom launch: worker {rank} {how}; the others have {grace:g} s to end.\n")
            status, deadline = code if code > 0 else 128 - code, time.monotonic() + grace
        if all(state is not None for state in states):
            return status
        if deadline is not None and time.monotonic() > deadline:
            return status or 1
        time.sleep(0.05)


def _show(rank, stream):
    for line in stream:
        sys.stdout.write(f"[{rank}] {line}")
        sys.stdout.flush()


def free_ports(count):
    """Return ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
