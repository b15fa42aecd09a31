// The raw loops of rope_attention against the same formulas in plain double arithmetic.
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "random_values.h"
#include "rope_attention/rope_attention.h"

using namespace arsbench;

namespace {

constexpr std::int64_t kRows = 5, kGap = 3;

void check_close(double got, double expected, double allowed, const char* what, std::int64_t i) {
  CHECK(std::abs(got - expected) <= allowed * (1 + std::abs(expected)), "%s[%d] is %g, not %g", what,
        static_cast<int>(i), got, expected);
}

// One row, normalised and rotated, in double.
std::vector<double> expected_row(const std::vector<double>& x, const std::vector<double>& weight,
                                 const double* cos, const double* sin, double eps, double factor) {
  const size_t D = x.size(), half = D / 2;
  double squares = 0;
  for (double value : x) squares += value * value;
  const double scale = factor / std::sqrt(squares / D + eps);
  std::vector<double> y(D);
  for (size_t i = 0; i < half; ++i) {
    const double a = x[i] * scale * weight[i], b = x[half + i] * scale * weight[half + i];
    y[i] = a * cos[i] - b * sin[i];
    y[half + i] = b * cos[i] + a * sin[i];
  }
  return y;
}

template <class T>
void test_norm_and_rotation(std::int64_t D) {
  using S = Compute<T>;
  const std::int64_t stride = D + kGap, half = D / 2;
  const double eps = 1e-6, factor = 0.3;
  const auto x = random_values<T>(kRows * stride, 1);
  const auto weight = random_values<S>(D, 2, 0.5, 1.5), angle = random_values<S>(kRows * half, 3, 0, 6);
  std::vector<S> cos(angle.size()), sin(angle.size());
  for (size_t i = 0; i < angle.size(); ++i) cos[i] = std::cos(angle[i]), sin[i] = std::sin(angle[i]);
  const NormAndRotation<S> parameters{D, weight.data(), cos.data(), sin.data(), S(eps), S(factor)};
  const auto row_of = [&](std::int64_t row) {
    std::vector<double> values(D);
    for (std::int64_t i = 0; i < D; ++i) values[i] = load(x[row * stride + i]);
    return values;
  };
  const std::vector<double> w(weight.begin(), weight.end()), c(cos.begin(), cos.end()),
      s(sin.begin(), sin.end());

  std::vector<S> out(kRows * D);
  normalize_and_rotate(kRows, x.data(), stride, out.data(), parameters);
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto expected = expected_row(row_of(row), w, &c[row * half], &s[row * half], eps, factor);
    for (std::int64_t i = 0; i < D; ++i) check_close(out[row * D + i], expected[i], 2e-6, "rotated", i);
  }

  // The backward against differences of Σ gradient·result.
  const auto gradient = random_values<S>(kRows * D, 4);
  auto work = gradient;
  std::vector<T> grad_x(kRows * stride);
  std::vector<S> grad_weight(D, S{0});
  normalize_and_rotate_backward(kRows, work.data(), x.data(), stride, grad_x.data(), stride,
                                grad_weight.data(), parameters);
  const auto objective = [&](std::int64_t row, const std::vector<double>& values,
                             const std::vector<double>& weights) {
    const auto y = expected_row(values, weights, &c[row * half], &s[row * half], eps, factor);
    double sum = 0;
    for (std::int64_t i = 0; i < D; ++i) sum += y[i] * gradient[row * D + i];
    return sum;
  };
  const double h = 1e-5;
  for (std::int64_t i = 0; i < D; ++i) {
    double of_weight = 0;
    for (std::int64_t row = 0; row < kRows; ++row) {
      auto up = row_of(row), down = up;
      up[i] += h, down[i] -= h;
      check_close(load(grad_x[row * stride + i]), (objective(row, up, w) - objective(row, down, w)) / (2 * h),
                  tolerance<T>() + 1e-5, "gradient of x", i);
      auto more = w, less = w;
      more[i] += h, less[i] -= h;
      of_weight += (objective(row, row_of(row), more) - objective(row, row_of(row), less)) / (2 * h);
    }
    check_close(grad_weight[i], of_weight, 1e-5, "gradient of weight", i);
  }
}

template <class T>
void test_rows(std::int64_t D) {
  using S = Compute<T>;
  const std::int64_t stride = D + kGap;
  const auto x = random_values<T>(kRows * stride, 5);
  const auto y = random_values<S>(kRows * D, 6), factors = random_values<S>(kRows, 7);
  std::vector<S> gathered(kRows * D), dots(kRows);
  gather_rows(kRows, D, x.data(), stride, gathered.data());
  row_dots(kRows, D, y.data(), x.data(), stride, dots.data());
  std::vector<T> scattered = x, unscaled = x;
  scatter_rows(kRows, D, y.data(), factors.data(), scattered.data(), stride);
  scatter_rows<T, S>(kRows, D, y.data(), nullptr, unscaled.data(), stride);
  for (std::int64_t row = 0; row < kRows; ++row) {
    double dot = 0;
    for (std::int64_t i = 0; i < stride; ++i) {
      const std::int64_t at = row * stride + i;
      if (i >= D) {
        CHECK(load(scattered[at]) == load(x[at]), "written between the rows");
        continue;
      }
      CHECK(gathered[row * D + i] == load(x[at]), "gathered");
      check_close(load(scattered[at]), y[row * D + i] * factors[row], tolerance<T>(), "scattered", i);
      check_close(load(unscaled[at]), y[row * D + i], tolerance<T>(), "unscaled", i);
      dot += static_cast<double>(y[row * D + i]) * load(x[at]);
    }
    check_close(dots[row], dot, 1e-5, "dot", row);
  }
}

template <class S>
void test_softmax(std::int64_t rows, std::int64_t first) {
  const std::int64_t columns = first + rows;
  const auto scores = random_values<S>(rows * columns, 8, -20, 20),
             grads = random_values<S>(rows * columns, 9);
  const auto delta = random_values<S>(rows, 10);
  auto e = scores, p = scores, ds = grads;
  std::vector<S> inverse_sums(rows), lse(rows);
  causal_softmax(rows, first, columns, e.data(), inverse_sums.data(), lse.data());
  causal_softmax_backward(rows, first, columns, p.data(), ds.data(), lse.data(), delta.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (std::int64_t i = 0; i <= first + row; ++i) sum += std::exp(double(scores[row * columns + i]));
    check_close(lse[row], std::log(sum), 1e-6, "lse", row);
    for (std::int64_t i = 0; i < columns; ++i) {
      const std::int64_t at = row * columns + i;
      const double expected = i <= first + row ? std::exp(double(scores[at])) / sum : 0;
      check_close(e[at] * inverse_sums[row], expected, 1e-6, "probability", i);
      check_close(p[at], expected, 3e-6, "probability from lse", i);
      check_close(ds[at], expected * (grads[at] - delta[row]), 3e-6, "gradient", i);
    }
  }
}

void test_all() {
  for (std::int64_t D : {2, 6, 16, 34, 64, 128}) {
    test_norm_and_rotation<float>(D);
    test_norm_and_rotation<double>(D);
    test_norm_and_rotation<BFloat16>(D);
    test_rows<float>(D);
    test_rows<double>(D);
    test_rows<BFloat16>(D);
  }
  for (std::int64_t rows : {1, 3, 17})
    for (std::int64_t first : {0, 16, 33}) {
      test_softmax<float>(rows, first);
      test_softmax<double>(rows, first);
    }
}

}  // namespace

int main() { return run_tests(test_all); }
