# make demo    see it work: installs, then sends 100,000 messages to a local FCM emulator
# make test    everything that must hold before a change is finished
# make unit    the fast part of it
# make ops     image, chart, alert rules and dashboards, with helm, promtool and a real Prometheus
# make docs    the README's tables, from the code
#
# PYTHON is the interpreter the virtual environment is made with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

.PHONY: install unit test lint demo docs ops ops-files bench clean
.DEFAULT_GOAL := test

install: $(STAMP)

# Installed anew when what is to be installed has changed, and only then.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

unit: $(STAMP)
	$(BIN)/python -m pytest tests/unit -q -n $(JOBS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -q

demo: $(STAMP)
	$(BIN)/dispatcher demo

# The README's tables, printed anew from the code.
# Image, chart, rules and dashboards, each with the real tool: see tests/ops/. promtool and prometheus come from the
# system's package `prometheus`; the rest is installed into an environment of its own.
OPS := .venv-ops
OPS_STAMP := $(OPS)/.installed

$(OPS_STAMP): pyproject.toml
	$(PYTHON) -m venv $(OPS)
	$(OPS)/bin/python -m pip install --quiet --upgrade pip
	$(OPS)/bin/python -m pip install --quiet -e '.[ops]'
	@touch $@

ops: $(OPS_STAMP)
	$(OPS)/bin/python -m pytest tests/ops -q

# What is made from something else: lock files, the dashboard, the chart's copies and README, golden renderings.
ops-files: $(OPS_STAMP)
	PATH=$(OPS)/bin:$$PATH $(OPS)/bin/python tests/ops/generate.py

docs: $(STAMP)
	$(BIN)/python -m dispatcher.cli.readme README.md

bench: $(STAMP)
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf $(VENV) $(OPS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
