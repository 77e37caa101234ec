# SPDX-License-Identifier: Apache-2.0
"""The table of figures in README.md, made of reports."""

import json

BEGIN, END = "<!-- figures: written by everything.py -->", "<!-- end of figures -->"
NAMES = {
    "fitloom": "Fitloom", "fitloom_cold": "Fitloom, cold", "fitloom_hooks": "batch callback",
    "fitloom_reads": "reads the loss", "fitloom_subclassed": "subclassed", "fitloom_function": "`tf.function`",
    "jitted": "bare JAX", "keras_jax": "Keras on JAX", "tf_keras": "tf.keras", "tf_keras_nojit": "tf.keras, no jit",
    "tf_eager": "TensorFlow eager", "tf_function": "TF `tf.function`", "tf_data": "tf.data", "torch": "PyTorch",
    "torch_loader": "DataLoader",
}  # fmt: skip
# what a table holds: the beginning of its workloads' names, its title
TABLES = (
    ("fit_", "`model.fit`"),
    ("evaluate_", "`model.evaluate`"),
    ("predict_", "`model.predict`"),
    ("call_", "One small call (`calls.py`)"),
    ("tape_", "The undecorated tape loop, a step (`tape.py`)"),
    ("start_", "From the start of the process to the end of the first epoch (`start.py`)"),
    ("data_", "Data alone"),
)
UNITS = {"examples/s": "examples a second", "us": "microseconds", "s": "seconds"}


def read(path):
    """Return the reports of a history file, oldest first."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write(path, reports):
    """Replace what stands between the markers in a file by the tables of the newest report of each workload.

    Raises:
        ValueError: the file has no markers.
    """
    with open(path, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} must have the lines '{BEGIN}' and '{END}', between which the figures are written.")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n\n{text(reports)}\n{END}{after}")


def text(reports):
    """Return the tables as Markdown."""
    newest = {report["workload"]: report for report in reports if "median" in report and "workload" in report}
    parts = [_heading(list(newest.values()))] if newest else []
    for prefix, title in TABLES:
        rows = {name.removeprefix(prefix): report for name, report in newest.items() if name.startswith(prefix)}
        for unit in UNITS:
            group = {name: report for name, report in rows.items() if report["unit"] == unit}
            if group:
                parts += [f"### {title}, {UNITS[unit]}", _speeds(group)]
        if prefix == "fit_" and (memory := _memory(rows)):
            parts += ["### Most memory resident in `fit`, MB, libraries included", memory]
    return "\n\n".join(parts) + "\n"


def _heading(reports):
    dates = sorted({report["date"] for report in reports if "date" in report})
    processors = sorted({f"{report['cores']} cores of {report['processor']}" for report in reports
                         if "processor" in report})  # fmt: skip
    versions = {name: version for report in reports for name, version in report.get("versions", {}).items()}
    loads = [report["load_before"] for report in reports if report.get("load_before") is not None]
    parts = [" to ".join(dict.fromkeys((dates[0], dates[-1])))] if dates else []
    parts += processors + [", ".join(f"{name} {version}" for name, version in sorted(versions.items()))]
    if loads:
        parts.append(f"load of the machine before a benchmark {min(loads):.1f} to {max(loads):.1f}")
    return "; ".join(part for part in parts if part) + "."


def _speeds(rows):
    twins = [twin for twin in NAMES if any(twin in report["median"] for report in rows.values())]
    table = [["", *(NAMES[twin] for twin in twins), "ratio", "spread"]]
    for name, report in rows.items():
        figures = [_number(report["median"].get(twin)) for twin in twins]
        ratio = f"{report['ratio']} ({NAMES[report['compared_with']]})" if report.get("ratio") else "-"
        table.append([name, *figures, ratio, f"{max(report['spread'].values()):.0%}"])
    return _markdown(table)


def _memory(rows):
    rows = {name: known for name, report in rows.items()
            if len(known := {k: v for k, v in report.get("peak_megabytes", {}).items() if v}) > 1}  # fmt: skip
    twins = [twin for twin in NAMES if any(twin in known for known in rows.values())]
    table = [["", *(NAMES[twin] for twin in twins)]]
    for name, known in rows.items():
        table.append([name, *(_number(known.get(twin)) for twin in twins)])
    return _markdown(table) if rows else ""


def _number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:g}"


def _markdown(table):
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])
