# make demo    see it work: installs, then sends 100,000 messages to a local FCM emulator
# make test    everything that must hold before a change is finished
# make unit    the fast part of it
# make docs    the README's tables, from the code
#
# PYTHON is the interpreter the virtual environment is made with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

.PHONY: install unit test lint demo docs bench clean
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
docs: $(STAMP)
	$(BIN)/python -m dispatcher.cli.readme README.md

bench: $(STAMP)
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
