// The ARS element-wise ops on the CPU: checks, one parallel pass over all tensors of a call, registration.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <tuple>

#include "../common/tensor_lists.h"
#include "ars_moments.h"
#include "ars_moments_checks.h"

namespace arsbench {
namespace {

using at::Tensor;
using at::TensorList;

// arsbench/ops/reference/ars_moments.py explains the two constants.
constexpr double kNormEps = 1e-12;
constexpr double kSmallestEps = 1e-20;

Tensor square_roots(const std::vector<double>& sums) {
  Tensor roots = at::empty({static_cast<int64_t>(sums.size())}, at::kDouble);
  std::transform(sums.begin(), sums.end(), roots.data_ptr<double>(),
                 [](double sum) { return std::sqrt(sum); });
  return roots;
}

void ars_perturb(TensorList params, TensorList grads, TensorList exp_avg_sqs, TensorList backups, double rho,
                 double beta2, double eps, int64_t step, bool adaptive) {
  check_perturb(params, grads, exp_avg_sqs, backups, at::kCPU);
  const ContiguousList p(params), g(grads), v(exp_avg_sqs), backup(backups);
  const std::vector<Chunk> chunks = chunks_of(p);

  eps = std::max(eps, kSmallestEps);
  const double correction = 1 - std::pow(beta2, std::max<int64_t>(1, step - 1)) + kNormEps;
  const AscentParameters parameters{1 / correction, eps, adaptive};

  std::vector<double> squares(chunks.size());
  for_each_chunk(chunks, p, [&](auto type, const Chunk& c, int64_t position) {
    using T = decltype(type);
    squares[position] = ascent_square_sum(c.size, p.at<T>(c.tensor, c.begin), g.at<T>(c.tensor, c.begin),
                                          v.at<Compute<T>>(c.tensor, c.begin), parameters);
  });
  std::vector<double> factors = sums_per_tensor(chunks, squares, params.size());
  // The norms are eps times those of the true direction, so the constant is times eps too.
  for (double& factor : factors) factor = rho / (std::sqrt(factor) + kNormEps * eps);
  for_each_chunk(chunks, p, [&](auto type, const Chunk& c, int64_t) {
    using T = decltype(type);
    ascend(c.size, p.at<T>(c.tensor, c.begin), backup.at<T>(c.tensor, c.begin), g.at<T>(c.tensor, c.begin),
           v.at<Compute<T>>(c.tensor, c.begin), factors[c.tensor], parameters);
  });
  p.write_back(params);
  backup.write_back(backups);
}

void ars_restore(TensorList params, TensorList backups) {
  check_restore(params, backups, at::kCPU);
  const ContiguousList p(params), backup(backups);
  for_each_chunk(chunks_of(p), p, [&](auto type, const Chunk& c, int64_t) {
    using T = decltype(type);
    std::memcpy(p.at<T>(c.tensor, c.begin), backup.at<T>(c.tensor, c.begin), c.size * sizeof(T));
  });
  p.write_back(params);
}

Tensor ars_dots(TensorList grads, TensorList others) {
  check_dots(grads, others, at::kCPU);
  const ContiguousList x(grads), y(others);
  const std::vector<Chunk> chunks = chunks_of(x);

  std::vector<Dots> per_chunk(chunks.size());
  for_each_chunk(chunks, x, [&](auto type, const Chunk& c, int64_t position) {
    using T = decltype(type);
    const T* a = x.at<T>(c.tensor, c.begin);
    per_chunk[position] = y.dtype(c.tensor) == x.dtype(c.tensor)
                              ? dots(c.size, a, y.at<const T>(c.tensor, c.begin))
                              : dots(c.size, a, y.at<const Compute<T>>(c.tensor, c.begin));
  });

  Tensor sums = at::zeros({static_cast<int64_t>(grads.size()), 3}, at::kDouble);
  double* out = sums.data_ptr<double>();
  for (size_t position = 0; position < chunks.size(); ++position) {
    double* row = out + 3 * chunks[position].tensor;
    row[0] += per_chunk[position].xx;
    row[1] += per_chunk[position].yy;
    row[2] += per_chunk[position].xy;
  }
  return sums;
}

void ars_residual(TensorList grads, TensorList base_grads, TensorList residuals) {
  check_residual(grads, base_grads, residuals, at::kCPU);
  const Tensor sums = ars_dots(grads, base_grads);
  const double* rows = sums.data_ptr<double>();  // ‖g₂‖², ‖g₁‖², ⟨g₂,g₁⟩ per tensor
  const ContiguousList x(grads), y(base_grads), out(residuals);
  for_each_chunk(chunks_of(x), x, [&](auto type, const Chunk& c, int64_t) {
    using T = decltype(type);
    const double* row = rows + 3 * c.tensor;
    subtract_scaled<T>(c.size, out.at<Compute<T>>(c.tensor, c.begin), x.at<T>(c.tensor, c.begin),
                       y.at<T>(c.tensor, c.begin), row[2] / (row[1] + kNormEps));
  });
  out.write_back(residuals);
}

MomentParameters moment_parameters(double beta1, double beta2, double eps, int64_t step,
                                   SecondMoment second_moment) {
  return {beta1, beta2, eps, 1 / (1 - std::pow(beta1, step)), 1 / (1 - std::pow(beta2, step)), second_moment};
}

std::vector<double> values_of(const std::optional<Tensor>& scalars, size_t n) {
  std::vector<double> values(n, 0.0);
  if (scalars.has_value()) std::copy_n(scalars->contiguous().data_ptr<double>(), n, values.begin());
  return values;
}

std::tuple<Tensor, Tensor> ars_whiten(TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs,
                                      TensorList directions, TensorList flats,
                                      const std::optional<Tensor>& strengths, double beta1, double beta2,
                                      double eps, int64_t step, std::string_view second_moment) {
  const SecondMoment choice = second_moment_named("ars_whiten", second_moment);
  check_moments("ars_whiten", grads, exp_avgs, exp_avg_sqs, flats, strengths, step, at::kCPU);
  check_like("ars_whiten", "directions", directions, grads, true);
  check_writable(directions);
  const ContiguousList g(grads), m(exp_avgs), v(exp_avg_sqs), f(flats), s(directions);
  const std::vector<Chunk> chunks = chunks_of(g);
  const std::vector<double> strength = values_of(strengths, grads.size());
  const MomentParameters parameters = moment_parameters(beta1, beta2, eps, step, choice);

  std::vector<double> whitened(chunks.size()), injected(chunks.size());
  for_each_chunk(chunks, g, [&](auto type, const Chunk& c, int64_t position) {
    using T = decltype(type);
    using S = Compute<T>;
    const MomentSums sums = whiten(c.size, g.at<const T>(c.tensor, c.begin), m.at<S>(c.tensor, c.begin),
                                   v.at<S>(c.tensor, c.begin), f.at<S>(c.tensor, c.begin), strength[c.tensor],
                                   s.at<S>(c.tensor, c.begin), parameters);
    whitened[position] = sums.whitened;
    injected[position] = sums.injected;
  });
  m.write_back(exp_avgs);
  v.write_back(exp_avg_sqs);
  s.write_back(directions);
  return {square_roots(sums_per_tensor(chunks, whitened, grads.size())),
          square_roots(sums_per_tensor(chunks, injected, grads.size()))};
}

Tensor ars_adamw(TensorList params, TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs,
                 TensorList flats, const std::optional<Tensor>& strengths, double lr, double beta1,
                 double beta2, double eps, double weight_decay, int64_t step,
                 std::string_view second_moment) {
  const SecondMoment choice = second_moment_named("ars_adamw", second_moment);
  check_moments("ars_adamw", grads, exp_avgs, exp_avg_sqs, flats, strengths, step, at::kCPU);
  check_like("ars_adamw", "params", params, grads, false);
  check_writable(params);
  const ContiguousList p(params), g(grads), m(exp_avgs), v(exp_avg_sqs), f(flats);
  const std::vector<Chunk> chunks = chunks_of(g);
  const std::vector<double> strength = values_of(strengths, grads.size());
  const MomentParameters parameters = moment_parameters(beta1, beta2, eps, step, choice);

  std::vector<double> injected(chunks.size());
  for_each_chunk(chunks, g, [&](auto type, const Chunk& c, int64_t position) {
    using T = decltype(type);
    using S = Compute<T>;
    injected[position] =
        adamw(c.size, p.at<T>(c.tensor, c.begin), g.at<const T>(c.tensor, c.begin),
              m.at<S>(c.tensor, c.begin), v.at<S>(c.tensor, c.begin), f.at<S>(c.tensor, c.begin),
              strength[c.tensor], lr, 1 - lr * weight_decay, parameters);
  });
  p.write_back(params);
  m.write_back(exp_avgs);
  v.write_back(exp_avg_sqs);
  return square_roots(sums_per_tensor(chunks, injected, grads.size()));
}

void ars_apply(TensorList params, TensorList directions, const Tensor& scales, double lr,
               double weight_decay) {
  check_apply(params, directions, scales, at::kCPU);
  const ContiguousList p(params), o(directions);
  const std::vector<double> scale = values_of(scales, params.size());
  for_each_chunk(chunks_of(p), p, [&](auto type, const Chunk& c, int64_t) {
    using T = decltype(type);
    decay_and_step(c.size, p.at<T>(c.tensor, c.begin), o.at<Compute<T>>(c.tensor, c.begin),
                   lr * scale[c.tensor], 1 - lr * weight_decay);
  });
  p.write_back(params);
}

}  // namespace

TORCH_LIBRARY_IMPL(arsbench, CPU, library) {
  library.impl("ars_perturb", ars_perturb);
  library.impl("ars_restore", ars_restore);
  library.impl("ars_dots", ars_dots);
  library.impl("ars_residual", ars_residual);
  library.impl("ars_whiten", ars_whiten);
  library.impl("ars_adamw", ars_adamw);
  library.impl("ars_apply", ars_apply);
}

}  // namespace arsbench
