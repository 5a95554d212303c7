# `make demo` and `make test` set up what they need: Python 3.11 or newer, make and git are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A program beside the package: it may import `support`, `benchmarks` and `scripts`.
PROGRAM := PYTHONPATH=tests:. $(BIN)/python
# CI runs the tests' CPU-bound half on every core; a person may say WORKERS=0 to debug.
WORKERS ?= auto
SEEDS ?= 0 10000

.PHONY: help demo test lint types simulate mutants format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

$(VENV)/runtime: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]'
	@touch $@

$(VENV)/dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/runtime

demo: $(VENV)/runtime ## the main job on the embedded emulator: no cloud account, half a minute
	@$(BIN)/python -m ecs_waiter.cli.demo

test: lint types $(VENV)/dev ## everything that must pass: lint, types, floors, tests with coverage
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term

lint: $(VENV)/dev ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev ## mypy --strict over package and tests
	$(BIN)/mypy

simulate: $(VENV)/dev ## more simulated worlds than the tests play: make simulate SEEDS='0 100000'
	$(PROGRAM) tests/simulation/running.py $(SEEDS)

mutants: $(VENV)/dev ## breaks the scheduler in a dozen ways, each of which the simulation has to notice
	$(PROGRAM) tests/simulation/mutants.py

format: $(VENV)/dev ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## forget the virtual environment and every cache
	rm -rf $(VENV) .venv-airflow build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.PHONY: bench

bench: $(VENV)/dev ## how fast, beside what one would use instead: ten minutes, or one of them by ONLY=cpu
	$(PROGRAM) benchmarks/run.py $(ONLY)

MINUTES ?= 60

.PHONY: load load-command soak

load: $(VENV)/dev ## a million waits: how long they take, and how long one step of ours holds the loop
	$(PROGRAM) tests/load/measuring.py

load-command: $(VENV)/dev ## the command with a million tasks: its memory per task, and how soon it ends: a quarter of an hour
	$(PROGRAM) tests/load/command.py

soak: $(VENV)/dev ## waits over loopback with faults, on the real clock, and whether memory stays flat: make soak MINUTES=60
	$(PROGRAM) tests/load/soak.py $(MINUTES)

.PHONY: docs

$(VENV)/docs: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,docs]'
	@touch $@ $(VENV)/runtime

docs: $(VENV)/docs ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: picture

picture: $(VENV)/dev ## the README's moving picture, recorded anew from a real run
	$(PROGRAM) -m scripts.picture

.PHONY: dist release

$(VENV)/release: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,release]'
	@touch $@ $(VENV)/runtime

dist: $(VENV)/release ## sdist and wheel, checked, in dist/
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

release: dist ## the tests against the built wheel, on each Python from 3.11 on that this machine has
	$(PROGRAM) -m scripts.release

.PHONY: test-airflow

# Airflow is heavy and holds many packages to its own versions, so it has an environment to itself.
AIRFLOW := .venv-airflow/bin

.venv-airflow/ready: pyproject.toml tests/airflow/requirements.txt
	@test -x $(AIRFLOW)/python || $(PYTHON) -m venv .venv-airflow
	@$(AIRFLOW)/python -m pip install --quiet --disable-pip-version-check --editable '.[airflow]' -r tests/airflow/requirements.txt
	@touch $@

test-airflow: .venv-airflow/ready ## the Airflow provider, in an Airflow of several processes: some minutes, 2 GB
	$(AIRFLOW)/python -m mypy --config-file tests/airflow/mypy.ini
	$(AIRFLOW)/python -m pytest -c tests/airflow/pytest.ini tests/airflow
