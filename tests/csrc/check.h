// A minimal test framework: CHECK counts failures, run_tests returns the exit code.
#pragma once

#include <cstdio>
#include <exception>

#include "common/vector_level.h"

inline int failures = 0;

#define CHECK(condition, ...)                                     \
  do {                                                            \
    if (!(condition)) {                                           \
      ++failures;                                                 \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (false)

// The exit code for main: 0, or 1 after a failure, or 77 (skipped) if the machine lacks the vector level that
// ARSBENCH_CPU names.
inline int run_tests(void (*tests)()) {
  try {
    std::printf("vector level: %s\n", arsbench::name_of(arsbench::vector_level()));
  } catch (const std::exception& error) {
    std::printf("skipped: %s\n", error.what());
    return 77;
  }
  tests();
  return failures > 0;
}
