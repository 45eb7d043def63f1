# Everything a person or CI runs. A bare Python >= 3.11 and make are enough: the first target used
# makes .venv and installs the hashed lock into it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCAL := packages/pulse_domain packages/service_kit packages/pulse_adapters apps/gapi apps/pulse_api apps/pulse_background apps/pulse
PYPROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(LOCAL))
NAMES := gapi pulse pulse-adapters pulse-api pulse-background pulse-domain pulse-workspace service-kit
LEVELS := tests/chaos tests/acceptance tests/integration tests/contract tests/architecture tests/simulation tests/unit
ARGS ?=
SEEDS ?= 1
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit fuzz simulate chaos lint types contracts fmt check lock docs docs-faults reference clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ok: requirements.txt $(PYPROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ./,$(LOCAL))
	$(BIN)/pip check
	@touch $@

setup: $(VENV)/.ok ## make .venv from the hashed lock

run: $(VENV)/.ok ## the whole system in one process on embedded Postgres (ARGS="--feed replay:FILE")
	@exec $(BIN)/pulse up $(ARGS)

test: $(VENV)/.ok ## every test but long chaos and benchmarks, on its own Postgres and Redis
	$(BIN)/python -m pytest -n 6 --dist loadfile $(LEVELS) $(ARGS)

test-unit: $(VENV)/.ok ## the tests without I/O: seconds
	$(BIN)/python -m pytest tests/unit $(ARGS)

fuzz: $(VENV)/.ok ## the matching engine and the backtest against naive ones: 10,000 cases, minutes
	PULSE_EXAMPLES=10000 $(BIN)/python -m pytest -n 2 tests/unit/matching/test_against_naive.py \
	  tests/unit/backtest/test_against_naive.py $(ARGS)

chaos: $(VENV)/.ok ## real processes under kills and outages, a minute a seed (SEEDS=20 SEED=1)
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS) --seed $(SEED) $(ARGS)

simulate: SEEDS = 200
simulate: $(VENV)/.ok ## whole trading days under faults, by seeds: SEEDS=10000 SEED=first; SEEDS=1 plays one again
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --seeds $(SEEDS) --seed $(SEED) $(ARGS)

lint: $(VENV)/.ok ## ruff, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory types contracts

types: $(VENV)/.ok ## mypy, strict
	$(BIN)/mypy $(addsuffix /src,$(LOCAL)) examples
	$(BIN)/mypy --allow-untyped-defs --allow-untyped-calls --allow-incomplete-defs --allow-untyped-decorators --no-warn-return-any tests

contracts: $(VENV)/.ok ## the architecture contracts of importlinter.ini
	$(BIN)/lint-imports --config importlinter.ini

fmt: $(VENV)/.ok ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## all that CI runs

bench-%: $(VENV)/.ok ## one benchmark: bench-accept, bench-backtest, bench-execute, bench-growth, bench-lateness, bench-limits, bench-simulator, bench-split, bench-ticks, bench-tick-to-trade
	@$(BIN)/python -m tests.benchmarks.$(subst -,_,$*) $(ARGS)

docs: $(VENV)/.ok ## write the generated documents: order life cycle, OpenAPI
	$(BIN)/python -m tests.architecture.generated

docs-faults: $(VENV)/.ok ## run every fault of a broker, and write what was seen into doc/guides/broker_faults.md
	PULSE_WRITE_BROKER_FAULTS=1 $(BIN)/python -m pytest -n 0 tests/integration/workers/test_faults_at_*.py $(ARGS)

reference: $(VENV)/.ok ## the API reference of pulse_domain, from its docstrings, in build/reference
	$(BIN)/python -m tests.architecture.reference build/reference

lock: ## resolve requirements.txt anew (needs the network)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.13'
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --all-extras --group dev $(addprefix --no-emit-package ,$(NAMES)) $(PYPROJECTS) -o requirements.txt

clean: ## remove what the targets made
	rm -rf build $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
