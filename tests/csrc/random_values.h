// Reproducible test values of every element type.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "common/bfloat16.h"

template <class T>
std::vector<T> random_values(std::int64_t n, unsigned seed, double low = -1, double high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<T> values(n);
  for (T& value : values) arsbench::store(value, static_cast<arsbench::Compute<T>>(draw(generator)));
  return values;
}

// The relative error of results of type T: a few roundings.
template <class T>
constexpr double tolerance() {
  return std::is_same_v<T, double> ? 1e-14 : std::is_same_v<T, float> ? 1e-6 : 8e-3;
}
