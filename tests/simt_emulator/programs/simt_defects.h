// Small kernels of the same kinds as the package's, each with defects that can be planted to test the
// detectors. All values are small integers, so that sums are exact in any order.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "simt/ptx.h"

namespace {

enum class Defect {
  kNone,
  kMissingBarrierAfterCopy,
  kMissingBarrierBeforeCopy,
  kMissingWait,
  kUnalignedCopy,
  kUnalignedRow,
  kReadPastTile,
  kWrongMask,
  kMissingLane,
  kDivergentBarrier,
  kSharedOverrun,
  kSharedOverread,
  kUnsynchronisedReduction,
  kMissingBarrierBeforeReuse,
  kMissingSyncwarp,
  kUndersizedShared,
  kGlobalOverrun,
  kNonAtomicSum,
  kMissingFence,
};

// The names that the tests use.
inline Defect defect_named(const std::string& name) {
  static const std::vector<std::pair<const char*, Defect>> names = {
      {"none", Defect::kNone},
      {"missing_barrier_after_copy", Defect::kMissingBarrierAfterCopy},
      {"missing_barrier_before_copy", Defect::kMissingBarrierBeforeCopy},
      {"missing_wait", Defect::kMissingWait},
      {"unaligned_copy", Defect::kUnalignedCopy},
      {"unaligned_row", Defect::kUnalignedRow},
      {"read_past_tile", Defect::kReadPastTile},
      {"wrong_mask", Defect::kWrongMask},
      {"missing_lane", Defect::kMissingLane},
      {"divergent_barrier", Defect::kDivergentBarrier},
      {"shared_overrun", Defect::kSharedOverrun},
      {"shared_overread", Defect::kSharedOverread},
      {"unsynchronised_reduction", Defect::kUnsynchronisedReduction},
      {"missing_barrier_before_reuse", Defect::kMissingBarrierBeforeReuse},
      {"missing_syncwarp", Defect::kMissingSyncwarp},
      {"undersized_shared", Defect::kUndersizedShared},
      {"global_overrun", Defect::kGlobalOverrun},
      {"non_atomic_sum", Defect::kNonAtomicSum},
      {"missing_fence", Defect::kMissingFence},
  };
  for (const auto& [known, defect] : names) {
    if (name == known) return defect;
  }
  throw simt::Error("no defect is called " + name);
}

// ---- A product in stages: cp.async into two buffers by turns, ldmatrix, mma

struct Product {
  static constexpr int kRows = 64, kColumns = 8, kDepth = 32, kStages = 4, kThreads = 128;
  static constexpr int kStride = kDepth + 8;  // row stride in shared memory without bank conflicts
  static constexpr int kTile = (kRows + kColumns) * kStride;
  static constexpr size_t kSharedBytes = 2 * kTile * sizeof(__nv_bfloat16);
};

// out (a block's 64 × 8) = a (its 64 × 128) bᵀ (8 × 128). Each of 4 warps multiplies 16 rows, which other
// warps have copied too.
__global__ void product(Defect defect, const __nv_bfloat16* a, const __nv_bfloat16* b, float* out) {
  using P = Product;
  SIMT_DYNAMIC_SHARED(__nv_bfloat16, tiles);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  constexpr int kWidth = P::kDepth * P::kStages;
  const __nv_bfloat16* block_a = a + static_cast<size_t>(blockIdx.x) * P::kRows * kWidth;

  const auto copy_stage = [&](int stage) {
    __nv_bfloat16* tile = tiles + stage % 2 * P::kTile;
    for (int i = thread; i < (P::kRows + P::kColumns) * P::kDepth / 8; i += P::kThreads) {
      const int row = i / 4, column = i % 4 * 8;
      const __nv_bfloat16* from = row < P::kRows ? block_a + row * kWidth : b + (row - P::kRows) * kWidth;
      const int shift = defect == Defect::kUnalignedCopy && row == 7 ? 4 : 0;
      ptx::cp_async16(&tile[row * P::kStride + column + shift], from + stage * P::kDepth + column);
    }
    ptx::cp_async_commit();
  };

  float sum[4] = {};
  copy_stage(0);
  for (int stage = 0; stage < P::kStages; stage++) {
    if (stage + 1 < P::kStages) {
      copy_stage(stage + 1);
    } else {
      ptx::cp_async_commit();
    }
    if (defect != Defect::kMissingWait) ptx::cp_async_wait<1>();
    if (defect != Defect::kMissingBarrierAfterCopy) __syncthreads();
    const __nv_bfloat16* tile = tiles + stage % 2 * P::kTile;
    const __nv_bfloat16* rows_of_b = tile + P::kRows * P::kStride;
    unsigned b_fragment[4];
    const int past = defect == Defect::kReadPastTile && stage == 1 ? 8 * P::kStride : 0;
    ptx::ldmatrix_x4(b_fragment, &rows_of_b[lane % 8 * P::kStride + lane / 8 * 8 + past]);
    for (int k = 0; k < P::kDepth; k += 16) {
      unsigned a_fragment[4];
      const int shift = defect == Defect::kUnalignedRow ? 4 : 0;
      ptx::ldmatrix_x4(a_fragment, &tile[(16 * warp + lane % 16) * P::kStride + k + lane / 16 * 8 + shift]);
      ptx::mma_bf16(sum, a_fragment, b_fragment[k / 8], b_fragment[k / 8 + 1]);
    }
    if (defect != Defect::kMissingBarrierBeforeCopy) __syncthreads();
  }
  ptx::cp_async_wait<0>();
  float* rows = out + (static_cast<size_t>(blockIdx.x) * P::kRows + 16 * warp + lane / 4) * P::kColumns;
  for (int i = 0; i < 4; i++) rows[i / 2 * 8 * P::kColumns + lane % 4 * 2 + i % 2] = sum[i];
}

// ---- Sums over a block, and over blocks

constexpr int kSumThreads = 128, kSumWarps = kSumThreads / 32;

__device__ float warp_sum(Defect defect, float value) {
  const unsigned mask = defect == Defect::kWrongMask ? 0x0000ffffu : 0xffffffffu;
  for (int i = 16; i > 0; i /= 2) value += __shfl_xor_sync(mask, value, i);
  return value;
}

__device__ float block_sum(Defect defect, float value) {
  SIMT_SHARED(float, partial, kSumWarps);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (defect != Defect::kMissingLane || threadIdx.x != 39) value = warp_sum(defect, value);
  if (defect == Defect::kDivergentBarrier) {
    if (warp != 0) __syncthreads();
  } else if (defect != Defect::kMissingBarrierBeforeReuse) {
    __syncthreads();  // the previous sum has been read
  }
  if (lane == 0) partial[warp + (defect == Defect::kSharedOverrun ? 1 : 0)] = value;
  if (defect != Defect::kUnsynchronisedReduction) __syncthreads();
  const int count = kSumWarps + (defect == Defect::kSharedOverread ? 1 : 0);
  return warp_sum(defect, lane < count ? partial[lane] : 0.0f);
}

// Adds the sum of a block's values to out[0] and the sum of their squares to out[1].
__global__ void sums(Defect defect, const float* values, float* out) {
  const float value = values[blockIdx.x * kSumThreads + threadIdx.x];
  const float sum = block_sum(defect, value);
  const float squares = block_sum(defect, value * value);
  if (threadIdx.x != 0) return;
  if (defect == Defect::kNonAtomicSum) {
    out[0] += sum;
  } else {
    atomicAdd(&out[0], sum);
  }
  atomicAdd(&out[1], squares);
}

// The sum through an array: the last block to arrive adds the sums of all blocks.
__global__ void ordered_sum(Defect defect, const float* values, float* partial, unsigned* arrived,
                            float* out) {
  const float sum = block_sum(Defect::kNone, values[blockIdx.x * kSumThreads + threadIdx.x]);
  if (threadIdx.x != 0) return;
  partial[blockIdx.x] = sum;
  if (defect != Defect::kMissingFence) __threadfence();
  if (atomicAdd(arrived, 1u) != gridDim.x - 1) return;
  if (defect != Defect::kMissingFence) __threadfence();
  float total = 0;
  for (unsigned i = 0; i < gridDim.x; i++) total += partial[i];
  *out = total;
}

// ---- Each thread passes its value to the next lane of its warp

__global__ void rotate(Defect defect, const float* values, float* out) {
  SIMT_DYNAMIC_SHARED(float, shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int i = static_cast<int>(blockIdx.x) * kSumThreads + thread;
  shared[thread] = values[i];
  if (defect != Defect::kMissingSyncwarp) __syncwarp();
  out[i + (defect == Defect::kGlobalOverrun && i == 5 * kSumThreads - 1 ? 1 : 0)] =
      shared[thread - lane + (lane + 31) % 32];
}

// ---- All kernels, and their expected results

inline int value_at(size_t i) { return static_cast<int>(i * 2654435761u >> 7) % 7 - 3; }

inline void require(bool equal, const char* what) {
  if (!equal) throw simt::Error(std::string("wrong result: ") + what);
}

inline void run_product(Defect defect) {
  using P = Product;
  constexpr int kBlocks = 3, kRows = kBlocks * P::kRows, kWidth = P::kDepth * P::kStages;
  struct alignas(16) Chunk {
    __nv_bfloat16 values[8];
  };
  std::vector<Chunk> a(kRows * kWidth / 8), b(P::kColumns * kWidth / 8);
  const auto fill = [](std::vector<Chunk>& chunks, size_t salt) {
    for (size_t i = 0; i < 8 * chunks.size(); i++) {
      chunks[i / 8].values[i % 8] = __float2bfloat16_rn(static_cast<float>(value_at(i + salt)));
    }
  };
  fill(a, 0);
  fill(b, 1000);
  std::vector<float> out(kRows * P::kColumns);
  simt::launch(product, kBlocks, P::kThreads, P::kSharedBytes, nullptr, defect, a[0].values, b[0].values,
               out.data());
  bool equal = true;
  for (size_t row = 0; row < kRows; row++) {
    for (size_t column = 0; column < P::kColumns; column++) {
      int sum = 0;
      for (size_t k = 0; k < kWidth; k++)
        sum += value_at(row * kWidth + k) * value_at(column * kWidth + k + 1000);
      equal = equal && out[row * P::kColumns + column] == static_cast<float>(sum);
    }
  }
  require(equal, "product");
}

inline void run_all(Defect defect) {
  run_product(defect);
  constexpr unsigned kBlocks = 5;
  constexpr size_t kCount = kBlocks * kSumThreads;
  std::vector<float> values(kCount), out(2), partial(kBlocks), rotated(kCount);
  float sum = 0, squares = 0, total = 0;
  for (size_t i = 0; i < kCount; i++) {
    values[i] = static_cast<float>(value_at(i) + 1);
    sum += values[i];
    squares += values[i] * values[i];
  }
  simt::launch(sums, kBlocks, kSumThreads, 0, nullptr, defect, values.data(), out.data());
  require(out[0] == sum && out[1] == squares, "sums");

  unsigned arrived = 0;
  simt::launch(ordered_sum, kBlocks, kSumThreads, 0, nullptr, defect, values.data(), partial.data(), &arrived,
               &total);
  require(total == sum, "ordered_sum");

  const size_t threads = defect == Defect::kUndersizedShared ? kSumThreads - 1 : kSumThreads;
  simt::launch(rotate, kBlocks, kSumThreads, threads * sizeof(float), nullptr, defect, values.data(),
               rotated.data());
  bool equal = true;
  for (size_t i = 0; i < kCount; i++) equal = equal && rotated[i] == values[i / 32 * 32 + (i + 31) % 32];
  require(equal, "rotate");
}

}  // namespace
