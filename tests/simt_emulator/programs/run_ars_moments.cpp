// All kernels of ars_moments on two OS threads, for the sanitizers, against the formulas in double: lists
// longer than one launch takes, with empty and misaligned tensors.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "ars_moments/ars_moments_kernel.cuh"

namespace {

using namespace arsbench::ars_moments_cuda;
using arsbench::SecondMoment;
using arsbench::multi_tensor::chunks_in;
using arsbench::multi_tensor::from_float;
using arsbench::multi_tensor::to_float;

constexpr double kRho = 0.5, kBeta1 = 0.9, kBeta2 = 0.99, kEps = 1e-3, kLr = 0.1, kDecay = 0.1;
constexpr int64_t kStep = 3;
int failures = 0;

void check(bool holds, const char* what, size_t tensor, double got, double expected) {
  if (holds) return;
  ++failures;
  std::printf("%s of tensor %zu is %g, not %g\n", what, tensor, got, expected);
}

// Every tensor is allocated separately, so that an overrun is detected; every third is not aligned to
// vectors.
template <class T>
struct Tensors {
  std::vector<std::vector<T>> memory;
  std::vector<std::vector<double>> before;
  std::vector<void*> addresses;

  Tensors(const std::vector<int64_t>& numels, unsigned seed, double low) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> draw(static_cast<float>(low), 1);
    for (size_t i = 0; i < numels.size(); ++i) {
      memory.emplace_back(numels[i] + i % 3);
      before.emplace_back();
      for (T& value : memory[i]) value = from_float<T>(draw(generator));
      addresses.push_back(memory[i].data() + i % 3);
      for (int64_t k = 0; k < numels[i]; ++k) before[i].push_back(at(i, k));
    }
  }

  double at(size_t i, int64_t k) const { return to_float(static_cast<const T*>(addresses[i])[k]); }

  void expect(const char* what, const std::function<double(size_t, int64_t)>& expected) const {
    const double tolerance = sizeof(T) == 2 ? 8e-3 : 4e-6;
    for (size_t i = 0; i < memory.size(); ++i)
      for (size_t k = 0; k < before[i].size(); ++k) {
        const double value = at(i, k), wanted = expected(i, k);
        check(std::abs(value - wanted) <= tolerance * (1 + std::abs(wanted)), what, i, value, wanted);
      }
  }
};

