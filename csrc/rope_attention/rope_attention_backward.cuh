// Backward from the forward's log-sum-exp (Dao et al. 2022, FlashAttention, appendix B.2). Probabilities are
// recomputed twice, by blocks for keys and by blocks for queries, so that one thread sums every gradient in a
// fixed order.
#pragma once

#include "rope_attention_forward.cuh"

namespace arsbench::rope_attention_cuda {

template <class Scalar>
struct BackwardArguments {
  Sizes sizes;
  HeadRows<const Scalar> q, k, v, grad_out;
  Preparation preparation;
  const Scalar* out;                     // (B, T, H, D)
  const float* lse;                      // (B, H, T)
  Scalar *grad_q, *grad_k, *grad_v;      // (B, T, heads, D)
  float *grad_q_weight, *grad_k_weight;  // (D)
  float* workspace;                      // see Workspace
  float scale;                           // multiplies the scores
};

// delta (B, H, T) ← <dO, O>, which equals the sum over keys of p dp that softmax's backward needs.
template <class Scalar, int HeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    delta_kernel(const BackwardArguments<Scalar> arguments, float* delta) {
  constexpr int kChunk = Chunk<Scalar>::kSize, kLanes = HeadDim / kChunk;
  const Sizes sizes = arguments.sizes;
  const int64_t rows = static_cast<int64_t>(sizes.batch) * sizes.length * sizes.heads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kLanes) + threadIdx.x / kLanes;
  const int column = static_cast<int>(threadIdx.x) % kLanes * kChunk;
  const int64_t head = row % sizes.heads, position = row / sizes.heads % sizes.length;
  const int64_t batch = row / sizes.heads / sizes.length;
  float sum = 0;
  if (row < rows) {
    float out[kChunk], grad[kChunk];
    load(out, arguments.out + row * HeadDim + column);
    load(grad, arguments.grad_out.head(batch, head) + position * arguments.grad_out.position_stride + column);
#pragma unroll
    for (int e = 0; e < kChunk; ++e) sum = fmaf(out[e], grad[e], sum);
  }
  sum = sum_over_lanes<kLanes>(sum);
  if (row < rows && column == 0) delta[(batch * sizes.heads + head) * sizes.length + position] = sum;
}

// Probability and gradient of a score, from the raw score and the gradient of the probability. Both are 0 for
// a masked score, even if it is not finite.
__device__ __forceinline__ void soft_max_backward(float& score, float& grad, bool visible, float scale_log2,
                                                  float lse_log2, float delta) {
  const float probability = exp2f(fmaf(score, scale_log2, -lse_log2));
  score = visible ? probability : 0.0f;
  grad = visible ? probability * (grad - delta) : 0.0f;
}

}  // namespace arsbench::rope_attention_cuda
