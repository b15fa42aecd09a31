#!/bin/sh
# Compiles the loops and their C++ tests for 64-bit Arm and runs them under emulation.
# Needs Debian's g++-aarch64-linux-gnu and qemu-user.
set -eu
cd "$(dirname "$0")/../.."
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
done

mkdir -p build/arm
compile() { aarch64-linux-gnu-g++ -O2 -std=c++20 -Wall -Werror -fno-math-errno -fno-trapping-math -Icsrc "$@"; }
for source in csrc/*/*_loops_cpu.cpp; do
  compile -c "$source" -o "build/arm/$(basename "$source" .cpp).o"
done
for source in tests/csrc/test_*.cpp; do
  test="build/arm/$(basename "$source" .cpp)"
  compile -static "$source" build/arm/*.o -o "$test"
  echo "$test"
  qemu-aarch64 "$test"
done
