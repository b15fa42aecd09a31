// From the gradients of normalised, rotated rows, held in registers, to the gradients of queries or keys and
// of the norm's weight.
#pragma once

#include "rope_attention_tiles.cuh"

namespace arsbench::rope_attention_cuda {

// The rows of a tile and the destination of their gradients.
template <class Scalar>
struct NormRows {
  const Scalar* x;  // the head's rows
  int64_t x_stride;
  Scalar* grad_x;
  int64_t grad_stride;
  const float *weight, *cos, *sin;
  float eps;
  int first, length;
};

// Stores the gradients of the tile's rows, and in weight_share (D) the tile's contribution to the weight's
// gradient. `grad` times `factor` is the gradient of the prepared rows; `grad` and `shared` (kWarps × D) are
// overwritten.
template <class Tiles>
__device__ __forceinline__ void store_norm_gradient(typename Tiles::Outputs& grad, float factor,
                                                    const NormRows<typename Tiles::Scalar>& rows,
                                                    float* shared, float* weight_share) {
  using Scalar = typename Tiles::Scalar;
  constexpr int kOutputs = Tiles::kOutputs, kPair = kOutputs / 2, kVector = Tiles::kVector;
  constexpr int kHeadDim = Tiles::kHeadDim;
  float share[kOutputs] = {};
#pragma unroll
  for (int i = 0; i < Tiles::kRowsPerThread; ++i) {
    const int position = rows.first + Tiles::row(i);
    const bool valid = position < rows.length;
    const Scalar* const from = rows.x + (valid ? position * rows.x_stride : 0);
    float x[kOutputs / kVector][kVector], squares = 0;
#pragma unroll
    for (int n = 0; n < kOutputs; n += kVector) {
      load(x[n / kVector], from + Tiles::output_column(n));
#pragma unroll
      for (int e = 0; e < kVector; ++e) squares = fmaf(x[n / kVector][e], x[n / kVector][e], squares);
    }
    const float scale = 1.0f / sqrtf(sum_over_lanes<Tiles::kRowLanes>(squares) / kHeadDim + rows.eps);
    // The transpose of a rotation is the rotation by the opposite angle.
    const int64_t angles = valid ? static_cast<int64_t>(position) * (kHeadDim / 2) : 0;
#pragma unroll
    for (int n = 0; n < kPair; n += kVector) {
      float cos[kVector], sin[kVector];
      load_floats(cos, rows.cos + angles + Tiles::output_column(n));
      load_floats(sin, rows.sin + angles + Tiles::output_column(n));
#pragma unroll
      for (int e = 0; e < kVector; ++e) {
        const float a = grad(i, n + e) * factor, b = grad(i, n + e + kPair) * factor;
        grad(i, n + e) = a * cos[e] + b * sin[e];
        grad(i, n + e + kPair) = b * cos[e] - a * sin[e];
      }
    }
    float products = 0;
#pragma unroll
    for (int n = 0; n < kOutputs; n += kVector) {
      float weight[kVector];
      load_floats(weight, rows.weight + Tiles::output_column(n));
#pragma unroll
      for (int e = 0; e < kVector; ++e) {
        const float normalized = x[n / kVector][e] * scale;
        x[n / kVector][e] = normalized;
        if (valid) share[n + e] += grad(i, n + e) * normalized;
        grad(i, n + e) *= weight[e];
        products = fmaf(grad(i, n + e), normalized, products);
      }
    }
    const float mean = sum_over_lanes<Tiles::kRowLanes>(products) / kHeadDim;
    if (valid) {
      Scalar* const to = rows.grad_x + position * rows.grad_stride;
#pragma unroll
      for (int n = 0; n < kOutputs; n += kVector) {
        float grad_x[kVector];
#pragma unroll
        for (int e = 0; e < kVector; ++e) grad_x[e] = (grad(i, n + e) - x[n / kVector][e] * mean) * scale;
        store(to + Tiles::output_column(n), grad_x);
      }
    }
  }

  __syncthreads();  // all reads of `shared` are done
#pragma unroll
  for (int n = 0; n < kOutputs; ++n) {
#pragma unroll
    for (int offset = Tiles::kRowLanes; offset < 32; offset *= 2)
      share[n] += __shfl_xor_sync(kAllLanes, share[n], offset);
    if (threadIdx.x % 32 < Tiles::kRowLanes)
      shared[threadIdx.x / 32 * kHeadDim + Tiles::output_column(n)] = share[n];
  }
  __syncthreads();
  for (int column = threadIdx.x; column < kHeadDim; column += kThreads) {
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp * kHeadDim + column];
    weight_share[column] = sum;
  }
}

// Blocks of kSumColumns × kSumThreads threads; each sums up to kSumRows rows.
constexpr int kSumColumns = 32, kSumThreads = 8, kSumRows = 256;

// out ← sums of kSumRows consecutive rows of in (rows, Columns) each.
template <int Columns>
__global__ void __launch_bounds__(kSumColumns* kSumThreads)
    sum_rows_kernel(const float* in, int64_t rows, float* out) {
  static_assert(Columns % kSumColumns == 0, "");
  SIMT_SHARED(float, sums, kSumThreads* kSumColumns);
  const int x = static_cast<int>(threadIdx.x) % kSumColumns, y = static_cast<int>(threadIdx.x) / kSumColumns;
  const int column = static_cast<int>(blockIdx.y) * kSumColumns + x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSumRows;
  const int64_t last = first + kSumRows < rows ? first + kSumRows : rows;
  float sum = 0;
  for (int64_t row = first + y; row < last; row += kSumThreads) sum += in[row * Columns + column];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (y == 0) {
    for (int other = 1; other < kSumThreads; ++other) sum += sums[other * kSumColumns + x];
    out[static_cast<int64_t>(blockIdx.x) * Columns + column] = sum;
  }
}

}  // namespace arsbench::rope_attention_cuda
