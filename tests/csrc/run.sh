#!/bin/sh
# Builds and runs the C++ tests, optionally with sanitizers: run.sh [address,undefined]
# Needs cmake, and a Python with torch.
set -eu
cd "$(dirname "$0")/../.."
command -v cmake >/dev/null || { echo "cmake is not installed: run pip install cmake" >&2; exit 1; }

sanitizers="${1:-}"
directory="build/cmake${sanitizers:+-sanitize}"
cmake -S . -B "$directory" -DARSBENCH_SANITIZE="$sanitizers" -DPython_EXECUTABLE="$(command -v python3)"
cmake --build "$directory" --parallel 2 --target cpp_tests
ctest --test-dir "$directory" --output-on-failure
