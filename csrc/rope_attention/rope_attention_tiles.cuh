// The two products of attention between tiles in shared memory: `scores` (rows of the block's own tile times
// the transpose of a streamed tile) and `accumulate` (scores times a streamed tile). TensorCoreTiles
// multiplies bf16 on tensor cores, Tf32Tiles multiplies float32 rounded to TF32 on tensor cores, and
// FloatTiles uses float32 fused multiply-adds; all accumulate in float32.
//
// A thread holds kScores scores and kOutputs outputs of each of its kRowsPerThread rows; kRowLanes
// neighbouring lanes share a row. The outputs `n` and `n + kOutputs / 2` are a pair that rotates together,
// and kVector consecutive outputs are adjacent in memory.
#pragma once

#include "rope_attention_rows.cuh"

namespace arsbench::rope_attention_cuda {

// The distribution of the tensor cores' m16n8 results over lanes: a warp has 16 rows of the block's tile.
template <class Element, int HeadDim, int Columns>
struct TensorCoreLayout {
  using Scalar = Element;
  static constexpr int kHeadDim = HeadDim, kRows = 16 * kWarps, kColumns = Columns;
  using OwnTile = RowTile<Scalar, kRows, HeadDim>;
  using StreamedTile = RowTile<Scalar, Columns, HeadDim>;
  static constexpr int kStride = OwnTile::kStride;
  static constexpr int kRowsPerThread = 2, kRowLanes = 4, kVector = 2;
  static constexpr int kScores = Columns / 4, kOutputs = HeadDim / 4;
  static constexpr int kScratchFloats = 0;

  // Accumulators of N / 2 products of 8 columns each.
  template <int N>
  struct Fragment {
    float at[N / 2][4] = {};
    __device__ __forceinline__ float& operator()(int row, int n) { return at[n / 2][2 * row + n % 2]; }
  };
  using Scores = Fragment<kScores>;
  using Outputs = Fragment<kOutputs>;

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ __forceinline__ int first_row() { return static_cast<int>(threadIdx.x) / 32 * 16; }
  static __device__ __forceinline__ int row(int i) { return first_row() + lane() / 4 + 8 * i; }
  static __device__ __forceinline__ int score_column(int n) { return 8 * (n / 2) + 2 * (lane() % 4) + n % 2; }
  static __device__ __forceinline__ int output_column(int n) { return score_column(n); }
};

// OwnInRegisters: the block's own tile is read into registers once, instead of for every streamed tile.
template <int HeadDim, int Columns, bool OwnInRegisters>
struct TensorCoreTiles : TensorCoreLayout<__nv_bfloat16, HeadDim, Columns> {
  using Layout = TensorCoreLayout<__nv_bfloat16, HeadDim, Columns>;
  using Layout::first_row, Layout::kStride, Layout::lane;
  using typename Layout::Outputs, typename Layout::Scalar, typename Layout::Scores;
  static constexpr int kStages = 2;  // one streamed tile is copied while the other is multiplied
  static constexpr bool kOwnInRegisters = OwnInRegisters, kExactProducts = false;

  // The warp's 16 rows of the block's own tile, as first operands.
  struct Own {
    const Scalar* tile;
    unsigned fragments[OwnInRegisters ? HeadDim / 16 : 1][4];

    __device__ __forceinline__ explicit Own(const Scalar* own_tile) : tile(own_tile) {
      if constexpr (OwnInRegisters) {
#pragma unroll
        for (int k = 0; k < HeadDim / 16; ++k) read(fragments[k], k);
      }
    }
    __device__ __forceinline__ void read(unsigned (&to)[4], int k) const {
      ptx::ldmatrix_x4(to, &tile[(first_row() + lane() % 16) * kStride + 16 * k + lane() / 16 * 8]);
    }
  };

