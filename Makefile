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
PEERS := $(VENV)/.installed-peers
LINT := $(VENV)/.installed-lint
BENCH := $(VENV)/.installed-bench

# The CUDA build has an environment of its own, since torch is another one there.
CUDA_TORCH := 2.14.1
CUDA_VENV := .venv-cuda
CUDA_PIP := $(CUDA_VENV)/bin/python -m pip --disable-pip-version-check
CUDA_SOURCE := build/cuda/source
CUDA_BUILT := build/cuda/.installed

.PHONY: demo test test-all test-cpp test-arm sanitize bench sweep cuda cuda-kernels cuda-table gpu-test gpu-bench lint format clean

demo: $(BASE)
	$(BIN)/arsbench train demo

test: $(TEST)
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 --dist worksteal

test-all: $(PEERS) test-cpp sanitize
	$(BIN)/python -m pytest -m slow

test-cpp: $(TEST)
	PATH="$(abspath $(BIN)):$$PATH" sh tests/csrc/run.sh

test-arm:
	sh tests/csrc/run_arm.sh

sanitize: $(TEST)
	PATH="$(abspath $(BIN)):$$PATH" sh tests/csrc/run.sh address,undefined

bench: $(BENCH)
	$(BIN)/python -m benchmarks.linear_cross_entropy
	$(BIN)/python -m benchmarks.rope_attention
	$(BIN)/python -m benchmarks.newton_schulz
	$(BIN)/python -m benchmarks.ars_moments
	$(BIN)/python -m benchmarks.optimizers
	$(BIN)/python -m benchmarks.training_step

sweep: $(BENCH)
	$(BIN)/python -m benchmarks.sweep --plot build/sweep.png

cuda: cuda-kernels
	$(MAKE) $(CUDA_BUILT)
	cd $(CUDA_SOURCE) && $(abspath $(CUDA_VENV))/bin/python tests/cuda/check_build.py

cuda-kernels: $(VENV)/bin/python
	$(BIN)/python tests/cuda/resources.py

cuda-table: $(VENV)/bin/python
	$(BIN)/python tests/cuda/resources.py --write

# On a machine with a GPU; docs/gpu.md.
gpu-test: $(CUDA_BUILT)
	cd $(CUDA_SOURCE) && $(abspath $(CUDA_VENV))/bin/pytest tests/gpu
	cd $(CUDA_SOURCE) && if command -v compute-sanitizer >/dev/null; then \
		for tool in memcheck racecheck synccheck; do \
			compute-sanitizer --tool $$tool --error-exitcode 1 \
				$(abspath $(CUDA_VENV))/bin/python -m pytest -q -x tests/gpu/test_kernels.py -k "not 40479 and not 2048 and not 8-255" || exit 1; \
		done; \
	else echo "compute-sanitizer was not found: races and memory errors were not looked for"; fi

gpu-bench: $(CUDA_BUILT)
	cd $(CUDA_SOURCE) && $(abspath $(CUDA_VENV))/bin/python -m benchmarks.gpu --json gpu-bench.json

lint: $(LINT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
	$(BIN)/lint-imports

format: $(LINT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

clean:
	rm -rf $(VENV) $(CUDA_VENV) build *.egg-info arsbench/*.so

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

$(CUDA_VENV)/bin/python:
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_PIP) install --quiet torch==$(CUDA_TORCH) setuptools wheel pybind11 ninja numpy || \
		{ rm -rf $(CUDA_VENV); echo "torch $(CUDA_TORCH), built with CUDA, could not be installed" >&2; exit 1; }

# Built in a copy: objects and modules of the two environments would overwrite each other's.
$(CUDA_BUILT): $(CUDA_VENV)/bin/python $(SOURCES) $(shell find arsbench cli tests benchmarks -name '*.py' -o -name '*.toml')
	mkdir -p $(CUDA_SOURCE)
	cp -r setup.py pyproject.toml README.md LICENSE csrc arsbench cli tests benchmarks $(CUDA_SOURCE)/
	rm -f $(CUDA_SOURCE)/arsbench/*.so
	PATH="$(abspath $(CUDA_VENV))/bin:$$PATH" ARSBENCH_CUDA=1 \
		$(CUDA_PIP) install --quiet --no-build-isolation -e $(CUDA_SOURCE) pytest transformers
	@touch $@

$(TEST): $(BASE)
	$(PIP) install --quiet -c constraints.txt --group test
	@touch $@

# Other people's optimizers, which the slow tests train with.
$(PEERS): $(TEST)
	$(PIP) install --quiet -c constraints.txt --group peers
	@touch $@

$(LINT): $(TEST)
	$(PIP) install --quiet -c constraints.txt --group lint
	@touch $@

$(BENCH): $(BASE)
	$(PIP) install --quiet -c constraints.txt --group bench
	@touch $@
