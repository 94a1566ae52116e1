# Every target works from a bare clone: it makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test coverage test-slow test-browser test-scale bench lint format ui deploy worker clean
.DEFAULT_GOAL := help

help:
	@echo "make install   .venv with convrec and its development tools"
	@echo "make demo      the whole pipeline on the embedded demo, five to six minutes"
	@echo "make ui        the Prefect UI over the runs made so far"
	@echo "make deploy    the deployments of prefect.yaml, on the server of make ui"
	@echo "make worker    a worker that runs what is due"
	@echo "make test      lint, types, layers and tests"
	@echo "make coverage  how much of convrec/ the tests reach; fails below 90%"
	@echo "make test-slow the tests that take minutes"
	@echo "make test-browser the tests that drive Chromium"
	@echo "make test-scale the tests that start servers and processes"
	@echo "make bench     all benchmarks, into docs/benchmarks.md"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: install
	$(BIN)/convrec run demo

ui: install
	PREFECT_SERVER_ANALYTICS_ENABLED=false $(BIN)/prefect server start --host 127.0.0.1

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

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/pytest -m "not slow and not browser and not scale"

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

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
