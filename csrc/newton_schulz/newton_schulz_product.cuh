// The matrix products of Newton-Schulz on bf16 tensor cores: one kernel, whose epilogue works on the float32
// accumulators before they are rounded.
//
// Left factors store their diagonal separately, in float32. Once the singular values are near 1, the diagonal
// is the difference of numbers several times as large; rounding them to bf16 would cause most of the error.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../simt/ptx.h"
#include "newton_schulz_tile.cuh"

namespace arsbench::newton_schulz_cuda {

// Epilogues.
struct Gram {};        // right·rightᵀ: left and right are the same matrix
struct Polynomial {};  // b·A + c·A·A with left = right = A; `a` is added to the diagonal
struct Apply {};       // (D + left)·right
struct Merge {};       // (D + left)·(E + right)

// One product per matrix of a batch. The matrices of a batch are contiguous and row-major; every size is a
// multiple of 8 (zero padding stays zero), and a matrix has less than 2³² elements.
struct Product : Sizes {
  const bf16* left;             // (rows, depth)
  const bf16* right;            // (columns, depth) in symmetric products, (depth, columns) in others
  const float* left_diagonal;   // (rows,), D
  const float* right_diagonal;  // (rows,), E
  float* diagonal;              // (rows,), of the result, whose `out` is zero there; Polynomial and Merge
  void* out;                    // (rows, columns) in bf16, or as follows
  float a, b, c;
  // If `out` is not Padded: its number of rows and columns without padding, and its strides.
  int out_rows, out_columns;
  int64_t row_stride, column_stride;
};

// The layout of `out`: bf16 as described above, or without padding in the dtype of the op's result.
struct Padded {};

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(bf16* to, float value) { *to = __float2bfloat16_rn(value); }

__device__ __forceinline__ float2 load_pair(const bf16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}

// Turns two neighbouring sums of a row into elements of the result; `row` and `column` are within the matrix.
template <class Epilogue>
__device__ __forceinline__ void finish_pair(float& first, float& second, const Product& p, const bf16* left,
                                            const bf16* right, int64_t diagonal0, int row, int column) {
  if constexpr (std::is_same_v<Epilogue, Gram>) return;
  // 32 bits, which are enough for an element's offset: 64-bit offsets need too many registers.
  const unsigned at = static_cast<unsigned>(row) * p.columns + column;
  const float2 other = load_pair(right + at);
  if constexpr (std::is_same_v<Epilogue, Polynomial>) {
    first = p.b * other.x + p.c * first;
    second = p.b * other.y + p.c * second;
  } else {
    const float factor = p.left_diagonal[diagonal0 + row];
    first += factor * other.x;
    second += factor * other.y;
    if constexpr (std::is_same_v<Epilogue, Merge>) {
      const float2 own = load_pair(left + at);
      const float* factors = p.right_diagonal + diagonal0;
      first += own.x * factors[column];
      second += own.y * factors[column + 1];
    }
  }
  if constexpr (std::is_same_v<Epilogue, Polynomial> || std::is_same_v<Epilogue, Merge>) {
    if (row != column && row != column + 1) return;
    const bool is_first = row == column;
    const float constant = std::is_same_v<Epilogue, Polynomial>
                               ? p.a
                               : p.left_diagonal[diagonal0 + row] * p.right_diagonal[diagonal0 + row];
    p.diagonal[diagonal0 + row] = (is_first ? first : second) + constant;
    first = is_first ? 0.f : first;
    second = is_first ? second : 0.f;
  }
}

// The tiles of a symmetric result are numbered along the columns of its upper triangle.
__device__ __forceinline__ void triangle_position(int index, int& row, int& column) {
  column = 0;
  while ((column + 1) * (column + 2) / 2 <= index) ++column;
  row = index - column * (column + 1) / 2;
}

// Writes a tile through shared memory, in rows of 16 bytes. The tile of a symmetric result is also written
// mirrored; on the diagonal the upper half serves both, so that the result is exactly symmetric.
template <int Tile, bool Symmetric>
__device__ __forceinline__ void write_padded(const float (&values)[Tile / 32][4][4], bf16* out, bf16* buffer,
                                             const Product& p, int row0, int column0, int warp_row,
                                             int warp_column, int lane) {
  using G = Geometry<Tile, Symmetric>;
  const bool on_diagonal = Symmetric && row0 == column0;
  const int passes = Symmetric && !on_diagonal ? 2 : 1;
  for (int pass = 0; pass < passes; ++pass) {
    __syncthreads();  // all reads of the buffer are done
#pragma unroll
    for (int i = 0; i < Tile / 32; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int e = 0; e < 4; e += 2) {
          const int row = warp_row + 16 * i + lane / 4 + 4 * e, column = warp_column + 8 * j + lane % 4 * 2;
          const __nv_bfloat162 pair = __floats2bfloat162_rn(values[i][j][e], values[i][j][e + 1]);
          if (!on_diagonal && pass == 0) {
            *reinterpret_cast<__nv_bfloat162*>(&buffer[row * G::kColumns + column]) = pair;
            continue;
          }
          if (!on_diagonal || row <= column) buffer[column * G::kColumns + row] = pair.x;
          if (!on_diagonal || row <= column + 1) buffer[(column + 1) * G::kColumns + row] = pair.y;
          if (on_diagonal && row < column) buffer[row * G::kColumns + column] = pair.x;
          if (on_diagonal && row < column + 1) buffer[row * G::kColumns + column + 1] = pair.y;
        }
    __syncthreads();
    const int to_row = pass == 0 ? row0 : column0, to_column = pass == 0 ? column0 : row0;
    for (int i = threadIdx.x; i < Tile * Tile / 8; i += G::kThreads) {
      const int row = i / (Tile / 8), column = i % (Tile / 8) * 8;
      if (to_row + row < p.rows && to_column + column < p.columns)
        *reinterpret_cast<uint4*>(out + int64_t(to_row + row) * p.columns + to_column + column) =
            *reinterpret_cast<const uint4*>(&buffer[row * G::kColumns + column]);
    }
  }
}

// Symmetric: rows = columns, and only tiles on and above the diagonal are computed. `right` then points to
// its transpose, which equals it except in Gram. Out: Padded, or the type of the op's result.
template <int Tile, bool Symmetric, class Epilogue, class Out>
__global__ void __launch_bounds__(2 * Tile, 256 / Tile) multiply(const Product p) {
  using G = Geometry<Tile, Symmetric>;
  SIMT_DYNAMIC_SHARED(bf16, shared);
  bf16* const left_tiles = shared;
  bf16* const right_tiles = shared + G::kStages * G::kLeft;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_row = warp % 2 * G::kWarpRows, warp_column = warp / 2 * 32;
  int tile_row, tile_column;
  if constexpr (Symmetric) {
    triangle_position(blockIdx.x, tile_row, tile_column);
  } else {
    const int across = (p.columns + Tile - 1) / Tile;
    tile_row = blockIdx.x / across;
    tile_column = blockIdx.x % across;
  }
  const int row0 = tile_row * Tile, column0 = tile_column * Tile;
  const int64_t matrix = blockIdx.z;
  const bf16* left = p.left + matrix * p.rows * p.depth;
  const bf16* right = p.right + matrix * p.columns * p.depth;

  const int stages = (p.depth + G::kDepth - 1) / G::kDepth;
  const auto load = [&](int stage) {
    if (stage < stages)
      load_stage<Tile, Symmetric>(left_tiles + stage % G::kStages * G::kLeft,
                                  right_tiles + stage % G::kStages * G::kRight, left, right, p, row0, column0,
                                  stage * G::kDepth);
    ptx::cp_async_commit();  // empty past the end, to keep the count of groups
  };
  float sums[Tile / 32][4][4] = {};
#pragma unroll
  for (int stage = 0; stage < G::kStages - 1; ++stage) load(stage);
  for (int stage = 0; stage < stages; ++stage) {
    ptx::cp_async_wait<G::kStages - 2>();
    __syncthreads();  // all copies have arrived, and no thread uses the stage that is overwritten next
    load(stage + G::kStages - 1);
    multiply_stage<Tile, Symmetric>(sums, left_tiles + stage % G::kStages * G::kLeft,
                                    right_tiles + stage % G::kStages * G::kRight, warp_row, warp_column,
                                    lane);
  }
  ptx::cp_async_wait<0>();

  const int64_t diagonal0 = matrix * p.rows;
#pragma unroll
  for (int i = 0; i < Tile / 32; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const int row = row0 + warp_row + 16 * i + lane / 4 + 4 * e;
        const int column = column0 + warp_column + 8 * j + lane % 4 * 2;
        if (row < p.rows && column < p.columns)
          finish_pair<Epilogue>(sums[i][j][e], sums[i][j][e + 1], p, left, right, diagonal0, row, column);
        if constexpr (!std::is_same_v<Out, Padded>) {
          Out* out = static_cast<Out*>(p.out) + matrix * p.out_rows * p.out_columns;
#pragma unroll
          for (int f = 0; f < 2; ++f)
            if (row < p.out_rows && column + f < p.out_columns)
              store(out + row * p.row_stride + (column + f) * p.column_stride, sums[i][j][e + f]);
        }
      }
  if constexpr (std::is_same_v<Out, Padded>)
    write_padded<Tile, Symmetric>(sums, static_cast<bf16*>(p.out) + matrix * p.rows * p.columns, shared, p,
                                  row0, column0, warp_row, warp_column, lane);
}

template <int Tile>
inline int64_t tiles(int size) {
  return (size + Tile - 1) / Tile;
}

template <int Tile, bool Symmetric>
inline int64_t blocks(const Product& p) {
  return Symmetric ? tiles<Tile>(p.rows) * (tiles<Tile>(p.rows) + 1) / 2
                   : tiles<Tile>(p.rows) * tiles<Tile>(p.columns);
}

template <int Tile, bool Symmetric, class Epilogue, class Out>
void launch_multiply(const Product& p, int batch, cudaStream_t stream) {
  using G = Geometry<Tile, Symmetric>;
  const dim3 grid(static_cast<unsigned>(blocks<Tile, Symmetric>(p)), 1, batch);
  simt::launch(multiply<Tile, Symmetric, Epilogue, Out>, grid, dim3(G::kThreads), sizeof(bf16) * G::kShared,
               stream, p);
}

// Large tiles read least; small tiles are used where large ones would leave multiprocessors idle.
template <bool Symmetric, class Epilogue, class Out = Padded>
void launch_product(const Product& p, int batch, int processors, cudaStream_t stream) {
  if (blocks<128, Symmetric>(p) * batch >= processors) {
    launch_multiply<128, Symmetric, Epilogue, Out>(p, batch, stream);
  } else {
    launch_multiply<64, Symmetric, Epilogue, Out>(p, batch, stream);
  }
}

}  // namespace arsbench::newton_schulz_cuda
