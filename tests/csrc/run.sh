#!/bin/sh
# Builds and runs the C++ tests, once as they ship and once under sanitizers. Needs cmake, and a Python with torch.
set -eu
cd "$(dirname "$0")/../.."
command -v cmake >/dev/null || { echo "cmake was not found: install it (pip install cmake) to run the C++ tests" >&2; exit 1; }

cmake -S . -B build/cmake -DPython_EXECUTABLE="$(command -v python3)"
cmake --build build/cmake --parallel 2
ctest --test-dir build/cmake --output-on-failure

cmake -S . -B build/cmake-sanitize -DARSBENCH_SANITIZE=address,undefined -DPython_EXECUTABLE="$(command -v python3)"
cmake --build build/cmake-sanitize --parallel 2 --target test_ars_moments test_newton_schulz
ctest --test-dir build/cmake-sanitize --output-on-failure
