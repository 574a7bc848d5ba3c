.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help:            ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Poolform needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(STAMP): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded,postgresql,aws]' --group dev
	mkdir -p .typecheck && ln -sfn .. .typecheck/poolform
	touch $@

$(VENV)/.quickstart: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	touch $@

quickstart: $(VENV)/.quickstart  ## provision a pool on this machine and run a flow in it
	$(BIN)/poolform quickstart

test: $(STAMP)   ## run the tests
	$(BIN)/python -m pytest -n auto

lint: $(STAMP)   ## ruff, mypy --strict, terraform fmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(STAMP)    ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure, with the rival and the limit in the same run
	$(BIN)/python benchmarks/run.py

.PHONY: help quickstart test lint fix bench
