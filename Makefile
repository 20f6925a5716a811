# The first Python of these that will do; `make PYTHON=python3.12 ...` takes another.
first_python = $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys, venv; (3, 11) <= sys.version_info < $(1) and print("$(name)")' 2>/dev/null)))
PYTHON ?= $(call first_python,(4,))
VENV := .venv
OLDEST := .venv-oldest
READY := $(VENV)/ready
BIN := $(VENV)/bin
# Most of a test is waiting, so that more of them run at a time than there are cores. Those that need an Airflow of
# their own share one for each file.
SIDE_BY_SIDE := -m 'not e2e' --numprocesses=4

.PHONY: help demo test fast oldest soak lint types imports docs wheel check clean

help:
	@echo 'make demo     a maintenance window between a real Airflow and a simulated Manager'
	@echo '              (KEEP=1 leaves Airflow up)'
	@echo 'make test     all tests; make fast leaves out those that start an Airflow'
	@echo 'make oldest   the same tests with the oldest Airflow and libraries that the provider works with'
	@echo 'make soak     200 waits for ten minutes, while sessions drop and Managers restart'
	@echo 'make check    lint, types, imports, docs, wheel: each is a target of its own too'
	@echo 'make clean    remove what the others made'

demo: $(READY)
	@$(BIN)/python -m dev.demo $(if $(KEEP),--keep)

test: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest -m e2e --numprocesses=3 --dist=loadfile

fast: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

oldest: $(OLDEST)/ready
	$(OLDEST)/bin/python -m pytest $(SIDE_BY_SIDE)

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
