# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from fitloom.monitor import doctor


@pytest.mark.parametrize("check", doctor.CHECKS)
def test_xla_computes_right_here(check):
    assert doctor.passes(check), f"set XLA_FLAGS={doctor.REMEDY}"


def test_a_wrong_answer_and_a_crash_are_noticed(monkeypatch):
    monkeypatch.setitem(doctor.CHECKS, "wrong", "sys.exit(1)")
    monkeypatch.setitem(doctor.CHECKS, "crash", "import os; os.kill(os.getpid(), 11)")
    assert not doctor.passes("wrong") and not doctor.passes("crash")


def test_the_command_reports():
    done = subprocess.run([sys.executable, "-m", "fitloom", "doctor"], capture_output=True, text=True, timeout=240)
    assert "native kernels" in done.stdout and "devices" in done.stdout and done.returncode in (0, 1), done.stderr
