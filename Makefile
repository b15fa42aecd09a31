# From a fresh clone: `make demo` trains a model and writes its report, `make test` runs the test suite.
# Everything is installed into .venv; constraints.txt pins what.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export MAX_JOBS ?= 2

SOURCES := setup.py pyproject.toml constraints.txt $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
BASE := $(VENV)/.installed
TEST := $(VENV)/.installed-test
LINT := $(VENV)/.installed-lint
BENCH := $(VENV)/.installed-bench

.PHONY: demo test test-all test-cpp sanitize bench sweep lint format clean

demo: $(BASE)
	$(BIN)/arsbench train demo

test: $(TEST)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(TEST) test-cpp sanitize
	$(BIN)/python -m pytest -m slow

test-cpp: $(TEST)
	PATH="$(abspath $(BIN)):$$PATH" sh tests/csrc/run.sh

sanitize: $(TEST)
	PATH="$(abspath $(BIN)):$$PATH" sh tests/csrc/run.sh address,undefined

bench: $(BENCH)
	$(BIN)/python -m benchmarks.linear_cross_entropy
	$(BIN)/python -m benchmarks.rope_attention
	$(BIN)/python -m benchmarks.newton_schulz
	$(BIN)/python -m benchmarks.ars_moments
	$(BIN)/python -m benchmarks.training_step

sweep: $(BENCH)
	$(BIN)/python -m benchmarks.sweep --plot build/sweep.png

lint: $(LINT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests/csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
	$(BIN)/lint-imports

format: $(LINT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc tests/csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

clean:
	rm -rf $(VENV) build *.egg-info arsbench/*.so

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python is too old or missing ($$($(PYTHON) --version 2>&1)): ARS-Bench needs 3.11 or newer; name one with make PYTHON=..." >&2; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || \
		{ echo "No C++ compiler ($${CXX:-c++}) was found: install g++ or clang++ (Debian: g++, macOS: xcode-select --install)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) && $(PIP) install --quiet -c constraints.txt --upgrade pip || \
		{ rm -rf $(VENV); echo "No virtual environment could be made (Debian: install python3-venv)" >&2; exit 1; }

$(BASE): $(VENV)/bin/python $(SOURCES)
	$(PIP) install --quiet -c constraints.txt setuptools wheel torch numpy pybind11 ninja
	PATH="$(abspath $(BIN)):$$PATH" $(PIP) install --quiet -c constraints.txt --no-build-isolation -e .
	@touch $@

$(TEST): $(BASE)
	$(PIP) install --quiet -c constraints.txt --group test
	@touch $@

$(LINT): $(TEST)
	$(PIP) install --quiet -c constraints.txt --group lint
	@touch $@

$(BENCH): $(BASE)
	$(PIP) install --quiet -c constraints.txt --group bench
	@touch $@
