// A tile of a matrix product on bf16 tensor cores: copying operands into shared memory, and multiplying them
// there.
#pragma once

#include <cstdint>

#include "../simt/ptx.h"

namespace arsbench::newton_schulz_cuda {

using bf16 = __nv_bfloat16;

// Sizes of a product: left is (rows, depth), the result (rows, columns).
struct Sizes {
  int rows, columns, depth;
};

// A block computes a square tile of the result. Warps are arranged in two rows, each with 32 columns.
template <int Tile, bool Symmetric>
struct Geometry {
  static constexpr int kThreads = 2 * Tile;
  static constexpr int kWarpRows = Tile / 2;
  static constexpr int kDepth = 32;  // depth of a stage
  static constexpr int kStages = 3;  // one in use, two being copied
  // 8 elements of padding, so that the rows that an ldmatrix reads are in different banks.
  static constexpr int kRow = kDepth + 8;    // row length of a tile whose rows run along the depth
  static constexpr int kColumns = Tile + 8;  // row length of a tile whose rows run along the result's columns
  static constexpr int kLeft = Tile * kRow;
  static constexpr int kRight = Symmetric ? Tile * kRow : kDepth * kColumns;
  static constexpr int kShared = kStages * (kLeft + kRight);  // elements of shared memory
  static_assert(Tile * kColumns <= kShared, "the tile of the result goes where the operands were");
};

// Starts to copy one stage of both operands into shared memory; elements beyond the edges are zero.
template <int Tile, bool Symmetric>
__device__ __forceinline__ void load_stage(bf16* left_tile, bf16* right_tile, const bf16* left,
                                           const bf16* right, const Sizes& sizes, int row0, int column0,
                                           int depth0) {
  using G = Geometry<Tile, Symmetric>;
#pragma unroll
  for (int i = threadIdx.x; i < Tile * G::kDepth / 8; i += G::kThreads) {
    const int line = i / (G::kDepth / 8), k = i % (G::kDepth / 8) * 8;
    const bool depth_exists = depth0 + k < sizes.depth;
    const bool exists = depth_exists && row0 + line < sizes.rows;
    const int64_t from = exists ? int64_t(row0 + line) * sizes.depth + depth0 + k : 0;
    ptx::cp_async16(&left_tile[line * G::kRow + k], left + from, exists);
    if constexpr (Symmetric) {
      const bool also = depth_exists && column0 + line < sizes.columns;
      const int64_t other = also ? int64_t(column0 + line) * sizes.depth + depth0 + k : 0;
      ptx::cp_async16(&right_tile[line * G::kRow + k], right + other, also);
    } else {
      const int k_line = i / (Tile / 8), column = i % (Tile / 8) * 8;
      const bool also = depth0 + k_line < sizes.depth && column0 + column < sizes.columns;
      const int64_t other = also ? int64_t(depth0 + k_line) * sizes.columns + column0 + column : 0;
      ptx::cp_async16(&right_tile[k_line * G::kColumns + column], right + other, also);
    }
  }
}

// sums += left·right over one stage, for the warp's part of the tile.
template <int Tile, bool Symmetric>
__device__ __forceinline__ void multiply_stage(float (&sums)[Tile / 32][4][4], const bf16* left_tile,
                                               const bf16* right_tile, int warp_row, int warp_column,
                                               int lane) {
  using G = Geometry<Tile, Symmetric>;
#pragma unroll
  for (int k = 0; k < G::kDepth; k += 16) {
    unsigned left[Tile / 32][4], right[2][4];
#pragma unroll
    for (int i = 0; i < Tile / 32; ++i)
      ptx::ldmatrix_x4(left[i],
                       &left_tile[(warp_row + 16 * i + (lane & 15)) * G::kRow + k + (lane >> 4) * 8]);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int column = warp_column + 16 * j;
      if constexpr (Symmetric) {
        const int line = column + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4(right[j], &right_tile[line * G::kRow + k + (lane >> 3 & 1) * 8]);
      } else {
        const int line = k + (lane & 15);
        ptx::ldmatrix_x4_trans(right[j], &right_tile[line * G::kColumns + column + (lane >> 4) * 8]);
      }
    }
#pragma unroll
    for (int i = 0; i < Tile / 32; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        ptx::mma_bf16(sums[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
  }
}

}  // namespace arsbench::newton_schulz_cuda
