// The operations of rope_attention between its matrix products, on raw pointers.
// arsbench/ops/rope_attention.py describes the mathematics.
//
// T is the type of queries, keys and values (float, BFloat16, double), S the type of the computation. The
// rows of a head are `stride` elements apart in the tensors (T, heads, D), and D apart in the workspace.
#pragma once

#include <cstdint>

#include "../common/bfloat16.h"

namespace arsbench {

// Normalisation and rotation of the heads of consecutive positions. cos and sin are (rows, D/2).
template <class S>
struct NormAndRotation {
  std::int64_t head_dim;
  const S* weight;
  const S* cos;
  const S* sin;
  S eps;
  S factor;  // multiplies the result
};

// out (rows, D) ← factor · rotate(rmsnorm(x)).
template <class T, class S>
void normalize_and_rotate(std::int64_t rows, const T* x, std::int64_t stride, S* out,
                          NormAndRotation<S> parameters);

// grad_x ← the gradient of x from grad (rows, D), the gradient of normalize_and_rotate's result. The weight's
// gradient is added to grad_weight (D). grad is overwritten.
template <class T, class S>
void normalize_and_rotate_backward(std::int64_t rows, S* grad, const T* x, std::int64_t stride, T* grad_x,
                                   std::int64_t grad_stride, S* grad_weight, NormAndRotation<S> parameters);

// out (rows, D) ← the rows of x.
template <class T, class S>
void gather_rows(std::int64_t rows, std::int64_t head_dim, const T* x, std::int64_t stride, S* out);

// The rows of out ← the rows of x (rows, D), each multiplied by its factor; factors may be null.
template <class T, class S>
void scatter_rows(std::int64_t rows, std::int64_t head_dim, const S* x, const S* factors, T* out,
                  std::int64_t stride);

// out[i] ← ⟨x_i, y_i⟩ for the rows of x (rows, D) and of y.
template <class T, class S>
void row_dots(std::int64_t rows, std::int64_t head_dim, const S* x, const T* y, std::int64_t stride, S* out);

// Causal softmax of scores (rows, columns). Row i sees the columns up to first + i: those scores become
// e^(score − largest), the others 0. inverse_sums[i] ← 1/Σ, lse[i] ← log Σ e^score.
template <class S>
void causal_softmax(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* inverse_sums,
                    S* lse);

// From scores and lse: scores ← p, grads ← p·(grads − delta[i]), both 0 where masked.
template <class S>
void causal_softmax_backward(std::int64_t rows, std::int64_t first, std::int64_t columns, S* scores, S* grads,
                             const S* lse, const S* delta);

}  // namespace arsbench
