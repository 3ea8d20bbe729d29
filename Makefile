# Needs python3 (3.11 or newer) with venv, and make; everything else goes into .venv.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: help demo test lint docs bench man clean

help:
	@echo "make demo    the whole loop on the shipped model, about four minutes"
	@echo "make test    the tests, JOBS=$(JOBS) at a time"
	@echo "make lint    style, types, import rules"
	@echo "make docs    the site of the documentation, in site/"
	@echo "make bench   the benchmarks"
	@echo "make man     man pages of all commands, in build/man"
	@echo "make clean   remove .venv and what building left behind"

demo: $(VENV)/installed
	$(BIN)/python models/demo.py

# Workers of one thread each: more would fight for the cores.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS) --durations 10

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/types

# Warnings are errors. What is there already is built anew: a page that is gone must not stay.
docs: $(VENV)/installed-dev
	rm -rf site
	$(BIN)/python -m sphinx -b html -W --keep-going -q -d site/.doctrees docs site/html
	@echo "open site/html/index.html"

bench: $(VENV)/installed-dev
	set -e; for script in tests/bench/bench_*.py tests/bench/*/bench_*.py; do $(BIN)/python "$$script"; done

man: $(VENV)/installed
	$(BIN)/python -m pimc.cli.manpages build/man

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# setuptools comes first and builds in place of an isolated, unpinned one.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable ".[recover]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --no-build-isolation --editable ".[dev]"
	@touch $@
