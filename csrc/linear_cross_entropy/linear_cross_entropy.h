// The soft-max pass of the fused cross-entropy on raw pointers. The mathematics is described in
// arsbench/ops/linear_cross_entropy.py.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

template <class S>
struct TokenResult {
  S loss;     // −log p[target], 0 where there is no target
  S entropy;  // −Σ p log p
};

// Loss and entropy of one token from its n logits x. If `gradient`, x becomes factor·(p − onehot(target)), or
// 0 where there is no target (target < 0).
template <class T>
TokenResult<Compute<T>> softmax_pass(std::int64_t n, T* x, std::int64_t target, Compute<T> factor,
                                     bool gradient);

}  // namespace arsbench