  static __device__ __forceinline__ void scores(Scores& s, Own& own, const Scalar* streamed) {
#pragma unroll
    for (int k = 0; k < HeadDim / 16; ++k) {
      unsigned (&a)[4] = own.fragments[OwnInRegisters ? k : 0];
      if constexpr (!OwnInRegisters) own.read(a, k);
#pragma unroll
      for (int j = 0; j < Columns / 16; ++j) {
        unsigned b[4];
        ptx::ldmatrix_x4(
            b, &streamed[(16 * j + lane() % 8 + lane() / 16 * 8) * kStride + 16 * k + lane() / 8 % 2 * 8]);
        ptx::mma_bf16(s.at[2 * j], a, b[0], b[1]);
        ptx::mma_bf16(s.at[2 * j + 1], a, b[2], b[3]);
      }
    }
  }

  static __device__ __forceinline__ void accumulate(Outputs& out, Scores& s, const Scalar* streamed, float*) {
#pragma unroll
    for (int k = 0; k < Columns / 16; ++k) {
      // The accumulators of two products have the layout of the next product's first operand.
      const float (&left)[4] = s.at[2 * k], (&right)[4] = s.at[2 * k + 1];
      const unsigned a[4] = {ptx::pack_bf16(left[0], left[1]), ptx::pack_bf16(left[2], left[3]),
                             ptx::pack_bf16(right[0], right[1]), ptx::pack_bf16(right[2], right[3])};
#pragma unroll
      for (int j = 0; j < HeadDim / 16; ++j) {
        unsigned b[4];
        ptx::ldmatrix_x4_trans(b, &streamed[(16 * k + lane() % 16) * kStride + 16 * j + lane() / 16 * 8]);
        ptx::mma_bf16(out.at[2 * j], a, b[0], b[1]);
        ptx::mma_bf16(out.at[2 * j + 1], a, b[2], b[3]);
      }
    }
  }
};

// Stages: the number of streamed tiles in shared memory, 2 if they fit.
template <int HeadDim, int Columns, int Stages>
struct Tf32Tiles : TensorCoreLayout<float, HeadDim, Columns> {
  using Layout = TensorCoreLayout<float, HeadDim, Columns>;
  using Layout::first_row, Layout::kStride, Layout::lane;
  using typename Layout::Outputs, typename Layout::Scores;
  static constexpr int kStages = Stages;
  static constexpr bool kOwnInRegisters = false, kExactProducts = false;

  // Loads four 8×4 matrices of floats: to ldmatrix they are 8×8 matrices of 16-bit values.
  static __device__ __forceinline__ void read(unsigned (&to)[4], const float* row) {
    ptx::ldmatrix_x4(to, row);
#pragma unroll
    for (unsigned& x : to) x = ptx::round_tf32(__uint_as_float(x));
  }

  struct Own {
    const float* tile;
    __device__ __forceinline__ explicit Own(const float* own_tile) : tile(own_tile) {}
  };

  static __device__ __forceinline__ void scores(Scores& s, const Own& own, const float* streamed) {
#pragma unroll
    for (int k = 0; k < HeadDim / 8; ++k) {
      unsigned a[4];
      read(a, &own.tile[(first_row() + lane() % 16) * kStride + 8 * k + lane() / 16 * 4]);
#pragma unroll
      for (int j = 0; j < Columns / 16; ++j) {
        unsigned b[4];
        read(b, &streamed[(16 * j + lane() % 8 + lane() / 16 * 8) * kStride + 8 * k + lane() / 8 % 2 * 4]);
        ptx::mma_tf32(s.at[2 * j], a, b[0], b[1]);
        ptx::mma_tf32(s.at[2 * j + 1], a, b[2], b[3]);
      }
    }
  }