template <class T>
void run(Dtype dtype, const std::vector<int64_t>& numels) {
  const size_t n = numels.size();
  std::vector<int32_t> indices(n);
  std::iota(indices.rbegin(), indices.rend(), 0);  // rows in reverse order of the tensors
  std::vector<double> partials(3 * chunks_in(n, numels.data())), factors(n), first(n), second(n), rows(3 * n);
  std::vector<double> strengths(n);
  for (size_t i = 0; i < n; ++i) strengths[i] = 0.1 * static_cast<double>(i % 7);
  const auto sum = [&](size_t i, const std::function<double(int64_t)>& term) {
    double total = 0;
    for (int64_t k = 0; k < numels[i]; ++k) total += term(k);
    return total;
  };
  const auto check_sum = [&](const char* what, size_t i, double got, double expected) {
    check(std::abs(got - expected) <= 1e-6 * (1 + std::abs(expected)), what, i, got, expected);
  };

  Tensors<T> p(numels, 1, -1), g(numels, 2, -1), g1(numels, 3, -1), backup(numels, 4, -1);
  Tensors<float> m(numels, 5, -1), v(numels, 6, 0.01), f(numels, 7, -1), s(numels, 8, -1);
  const auto ascent = [&](size_t i, int64_t k) {
    const double correction = 1 - std::pow(kBeta2, kStep - 1) + kNormEps;
    return g.before[i][k] / (std::sqrt(v.before[i][k] / correction) + kEps) * std::abs(p.before[i][k]);
  };
  std::vector<double> norms(n);
  for (size_t i = 0; i < n; ++i)
    norms[i] = std::sqrt(sum(i, [&](int64_t k) { return ascent(i, k) * ascent(i, k); }));
  perturb(dtype,
          {n,
           numels.data(),
           indices.data(),
           {p.addresses.data(), g.addresses.data(), v.addresses.data(), backup.addresses.data()}},
          kRho, kBeta2, kEps, kStep, true, partials.data(), factors.data(), nullptr);
  p.expect("perturbed parameter",
           [&](size_t i, int64_t k) { return p.before[i][k] + kRho * ascent(i, k) / (norms[i] + kNormEps); });
  restore(dtype, {n, numels.data(), indices.data(), {p.addresses.data(), backup.addresses.data()}}, nullptr);
  p.expect("restored parameter", [&](size_t i, int64_t k) { return p.before[i][k]; });

  const auto check_dots = [&](const auto& other) {
    for (size_t i = 0; i < n; ++i) {
      const auto &x = g.before[i], &y = other.before[i];
      const double* row = &rows[3 * indices[i]];
      check_sum("Σx²", i, row[0], sum(i, [&](int64_t k) { return x[k] * x[k]; }));
      check_sum("Σy²", i, row[1], sum(i, [&](int64_t k) { return y[k] * y[k]; }));
      check_sum("Σxy", i, row[2], sum(i, [&](int64_t k) { return x[k] * y[k]; }));
    }
  };
  dots(dtype, Dtype::float32, {n, numels.data(), indices.data(), {g.addresses.data(), f.addresses.data()}},
       partials.data(), rows.data(), nullptr);
  check_dots(f);
  dots(dtype, dtype, {n, numels.data(), indices.data(), {g.addresses.data(), g1.addresses.data()}},
       partials.data(), rows.data(), nullptr);
  check_dots(g1);
  residual(dtype,
           {n, numels.data(), indices.data(), {g.addresses.data(), g1.addresses.data(), s.addresses.data()}},
           partials.data(), factors.data(), nullptr);
  for (size_t i = 0; i < n; ++i) {
    const auto &x = g.before[i], &y = g1.before[i];
    norms[i] = sum(i, [&](int64_t k) { return x[k] * y[k]; }) /
               (sum(i, [&](int64_t k) { return y[k] * y[k]; }) + kNormEps);
  }
  s.expect("residual", [&](size_t i, int64_t k) { return g.before[i][k] - norms[i] * g1.before[i][k]; });

  const Injection injection =
      injection_of(kBeta1, kBeta2, kEps, kStep, SecondMoment::bounded, strengths.data());
  const auto injected = [&](size_t i, int64_t k) {
    return g.before[i][k] + strengths[indices[i]] * f.before[i][k];
  };
  const auto new_m = [&](size_t i, int64_t k) {
    return kBeta1 * m.before[i][k] + (1 - kBeta1) * injected(i, k);
  };
  const auto new_v = [&](size_t i, int64_t k) {
    const double plain = kBeta2 * v.before[i][k] + (1 - kBeta2) * g.before[i][k] * g.before[i][k];
    return std::max(plain, (1 - kBeta2) * injected(i, k) * injected(i, k));
  };
  const auto direction = [&](size_t i, int64_t k) {
    return new_m(i, k) / (1 - std::pow(kBeta1, kStep)) /
           (std::sqrt(new_v(i, k) / (1 - std::pow(kBeta2, kStep))) + kEps);
  };
  Tensors<float> other_m(numels, 5, -1), other_v(numels, 6, 0.01);
  whiten(
      dtype,
      {n,
       numels.data(),
       indices.data(),
       {g.addresses.data(), m.addresses.data(), v.addresses.data(), s.addresses.data(), f.addresses.data()}},
      injection, partials.data(), first.data(), second.data(), nullptr);
  adamw(dtype,
        {n,
         numels.data(),
         indices.data(),
         {p.addresses.data(), g.addresses.data(), other_m.addresses.data(), other_v.addresses.data(),
          f.addresses.data()}},
        injection, kLr, kDecay, partials.data(), factors.data(), nullptr);
  s.expect("direction", direction);
  for (const auto* tensors : {&m, &other_m}) tensors->expect("first moment", new_m);
  for (const auto* tensors : {&v, &other_v}) tensors->expect("second moment", new_v);
  p.expect("updated parameter",
           [&](size_t i, int64_t k) { return p.before[i][k] * (1 - kLr * kDecay) - kLr * direction(i, k); });
  for (size_t i = 0; i < n; ++i) {
    const double norm = std::sqrt(sum(i, [&](int64_t k) { return injected(i, k) * injected(i, k); }));
    check_sum("energy", i, first[indices[i]],
              std::sqrt(sum(i, [&](int64_t k) { return direction(i, k) * direction(i, k); })));
    check_sum("norm", i, second[indices[i]], norm);
    check_sum("AdamW's norm", i, factors[indices[i]], norm);
  }
  apply(dtype, {n, numels.data(), indices.data(), {backup.addresses.data(), f.addresses.data()}}, kLr, kDecay,
        strengths.data(), nullptr);
  backup.expect("stepped parameter", [&](size_t i, int64_t k) {
    return p.before[i][k] * (1 - kLr * kDecay) - kLr * strengths[indices[i]] * f.before[i][k];
  });
}

}  // namespace

int main() {
  simt::config().threads = 2;
  simt::config().cp_async = 1;
  std::vector<int64_t> numels = {0, 1, 4099, 0, 8192, 20001};
  while (numels.size() < 80) numels.push_back(static_cast<int64_t>(numels.size() * 5 % 41));
  numels.push_back(0);
  run<float>(Dtype::float32, numels);
  run<__nv_bfloat16>(Dtype::bfloat16, numels);
  if (failures > 0) std::printf("%d wrong\n", failures);
  return failures > 0;
}
