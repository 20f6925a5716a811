# The first Python that is new enough; `make PYTHON=python3.12 ...` takes another.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11, \
	$(shell $(name) -c 'import sys, venv; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV := .venv
READY := $(VENV)/ready
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test fast lint types imports docs wheel check clean

help:
	@echo 'make demo     a maintenance window between a real Airflow and a simulated Manager'
	@echo '              (KEEP=1 leaves Airflow up)'
	@echo 'make test     all tests; make fast leaves out those that start an Airflow'
	@echo 'make check    lint, types, imports, docs, wheel: each is a target of its own too'
	@echo 'make clean    remove what the others made'

demo: $(READY)
	@$(BIN)/python -m dev.demo $(if $(KEEP),--keep)

test: $(READY)
	$(BIN)/python -m pytest

fast: $(READY)
	$(BIN)/python -m pytest -m 'not e2e'

check: lint types imports docs wheel

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python -m sphinx --fail-on-warning --nitpicky --quiet --builder html docs docs/_build/html

wheel: $(READY)
	$(BIN)/python -m dev.wheel

clean:
	rm -rf $(VENV) .airflow dist docs/_build .*_cache

$(READY): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed, with its venv module.'; exit 1; }
	@echo 'Setting up $(VENV); the first time that takes a minute or two.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --constraint constraints.txt --editable '.[simulator]' --group dev
	@touch $@
