# Every target makes or mends its environment first. `make PYTHON=/path/to/python3.12 test` picks
# the interpreter; without it the first fitting one of python3.11, python3.12, python3 is taken, and
# of python3.10 for the targets tfx-*, which have an environment of their own.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help install demo check test test-fast test-slow test-all format probe bench bench-quality \
	tfx-install tfx-test tfx-demo clean

VENV := .venv
BIN := $(VENV)/bin
VENV_TFX := .venv-tfx

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

install:  ## make .venv with the locked versions
	@PYTHON='$(PYTHON)' requirements/install.sh $(VENV) '3.11 3.12' 'requirements/python{version}.lock' install

demo: install  ## train, measure, export and ask a small bookshop
	$(BIN)/tfrec-llm demo --out runs/demo

check: install  ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, then the tests, in two processes
	$(BIN)/pytest -n 2 --dist loadgroup -m "not exhaustive"

test-fast: install  ## the tests that take no more than a few seconds
	$(BIN)/pytest -m "not slow"

test-slow: install  ## the others
	$(BIN)/pytest -m "slow and not exhaustive"

test-all: check  ## check, then all tests: further kinds of encoders and histories, real data
	$(BIN)/pytest -n 2 --dist loadgroup

format: install  ## mend what lint and format can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

probe: install  ## build the C++ program with which `tfrec-llm check --native` loads an export
	$(BIN)/python -m tfrec_llm.serving.native_probe

bench: install  ## speed of encoding and search on this machine
	for script in encode_text index_search; do $(BIN)/python benchmarks/$$script.py; done

bench-quality: install  ## quality on public data, hours; try ARGS=--quick first, or ARGS="--seeds 7"
	$(BIN)/python benchmarks/bench_quality.py $(ARGS)

tfx-install:  ## make .venv-tfx: Python 3.10 and TFX 1.16, with TensorFlow 2.16
	@PYTHON='$(PYTHON)' requirements/install.sh $(VENV_TFX) 3.10 requirements/tfx.lock tfx-install

# All fast tests, doctests too. What cannot run there is skipped with its reason, which -rs prints:
# the mark `needs(requirement, reason)` of tests/conftest.py. TESTS="tests/tfx …" runs a part.
tfx-test: tfx-install  ## the fast tests and those of the TFX pipeline, in .venv-tfx
	$(VENV_TFX)/bin/pytest -n 2 --dist loadgroup -m "not slow" -rs $(TESTS)

tfx-demo: install tfx-install  ## the TFX pipeline on the bookshop; what it pushes is served by .venv
	$(VENV_TFX)/bin/python -m tfrec_llm.pipelines.on_tfx.demo --served-by $(BIN)/python

clean:  ## remove the environments and the caches; runs and exports stay
	rm -rf $(VENV) $(VENV_TFX) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
