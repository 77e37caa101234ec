# SPDX-License-Identifier: Apache-2.0
"""A change of the public surface is a change of one file that a reviewer reads."""

import difflib

from project.public_api import GOLDEN, lines, public_objects


def test_public_surface_is_the_golden_one():
    assert GOLDEN.exists(), "python tests/project/update_golden.py makes the file this test compares with"
    golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    difference = [
        line
        for line in difflib.unified_diff(golden, lines(), "golden", "package", lineterm="", n=0)
        if not line.startswith("@@")
    ]
    assert not difference, (
        "The public surface changed. If it should: python tests/project/update_golden.py\n" + "\n".join(difference)
    )


def test_every_public_name_has_a_docstring():
    bare = [
        path
        for path, value in public_objects()
        if callable(value) and str(getattr(value, "__module__", "")).startswith("fitloom") and not value.__doc__
    ]
    assert bare == []
