// The raw loops of newton_schulz against plain loops.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "newton_schulz/newton_schulz.h"
#include "random_values.h"

using namespace arsbench;

namespace {

template <class T>
double rounded(double value) {
  return std::is_same_v<T, double> ? value : round_to_bfloat16(static_cast<float>(value));
}

template <class T>
void test_square_sum(std::int64_t n) {
  const auto x = random_values<T>(n, 1);
  double expected = 0;
  for (const T& value : x) expected += static_cast<double>(load(value)) * load(value);
  const double got = square_sum(n, x.data());
  CHECK(std::abs(got - expected) <= 1e-13 * expected, "square_sum of %d is %g, not %g", static_cast<int>(n),
        got, expected);
}

template <class In, class Out>
void test_scale(std::int64_t n) {
  const auto x = random_values<In>(n, 2);
  std::vector<Out> out(n);
  scale_and_round(n, x.data(), out.data(), 0.37);
  for (std::int64_t i = 0; i < n; ++i)
    CHECK(load(out[i]) == rounded<Out>(0.37 * load(x[i])), "element %d", static_cast<int>(i));
}

template <class T>
void test_mirror(std::int64_t size) {
  const auto before = random_values<T>(size * size, 3);
  auto matrix = before;
  const std::int64_t middle = size / 3;  // in two calls, as two threads would
  round_and_mirror(size, middle, size, matrix.data());
  round_and_mirror(size, std::int64_t{0}, middle, matrix.data());
  for (std::int64_t i = 0; i < size; ++i)
    for (std::int64_t j = 0; j < size; ++j) {
      const T& source = before[std::max(i, j) * size + std::min(i, j)];
      CHECK(load(matrix[i * size + j]) == rounded<T>(load(source)), "(%d, %d) of %d", static_cast<int>(i),
            static_cast<int>(j), static_cast<int>(size));
    }
}

template <class T>
void test_round(std::int64_t n) {
  const auto before = random_values<T>(n, 4);
  auto x = before;
  round_values(n, x.data());
  for (std::int64_t i = 0; i < n; ++i)
    CHECK(load(x[i]) == rounded<T>(load(before[i])), "element %d", static_cast<int>(i));
}

void test_all() {
  for (std::int64_t n : {0, 1, 15, 16, 17, 1001}) {
    test_square_sum<float>(n);
    test_square_sum<double>(n);
    test_square_sum<BFloat16>(n);
    test_scale<float, float>(n);
    test_scale<float, BFloat16>(n);
    test_scale<BFloat16, float>(n);
    test_scale<BFloat16, BFloat16>(n);
    test_scale<double, double>(n);
    test_round<float>(n);
    test_round<double>(n);
    test_round<BFloat16>(n);
  }
  for (std::int64_t size : {1, 2, 15, 16, 17, 50}) {
    test_mirror<float>(size);
    test_mirror<double>(size);
    test_mirror<BFloat16>(size);
  }
}

}  // namespace

int main() { return run_tests(test_all); }
