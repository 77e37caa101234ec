# SPDX-License-Identifier: Apache-2.0
"""The import contract in pyproject.toml says what the table in ARCHITECTURE.md says, so the picture cannot lie."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def contracts():
    with open(ROOT / "pyproject.toml", "rb") as file:
        return {contract["id"]: contract for contract in tomllib.load(file)["tool"]["importlinter"]["contracts"]}


def floors_of_the_contract():
    """The floors below the door, highest first, each a set of rooms."""
    layers = contracts()["floors"]["layers"]
    return [set(re.findall(r"\w+", layer)) for layer in layers[1:]]


def floors_of_the_table():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| *(\d+) *\|([^|]*)\|", text, flags=re.MULTILINE)
    numbers = [int(number) for number, _ in rows]
    assert numbers == sorted(numbers, reverse=True), "the table's floors are not in order"
    return [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in rows]


def rooms_on_disk():
    return {path.name for path in (ROOT / "src" / "fitloom").iterdir() if (path / "__init__.py").exists()}


def test_the_contract_is_the_table():
    assert floors_of_the_contract() == floors_of_the_table()


def test_every_room_has_a_floor():
    assert rooms_on_disk() - {"keras", "experimental"} <= set().union(*floors_of_the_table())


def test_rooms_of_one_floor_are_kept_apart_and_nothing_is_left_out():
    floors = contracts()["floors"]
    assert floors["exhaustive"] is True
    assert not any(":" in layer for layer in floors["layers"][1:])  # ":" would let siblings import each other


def test_the_rooms_that_may_import_jax_are_those_of_the_text():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    sentence = re.search(r"`jax` is imported only in ([^.]*)\.", text)
    assert sentence, "ARCHITECTURE.md no longer says where jax is imported"
    said = set(re.findall(r"\w+", sentence[1])) - {"and"}
    allowed = {re.match(r"fitloom\.(\w+)", line)[1] for line in contracts()["jax"]["ignore_imports"]}
    assert allowed == said
