// The softmax pass of the fused cross-entropy on raw pointers. arsbench/ops/linear_cross_entropy.py describes
// the mathematics.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

template <class S>
struct TokenResult {
  S loss;     // −log p[target], 0 without a target
  S entropy;  // −Σ p log p
};

// Loss and entropy of one token from its n logits x. If `gradient`, x becomes factor·(p − onehot(target)), or
// 0 without a target (target < 0).
template <class T>
TokenResult<Compute<T>> softmax_pass(std::int64_t n, T* x, std::int64_t target, Compute<T> factor,
                                     bool gradient);

}  // namespace arsbench
