// What rope_attention does between its matrix products, on raw pointers. The mathematics is described in
// arsbench/ops/rope_attention.py.
//
// T is the type of queries, keys and values (float, BFloat16, double), S that of everything computed. A
// head's rows lie `stride` elements apart in the tensors (T, heads, D), and D apart in the work space.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// How the heads of consecutive positions are normalised and rotated. cos and sin are (rows, D/2).
template <class S>
struct NormAndRotation {
  std::int64_t head_dim;
  const S* weight;
  const S* cos;
  const S* sin;
  S eps;
  S factor;  // the result is multiplied by it
};

// out (rows, D) ← factor · rotate(rmsnorm(x)).
template <class T, class S>
void normalize_and_rotate(std::int64_t rows, const T* x, std::int64_t stride, S* out,
                          NormAndRotation<S> parameters);

// grad_x ← the gradient of x from grad (rows, D), that of normalize_and_rotate's result; grad_weight (D) +=
// the weight's. grad is overwritten.
template <class T, class S>
void normalize_and_rotate_backward(std::int64_t rows, S* grad, const T* x, std::int64_t stride, T* grad_x,
                                   std::int64_t grad_stride, S* grad_weight, NormAndRotation<S> parameters);

// out (rows, D) ← the rows of x.
template <class T, class S>
void gather_rows(std::int64_t rows, std::int64_t head_dim, const T* x, std::int64_t stride, S* out);

// The rows of out ← those of x (rows, D), each times its factor, or unscaled if factors is null.
template <class T, class S>
void scatter_rows(std::int64_t rows, std::int64_t head_dim, const S* x, const S* factors, T* out,
                  std::int64_t stride);

// out[i] ← ⟨x_i, y_i⟩ for the rows of x (rows, D) and of y.
template <class T, class S>
void row_dots(std::int64_t rows, std::int64_t head_dim, const S* x, const T* y, std::int64_t stride, S* out);

// Causal soft-max of scores (rows, columns), whose row i may see the columns up to first + i: what it sees
// becomes e^(score − largest), the rest 0. inverse_sums[i] ← 1/Σ, lse[i] ← log Σ e^score.
template <class S>
void causal_softmax(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* inverse_sums,
                    S* lse);

// From scores and lse: scores ← p, grads ← p·(grads − delta[i]), both 0 where the causal mask is.
template <class S>
void causal_softmax_backward(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* grads,
                             const S* lse, const S* delta);

}  // namespace arsbench
