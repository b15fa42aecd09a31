// Newton-Schulz's first step: each matrix divided by its Frobenius norm, into the padded bf16 copy that the
// products use. The norm is summed in a fixed order and stays on the device.
#pragma once

#include "newton_schulz_product.cuh"

namespace arsbench::newton_schulz_cuda {

// Number of blocks that share the sum of squares of one matrix.
struct Partials {
  static constexpr int kBlocks = 128;
};

constexpr double kNormEps = 1e-7;

__device__ __forceinline__ double to_double(float x) { return x; }
__device__ __forceinline__ double to_double(bf16 x) { return __bfloat162float(x); }

__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(~0u, value, lanes);
  return value;
}

// partials[matrix][block]: the block's part of the sum of squares. In double: squares of float32 overflow.
template <class In>
__global__ void __launch_bounds__(256) square_sums(const In* x, int64_t elements, double* partials) {
  SIMT_SHARED(double, warps, 8);
  x += blockIdx.y * elements;
  double sum = 0;
#pragma unroll 4
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < elements; i += Partials::kBlocks * 256) {
    const double value = to_double(x[i]);
    sum += value * value;
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (int i = 0; i < 8; ++i) total += warps[i];
    partials[int64_t(blockIdx.y) * Partials::kBlocks + blockIdx.x] = total;
  }
}

// The layout of a scaled matrix: out is (out_rows, out_columns), the rest zero, from x, (rows, columns), or
// its transpose.
struct Scaling {
  int rows, columns;
  int out_rows, out_columns;
  bool transposed;
};

// A block writes a 32×32 tile through shared memory, so that both sides are read and written in rows.
template <class In, class Out>
__global__ void __launch_bounds__(256) scale(const In* x, Out* out, const double* partials, const Scaling s) {
  SIMT_SHARED(float, tile, 32 * 33);
  SIMT_SHARED(double, factor, 1);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t matrix = blockIdx.y;
  if (warp == 0) {
    double sum = 0;
    for (int i = lane; i < Partials::kBlocks; i += 32) sum += partials[matrix * Partials::kBlocks + i];
    const double norm = sqrt(warp_sum(sum));
    // 1/∞ would turn finite elements into 0, and the products might not spread the NaN of the infinite ones.
    if (lane == 0) *factor = norm < INFINITY ? 1 / (norm + kNormEps) : NAN;
  }
  __syncthreads();
  const int across = (s.out_columns + 31) / 32;
  const int out_row0 = blockIdx.x / across * 32, out_column0 = blockIdx.x % across * 32;
  const int row0 = s.transposed ? out_column0 : out_row0, column0 = s.transposed ? out_row0 : out_column0;
  x += matrix * s.rows * s.columns;
  out += matrix * s.out_rows * s.out_columns;
  for (int i = warp; i < 32; i += 8) {
    const int row = row0 + i, column = column0 + lane;
    const bool exists = row < s.rows && column < s.columns;
    // In double: the factor itself may be too large or too small for float32.
    tile[i * 33 + lane] =
        exists ? static_cast<float>(*factor * to_double(x[int64_t(row) * s.columns + column])) : 0.f;
  }
  __syncthreads();
  for (int i = warp; i < 32; i += 8) {
    const int row = out_row0 + i, column = out_column0 + lane;
    if (row < s.out_rows && column < s.out_columns)
      store(out + int64_t(row) * s.out_columns + column,
            s.transposed ? tile[lane * 33 + i] : tile[i * 33 + lane]);
  }
}

// partials: (batch, Partials::kBlocks).
template <class In, class Out>
void launch_scale(const In* x, Out* out, double* partials, int batch, const Scaling& s, cudaStream_t stream) {
  simt::launch(square_sums<In>, dim3(Partials::kBlocks, batch), dim3(256), 0, stream, x,
               int64_t(s.rows) * s.columns, partials);
  const dim3 grid((s.out_columns + 31) / 32 * ((s.out_rows + 31) / 32), batch);
  simt::launch(scale<In, Out>, grid, dim3(256), 0, stream, x, out, partials, s);
}

}  // namespace arsbench::newton_schulz_cuda
