.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WHEEL_VENV := build/wheel-venv
RAY_VENV := $(VENV)/ray
STAMP := $(VENV)/.installed
# Groups of tests in the order that tests/conftest.py gives them, the longest first; what took longest is said in the end.
PARALLEL := -n auto --dist loadgroup --no-loadscope-reorder --durations 20

help:            ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Poolform needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(STAMP): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -qq --editable '.[embedded,postgresql,aws,azure,gcp,kubernetes,managed,modal,testing]' --group dev
	mkdir -p .typecheck && ln -sfn .. .typecheck/poolform
	touch $@

$(VENV)/.quickstart: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -qq --editable '.[embedded]'
	touch $@

quickstart: $(VENV)/.quickstart  ## provision a pool on this machine and run a flow in it
	$(BIN)/poolform quickstart --yes

$(RAY_VENV)/.installed: pyproject.toml examples/poolform-ray/pyproject.toml
	$(PYTHON) -m venv $(RAY_VENV)
	$(RAY_VENV)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(RAY_VENV)/bin/python -m pip install -qq --editable '.[testing]' --editable examples/poolform-ray
	touch $@

ray: $(RAY_VENV)/.installed  ## what examples/poolform-ray is tested with: Ray, in an environment of its own

test: $(STAMP)   ## run the tests, those that take long left out
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

test-all: $(STAMP)  ## run all tests, matrices of trouble whole
	$(BIN)/python -m pytest $(PARALLEL) --everything

wheel: $(STAMP)  ## build the wheel, and an environment of its own with it
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(WHEEL_VENV)/bin/python -m pip install --quiet "$$(ls dist/*.whl)[embedded,postgresql,aws,azure,gcp,kubernetes,managed,modal,testing]" --group dev

test-wheel: wheel  ## run what make test leaves out, against the built wheel
	$(WHEEL_VENV)/bin/python -m pytest $(PARALLEL) -m slow

lint: $(STAMP)   ## ruff, mypy --strict, terraform fmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v terraform >/dev/null; then \
	  find tests examples templates -name '*.tf' -print0 | xargs -0 -r terraform fmt -check; fi

docs: $(STAMP)   ## write the reference, then build the site, strictly
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fix: $(STAMP)    ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure, with the rival and the limit in the same run
	$(BIN)/python benchmarks/run.py

.PHONY: help quickstart ray test test-all wheel test-wheel lint docs fix bench
