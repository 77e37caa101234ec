# SPDX-License-Identifier: Apache-2.0
"""Each check of on_devices.py as a test; all run in one process with 8 emulated devices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compiling import CHEAPLY
from distribute.shared import once

SCRIPT = Path(__file__).parent / "on_devices.py"
CHECKS = re.findall(r"^def (check_\w+)\(", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)


def run_checks():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=360,
                          env={"XLA_FLAGS": CHEAPLY, **os.environ})
    found = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("CHECK ")]
    return [{each["check"]: each["trouble"] for each in found}, done.stderr[-3000:]]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return once("on_devices", run_checks, tmp_path_factory)


@pytest.mark.parametrize("name", CHECKS)
def test_on_eight_devices(results, name):
    found, stderr = results
    assert name in found, f"the process ended before {name}:\n{stderr}"
    assert found[name] is None, found[name]
