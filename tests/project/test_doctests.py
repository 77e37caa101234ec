# SPDX-License-Identifier: Apache-2.0
"""Examples in docstrings run and print what they say. They see `tf`, `np` and the names of their own file."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

SOURCES = Path(__file__).parents[2] / "src"
FILES = [path for path in sorted((SOURCES / "fitloom").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCES / "fitloom")))
def test_docstrings(file, tmp_path, monkeypatch):
    import fitloom as tf

    monkeypatch.chdir(tmp_path)
    parts = file.relative_to(SOURCES).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        test.globs.update({"tf": tf, "np": np})
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
