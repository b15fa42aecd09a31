#!/bin/sh
# Builds and runs the C++ tests: as they ship, or under the sanitizers named (such as address,undefined).
# Needs cmake, and a Python with torch.
set -eu
cd "$(dirname "$0")/../.."
command -v cmake >/dev/null || { echo "cmake was not found: install it (pip install cmake) to run the C++ tests" >&2; exit 1; }

sanitizers="${1:-}"
directory="build/cmake${sanitizers:+-sanitize}"
cmake -S . -B "$directory" -DARSBENCH_SANITIZE="$sanitizers" -DPython_EXECUTABLE="$(command -v python3)"
cmake --build "$directory" --parallel 2 --target cpp_tests
ctest --test-dir "$directory" --output-on-failure
