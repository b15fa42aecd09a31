// The raw loops of rms_norm against the same formulas in plain double arithmetic.
#include <cmath>
#include <vector>

#include "check.h"
#include "random_values.h"
#include "rms_norm/rms_norm.h"

using namespace arsbench;

namespace {

template <class T>
void test_rows(std::int64_t size) {
  using S = Compute<T>;
  constexpr std::int64_t kRows = 3;
  const double eps = 1e-6;
  const auto x = random_values<T>(kRows * size, 1), grad = random_values<T>(kRows * size, 2);
  const auto weight = random_values<S>(size, 3, 0.5, 1.5);
  std::vector<T> out(x.size()), grad_x(x.size());
  std::vector<S> grad_weight(size, S{1});
  normalize_rows(kRows, size, x.data(), weight.data(), S(eps), out.data());
  normalize_rows_backward(kRows, size, grad.data(), x.data(), weight.data(), S(eps), grad_x.data(),
                          grad_weight.data());
  std::vector<double> of_weight(size, 1.0);
  const auto check = [](double got, double expected, double allowed, const char* what) {
    CHECK(std::abs(got - expected) <= allowed * (1 + std::abs(expected)), "%s is %g, not %g", what, got,
          expected);
  };
  for (std::int64_t row = 0; row < kRows; ++row) {
    const std::int64_t at = row * size;
    double squares = 0, mean = 0;
    for (std::int64_t i = 0; i < size; ++i) squares += static_cast<double>(load(x[at + i])) * load(x[at + i]);
    const double scale = 1 / std::sqrt(squares / size + eps);
    for (std::int64_t i = 0; i < size; ++i) {
      const double normalized = load(x[at + i]) * scale;
      mean += load(grad[at + i]) * weight[i] * normalized / size;
      of_weight[i] += load(grad[at + i]) * normalized;
    }
    for (std::int64_t i = 0; i < size; ++i) {
      const double normalized = load(x[at + i]) * scale;
      check(load(out[at + i]), normalized * weight[i], tolerance<T>(), "norm");
      check(load(grad_x[at + i]), (load(grad[at + i]) * weight[i] - normalized * mean) * scale,
            tolerance<T>(), "gradient of x");
    }
  }
  for (std::int64_t i = 0; i < size; ++i) check(grad_weight[i], of_weight[i], 2e-6, "gradient of weight");
}

void test_all() {
  for (std::int64_t size : {1, 2, 15, 16, 17, 100, 512}) {
    test_rows<float>(size);
    test_rows<double>(size);
    test_rows<BFloat16>(size);
  }
}

}  // namespace

int main() { return run_tests(test_all); }
