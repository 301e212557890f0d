# Every target makes the environment that it needs, in this folder, from nothing but Python 3.11 or newer.
# Another interpreter: make test PYTHON=python3.13
PYTHON ?= python3

VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin

# Pytest's options, e.g. make test PYTEST_ARGS="-x tests/model"
PYTEST_ARGS ?=
# The benchmark's options, e.g. make bench BENCH_ARGS="--rounds 3"
BENCH_ARGS ?= --json benchmarks/step.json --markdown docs/performance.md

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench clean python env env-test env-bench

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: env  ## fit, evaluate and report on a small data set, into demo/
	@$(BIN)/tightbound demo demo

test: lint  ## the whole check: ruff, mypy, pytest
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

test-slow: env-test  ## the checks that take minutes each
	@$(BIN)/python -m pytest -q -m slow $(PYTEST_ARGS)

lint: env-test  ## ruff and mypy alone
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: env-test  ## put the code in its standard form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: env-bench  ## seconds a step and memory, against plain JAX, PyTorch and pythae
	@$(BENCH)/bin/python benchmarks/step.py $(BENCH_ARGS)

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(BENCH) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The script installs only where pyproject.toml or the interpreter changed since it last finished; then it takes no time.
env: python
	@$(PYTHON) scripts/environment.py $(VENV)

env-test: python
	@$(PYTHON) scripts/environment.py $(VENV) --extra test

env-bench: python
	@$(PYTHON) scripts/environment.py $(BENCH) --first torch==2.13.0 --extra bench

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "make: $(PYTHON) must be Python 3.11 or newer, and there is none on the path:" \
	    "install one, or name yours with 'make <target> PYTHON=/path/to/python'." >&2; exit 2; }
