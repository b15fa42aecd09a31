// Argument checks of linear_cross_entropy for the kernels of every device.
#pragma once

#include "../common/checks.h"

namespace arsbench {

inline void check_linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& target, c10::string_view reduction) {
  TORCH_CHECK_VALUE(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1),
                    "linear_cross_entropy takes hidden (N, E) and weight (V, E), not ", hidden.sizes(),
                    " and ", weight.sizes());
  TORCH_CHECK_VALUE(
      target.dim() == 1 && target.size(0) == hidden.size(0) && target.scalar_type() == at::kLong,
      "linear_cross_entropy takes one int64 target a token, (", hidden.size(0), ",), not ", target.sizes(),
      " of ", target.scalar_type());
  check_float("linear_cross_entropy", "hidden", hidden);
  check_weight("linear_cross_entropy", weight, hidden.scalar_type());
  TORCH_CHECK_VALUE(weight.device() == hidden.device() && target.device() == hidden.device(),
                    "linear_cross_entropy: hidden, weight and target are on ", hidden.device(), ", ",
                    weight.device(), " and ", target.device());
  TORCH_CHECK_VALUE(reduction == "mean" || reduction == "sum",
                    "linear_cross_entropy's reduction must be \"mean\" or \"sum\", not ", reduction);
}

}  // namespace arsbench
