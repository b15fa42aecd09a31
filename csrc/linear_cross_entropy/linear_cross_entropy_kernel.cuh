// The row-wise part of the fused cross-entropy on the GPU: loss, entropy and, in place, the gradient of each
// row of logits. One block per row. A row that fits into shared memory is read from global memory once and
// written once; a longer one is read twice.
#pragma once

#include <cfloat>
#include <cstdint>

#include "../simt/ptx.h"

namespace arsbench::linear_cross_entropy_cuda {

using bf16 = __nv_bfloat16;

// 16 bytes of logits.
template <class T>
struct Vector;

template <>
struct Vector<float> {
  static constexpr int kElements = 4;

  __device__ __forceinline__ static void unpack(const uint4& bits, float (&x)[4]) {
    x[0] = __uint_as_float(bits.x);
    x[1] = __uint_as_float(bits.y);
    x[2] = __uint_as_float(bits.z);
    x[3] = __uint_as_float(bits.w);
  }
  __device__ __forceinline__ static uint4 pack(const float (&x)[4]) {
    return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]),
                      __float_as_uint(x[3]));
  }
  __device__ __forceinline__ static float load(const float* from) { return *from; }
};

template <>
struct Vector<bf16> {
  static constexpr int kElements = 8;

  __device__ __forceinline__ static void unpack(const uint4& bits, float (&x)[8]) {
    const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[2 * i] = __uint_as_float(words[i] << 16);
      x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
  __device__ __forceinline__ static uint4 pack(const float (&x)[8]) {
    return make_uint4(ptx::pack_bf16(x[0], x[1]), ptx::pack_bf16(x[2], x[3]), ptx::pack_bf16(x[4], x[5]),
                      ptx::pack_bf16(x[6], x[7]));
  }
  __device__ __forceinline__ static float load(const bf16* from) { return __bfloat162float(*from); }
};

// The statistics of a row, or of a part of it, that softmax needs.
struct Statistics {
  float largest = -INFINITY;
  float sum = 0.f;       // Σ e^(x − origin)
  float weighted = 0.f;  // Σ e^(x − origin)·(x − origin)

  // The origin: the largest x, or 0 if all are −∞ (−∞ − −∞ is NaN), since the rest of the row may be finite.
  __device__ __forceinline__ float origin() const { return largest == -INFINITY ? 0.f : largest; }

  // Rescales both sums to the new maximum `larger`.
  __device__ __forceinline__ void rise_to(float larger) {
    const float before = largest;
    largest = larger;
    // e^x is 0 for an x this low; the product of 0 and the distance must not be NaN.
    const float distance = fmaxf(before - origin(), -1e4f), factor = expf(distance);
    weighted = factor * (weighted + sum * distance);
    sum *= factor;
  }

  template <int kElements>
  __device__ __forceinline__ void add(const float (&x)[kElements]) {
    float larger = largest;
#pragma unroll
    for (int i = 0; i < kElements; ++i) larger = fmaxf(larger, x[i]);
    if (larger != largest) rise_to(larger);
    const float about = origin();
#pragma unroll
    for (int i = 0; i < kElements; ++i) {
      const float shifted = x[i] - about, e = expf(shifted);
      sum += e;
      weighted +=
          e * fmaxf(shifted, -FLT_MAX);  // a probability of 0 adds nothing, even if its logarithm is −∞
    }
  }

  __device__ __forceinline__ void merge(Statistics other) {
    const float larger = fmaxf(largest, other.largest);
    rise_to(larger);
    other.rise_to(larger);
    sum += other.sum;
    weighted += other.weighted;
  }

  __device__ __forceinline__ void merge_lanes() {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      Statistics other;
      other.largest = __shfl_xor_sync(~0u, largest, lanes);
      other.sum = __shfl_xor_sync(~0u, sum, lanes);
      other.weighted = __shfl_xor_sync(~0u, weighted, lanes);
      merge(other);
    }
  }
};

struct Blocks {
  static constexpr int kMostThreads = 512;
  static constexpr int kParts = 3 * 32 * sizeof(float) / sizeof(uint4);  // of merge_block's memory
};

// Merges the statistics of all threads; every thread gets the result. parts: shared memory for 3·32 numbers.
__device__ __forceinline__ Statistics merge_block(Statistics own, float* parts) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  own.merge_lanes();
  if (lane == 0) {
    parts[warp] = own.largest;
    parts[32 + warp] = own.sum;
    parts[64 + warp] = own.weighted;
  }
  __syncthreads();
  own = Statistics();
  if (lane < blockDim.x / 32) {
    own.largest = parts[lane];
    own.sum = parts[32 + lane];
    own.weighted = parts[64 + lane];
  }
  own.merge_lanes();
  return own;
}

// Rows of logits and their results. Every row begins at a multiple of 16 bytes and is padded to whole
// vectors; the padding is overwritten too.
template <class T>
struct Rows {
  T* logits;              // (rows, vocabulary), `stride` apart; with `gradient` factor·(p − onehot(target))
  const int64_t* target;  // (rows,)
  float* loss;            // (rows,)
  float* entropy;         // (rows,)
  const float* factor;    // d loss / d token loss
  int64_t stride, ignore_index;
  int vocabulary;
  bool gradient;
};

