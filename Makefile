# Every target sets up what it needs on a fresh clone: Python 3.11+, make, glibc and a package index.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
# Three workers: all Kafka tests share one, whose waits are minutes in which two have the processors.
WORKERS ?= 3
# What is compiled is compiled by these tests: two or three processes at once would each compile it.
COMPILED ?= tests/domain/ingest $(addprefix tests/domain/test_,apportion_columns.py attempts.py check_busy.py \
  check_cells.py check_spans.py digit_order.py sweep.py weighing.py wide.py)

.DEFAULT_GOAL := help
.PHONY: help setup lint types style imports rules compiled ran test torture demo bench gpu fix golden

help: ## show the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(STAMP) ## make .venv and install everything into it

lint: style types imports rules ## style, types, import directions and size limits

types: $(STAMP)
	$(BIN)/mypy

style: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

imports: $(STAMP)
	$(BIN)/lint-imports --no-logo

rules: $(STAMP)
	$(BIN)/python -m pytest tests/architecture -q

compiled: $(STAMP) ## tests of compiled loops, which leave their machine code to all others
	$(BIN)/python -m pytest -q $(COMPILED) $(ARGS)

ran:
	@echo $(addprefix --ignore=,$(COMPILED))

test: $(STAMP) ## every test, on a real PostgreSQL and a real Kafka broker
	$(BIN)/python -m tests.support.kafka
	$(BIN)/python -m tests.support.browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

torture: $(STAMP) ## an hour of fuzzed requests (SECONDS=60), properties with five times the examples, and 200 seeds of faults against a naive model (SEEDS=17)
	TOKENLEDGER_FUZZ_SECONDS=$(or $(SECONDS),3600) $(BIN)/python -m pytest -q tests/api/test_fuzz.py
	$(BIN)/python -m pytest -q -n $(WORKERS) -m hypothesis --hypothesis-profile=deep
	$(BIN)/python -m tests.support.kafka
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1-20000)
	$(BIN)/python -m tests.torture --seeds $(or $(SEEDS),1-200 --json benchmarks/torture.json) $(ARGS)

demo: $(STAMP) ## two factories from events to invoices (ARGS=--exit to end instead of serving)
	$(BIN)/tokenledger demo $(ARGS)

bench: $(STAMP) ## measure (ONLY=name for one)
	$(BIN)/python -m benchmarks $(ONLY)

gpu: $(STAMP) ## measure this machine's NVIDIA GPU, idle and under a load, and keep what its collector sent
	$(BIN)/python -m benchmarks.gpu

fix: $(STAMP) ## format, and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: $(STAMP) ## write the golden samples anew; read the difference before you commit it
	TOKENLEDGER_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q -p no:randomly -k "golden or document_says"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tokenledger needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)." \
	       "Name another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)
