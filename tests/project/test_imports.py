# SPDX-License-Identifier: Apache-2.0
"""What importing the package does, and what it must not do."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "fitloom"
FILES = sorted(PACKAGE.rglob("*.py"))
FOREIGN = {"tensorflow", "keras", "tf_keras", "torch"}
# Needed for one feature each; whoever does not use the feature does not pay for the import.
LATE = {"h5py", "matplotlib", "optax", "pandas", "PIL", "pyarrow", "rich", "safetensors", "scipy", "tensorboard"}


def state_after(code):
    """Run `code` in a fresh interpreter; return its output, the modules loaded and the XLA backends started."""
    report = (
        "\nimport json, sys\nbridge = sys.modules.get('jax._src.xla_bridge')\n"
        "state = {'modules': sorted(sys.modules), 'backends': sorted(bridge._backends) if bridge else []}\n"
        "print('\\n' + json.dumps(state))"
    )
    run = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    output, _, last = run.stdout.rstrip("\n").rpartition("\n")
    return output.strip() + run.stderr, json.loads(last)


@pytest.fixture(scope="module")
def after_import():
    return state_after("import fitloom")


def roots(modules):
    return {module.partition(".")[0] for module in modules}


def test_import_prints_nothing(after_import):
    output, _ = after_import
    assert output == ""


def test_import_starts_no_backend(after_import):
    _, state = after_import
    assert state["backends"] == []


def test_import_loads_nothing_foreign_and_nothing_early(after_import):
    _, state = after_import
    assert roots(state["modules"]) & (FOREIGN | LATE) == set()


def test_import_loads_no_room(after_import):
    # Rooms are loaded on first touch (PEP 562), so a script pays for what it uses.
    _, state = after_import
    rooms = {name for name in state["modules"] if name.startswith("fitloom.")}
    heavy = {"layers", "trainer", "models", "data", "distribute", "monitor", "saving", "callbacks", "datasets"}
    assert {name.split(".")[1] for name in rooms} & heavy == set()


def test_touching_every_name_starts_no_backend_and_loads_nothing_foreign():
    code = """
import importlib, fitloom
for door in (fitloom, importlib.import_module("fitloom.keras")):
    for name in door.__all__:
        try:
            getattr(door, name)
        except (AttributeError, ImportError):
            pass  # names that are still absent are listed in the golden file
"""
    output, state = state_after(code)
    assert output == ""
    assert state["backends"] == []
    assert roots(state["modules"]) & FOREIGN == set()


def imports_of(file):
    """Yield the dotted name of everything a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_source(file):
    imported = set(imports_of(file))
    assert roots(imported) & FOREIGN == set(), "Fitloom is independent of these"
    room = file.relative_to(PACKAGE).parts[0]
    if room != "__init__.py":
        assert "fitloom" not in imported, "rooms import rooms, not the door"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
