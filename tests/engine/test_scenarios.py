# SPDX-License-Identifier: Apache-2.0
"""The tape gives TensorFlow's results, scenario by scenario, with few programs."""
import json

import pytest
from tests.engine import scenarios, scenarios_training  # noqa: F401  the second adds to the table

import fitloom as tf
from fitloom import engine
from fitloom.engine.context import CONTEXT

EXPECTED = json.loads(scenarios.GOLDEN.read_text())


@pytest.mark.filterwarnings("ignore:250 operations were recorded")
@pytest.mark.parametrize("title, run, most_programs", scenarios.SCENARIOS, ids=[s[0] for s in scenarios.SCENARIOS])
def test_scenario(title, run, most_programs):
    names = scenarios.Names(tf)
    if not CONTEXT.trace.closed:
        CONTEXT.trace.flush()                    # what an earlier scenario left pending is not counted
    before = engine.STATISTICS["programs"]
    result = scenarios.plain(run(names))
    assert scenarios.same(result, EXPECTED[title]), f"{result} is not TensorFlow's {EXPECTED[title]}"
    if most_programs is not None:
        assert engine.STATISTICS["programs"] - before <= most_programs
