# SPDX-License-Identifier: Apache-2.0
"""The environment of the tests: JAX on the CPU, one device, compiled programs kept between runs."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Set before anything imports jax; subprocesses of the tests inherit it. What the caller has set stays.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "jax")  # the reference of tests/parity
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    # NumPy's references share the machine with XLA and with the other workers.
    os.environ.setdefault(name, "1")
# Some hundred processes are started, and each would parse the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

sys.dont_write_bytecode = False
gc.disable()  # until everything is imported and collected: all of that stays

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from compiling import CHEAPLY  # noqa: E402

# Programs in the tests' own processes, and in those of clusters and crashes, are compiled with little optimization. The
# other processes that the tests start (training scripts, examples) compile as users' do; to compile everything so, set
# XLA_FLAGS (to a space, for instance).
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = CHEAPLY
    import fitloom.engine  # noqa: F401 - makes XLA read its flags, which it does once

    del os.environ["XLA_FLAGS"]

from fitloom.base import config  # noqa: E402

config.disable_traceback_filtering()          # a test that fails is to show every line

# A shell lets what it runs in the background ignore Ctrl-C; here and in the processes of the tests it is heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run; FITLOOM_EXPLORE=1 draws new ones.
hypothesis.settings.register_profile("fitloom", derandomize=os.environ.get("FITLOOM_EXPLORE") != "1")
hypothesis.settings.load_profile("fitloom")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Look for garbage from here on, and not among the modules and the tests."""
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same seed, of Fitloom and of the reference: what fails once fails again."""
    for name in ("fitloom", "keras"):
        module = sys.modules.get(name)
        if module is not None:
            (module.keras if name == "fitloom" else module).utils.set_random_seed(20261122)


@pytest.fixture
def rng():
    """A NumPy generator, the same in every run."""
    return np.random.default_rng(20261122)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty cache folder in the place of ~/.keras."""
    home = tmp_path / "keras_home"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home


def _resident_bytes():
    with open("/proc/self/statm", encoding="utf-8") as statistics:
        return int(statistics.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_kept_bytes = 0  # what stayed resident when programs were dropped last


@pytest.fixture(autouse=True, scope="module")
def forget_between_files():
    """Drop compiled programs when a worker has grown: thousands of tests keep some gigabytes of them.

    Dropping them and compiling the common ones again takes seconds, and not all memory goes back to the system: it
    is done when there is a gigabyte to gain.
    """
    global _kept_bytes
    yield
    if Path("/proc/self/statm").exists() and _resident_bytes() > max(2.5e9, _kept_bytes + 1e9):
        import jax

        import fitloom as tf

        tf.keras.backend.clear_session()
        jax.clear_caches()
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
        _kept_bytes = _resident_bytes()
