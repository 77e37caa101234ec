# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at any moment and started again ends with the same bits as one that never stopped."""
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crash_script.py")
# kills of each kind; the full test sets 25
KILLS = int(os.environ.get("FITLOOM_CRASH_KILLS", "1"))


def start(folder, save_freq, result):
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(save_freq), str(result)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process, timeout=240):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-3000:]


def wait_for_backup(folder, process, timeout=120):
    end = time.monotonic() + timeout
    while not any(folder.glob("*.npz")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Results of runs that nothing interrupts, by save_freq."""
    results = {}

    def get(save_freq):
        if save_freq not in results:
            folder = tmp_path_factory.mktemp("straight")
            finish(start(folder / "backup", save_freq, folder / "result.json"))
            results[save_freq] = json.loads((folder / "result.json").read_text())
        return results[save_freq]
    return get


@pytest.mark.parametrize("save_freq", [3, "epoch"])
def test_sigkill(tmp_path, straight, save_freq):
    expected = straight(save_freq)
    backup, result = tmp_path / "backup", tmp_path / "result.json"
    chance = random.Random(5)
    for kill in range(2 * KILLS):
        process = start(backup, save_freq, result)
        wait_for_backup(backup, process)
        if kill % 2:                       # in the middle of a save: as soon as its temporary file is there
            end = time.monotonic() + 5
            while not any(backup.glob("*.tmp")) and process.poll() is None and time.monotonic() < end:
                pass
        else:
            time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(backup, save_freq, result))
    assert json.loads(result.read_text()) == expected
    assert not backup.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_lose_no_step(tmp_path, straight, number):
    expected = straight("epoch")
    backup, result = tmp_path / "backup", tmp_path / "result.json"
    process = start(backup, "epoch", result)
    wait_for_backup(backup, process)
    time.sleep(0.1)
    process.send_signal(number)
    begin = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - begin < 5 and process.returncode != 0
    finish(start(backup, "epoch", result))
    assert json.loads(result.read_text()) == expected
