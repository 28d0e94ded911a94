# Every target sets up its own environment first (.venv, once). `make help` lists them.

VENV   ?= .venv
# The first of these that is Python 3.11 or newer; choose another with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
PYTEST_ARGS ?=

# Data and models that some tests and benchmarks read; they skip what is not there.
ifneq ($(wildcard ../shared),)
export VARIEGATE_SHARED ?= $(abspath ../shared)
endif

BIN   := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint fmt docs bench paper api-reference results results-pages reproduction check
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

venv: $(READY) ## Set up .venv with variegate, all extras and the tools

$(READY): pyproject.toml constraints.txt tools/setup-venv.sh
	@tools/setup-venv.sh "$(PYTHON)" $(VENV)
	@touch $@

demo: $(READY) ## Run the quickstart: a small classifier, copies, an attack, what replicates
	rm -rf build/quickstart
	$(BIN)/variegate quickstart --out build/quickstart

test: $(READY) ## Run the tests, without the slow ones
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(READY) ## Run all tests, the slow ones too
	$(BIN)/python -m pytest --run-slow $(PYTEST_ARGS)

lint: $(READY) ## Check format, style, types, import rules and spelling; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/codespell

fmt: $(READY) ## Format the code and mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## Check the documentation: links, commands that it names, spelling
	$(BIN)/codespell docs *.md
	$(BIN)/python -m pytest tests/test_docs.py

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m benchmarks

paper: $(READY) ## Run every table and figure of the paper at the smallest size, and make the page: some minutes
	rm -rf build/paper
	$(BIN)/variegate reproduce all --preset smoke --jobs 2 --out build/paper
	$(BIN)/variegate report build/paper --html build/paper/index.html

reproduction: $(READY) ## Measure docs/results/reproduction* anew from the shared models and data: hours
	VARIEGATE=$(BIN)/variegate tools/run-reproduction.sh
	VARIEGATE=$(BIN)/variegate tools/run-more-reproduction.sh

results: $(READY) ## Measure docs/results anew from the shared models and data: hours
	VARIEGATE=$(BIN)/variegate tools/run-results.sh

api-reference: $(READY) ## Generate docs/reference/api.md from the docstrings
	$(BIN)/python tools/api_reference.py

results-pages: $(READY) ## Make the pages of docs/results from the records that are kept there
	VARIEGATE=$(BIN)/variegate tools/results-pages.sh build/results

check: lint test ## All that a change must pass
