// Argument checks of rope_attention for the kernels of every device.
#pragma once

#include "../common/checks.h"

namespace arsbench {

inline void check_rope_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const at::Tensor& q_weight, const at::Tensor& k_weight) {
  TORCH_CHECK_VALUE(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes() && q.size(0) == k.size(0) &&
                        q.size(1) == k.size(1) && q.size(3) == k.size(3),
                    "rope_attention takes q (B, T, H, D) with k and v (B, T, Hkv, D), not ", q.sizes(), ", ",
                    k.sizes(), " and ", v.sizes());
  TORCH_CHECK_VALUE(k.size(2) > 0 && q.size(2) > 0 && q.size(2) % k.size(2) == 0,
                    "rope_attention: ", q.size(2), " query heads are no multiple of ", k.size(2),
                    " key-value heads");
  TORCH_CHECK_VALUE(q.size(3) > 0 && q.size(3) % 2 == 0,
                    "rope_attention rotates pairs: the head dimension must be even, not ", q.size(3));
  TORCH_CHECK_VALUE(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(),
                    "rope_attention: q, k and v must share a dtype");
  check_float("rope_attention", "q", q);
  check_float("rope_attention", "q_weight", q_weight);
  check_float("rope_attention", "k_weight", k_weight);
  TORCH_CHECK_VALUE(
      q_weight.dim() == 1 && q_weight.size(0) == q.size(3) && k_weight.sizes() == q_weight.sizes(),
      "rope_attention: the norms' weights must be (", q.size(3), ",)");
  for (const at::Tensor& x : {k, v, q_weight, k_weight})
    TORCH_CHECK_VALUE(x.device() == q.device(), "rope_attention: tensors on ", q.device(), " and ",
                      x.device());
}

}  // namespace arsbench
