# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' own machinery; what they measure is no test."""

import sys
from pathlib import Path

import pytest

import fitloom as tf

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def test_the_table_takes_the_newest_report_of_each_workload(tmp_path):
    import figures
    import harness

    workload = harness.Workload("fit_tiny", "?", "examples/s", {})
    values = {"fitloom": [300.0, 330.0, 360.0], "torch": [100.0, 110.0, 90.0], "tf_keras": [50.0, 60.0, 40.0]}
    report = harness.summary(workload, values)
    assert report["median"]["fitloom"] == 330 and report["compared_with"] == "torch" and report["ratio"] == 3.0
    common = {"cores": 2, "processor": "Abacus", "versions": {"jax": "1.2"}, "load_before": 0.25}
    reports = [
        {**report, "median": {"fitloom": 1.0}, "date": "2026-01-01", **common},
        {**report, "date": "2026-01-02", "peak_megabytes": {"fitloom": 200, "torch": 300}, **common},
        {**harness.summary(harness.Workload("call_predict", "?", "us", {}, "jitted"), {"fitloom": [40.0], "jitted": [20.0]}),
         "date": "2026-01-03", **common},
        {"benchmark": "distribute_wire"},
    ]  # fmt: skip
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
    figures.write(readme, reports)
    figures.write(readme, reports)
    written = readme.read_text()
    assert written.startswith("before\n") and written.endswith("\nafter\n") and "old" not in written
    assert "2026-01-02 to 2026-01-03; 2 cores of Abacus; jax 1.2; load of the machine" in written
    assert "| tiny | 330 | 50 | 100 | 3.0 (PyTorch) | 40% |" in written
    assert "| tiny | 200 | 300 |" in written
    assert "| predict | 40 | 20 | 0.5 (bare JAX) | 0% |" in written
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="must have the lines"):
        figures.write(readme, reports)


def test_the_readme_has_a_place_for_the_table():
    import figures

    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert 0 < text.index(figures.BEGIN) < text.index(figures.END)


def test_every_benchmark_is_run():
    import everything

    support = {"everything", "figures", "harness", "learning", "pipelines", "problems"}
    assert {file.stem for file in everything.benchmarks()} == {file.stem for file in FOLDER.glob("*.py")} - support
    assert [file.stem for file in everything.benchmarks(["calls", "fit_cnn"])] == ["fit_cnn", "calls"]
    with pytest.raises(SystemExit, match="nothing"):
        everything.benchmarks(["nothing"])


def test_every_problem_has_a_model_for_its_data():
    import problems

    for problem in problems.PROBLEMS.values():
        model = problem.build_keras(tf.keras)
        assert model.built and model.output_shape[-1] > 1, problem.name
