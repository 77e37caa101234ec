# Every target works from a fresh clone: it makes .venv, installs what it needs and remembers that in .venv/stamps.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
FILES := src tests examples benchmarks

.DEFAULT_GOAL := help
.PHONY: help train test check format docs bench lines clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

train: $(STAMPS)/plot  ## Train a small CNN on real digits and draw the result
	$(BIN)/python examples/digits.py

test: $(STAMPS)/test  ## Run the whole test suite (TESTS="path -k name" for a part)
	$(BIN)/python -m pytest -n $(WORKERS) -q $(TESTS)

check: $(STAMPS)/check  ## Lint, types and the import contracts
	$(BIN)/ruff check $(FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/check  ## Sort imports and mend what ruff can mend
	$(BIN)/ruff check --fix $(FILES)

docs: $(STAMPS)/docs  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: $(STAMPS)/test  ## Run every benchmark beside its peers and write the figures (BENCH="--only fit --json FILE")
	$(BIN)/python benchmarks/everything.py $(BENCH)

lines:  ## Count the lines of every room
	@for room in src/fitloom/*/; do printf '%-14s %6d\n' $$(basename $$room) \
	  $$(find $$room -name '*.py' -exec cat {} + | wc -l); done

clean:  ## Remove everything that can be made again
	rm -rf $(VENV) .cache build dist site src/*.egg-info

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || \
	  { echo "Fitloom needs Python 3.11 or newer, and none was found. Set PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/%: pyproject.toml $(wildcard setup.py) | $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@
