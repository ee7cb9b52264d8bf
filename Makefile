# make demo    see it work: installs, then sends 100,000 messages to a local FCM emulator
# make test    everything that must hold before a change is finished
# make unit    the fast part of it
# make faults  every fault scenario: kills, cuts, outages; at most 10 minutes (FAULT_SEED repeats a run)
# make fault-report  the same, and the table of its figures into tests/e2e/README.md
# make soak    random faults for MINUTES=30
# make flat    MESSAGES=10000000 through one worker: memory must stay what it was
# make interop clients that we did not write, each in an environment of its own, against the emulator
# make ops     image, chart, alert rules and dashboards, with helm, promtool and a real Prometheus
# make bench   all benchmarks, tables and plots: 33 minutes; QUICK=1 a few, published figures stay (bench-tables: only these)
# make fuzz    a million wrong inputs for the decoders (SEED=7 for others)
# make docs    the README's tables and the JSON schemas, from the code
#
# PYTHON is the interpreter the virtual environment is made with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
MINUTES ?= 30
MESSAGES ?= 10000000
INPUTS ?= 1000000
SEED ?= 1
CLIENTS := .venv-interop
PYTHON_CLIENTS := $(basename $(notdir $(wildcard tests/interop/python/clients/*.txt)))
NODE_CLIENTS := $(wildcard tests/interop/node/firebase-admin-*)

.PHONY: install unit test interop lint fuzz faults fault-report soak flat demo docs ops ops-files lock bench clean bench-peers bench-tables
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
	$(BIN)/python -m pytest -q -n $(JOBS) --ignore=tests/interop --ignore=tests/ops

interop: $(STAMP) $(PYTHON_CLIENTS:%=$(CLIENTS)/%/.installed) $(NODE_CLIENTS:%=%/node_modules/.installed)
	$(BIN)/python -m pytest tests/interop -q -n $(JOBS) --dist loadscope

$(CLIENTS)/%/.installed: tests/interop/python/clients/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet -r $<
	@touch $@

# Their optional parts are other Firebase products; their install scripts are none of ours to run.
tests/interop/node/%/node_modules/.installed: tests/interop/node/%/package-lock.json
	npm ci --prefix tests/interop/node/$* --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

fuzz: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz.py --inputs $(INPUTS) --seed $(SEED)

# What each scenario came to stands in FAULT_REPORT, one line of JSON for each.
FAULT_REPORT ?= build/faults.jsonl

faults: $(STAMP)
	FAULT_REPORT=$(FAULT_REPORT) $(BIN)/python -m pytest tests/e2e/faults tests/integration/queue/test_script_machine.py \
		-q -m 'not soak' -n $(JOBS)

fault-report: faults
	$(BIN)/python tests/e2e/faults/harness/report.py $(FAULT_REPORT) tests/e2e/README.md

soak: $(STAMP)
	MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/e2e/faults/test_soak.py -q -s -m soak

flat: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/e2e/flat.py --messages $(MESSAGES)

demo: $(STAMP)
	$(BIN)/dispatcher demo

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
	OPS_TOOLS=$(abspath $(OPS))/bin $(OPS)/bin/python -m pytest tests/ops -q

# What is made from something else: the dashboard, the chart's schema, README and copies, golden renderings.
ops-files: $(OPS_STAMP)
	OPS_TOOLS=$(abspath $(OPS))/bin $(OPS)/bin/python tests/ops/generate.py

# What the image is made of, each file with its hash, and no address of where it came from.
LOCK := $(OPS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url

lock: $(OPS_STAMP)
	$(LOCK) pyproject.toml --extra otel --extra xmpp -o requirements.lock
	$(LOCK) pyproject.toml --extra otel --extra xmpp --extra emulator -c requirements.lock -o requirements-emulator.lock
	echo 'setuptools>=77' | $(LOCK) - -o requirements-build.lock

# The README's tables and the JSON schemas, made anew from the code.
docs: $(STAMP)
	$(BIN)/python -m dispatcher.cli.readme README.md
	$(BIN)/python -m dispatcher.cli.schemas docs/schemas

# Figures go to benchmarks/results/, tables and plots are made of them. QUICK=1: a few minutes, one round, small counts, to
# see that everything runs; its figures and plots go to build/bench/, its tables are printed, and nothing published changes.
QUICK ?=
BENCH := $(BIN)/python benchmarks
FAST := $(if $(QUICK),--quick)
PEERS := .venv-peers
PYTHON_PEERS := $(basename $(notdir $(wildcard benchmarks/peers/python/*.txt)))
NODE_PEERS := $(wildcard benchmarks/peers/node/fcm-v1-http2)
# Made once, from npm and PyPI. Two of the peers' environments are those of the interop clients.
PEER_STAMPS := $(PYTHON_PEERS:%=$(PEERS)/%/.installed) $(CLIENTS)/firebase-admin-6/.installed \
	$(CLIENTS)/firebase-admin-7/.installed tests/interop/node/firebase-admin-11/node_modules/.installed \
	tests/interop/node/firebase-admin-14/node_modules/.installed $(NODE_PEERS:%=%/node_modules/.installed)

bench: $(STAMP) $(PEER_STAMPS)
	$(BENCH)/pipeline.py $(FAST)
	$(BENCH)/latency.py $(FAST)
	$(BENCH)/memory.py $(FAST)
	$(BENCH)/comparison.py $(FAST)
	$(BENCH)/producer.py $(FAST)
	$(BENCH)/tokens.py $(FAST)
	$(BENCH)/wires.py $(FAST)
	$(BENCH)/fleet.py $(FAST)
	$(BENCH)/codec.py $(FAST)
	$(BENCH)/tables.py $(FAST)

bench-peers: $(STAMP) $(PEER_STAMPS)
	$(BENCH)/comparison.py $(FAST)
	$(BENCH)/tables.py $(FAST)

# Tables and plots from the figures that are there.
bench-tables: $(STAMP)
	$(BENCH)/tables.py

$(PEERS)/%/.installed: benchmarks/peers/python/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet -r $<
	@touch $@

benchmarks/peers/node/%/node_modules/.installed: benchmarks/peers/node/%/package-lock.json
	npm ci --prefix benchmarks/peers/node/$* --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

clean:
	rm -rf $(VENV) $(OPS) $(CLIENTS) $(PEERS) tests/interop/node/*/node_modules benchmarks/peers/node/*/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
