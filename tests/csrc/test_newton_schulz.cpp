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
  scale(n, x.data(), out.data(), 0.37);
  for (std::int64_t i = 0; i < n; ++i) {
    Out expected;
    store(expected, static_cast<Compute<Out>>(0.37 * load(x[i])));
    CHECK(load(out[i]) == load(expected), "element %d", static_cast<int>(i));
  }
}

template <class T>
void test_mirror(std::int64_t size) {
  const auto before = random_values<T>(size * size, 3);
  auto matrix = before;
  const std::int64_t middle = size / 3;  // in two calls, like two threads
  mirror(size, middle, size, matrix.data(), 0.5);
  mirror(size, std::int64_t{0}, middle, matrix.data(), 0.5);
  for (std::int64_t i = 0; i < size; ++i)
    for (std::int64_t j = 0; j < size; ++j) {
      T expected = before[std::max(i, j) * size + std::min(i, j)];
      if (i == j) store(expected, static_cast<Compute<T>>(load(expected) + 0.5));
      CHECK(load(matrix[i * size + j]) == load(expected), "(%d, %d) of %d", static_cast<int>(i),
            static_cast<int>(j), static_cast<int>(size));
    }
}

// The rule must agree with the flops that it derives from.
void test_choice_of_form() {
  for (std::int64_t n : {1, 64, 512})
    for (std::int64_t m : {n, n + 1, 4 * n})
      for (std::int64_t steps : {0, 1, 2, 5, 10}) {
        const std::int64_t direct = steps * (3 * n * n * m + n * n * n);
        const std::int64_t gram = 3 * n * n * m + (4 * steps - 3) * n * n * n;
        CHECK(gram_form_pays(n, m, steps, true) == (gram < direct), "%d × %d, %d steps", static_cast<int>(n),
              static_cast<int>(m), static_cast<int>(steps));
        CHECK(gram_form_pays(m, n, steps, true) == gram_form_pays(n, m, steps, true), "the transpose");
        CHECK(!gram_form_pays(n, m, steps, false), "bfloat16");
      }
}

void test_all() {
  test_choice_of_form();
  for (std::int64_t n : {0, 1, 15, 16, 17, 1001}) {
    test_square_sum<float>(n);
    test_square_sum<double>(n);
    test_square_sum<BFloat16>(n);
    test_scale<float, float>(n);
    test_scale<float, BFloat16>(n);
    test_scale<BFloat16, float>(n);
    test_scale<BFloat16, BFloat16>(n);
    test_scale<double, double>(n);
  }
  for (std::int64_t size : {1, 2, 15, 16, 17, 50}) {
    test_mirror<float>(size);
    test_mirror<double>(size);
    test_mirror<BFloat16>(size);
  }
}

}  // namespace

int main() { return run_tests(test_all); }
