// The softmax pass and its exponential against the same formulas in plain double arithmetic.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "common/exponential.h"
#include "linear_cross_entropy/linear_cross_entropy.h"
#include "random_values.h"

using namespace arsbench;

namespace {

void test_exponential() {
  double worst = 0;
  for (float x = 0; x > -55.4f; x -= 0.00137f) {
    const double truth = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(exp_nonpositive(x) - truth) / truth);
  }
  CHECK(worst < std::ldexp(1.0, -23), "relative error %g", worst);
  CHECK(exp_nonpositive(0.0f) == 1, "e^0 is %g", exp_nonpositive(0.0f));
  CHECK(exp_nonpositive(-56.0f) == 0, "e^-56 is %g", exp_nonpositive(-56.0f));
  CHECK(exp_nonpositive(-std::numeric_limits<float>::infinity()) == 0, "e^-inf is not 0");
  CHECK(std::isnan(exp_nonpositive(std::numeric_limits<float>::quiet_NaN())), "e^NaN is a number");
}

template <class T>
void test_pass(std::int64_t n, std::int64_t target, double scale) {
  const auto before = random_values<T>(n, 1, -scale, scale);
  const double factor = 0.25;
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, entropy = 0;
  for (const T& x : before) largest = std::max<double>(largest, load(x));
  for (const T& x : before) sum += std::exp(load(x) - largest);
  const double log_sum = largest + std::log(sum);
  for (const T& x : before) entropy -= std::exp(load(x) - log_sum) * (load(x) - log_sum);

  auto x = before;
  const auto kept = softmax_pass<T>(n, x.data(), target, factor, false);
  for (std::int64_t i = 0; i < n; ++i) CHECK(load(x[i]) == load(before[i]), "logit %d", static_cast<int>(i));
  const auto result = softmax_pass<T>(n, x.data(), target, factor, true);
  CHECK(kept.loss == result.loss && kept.entropy == result.entropy, "the gradient changes the loss");
  const double allowed = std::is_same_v<T, double> ? 1e-12 : 2e-6;  // the logits are exact in every type
  const double loss = target < 0 ? 0 : log_sum - load(before[target]);
  CHECK(std::abs(result.loss - loss) <= allowed * (1 + log_sum), "loss %g, not %g", double(result.loss),
        loss);
  CHECK(std::abs(result.entropy - entropy) <= allowed * (1 + log_sum), "entropy %g, not %g",
        double(result.entropy), entropy);
  // The distance of a logit from the largest is rounded too, and adds to the error of p.
  const double relative = tolerance<T>() + (std::is_same_v<T, double> ? 0 : 2 * scale * 0x1p-23);
  for (std::int64_t i = 0; i < n; ++i) {
    const double log_p = load(before[i]) - log_sum;
    const double expected = target < 0 ? 0 : factor * (i == target ? std::expm1(log_p) : std::exp(log_p));
    CHECK(std::abs(load(x[i]) - expected) <= relative * std::abs(expected) + (i == target ? 1e-13 : 1e-24),
          "gradient %d is %g, not %g", static_cast<int>(i), double(load(x[i])), expected);
  }
}

template <class T>
void test_special() {
  const auto infinity = std::numeric_limits<Compute<T>>::infinity();
  std::vector<T> x(40);
  for (T& value : x) store(value, 0);
  store(x[3], -infinity);
  auto result = softmax_pass<T>(40, x.data(), 5, 1, false);
  CHECK(std::abs(result.loss - std::log(39.0)) < 1e-6, "an impossible entry: loss %g", double(result.loss));
  CHECK(std::abs(result.entropy - std::log(39.0)) < 1e-6, "an impossible entry: entropy %g",
        double(result.entropy));
  CHECK(softmax_pass<T>(40, x.data(), 3, 1, false).loss == infinity, "an impossible target");
  store(x[7], std::numeric_limits<Compute<T>>::quiet_NaN());
  result = softmax_pass<T>(40, x.data(), 5, 1, true);
  CHECK(std::isnan(result.loss) && std::isnan(result.entropy) && std::isnan(load(x[0])), "NaN got lost");
}

void test_all() {
  test_exponential();
  for (std::int64_t n : {1, 2, 15, 16, 17, 63, 65, 1023, 1025, 5000})
    for (double scale : {0.1, 10.0, 80.0})
      for (std::int64_t target : {std::int64_t{-1}, std::int64_t{0}, n - 1}) {
        test_pass<float>(n, target, scale);
        test_pass<double>(n, target, scale);
        test_pass<BFloat16>(n, target, scale);
      }
  test_special<float>();
  test_special<double>();
  test_special<BFloat16>();
}

}  // namespace

int main() { return run_tests(test_all); }
