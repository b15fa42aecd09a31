// Argument checks of the ars_moments ops for the kernels of every device; `device` is where the kernels run.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "../common/checks.h"
#include "second_moment.h"

namespace arsbench {

inline void check_perturb(at::TensorList params, at::TensorList grads, at::TensorList exp_avg_sqs,
                          at::TensorList backups, at::Device device) {
  check_supported("ars_perturb", "params", params, device);
  check_like("ars_perturb", "grads", grads, params, false);
  check_like("ars_perturb", "exp_avg_sqs", exp_avg_sqs, params, true);
  check_like("ars_perturb", "backups", backups, params, false);
  check_writable(params);
  check_writable(backups);
}

inline void check_restore(at::TensorList params, at::TensorList backups, at::Device device) {
  check_supported("ars_restore", "params", params, device);
  check_like("ars_restore", "backups", backups, params, false);
  check_writable(params);
}

inline void check_dots(at::TensorList grads, at::TensorList others, at::Device device) {
  check_supported("ars_dots", "grads", grads, device);
  // Inner products combine gradients with flatness vectors, which have the state's dtype, or with gradients.
  const bool with_states = !std::equal(
      grads.begin(), grads.end(), others.begin(), others.end(),
      [](const at::Tensor& g, const at::Tensor& f) { return g.scalar_type() == f.scalar_type(); });
  check_like("ars_dots", "others", others, grads, with_states);
}

inline void check_residual(at::TensorList grads, at::TensorList base_grads, at::TensorList residuals,
                           at::Device device) {
  check_supported("ars_residual", "grads", grads, device);
  check_like("ars_residual", "base_grads", base_grads, grads, false);
  check_like("ars_residual", "residuals", residuals, grads, true);
  check_writable(residuals);
}

inline void check_moments(const char* op, at::TensorList grads, at::TensorList exp_avgs,
                          at::TensorList exp_avg_sqs, at::TensorList flats,
                          const std::optional<at::Tensor>& strengths, int64_t step, at::Device device) {
  check_supported(op, "grads", grads, device);
  check_like(op, "exp_avgs", exp_avgs, grads, true);
  check_like(op, "exp_avg_sqs", exp_avg_sqs, grads, true);
  check_writable(exp_avgs);
  check_writable(exp_avg_sqs);
  TORCH_CHECK_VALUE(step >= 1, op, ": step must be 1 or more, not ", step);
  TORCH_CHECK_VALUE(strengths.has_value() || flats.empty(), op, ": flats are passed without strengths");
  if (strengths.has_value()) {
    check_like(op, "flats", flats, grads, true);
    check_scalars(op, "strengths", *strengths, grads);
  }
}

// The names of SECOND_MOMENTS in arsbench/ops/reference/ars_moments.py.
inline SecondMoment second_moment_named(const char* op, std::string_view name) {
  if (name == "plain") return SecondMoment::plain;
  if (name == "bounded") return SecondMoment::bounded;
  TORCH_CHECK_VALUE(name == "injected", op, ": second_moment is \"", name,
                    "\"; it must be \"plain\", \"bounded\" or \"injected\"");
  return SecondMoment::injected;
}

inline void check_apply(at::TensorList params, at::TensorList directions, const at::Tensor& scales,
                        at::Device device) {
  check_supported("ars_apply", "params", params, device);
  check_like("ars_apply", "directions", directions, params, true);
  check_scalars("ars_apply", "scales", scales, params);
  check_writable(params);
}

}  // namespace arsbench
