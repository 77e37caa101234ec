# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at any moment and started again ends with the same bits as one that never stopped."""
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import fitloom as tf
from compiling import CHEAPLY
from fitloom.saving import checkpoint_file

SCRIPT = Path(__file__).with_name("crash_script.py")
# kills of each of the two kinds; the full test sets 25
KILLS = int(os.environ.get("FITLOOM_CRASH_KILLS", "1"))
NEWEST = "newest.safetensors"


class Session:
    """One run of the script, in a folder of its own, that can be killed and started again."""

    def __init__(self, folder, kind, save_freq):
        self.folder, self.backup, self.result = folder, folder / "backup", folder / "result.json"
        self.arguments = [str(self.backup), str(save_freq), str(self.result), kind]

    def start(self, wait=True):
        process = subprocess.Popen([sys.executable, str(SCRIPT), *self.arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env={"XLA_FLAGS": CHEAPLY, **os.environ})
        end = time.monotonic() + 120
        while wait and not (self.backup / NEWEST).exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        return process

    def finish(self):
        output = self.start().communicate(timeout=240)[0]
        assert self.result.exists(), output[-3000:]
        return json.loads(self.result.read_text())

    def saved(self):
        """The number of steps in the state on disk, which is whole; 0 before the first save."""
        if not (self.backup / NEWEST).exists():
            return 0
        state = checkpoint_file.read(self.backup / NEWEST)
        return state["epoch"] * 8 + state["step"]

    def executed(self):
        """The numbers of the steps that all runs have executed, in order, repeated ones again."""
        path = Path(f"{self.result}.steps")
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def clear(self):
        """Forget what was run."""
        for path in (self.result, Path(f"{self.result}.steps"), *self.backup.iterdir()):
            path.unlink()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(Result, seconds) of runs that nothing interrupts, by kind of data."""
    results = {}

    def get(kind):
        if kind not in results:
            begin = time.monotonic()
            results[kind] = Session(tmp_path_factory.mktemp("straight"), kind, "epoch").finish(), \
                time.monotonic() - begin
        return results[kind]
    return get


def in_a_save(session, process, chance):
    """Wait for one of the next saves: its temporary file is there, or was a moment ago."""
    end = time.monotonic() + 60
    for save in range(chance.choice([1, 1, 2, 5])):
        while save and any(session.backup.glob("*.tmp")) and process.poll() is None:
            pass
        while not any(session.backup.glob("*.tmp")) and process.poll() is None and time.monotonic() < end:
            pass
    time.sleep(chance.choice([0, 0, 0.0002, 0.0005, 0.001]))


def within_training(session, process, chance):
    """Wait for this process' first save, then a random time."""
    def saved():
        return (session.backup / NEWEST).stat().st_mtime_ns if (session.backup / NEWEST).exists() else None
    before, end = saved(), time.monotonic() + 60
    while saved() == before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.5))


def at_any_time(process, chance, seconds):
    """Wait for a moment between the first import and the end; return how long the process ran if it ended before."""
    begin = time.monotonic()
    moment = begin + chance.uniform(0, seconds)
    while time.monotonic() < moment and process.poll() is None:
        time.sleep(0.002)
    return seconds if process.poll() is None else min(seconds, time.monotonic() - begin)


