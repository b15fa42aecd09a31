// The raw loops of swiglu_linear against the same formulas in plain double arithmetic.
#include <cmath>
#include <vector>

#include "check.h"
#include "random_values.h"
#include "swiglu_linear/swiglu_linear.h"

using namespace arsbench;

namespace {

template <class T, class G>
void test_gate(std::int64_t n, double scale) {
  const auto gate = random_values<T>(n, 1, -scale, scale), up = random_values<T>(n, 2);
  const auto grad = random_values<G>(n, 3);
  std::vector<T> out(n), grad_gate(n), grad_up(n);
  swiglu(n, gate.data(), up.data(), out.data());
  swiglu_backward(n, grad.data(), gate.data(), up.data(), grad_gate.data(), grad_up.data());
  const auto check = [](double got, double expected, const char* what) {
    CHECK(std::abs(got - expected) <= tolerance<T>() * (1 + std::abs(expected)), "%s is %g, not %g", what,
          got, expected);
  };
  for (std::int64_t i = 0; i < n; ++i) {
    const double g = load(gate[i]), u = load(up[i]), own = load(grad[i]), s = 1 / (1 + std::exp(-g));
    check(load(out[i]), g * s * u, "activation");
    check(load(grad_gate[i]), own * u * s * (1 + g * (1 - s)), "gradient of gate");
    check(load(grad_up[i]), own * g * s, "gradient of up");
  }
}

void test_all() {
  for (std::int64_t n : {0, 1, 15, 16, 17, 1000})
    for (double scale : {1.0, 200.0}) {
      test_gate<float, float>(n, scale);
      test_gate<double, double>(n, scale);
      test_gate<BFloat16, float>(n, scale);
      test_gate<BFloat16, BFloat16>(n, scale);
    }
}

}  // namespace

int main() { return run_tests(test_all); }
