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
TEST_SYSTEM_PACKAGES := postgresql mariadb-server git curl prometheus openssh-server gnupg
TEST_ARGS ?=
# Files of tests run side by side in so many processes: half of the time of many goes into waiting for servers to start. Those that took
# longest in the last report come first (tests/ordering.py).
TEST_WORKERS ?= 3
# Tests start hundreds of processes, each of which would compile the project's code for itself.
test: export PYTHONDONTWRITEBYTECODE :=
BENCH_ARGS ?= --quick
DEMO_ARGS ?=

CHECKED = $(wildcard engine provider proto tests tools benchmarks)
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url

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
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) install --no-deps --require-hashes -r requirements-build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/runtime
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(STAMPS)/demo: requirements-demo.lock $(STAMPS)/runtime
	$(PIP) install --no-deps --require-hashes -r requirements-demo.lock
	@touch $@

.PHONY: setup
setup: $(STAMPS)/dev $(STAMPS)/demo ## make .venv from the hash-locked requirements (needs python3 and make)

.PHONY: lock
lock: $(STAMPS)/dev ## resolve pyproject.toml and requirements-*.in into the locks again
	$(LOCK) pyproject.toml -c requirements-pins.in -o requirements.lock
	$(LOCK) pyproject.toml --group dev -c requirements-pins.in -c requirements.lock -o requirements-dev.lock
	$(LOCK) requirements-build.in -c requirements-dev.lock -o requirements-build.lock
	$(LOCK) --no-deps requirements-demo.in -o requirements-demo.lock

# The demo takes the runtime and its data only; a venv that holds the tools for development too does as well.
.PHONY: demo
demo: $(STAMPS)/demo ## migrate five departments' data into one warehouse, from nothing
	$(BIN)/python -m tools.demo $(DEMO_ARGS)

.PHONY: demo-clean
demo-clean: ## remove everything that the demo wrote
	rm -rf .demo

# The report is committed, so only a full run writes it; part of the suite runs as `.venv/bin/pytest tests/unit`.
.PHONY: test
test: setup ## run every test, with coverage, and write pytest_results.json
	@tools/system_packages.sh $(TEST_SYSTEM_PACKAGES)
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term --json-report --json-report-file=pytest_results.json $(TEST_ARGS)

# Every check runs, whatever the ones before it found; the last line names those that failed.
.PHONY: check
check: setup ## format, lint, types, layers, contract and generated code: what CI checks
	@failed=""; \
	run() { name="$$1"; shift; echo "== $$name"; "$$@" || failed="$$failed $$name"; }; \
	run format $(BIN)/ruff format --check --output-format concise . ; \
	run lint $(BIN)/ruff check --output-format concise . ; \
	run types $(BIN)/mypy $(CHECKED); \
	run imports $(BIN)/python -m tools.imports; \
	run layers $(BIN)/lint-imports --no-logo; \
	run contract $(BIN)/buf lint; \
	run contract-format $(BIN)/buf format --path proto/pymigrate --diff --exit-code; \
	run generated-code $(BIN)/python -m tools.contract --check; \
	run types-page $(BIN)/python -m tools.types_page --check; \
	run metrics-page $(BIN)/python -m tools.metrics_page --check; \
	run terraform-pages $(BIN)/python -m tools.terraform_pages --check; \
	run definition-schemas $(BIN)/python -m tools.definition_schemas --check; \
	run custom-resources $(BIN)/python -m tools.custom_resources --check; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

.PHONY: fmt
fmt: setup ## format Python and proto files, and mend what lint can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format --path proto/pymigrate --write

.PHONY: proto
proto: setup ## generate the Python side of the contract, the pages of the Terraform provider, the schemas of definitions and custom resources
	$(BIN)/python -m tools.contract
	$(BIN)/python -m tools.terraform_pages
	$(BIN)/python -m tools.definition_schemas
	$(BIN)/python -m tools.custom_resources

.PHONY: bench
bench: setup ## run every benchmark, quickly
	@failed=""; \
	for script in benchmarks/[!_]*.py; do \
		[ -e "$$script" ] || continue; \
		echo "== $$script $(BENCH_ARGS)"; \
		$(BIN)/python "$$script" $(BENCH_ARGS) || failed="$$failed $$script"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# The clean venv holds what a user's would: the locked runtime and the wheel, checked against each other.
.PHONY: wheel
wheel: setup ## build sdist and wheel, and try the wheel in a clean venv
	rm -rf dist build/wheel-venv
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip --disable-pip-version-check -qq install --no-deps --require-hashes -r requirements.lock
	build/wheel-venv/bin/python -m pip --disable-pip-version-check -qq install --no-deps dist/*.whl
	build/wheel-venv/bin/python -m pip --disable-pip-version-check check
	cd build && wheel-venv/bin/pymigrate --version
	$(BIN)/python -m tools.bill_of_materials build/wheel-venv/bin/python dist

# What is known to be wrong with the locked versions comes from outside: where it can't be reached, nothing was found out, and that is an error too.
.PHONY: vulnerabilities
vulnerabilities: setup ## ask which locked versions have known vulnerabilities (needs the network)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock

.PHONY: clean
clean: ## remove the venv, caches and whatever was built
	rm -rf $(VENV) dist build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find engine provider proto tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
