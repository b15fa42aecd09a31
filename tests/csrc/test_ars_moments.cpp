// The raw loops of ars_moments against the same formulas in plain double arithmetic, at lengths around the
// vector widths.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ars_moments/ars_moments.h"
#include "check.h"
#include "random_values.h"

using namespace arsbench;

namespace {

constexpr SecondMoment kChoices[] = {SecondMoment::plain, SecondMoment::bounded, SecondMoment::injected};
const std::int64_t kLengths[] = {0, 1, 7, 15, 16, 17, 31, 33, 1000};

template <class T>
void check_close(const std::vector<T>& got, const std::vector<double>& expected, const char* what) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double value = load(got[i]), error = std::abs(value - expected[i]);
    CHECK(error <= tolerance<T>() * (1 + std::abs(expected[i])), "%s[%zu] of %zu is %g, not %g", what, i,
          got.size(), value, expected[i]);
  }
}

void check_sum(double got, double expected, double allowed, const char* what, std::int64_t n) {
  CHECK(std::abs(got - expected) <= allowed * (1 + std::abs(expected)), "%s over %lld elements is %g, not %g",
        what, static_cast<long long>(n), got, expected);
}

template <class T>
void test_update(std::int64_t n, bool inject, SecondMoment second_moment) {
  using S = Compute<T>;
  const double beta1 = 0.9, beta2 = 0.99, eps = 1e-8, lr = 0.01, decay = 0.999, strength = 0.3;
  const double correction1 = 1 - beta1 * beta1, correction2 = 1 - beta2 * beta2;  // step 2
  const auto grad = random_values<T>(n, 1), param = random_values<T>(n, 2);
  const auto flat = random_values<S>(n, 3), m = random_values<S>(n, 4), v = random_values<S>(n, 5, 0.01, 1);

  std::vector<double> new_m(n), new_v(n), s(n), new_param(n);
  double whitened = 0, injected = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double plain = load(grad[i]), g = inject ? plain + strength * flat[i] : plain;
    const double second = second_moment == SecondMoment::injected ? g : plain;
    new_m[i] = beta1 * m[i] + (1 - beta1) * g;
    new_v[i] = beta2 * v[i] + (1 - beta2) * second * second;
    if (second_moment == SecondMoment::bounded) new_v[i] = std::max(new_v[i], (1 - beta2) * g * g);
    s[i] = new_m[i] / correction1 / (std::sqrt(new_v[i] / correction2) + eps);
    new_param[i] = load(param[i]) * decay - lr * s[i];
    whitened += s[i] * s[i];
    injected += g * g;
  }

  const MomentParameters parameters{beta1, beta2, eps, 1 / correction1, 1 / correction2, second_moment};
  const S* flats = inject ? flat.data() : nullptr;
  auto got_m = m, got_v = v;
  std::vector<S> direction(n);
  const MomentSums sums =
      whiten(n, grad.data(), got_m.data(), got_v.data(), flats, strength, direction.data(), parameters);
  check_close(got_m, new_m, "exp_avg");
  check_close(got_v, new_v, "exp_avg_sq");
  check_close(direction, s, "direction");
  check_sum(sums.whitened, whitened, tolerance<S>(), "energy", n);
  check_sum(sums.injected, injected, tolerance<S>(), "gradient", n);

  auto got_param = param;
  got_m = m, got_v = v;
  const double adamw_sum = adamw(n, got_param.data(), grad.data(), got_m.data(), got_v.data(), flats,
                                 strength, lr, decay, parameters);
  check_close(got_m, new_m, "adamw's exp_avg");
  check_close(got_v, new_v, "adamw's exp_avg_sq");
  check_close(got_param, new_param, "adamw's param");
  check_sum(adamw_sum, injected, tolerance<S>(), "adamw's gradient", n);

  got_param = param;
  decay_and_step(n, got_param.data(), flat.data(), lr, decay);
  for (std::int64_t i = 0; i < n; ++i) new_param[i] = load(param[i]) * decay - lr * flat[i];
  check_close(got_param, new_param, "param after decay_and_step");
}

