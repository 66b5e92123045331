# Everything runs in the environment that `make setup` makes. Another Python: make setup PYTHON=python3.12.
# Another place: make test VENV=/somewhere/venv. Arguments of `make train`: make train ARGS="mnist_cnn seed=1".

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup train lint format test check bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## install Shoal and its development tools

train: $(READY)  ## train the default recipe, or what ARGS says
	$(BIN)/shoal train $(ARGS)

lint: $(READY)  ## formatting, lint, types, and what may import what
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

test: $(READY)  ## the doctests of src, and the tests, a process a core; ARGS goes to pytest
	$(BIN)/python -m pytest --numprocesses=logical --dist=worksteal $(ARGS)

check: lint test  ## lint, then test

bench: $(READY)  ## time the training step against a loop written by hand
	$(BIN)/python bench/step.py $(ARGS)

clean:  ## remove the environment and all caches; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +

# Compiling every file of every package to bytecode is more than half of the time of a plain `pip install`; only what
# a training imports is compiled here, by importing it, and the rest when it is first imported. An older pip is slow
# to choose among the files of an index: the current one saves more than it costs to fetch.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		version=$$($(PYTHON) --version 2>/dev/null); \
		echo "Shoal needs Python 3.11 or newer; '$(PYTHON)' is $${version:-not found}." >&2; \
		echo "Name another one, for example: make setup PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing Shoal and what it needs into $(VENV): about a minute, and longer where torch is to be downloaded."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable '.[dev]'
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import click, hydra, pydantic, rich, torch'
	@touch $(READY)