  static __device__ __forceinline__ void accumulate(Outputs& out, Scores& s, const float* streamed, float*) {
    const int group = lane() / 4, pair = 2 * (lane() % 4);
#pragma unroll
    for (int k = 0; k < Columns / 8; ++k) {
      // The order of k is arbitrary if both operands use the same. With this one, a lane's k and k + 4 are
      // adjacent, and the accumulators of one product are the first operand of the next.
      const float (&p)[4] = s.at[k];
      const unsigned a[4] = {ptx::round_tf32(p[0]), ptx::round_tf32(p[2]), ptx::round_tf32(p[1]),
                             ptx::round_tf32(p[3])};
      const float* const rows = &streamed[(8 * k + pair) * kStride + group];
#pragma unroll
      for (int j = 0; j < HeadDim / 8; ++j)
        ptx::mma_tf32(out.at[j], a, ptx::round_tf32(rows[8 * j]), ptx::round_tf32(rows[kStride + 8 * j]));
    }
  }
};

// 16 × 8 threads; a thread has every 16th row and every 8th column of the scores.
template <int HeadDim, int RowsPerThread, int ColumnsPerThread>
struct FloatTiles {
  using Scalar = float;
  static constexpr int kHeadDim = HeadDim, kRows = 16 * RowsPerThread, kColumns = 8 * ColumnsPerThread;
  using OwnTile = RowTile<Scalar, kRows, HeadDim>;
  using StreamedTile = RowTile<Scalar, kColumns, HeadDim>;
  static constexpr int kStride = OwnTile::kStride;
  static constexpr int kStages = 1;  // these kernels are compute-bound; a second tile would cost occupancy
  static constexpr bool kOwnInRegisters = false, kExactProducts = true;  // no operand is rounded
  static constexpr int kRowsPerThread = RowsPerThread, kRowLanes = 8, kVector = 4;
  static constexpr int kScores = ColumnsPerThread, kOutputs = HeadDim / 8;
  // Lanes exchange scores through shared memory. 8 floats of padding put the four rows of a warp's store, and
  // of its load, in different banks.
  static constexpr int kScratchStride = kColumns + 8;
  static constexpr int kScratchFloats = kRows * kScratchStride;

  template <int N>
  struct Fragment {
    float at[RowsPerThread][N] = {};
    __device__ __forceinline__ float& operator()(int row, int n) { return at[row][n]; }
  };
  using Scores = Fragment<kScores>;
  using Outputs = Fragment<kOutputs>;

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 8; }
  static __device__ __forceinline__ int row(int i) { return static_cast<int>(threadIdx.x) / 8 + 16 * i; }
  static __device__ __forceinline__ int score_column(int n) { return lane() + 8 * n; }
  static __device__ __forceinline__ int output_column(int n) { return 32 * (n / 4) + 4 * lane() + n % 4; }

  struct Own {
    const Scalar* tile;
    __device__ __forceinline__ explicit Own(const Scalar* own_tile) : tile(own_tile) {}
  };

  static __device__ __forceinline__ void scores(Scores& s, const Own& own, const Scalar* streamed) {
#pragma unroll 2
    for (int d = 0; d < HeadDim; d += 4) {
      float b[ColumnsPerThread][4];
#pragma unroll
      for (int n = 0; n < ColumnsPerThread; ++n) load_floats(b[n], &streamed[score_column(n) * kStride + d]);
#pragma unroll
      for (int i = 0; i < RowsPerThread; ++i) {
        float a[4];
        load_floats(a, &own.tile[row(i) * kStride + d]);
#pragma unroll
        for (int n = 0; n < ColumnsPerThread; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) s(i, n) = fmaf(a[e], b[n][e], s(i, n));
      }
    }
  }

  // `scratch` is the block's; a warp writes and reads only its own rows.
  static __device__ __forceinline__ void accumulate(Outputs& out, Scores& s, const Scalar* streamed,
                                                    float* scratch) {
#pragma unroll
    for (int i = 0; i < RowsPerThread; ++i)
#pragma unroll
      for (int n = 0; n < ColumnsPerThread; ++n) scratch[row(i) * kScratchStride + score_column(n)] = s(i, n);
    __syncwarp();
#pragma unroll 1
    for (int k = 0; k < kColumns; k += 4) {
      float a[RowsPerThread][4];
#pragma unroll
      for (int i = 0; i < RowsPerThread; ++i) load_floats(a[i], &scratch[row(i) * kScratchStride + k]);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int n = 0; n < kOutputs; n += 4) {
          float b[4];
          load_floats(b, &streamed[(k + e) * kStride + output_column(n)]);
#pragma unroll
          for (int i = 0; i < RowsPerThread; ++i)
#pragma unroll
            for (int c = 0; c < 4; ++c) out(i, n + c) = fmaf(a[i][e], b[c], out(i, n + c));
        }
    }
    __syncwarp();  // before the next scores are written
  }
};

}  // namespace arsbench::rope_attention_cuda
