# SPDX-License-Identifier: Apache-2.0
"""What several pytest-xdist workers need is computed by one of them."""

import json
import os
import time


def once(name, compute, tmp_path_factory, seconds=400):
    """Return `compute()` (JSON), from the worker of this test run that comes first."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return compute()
    folder = tmp_path_factory.getbasetemp().parent
    found, claim = folder / f"{name}.json", folder / f"{name}.claim"
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        end = time.monotonic() + seconds
        while not found.exists():
            assert time.monotonic() < end, f"the worker that computes '{name}' did not finish"
            time.sleep(0.2)
        return json.loads(found.read_text())
    value = compute()
    part = folder / f"{name}.part"
    part.write_text(json.dumps(value))
    part.rename(found)
    return value
