# SPDX-License-Identifier: Apache-2.0
"""Every pipeline without randomness gives what TensorFlow gave (tests/data/scenarios.py says how it was recorded)."""
import json
import math
from pathlib import Path

import pytest

import fitloom as tf
from data import scenarios, scenarios_stored  # noqa: F401  the second adds to the first's table

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "data_scenarios.json").read_text())
RELATIVE = 1e-6        # a compiled division may differ from TensorFlow's in the last bit


@pytest.mark.parametrize("name", sorted(scenarios.SCENARIOS))
def test_as_tensorflow(name):
    found, expected = scenarios.run(name, tf), GOLDEN[name]
    if "value" in expected:
        assert close(found["value"], expected["value"])
        return
    assert close(found["elements"], expected["elements"])
    assert fits(found["spec"], expected["spec"]), (found["spec"], expected["spec"])
    assert found["cardinality"] == expected["cardinality"] or expected["cardinality"] == -2


def close(found, expected):
    """Whether JSON values agree; floats to the last bit or two."""
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(close(found[k], expected[k]) for k in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=RELATIVE)
    return found == expected and type(found) is type(expected)


def fits(found, expected):
    """Whether a spec equals TensorFlow's, or knows a dimension that TensorFlow leaves open."""
    if isinstance(expected, dict):
        (kind, inner), = expected.items()
        other = found.get(kind) if isinstance(found, dict) else None
        if other is None:
            return False
        if kind in ("ragged", "sparse"):
            return fits(other[0], inner[0]) and other[1:] == inner[1:]
        if kind == "dict":
            return set(other) == set(inner) and all(fits(other[k], inner[k]) for k in inner)
        return len(other) == len(inner) and all(map(fits, other, inner))
    if found[1] != expected[1]:
        return False
    if expected[0] is None or found[0] is None:
        return expected[0] is None
    return len(found[0]) == len(expected[0]) and all(b is None or a == b for a, b in zip(found[0], expected[0]))
