# The first Python of these that will do; `make PYTHON=python3.12 ...` takes another.
first_python = $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys, venv; (3, 11) <= sys.version_info < $(1) and print("$(name)")' 2>/dev/null)))
PYTHON ?= $(call first_python,(4,))
VENV := .venv
OLDEST := .venv-oldest
READY := $(VENV)/ready
BIN := $(VENV)/bin
# `make test AT='2026-10-25 02:30 Europe/Berlin'` sets the clock of all processes.
AT :=
PYTEST = bin/python $(if $(AT),-m dev.at '$(AT)') -m pytest
# Most of a test is waiting, so that more of them run at a time than there are cores.
FAST := -m 'not e2e' --numprocesses=6 --dist=worksteal
# Each of these processes has one Airflow for all of its tests.
E2E := -m e2e --numprocesses=3 --dist=worksteal

FUZZ := $(wildcard tests/unit/*/test_hostile_*.py tests/unit/*/*/test_hostile_*.py)

.PHONY: help demo test fast e2e oldest fuzz soak lint types imports docs wheel check clean

help:
	@echo 'make demo     a maintenance window between a real Airflow and a simulated Manager'
	@echo '              (KEEP=1 leaves Airflow up)'
	@echo 'make test     all tests: make e2e are those that start an Airflow, make fast the others'
	@echo "              (AT='2026-10-25 02:30 Europe/Berlin' sets the clock for them)"
	@echo 'make oldest   the same tests with the oldest Airflow and libraries that the provider works with'
	@echo 'make fuzz     whatever may come from Manager or a Variable, at random, until something is found or Ctrl-C'
	@echo 'make soak     200 waits for ten minutes, while sessions drop and Managers restart'
	@echo 'make check    lint, types, imports, docs, wheel: each is a target of its own too'
	@echo 'make clean    remove what the others made'

demo: $(READY)
	@$(BIN)/python -m dev.demo $(if $(KEEP),--keep)

test: fast e2e

fast: $(READY)
	$(VENV)/$(PYTEST) $(FAST)

e2e: $(READY)
	$(VENV)/$(PYTEST) $(E2E)

oldest: $(OLDEST)/ready
	$(OLDEST)/$(PYTEST) $(FAST)

fuzz: $(READY)
	while $(VENV)/$(PYTEST) --exitfirst --timeout=0 --hypothesis-profile=fuzz $(FUZZ); do :; done; exit 1

soak: $(READY)
	$(BIN)/python -m benchmarks.soak

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
	rm -rf $(VENV) $(OLDEST) .airflow dist docs/_build .*_cache

$(READY): constraints.txt
$(READY): GROUP := dev
$(OLDEST)/ready: constraints-oldest.txt
$(OLDEST)/ready: GROUP := test
# Airflow 2.11 knows no newer one.
$(OLDEST)/ready: PYTHON := $(or $(call first_python,(3,13)),$(PYTHON))

$(READY) $(OLDEST)/ready: pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed, with its venv module.'; exit 1; }
	@echo 'Setting up $(@D); the first time that takes a minute or two.'
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	@$(@D)/bin/python -m pip --quiet --disable-pip-version-check install \
		--constraint $(filter constraints%,$^) --editable '.[simulator]' --group $(GROUP)
	@touch $@