// Every fifth number of one of the lists is NaN or infinite; v must show it wherever it depends on that list.
template <class T>
void test_bad_numbers(std::int64_t n, SecondMoment second_moment) {
  using S = Compute<T>;
  const MomentParameters parameters{0.9, 0.99, 1e-8, 1, 1, second_moment};
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const char spoiled : {'g', 'f', 'v'}) {
      auto grad = random_values<T>(n, 1);
      auto flat = random_values<S>(n, 2), m = random_values<S>(n, 3), v = random_values<S>(n, 4, 0.01, 1);
      for (std::int64_t i = 0; i < n; i += 5) {
        if (spoiled == 'g') store(grad[i], static_cast<S>(bad));
        if (spoiled == 'f') flat[i] = static_cast<S>(bad);
        if (spoiled == 'v') v[i] = static_cast<S>(bad);
      }
      auto adamw_m = m, adamw_v = v;
      std::vector<T> param(n);
      std::vector<S> direction(n);
      whiten(n, grad.data(), m.data(), v.data(), flat.data(), 0.3, direction.data(), parameters);
      adamw(n, param.data(), grad.data(), adamw_m.data(), adamw_v.data(), flat.data(), 0.3, 0.01, 1.0,
            parameters);
      const bool seen = spoiled != 'f' || second_moment != SecondMoment::plain;
      for (std::int64_t i = 0; i < n; ++i)
        for (const S value : {v[i], adamw_v[i]})
          CHECK(i % 5 == 0 && seen ? std::isnan(value) == std::isnan(bad) && !std::isfinite(value)
                                   : std::isfinite(value),
                "exp_avg_sq[%d] of %d is %g where %c is %g", static_cast<int>(i), static_cast<int>(n),
                static_cast<double>(value), spoiled, bad);
    }
}

template <class T>
void test_ascent(std::int64_t n, bool adaptive) {
  const double eps = 1e-3, inverse_correction = 50, factor = 0.2;
  const auto param = random_values<T>(n, 1), grad = random_values<T>(n, 2);
  const auto v = random_values<Compute<T>>(n, 3, 0, 1);
  std::vector<double> expected(n);
  double squares = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double theta = load(param[i]);
    const double direction =
        load(grad[i]) * eps / (std::sqrt(v[i] * inverse_correction) + eps) * (adaptive ? std::abs(theta) : 1);
    squares += direction * direction;
    expected[i] = theta + factor * direction;
  }
  const AscentParameters parameters{inverse_correction, eps, adaptive};
  check_sum(ascent_square_sum(n, param.data(), grad.data(), v.data(), parameters), squares,
            tolerance<Compute<T>>(), "ascent", n);
  auto got = param;
  std::vector<T> backup(n);
  ascend(n, got.data(), backup.data(), grad.data(), v.data(), factor, parameters);
  check_close(got, expected, "ascended param");
  for (std::int64_t i = 0; i < n; ++i)
    CHECK(load(backup[i]) == load(param[i]), "backup[%d]", static_cast<int>(i));
}

template <class T>
void test_dots(std::int64_t n) {
  const auto x = random_values<T>(n, 1), y = random_values<T>(n, 2);
  double xx = 0, yy = 0, xy = 0;
  std::vector<double> difference(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = load(x[i]), b = load(y[i]);
    xx += a * a, yy += b * b, xy += a * b;
    difference[i] = a - 0.7 * b;
  }
  const Dots got = dots(n, x.data(), y.data());
  check_sum(got.xx, xx, 1e-13, "xx", n);
  check_sum(got.yy, yy, 1e-13, "yy", n);
  check_sum(got.xy, xy, 1e-13, "xy", n);
  std::vector<Compute<T>> out(n);
  subtract_scaled<T>(n, out.data(), x.data(), y.data(), 0.7);
  check_close(out, difference, "difference");
}

template <class T>
void test_type() {
  for (std::int64_t n : kLengths) {
    test_update<T>(n, false, SecondMoment::plain);
    for (SecondMoment choice : kChoices) test_update<T>(n, true, choice);
    for (SecondMoment choice : kChoices) test_bad_numbers<T>(n, choice);
    for (bool adaptive : {false, true}) test_ascent<T>(n, adaptive);
    test_dots<T>(n);
  }
}

void test_rounding() {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(round_to_bfloat16(1 + 1.0f / 256) == 1, "a tie goes to the even neighbour below");
  CHECK(round_to_bfloat16(1 + 3.0f / 256) == 1 + 4.0f / 256, "a tie goes to the even neighbour above");
  CHECK(round_to_bfloat16(1 + 1.01f / 256) == 1 + 2.0f / 256, "just above a tie goes up");
  CHECK(round_to_bfloat16(infinity) == infinity && round_to_bfloat16(-infinity) == -infinity,
        "infinity stays");
  CHECK(std::isnan(round_to_bfloat16(std::nanf(""))), "NaN stays");
  CHECK(std::signbit(round_to_bfloat16(-0.0f)), "minus zero stays");
}

void test_all() {
  test_type<float>();
  test_type<double>();
  test_type<BFloat16>();
  test_rounding();
}

}  // namespace

int main() { return run_tests(test_all); }
