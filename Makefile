# Every task of the house, from a fresh clone. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# Servers that tests start for themselves, as Debian names them: installed by `make test` where it is root.
TEST_SYSTEM_PACKAGES := postgresql git
TEST_ARGS ?=
BENCH_ARGS ?= --quick
DEMO_ARGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "PyMigrate needs Python 3.11 or newer; name one with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/system_packages.sh python3-venv
	$(PYTHON) -m venv --clear $(VENV)

# The runtime, and the project itself as an editable install whose build backend is locked too.
$(STAMPS)/runtime: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@mkdir -p $(STAMPS)
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --require-hashes -r requirements-build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/runtime
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(STAMPS)/demo: requirements-demo.lock $(STAMPS)/runtime
	$(PIP) install --require-hashes --no-deps -r requirements-demo.lock
	@touch $@

.PHONY: setup
setup: $(STAMPS)/dev $(STAMPS)/demo ## make .venv from the hash-locked requirements (needs python3 and make)
