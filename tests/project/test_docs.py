# SPDX-License-Identifier: Apache-2.0
"""The Python blocks of README.md and docs/ run, one after the other, page by page."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "guides").glob("*.md"))]
BEFORE = ROOT / "docs" / "guides" / "before.md"  # what a page may use without having made it
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
DEVICES = "set_logical_device_configuration"  # has to come before anything that starts the devices

def blocks(page):
    return [textwrap.dedent(block) for _, block in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks(BEFORE) + (blocks(page) if page != BEFORE else [])
    if DEVICES in "".join(code):
        code.sort(key=lambda block: DEVICES not in block)
        run = [sys.executable, "-W", "error", "-c", "import fitloom as tf\n" + "\n".join(code)]
        done = subprocess.run(run, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return
    import fitloom as tf

    names = {"__name__": "__main__"}
    policy = tf.keras.mixed_precision.global_policy()
    try:
        for number, block in enumerate(code):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
        sys.modules.pop("run", None)  # the page of an exported folder
        sys.path[:] = [entry for entry in sys.path if entry != "folder"]


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}\n" in text, page
