# SPDX-License-Identifier: Apache-2.0
"""Kills, full disks and flipped bits while model files are written and read: the old file or the new one, whole.

FITLOOM_KILLS and FITLOOM_FLIPS set how many (small by default).
"""
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import fitloom as tf
from fitloom.saving import atomic, seal

KILLS = int(os.environ.get("FITLOOM_KILLS", "6"))
FLIPS = int(os.environ.get("FITLOOM_FLIPS", "150"))
NAMES = ["m.keras", "m.h5", "m.weights.h5"]


def make(value, units=6):
    model = tf.keras.Sequential([tf.keras.Input((5,)), tf.keras.layers.Dense(units), tf.keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for variable in model.weights:
        variable.assign(np.full(variable.shape, value, "float32"))
    return model


def save(model, path):
    (model.save_weights if str(path).endswith(".weights.h5") else model.save)(path)


def load(path, model=None):
    if str(path).endswith(".weights.h5"):
        model = model or make(-1.0)
        model.load_weights(path)
        return model
    return tf.keras.models.load_model(path)


def values(model):
    return {float(x) for w in model.get_weights() for x in np.unique(w)}


# Imports once; for each line it reads, it forks a process that saves again and again until it is killed.
WRITER = textwrap.dedent("""
    import os, sys, warnings
    warnings.simplefilter("ignore")
    sys.path.insert(0, {tests!r})
    from saving.test_whole_or_absent import make, save
    import numpy as np
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            model, number = make(1.0, units=50_000), 1
            print("ready", os.getpid(), flush=True)
            while True:
                number += 1
                for variable in model.weights:
                    variable.assign(np.full(variable.shape, number, "float32"))
                for path in sys.argv[1:]:
                    save(model, path)
        os.waitpid(process, 0)
""")


def test_kills_while_saving(tmp_path):
    """Half of the kills come at random, half as soon as a temporary file is there."""
    paths = [str(tmp_path / name) for name in NAMES]
    for path in paths:
        save(make(1.0, units=50_000), path)
    rng, template, inside = random.Random(5), make(-1.0, units=50_000), 0
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(tests=os.path.dirname(os.path.dirname(__file__))), *paths],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "JAX_PLATFORMS": "cpu"}, text=True)
    try:
        for kill in range(KILLS):
            print("go", file=writer.stdin, flush=True)
            ready, process = writer.stdout.readline().split()
            assert ready == "ready"
            deadline = time.monotonic() + 20
            if kill % 2:
                time.sleep(rng.uniform(0.0, 0.3))
            while not kill % 2 and time.monotonic() < deadline:
                if any(name.endswith(".tmp") for name in os.listdir(tmp_path)):
                    time.sleep(rng.uniform(0, 0.02))
                    break
            os.kill(int(process), signal.SIGKILL)
            inside += any(name.endswith(".tmp") for name in os.listdir(tmp_path))
            for path in paths:
                assert len(values(load(path, template))) == 1, path         # all of one save
    finally:
        writer.kill()
        writer.wait()
        writer.stdin.close()
        writer.stdout.close()
    assert inside
    for path in paths:      # what killed processes left behind goes with the next save
        save(template, path)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_full_disk(tmp_path, name):
    """Every size limit below the file's: a clear error, the old file whole, nothing left behind."""
    path = tmp_path / name
    save(make(1.0), path)
    old, size = path.read_bytes(), path.stat().st_size
    new = make(2.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in [*range(0, size, max(1, size // 25)), size - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match="untouched"):
                save(new, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == old and os.listdir(tmp_path) == [name]
    save(new, path)
    assert values(load(path)) == {2.0}


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits(tmp_path, name):
    """Any single flipped bit is noticed, wherever it is, and the model in memory stays as it was."""
    path = tmp_path / name
    save(make(1.0), path)
    content, rng, model = path.read_bytes(), random.Random(7), make(3.0)
    positions = range(8 * len(content)) if FLIPS >= 8 * len(content) else rng.sample(range(8 * len(content)), FLIPS)
    for position in [*positions, *range(8 * (len(content) - 22), 8 * len(content), 5)]:
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises((ValueError, TypeError)):
            load(path, model)
        if name != "m.h5":      # load_weights, too, reads .keras
            with pytest.raises((ValueError, TypeError)):
                model.load_weights(path)
        assert values(model) == {3.0}


@pytest.mark.parametrize("name", NAMES)
def test_truncated(tmp_path, name):
    path = tmp_path / name
    save(make(1.0), path)
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 40):
        if name != "m.keras" and size == len(content) - seal.LENGTH:
            continue        # without its seal a file is whole as HDF5, like one of Keras
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="m[.]"):
            load(path)


def test_the_damaged_member_and_array_are_named(tmp_path):
    path = tmp_path / "m.keras"
    save(make(0.731), path)
    content = path.read_bytes()
    for what, at in (("layers/dense", content.rindex(np.float32(0.731).tobytes())),
                     ("config.json", content.index(b'"class_name"'))):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=what):
            load(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_files_of_keras_notice_damage_of_the_archive(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)])
    path = tmp_path / "k.keras"
    model.save(path)
    content = bytearray(path.read_bytes())
    assert load(path).count_params() == 36
    content[content.index(np.asarray(model.get_weights()[0]).tobytes()[:8])] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.weights.h5"):
        load(path)


def test_read_only_and_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="Nothing was written"):
        save(make(1.0), tmp_path / "none" / "m.keras")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        save(make(1.0), tmp_path / "folder.keras")


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    atomic.write(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic.replacing(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x"]


def test_links_modes_and_predecessors_are_kept(tmp_path):
    path, link = tmp_path / "x", tmp_path / "link"
    path.write_bytes(b"1")
    path.chmod(0o640)
    link.symlink_to(path)
    atomic.write(link, b"2", previous=tmp_path / "before")
    assert link.is_symlink() and path.read_bytes() == b"2" and (tmp_path / "before").read_bytes() == b"1"
    assert path.stat().st_mode & 0o777 == 0o640


def test_only_files_of_dead_processes_are_removed(tmp_path):
    (tmp_path / "x.99-0.tmp").write_bytes(b"left behind")
    (tmp_path / "x.other.tmp").write_bytes(b"somebody's")
    with atomic.replacing(tmp_path / "x") as outer:
        atomic.write(tmp_path / "x", b"inner")
        outer.write(b"outer")
    assert (tmp_path / "x").read_bytes() == b"outer"
    assert sorted(os.listdir(tmp_path)) == ["x", "x.other.tmp"]
