# Every target works from a bare clone: it creates .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes of `make test`.
WORKERS ?= 2

.PHONY: install demo test coverage test-slow test-browser test-scale bench docs lint format ui deploy worker clean
.DEFAULT_GOAL := help

# No telemetry, unless the environment says otherwise (convrec/utils/telemetry.py).
export DO_NOT_TRACK ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false

help:
	@echo "make install       create .venv with convrec and its development tools"
	@echo "make demo          run the whole pipeline on the embedded demo, five to six minutes"
	@echo "make ui            serve the Prefect UI over the runs made so far"
	@echo "make deploy        apply prefect.yaml and automations.yaml to the server of make ui"
	@echo "make worker        start a worker that starts runs that are due"
	@echo "make test          run linting, type checks, import contracts and tests"
	@echo "make coverage      run the tests with coverage of convrec/; fail below 90%"
	@echo "make test-slow     run the tests that take minutes"
	@echo "make test-browser  run the tests that drive Chromium"
	@echo "make test-scale    run the tests that start servers and processes"
	@echo "make bench         run all benchmarks and update docs/benchmarks.md"
	@echo "make docs          write the documentation as a site to site/"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: install
	$(BIN)/convrec run demo

ui: install
	$(BIN)/convrec ui

deploy: install
	$(BIN)/python -m flows.deploy

worker: install
	$(BIN)/python -m flows.deploy worker

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python scripts/check_prose.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not browser and not scale"

coverage: install
	$(BIN)/pytest -m "not slow and not browser and not scale" --cov=convrec

test-slow: install
	$(BIN)/pytest -m slow

test-browser: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(BIN)/pytest -m browser

test-scale: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[scale]"
	$(BIN)/pytest -m scale

bench: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt editdistance
	$(BIN)/python benchmarks/table.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