template <class T>
__device__ __forceinline__ void unpack(const uint4& bits, int first, int vocabulary,
                                       float (&x)[Vector<T>::kElements]) {
  Vector<T>::unpack(bits, x);
#pragma unroll
  for (int i = 0; i < Vector<T>::kElements; ++i)
    if (first + i >= vocabulary) x[i] = -INFINITY;  // no effect on the sums
}

// Resident: the row stays in shared memory between the two passes.
template <class T, bool Resident>
__global__ void __launch_bounds__(Blocks::kMostThreads) softmax_rows(const Rows<T> rows) {
  constexpr int kElements = Vector<T>::kElements;
  SIMT_DYNAMIC_SHARED(uint4, shared);
  uint4* const copy = shared + Blocks::kParts;
  const int64_t row = blockIdx.x;
  T* const logits = rows.logits + row * rows.stride;
  uint4* const vectors = reinterpret_cast<uint4*>(logits);
  const int count = (rows.vocabulary + kElements - 1) / kElements;
  const int64_t target = rows.target[row];
  const bool ignored = target == rows.ignore_index;
  const bool exists = target >= 0 && target < rows.vocabulary;
  // Every thread reads this before the barrier after which the row is overwritten.
  const float own = exists ? Vector<T>::load(logits + target) : NAN;

  Statistics statistics;
  float x[kElements];
  if constexpr (Resident) {
    // All copies are issued at once, so that memory latency is paid once. A thread reads only its own copies.
    for (int i = threadIdx.x; i < count; i += blockDim.x) ptx::cp_async16(copy + i, vectors + i);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      unpack<T>(copy[i], i * kElements, rows.vocabulary, x);
      statistics.add(x);
    }
  } else {
    constexpr int kAtOnce = 4;
    for (int begin = threadIdx.x; begin < count; begin += kAtOnce * blockDim.x) {
      uint4 bits[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const int i = begin + k * blockDim.x;
        bits[k] = vectors[i < count ? i : begin];
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const int i = begin + k * blockDim.x;
        if (i >= count) break;
        unpack<T>(bits[k], i * kElements, rows.vocabulary, x);
        statistics.add(x);
      }
    }
  }
  statistics = merge_block(statistics, reinterpret_cast<float*>(shared));

  const float origin = statistics.origin(), log_sum = logf(statistics.sum);
  // NaN for a target that is neither ignored nor an entry: raising an error would have to wait for the
  // device.
  const float log_p = own - origin - log_sum;
  if (threadIdx.x == 0) {
    rows.loss[row] = ignored ? 0.f : -log_p;
    rows.entropy[row] = log_sum - statistics.weighted / statistics.sum;
  }
  if (!rows.gradient) return;
  const float factor = exists ? *rows.factor : NAN;
  const float scale = factor / statistics.sum;
  const float at_target = factor * expm1f(log_p);  // p − 1 without the cancellation of a p near 1
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    if (ignored) {
      vectors[i] = make_uint4(0, 0, 0, 0);
      continue;
    }
    unpack<T>(Resident ? copy[i] : vectors[i], i * kElements, rows.vocabulary, x);
#pragma unroll
    for (int k = 0; k < kElements; ++k)
      x[k] = i * kElements + k == target ? at_target : scale * expf(x[k] - origin);
    vectors[i] = Vector<T>::pack(x);
  }
}

// The number of targets that count, and each token's factor in their mean: 1 over that number, or 1 if it is
// 0.
__global__ void __launch_bounds__(1024)
    count_kept(const int64_t* target, int tokens, int64_t ignore_index, float* kept, float* factor) {
  SIMT_SHARED(int, warps, 32);
  int own = 0;
  for (int i = threadIdx.x; i < tokens; i += 1024) own += target[i] != ignore_index;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) own += __shfl_xor_sync(~0u, own, lanes);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = own;
  __syncthreads();
  if (threadIdx.x != 0) return;
  int total = 0;
  for (int i = 0; i < 32; ++i) total += warps[i];
  *kept = static_cast<float>(total);
  *factor = 1.f / static_cast<float>(total > 1 ? total : 1);
}

inline void launch_count_kept(const int64_t* target, int tokens, int64_t ignore_index, float* kept,
                              float* factor, cudaStream_t stream) {
  simt::launch(count_kept, dim3(1), dim3(1024), 0, stream, target, tokens, ignore_index, kept, factor);
}

// shared_bytes: the shared memory that a block of this device may use.
template <class T>
void launch_softmax_rows(const Rows<T>& rows, int count, size_t shared_bytes, cudaStream_t stream) {
  const size_t vectors =
      (static_cast<size_t>(rows.vocabulary) + Vector<T>::kElements - 1) / Vector<T>::kElements;
  // The limit without opting in to more includes static shared memory, so all of it is dynamic.
  const size_t parts = Blocks::kParts * sizeof(uint4), resident = parts + vectors * sizeof(uint4);
  // At least two vectors per thread, so that short rows use few threads.
  const unsigned threads = vectors <= 256 ? 128 : Blocks::kMostThreads;
  if (resident <= shared_bytes) {
    simt::launch(softmax_rows<T, true>, dim3(count), dim3(threads), resident, stream, rows);
  } else {
    simt::launch(softmax_rows<T, false>, dim3(count), dim3(threads), parts, stream, rows);
  }
}

template void launch_softmax_rows(const Rows<float>&, int, size_t, cudaStream_t);
template void launch_softmax_rows(const Rows<bf16>&, int, size_t, cudaStream_t);

}  // namespace arsbench::linear_cross_entropy_cuda
