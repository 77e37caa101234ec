# SPDX-License-Identifier: Apache-2.0
"""Run every benchmark and write the table of figures into README.md: what `make bench` does.

    python benchmarks/everything.py [--only fit,predict] [--rounds 5] [--json FILE] [--dry-run]

The peers' environment is made first where it is missing: `.cache/peers`, or where FITLOOM_PEERS_PYTHON points. With
`--json` each report is appended to a file, and the table also takes what the file says of benchmarks left out now.
"""

import argparse
import datetime as dt
import json
import os
import pathlib
import platform
import subprocess
import sys

import figures
import problems

FOLDER = pathlib.Path(__file__).parent
README = FOLDER / "README.md"
PEERS = ("tensorflow", "keras", "jax", "torch==2.13.0")
# Benchmarks in the order of the table, by the part of the name before the underscore.
FAMILIES = ("fit", "evaluate", "predict", "calls", "tape", "start", "data", "distribute")


def benchmarks(only=None):
    """Return the files to run, those of one family together.

    Args:
        only: names of families or of files, without '.py'; None for all.
    """
    found = []
    for family in FAMILIES:
        files = sorted(FOLDER.glob(f"{family}.py")) + sorted(FOLDER.glob(f"{family}_*.py"), key=_place)
        found += [file for file in files if only is None or family in only or file.stem in only]
    unknown = set(only or ()) - set(FAMILIES) - {file.stem for file in found}
    if unknown:
        raise SystemExit(f"No benchmark is called {', '.join(sorted(unknown))}. There are: {', '.join(FAMILIES)}.")
    return found


def _place(file):
    name = file.stem.removeprefix("fit_")
    return (problems.NAMES.index(name), "") if name in problems.NAMES else (len(problems.NAMES), name)


def ready_peers():
    """Return a Python with the peers' libraries, made where there is none yet."""
    python = pathlib.Path(os.environ.get("FITLOOM_PEERS_PYTHON") or FOLDER.parent / ".cache" / "peers/bin/python")
    python = python.absolute()         # not resolved: in an environment it is a link to the Python outside
    if not python.exists():
        folder = python.parent.parent
        print(f"Making the peers' environment in {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def processor():
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def reports_of(file, arguments, environment):
    """Run one benchmark; yield its reports as they come."""
    command = [sys.executable, str(file), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if process.returncode:
        print(f"{file.name} ended with status {process.returncode}.", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated: {', '.join(FAMILIES)}, or single files")
    parser.add_argument("--rounds", type=int, help="rounds of each benchmark that has them")
    parser.add_argument("--json", help="file to which each report is appended, one JSON line each")
    parser.add_argument("--dry-run", action="store_true", help="say what would run")
    options = parser.parse_args()
    files = benchmarks(options.only.split(",") if options.only else None)
    if options.dry_run:
        print("\n".join(file.name for file in files))
        return
    environment = {**os.environ, "FITLOOM_PEERS_PYTHON": str(ready_peers())}
    where = {"date": dt.date.today().isoformat(), "processor": processor()}
    history = pathlib.Path(options.json) if options.json else None
    reports = figures.read(history) if history is not None and history.exists() else []
    for file in files:
        has_rounds = options.rounds and not file.stem.startswith("distribute")
        for report in reports_of(file, ["--rounds", str(options.rounds)] if has_rounds else [], environment):
            report = {**report, **where}
            print(json.dumps(report), flush=True)
            reports.append(report)
            if history is not None:
                with history.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(report) + "\n")
            figures.write(README, reports)         # at once: an interrupted run is not lost


if __name__ == "__main__":
    main()
