# make quickstart: install and run the main job.  make test: install and run the tests.  make check: style, types, layers.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: quickstart test test-all check install install-dev

quickstart: install
	$(BIN)/bench run suites/quickstart.yaml
	$(BIN)/bench report suites/quickstart.yaml --out report
	@echo "Open report/index.html in a browser; '$(BIN)/bench ui' serves traces and leaderboard in MLflow."

test: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: install-dev
	$(BIN)/python -m pytest -m ""

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