@pytest.mark.parametrize("kind, save_freq", [("arrays", 3), ("pipeline", "epoch"), ("pipeline", 3), ("generator", 5)])
def test_sigkill(tmp_path, straight, kind, save_freq):
    (expected, seconds), chance = straight(kind), random.Random(5)
    session, steps, kills, ends, moments = Session(tmp_path, kind, save_freq), 0, 0, 0, []
    most = 8 if save_freq == "epoch" else save_freq
    while kills < 2 * KILLS and ends < 2 * KILLS:
        process = session.start(wait=False)
        if kills % 2:
            in_a_save(session, process, chance)
        elif kills % 4:
            within_training(session, process, chance)
        else:
            seconds = at_any_time(process, chance, seconds)
        process.send_signal(signal.SIGKILL)
        output = process.communicate()[0]
        if process.returncode == 0:                        # it came to its end before: once more from the beginning
            assert json.loads(session.result.read_text()) == expected
            session.clear()
            ends, steps = ends + 1, 0
            continue
        assert process.returncode == -signal.SIGKILL, output[-3000:]
        kills += 1
        done = session.saved()
        assert done >= steps
        assert (session.executed() or [0])[-1] - done <= most, "more than save_freq steps are lost"
        steps = done
        moments.append(steps)
    assert session.finish() == expected
    executed = session.executed()
    assert sorted(set(executed)) == list(range(1, len(set(executed)) + 1)), "steps were left out"
    assert len(executed) - len(set(executed)) <= kills * most, "more than save_freq steps were repeated after a kill"
    print(f"{kind} {save_freq}: {kills} kills, last saved steps {moments}; {ends} runs ended before their kill")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_lose_no_step(tmp_path, straight, number):
    (expected, _), session, chance = straight("pipeline"), Session(tmp_path, "pipeline", "epoch"), random.Random(3)
    for _ in range(max(1, KILLS // 5)):
        process = session.start(wait=False)
        within_training(session, process, chance)
        process.send_signal(number)
        begin = time.monotonic()
        output = process.communicate(timeout=60)[0]
        assert time.monotonic() - begin < 5
        if process.returncode == 0:
            break
        assert f"{signal.Signals(number).name}: saved" in output
        assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT), output[-2000:]
        assert session.executed()[-1] == session.saved(), "a finished step was not saved"
    assert session.finish() == expected
    assert session.executed() == list(range(1, len(session.executed()) + 1)), "a step was repeated or left out"


def small(folder, fitted=3, model=None, **settings):
    x = np.random.default_rng(0).random((32, 4), np.float32)
    if model is None:
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(8), tf.keras.layers.Dense(1)])
        model.compile("adam", "mse")
    model.fit(x, x.sum(1, keepdims=True), epochs=fitted, batch_size=8, verbose=0, checkpoint_dir=folder, **settings)
    return model


@pytest.fixture
def no_program_cache():
    """Compiled programs are not kept on disk: jax would leave half a file there under a limit of sizes."""
    import jax
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


def test_a_write_that_fails_anywhere(tmp_path, no_program_cache):
    """Raise the limit of file sizes step by step: a save fails at each point, and a whole state is always there."""
    folder = tmp_path / "run"
    model = small(folder, 2)
    size = (folder / NEWEST).stat().st_size
    before, limits = (folder / NEWEST).read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failures = 0
    try:
        for limit in [*range(0, size, max(1, size // 25)), size - 1]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            try:
                small(folder, 3, model)
            except OSError as error:
                failures += 1
                assert "Could not write the file" in str(error) and "untouched" in str(error)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert (folder / NEWEST).read_bytes() == before and len(os.listdir(folder)) == 2
            checkpoint_file.read(folder / NEWEST)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert failures >= 20
    small(folder, 3, model)
    assert checkpoint_file.read(folder / NEWEST)["epoch"] == 3


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="needs a small file system")
def test_a_full_disk_and_a_read_only_one(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mounted], capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        small(mounted / "run", 2)
        before = (mounted / "run" / NEWEST).read_bytes()
        (mounted / "filler").write_bytes(b"x" * (shutil_free(mounted) - 8192))
        with pytest.raises(OSError, match="No space left|untouched"):
            small(mounted / "run", 3)
        assert (mounted / "run" / NEWEST).read_bytes() == before
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        with pytest.raises(OSError, match="(?i)permission|read-only"):
            small(mounted / "run", 3)
        checkpoint_file.read(mounted / "run" / NEWEST)
    finally:
        subprocess.run(["umount", mounted], check=True)


def shutil_free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_too_little_room_is_known_before_the_first_step(tmp_path, monkeypatch):
    import collections
    import shutil
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 0))
    with pytest.raises(OSError, match="A backup takes about"):
        small(tmp_path / "run")


def test_the_one_before_is_used_when_the_newest_is_damaged(tmp_path):
    folder = tmp_path / "run"
    expected = small(tmp_path / "other", 4).get_weights()
    small(folder, 3)
    content = bytearray((folder / NEWEST).read_bytes())
    content[-3] ^= 4
    (folder / NEWEST).write_bytes(content)
    with pytest.warns(UserWarning, match="before it is used"):
        model = small(folder, 4)
    for left, right in zip(model.get_weights(), expected):
        np.testing.assert_array_equal(left, right)
    for name in os.listdir(folder):
        (folder / name).write_bytes(b"x" * 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(tf.errors.DataLossError, match="delete"):
            small(folder, 5)
